"""How the embedded base model is trained: a byte-level BPE, then AdamW on random windows of each language's text."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save_file

from trainables.corpora.sources import SplitName
from trainables.corpora.tokens.packing import Passage, Tokens, cut_rows
from trainables.models.loss import linear_cross_entropy
from trainables.models.model import LanguageModel
from trainables.models.recipes import Recipe
from trainables.shape import ModelShape

END_OF_TEXT = "<|endoftext|>"
LanguageTexts = Mapping[str, Mapping[SplitName, Sequence[str]]]


def pretrain(recipe: Recipe, texts: LanguageTexts, shape: ModelShape, folder: Path, *, show_progress: bool) -> None:
    """Train tokenizer and model and save both into the folder, with the weights of the lowest held-out loss.

    Equal on every run with the same number of threads. Only the texts' `train` is learnt from, by the tokenizer too.
    """
    tokenizer = train_tokenizer(recipe, texts)
    separator = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    streams = {name: _join(tokenizer, splits["train"], separator) for name, splits in texts.items()}
    held_out = [_batch_rows(tokenizer, splits["validation"], separator, recipe) for splits in texts.values() if "validation" in splits]
    # The caller's own random numbers and threads stay as they were; the model is the same whatever they are.
    with torch.random.fork_rng(devices=[]), _threads(recipe.threads):
        torch.manual_seed(recipe.seed)
        network = build_qwen2(shape, separator)
        best = _train(recipe, LanguageModel.bare(network), streams, held_out, show_progress=show_progress)
    network.load_state_dict(best)
    _save(network, tokenizer, folder)


def train_tokenizer(recipe: Recipe, texts: LanguageTexts) -> Any:
    """Return a fast tokenizer: byte-level BPE (Sennrich et al. 2016, over bytes) of exactly `recipe.vocabulary` entries.

    It is trained inside Qwen2's own pipeline, since loading a Qwen2 folder always builds that one around the vocabulary.
    """
    from tokenizers import Tokenizer, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    bpe = Tokenizer.from_str(Qwen2Tokenizer().backend_tokenizer.to_str())
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Sorted, so that the vocabulary does not hang on the order in which the mapping was filled.
    bpe.train_from_iterator((text for name, splits in sorted(texts.items()) for text in splits["train"]), trainer)
    assert bpe.get_vocab_size() == recipe.vocabulary, "the texts are too short for the vocabulary"
    trained: Any = json.loads(bpe.to_str())["model"]
    merges: Any = [tuple(pair) for pair in trained["merges"]]
    return Qwen2Tokenizer(vocab=trained["vocab"], merges=merges)


def build_qwen2(shape: ModelShape, end_of_text: int) -> Any:
    """Return an untrained Qwen2 model of the shape, in float32.

    Weights are drawn with standard deviation hidden^-1/2 (the library's 0.02 suits wider models), and what writes into the residual
    stream at a tenth of that: a narrow model then leaves token frequencies behind several times sooner.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied_embeddings,
        initializer_range=shape.hidden**-0.5,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
    )
    model = Qwen2ForCausalLM(config)
    initialise(model)
    return model


@torch.no_grad()
def initialise(model: Any) -> None:
    """Draw the matrices so that a narrow model begins to learn at once.

    Each linear has the standard deviation 1/sqrt(d_in) (He et al. 2015, without the factor for ReLU), those that write into the
    residual stream a tenth of it, the embeddings 0.1. With transformers' 0.02 for all, hundreds of steps pass before attention is of use.
    """
    for name, matrix in model.named_parameters():
        if matrix.ndim == 2:  # norms and biases stay at 1 and 0
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            deviation = 0.1 if "embed" in name else matrix.shape[1] ** -0.5 * (0.1 if writes else 1.0)
            matrix.normal_(0.0, deviation)


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write what `save_pretrained` would, without its import of every training library that is installed."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = {name: value.contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"}  # tied
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _join(tokenizer: Any, documents: Sequence[str], separator: int) -> Tokens:
    """Return int32 [tokens]: all documents in one stream, each after a separator, from which windows are drawn."""
    ids = [token for text in documents for token in (separator, *tokenizer(text)["input_ids"])]
    return np.array(ids, np.int32)


def _batch_rows(tokenizer: Any, documents: Sequence[str], separator: int, recipe: Recipe) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return inputs and targets, int64 [blocks, sequence_length] each (the last pair shorter), of all documents."""
    document_ids = [[separator, *tokenizer(text)["input_ids"]] for text in documents]
    passages = [Passage(np.array(ids, np.int32)) for ids in document_ids]
    inputs, targets, _ = cut_rows(passages, recipe.sequence_length)
    input_batches = torch.from_numpy(inputs).long().split(recipe.blocks)
    target_batches = torch.from_numpy(targets).long().split(recipe.blocks)
    return list(zip(input_batches, target_batches, strict=True))


def _train(
    recipe: Recipe, model: LanguageModel, streams: Mapping[str, Tokens], held_out: Sequence[Any], *, show_progress: bool
) -> dict[str, Any]:
    """Return a copy of the weights where the held-out loss was lowest; ends early when it has risen `patience` times."""
    random = np.random.default_rng(recipe.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_rate(step, recipe.steps))
    lowest, risen, best = math.inf, 0, {}
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("held-out loss {task.fields[loss]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show_progress) as progress:
        bar = progress.add_task("Training the small base model, once", total=recipe.steps, loss="")
        for step in range(1, recipe.steps + 1):
            windows_bt = torch.from_numpy(_draw_windows(recipe, streams, random)).long()
            inputs_bt, targets_bt = windows_bt[:, :-1], windows_bt[:, 1:]
            nats = linear_cross_entropy(model.hidden_states(inputs_bt), model.head, targets_bt)
            loss = nats / targets_bt.numel()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            progress.advance(bar)
            if step % recipe.measure_every and step != recipe.steps:
                continue
            held_out_loss = _measure(model, held_out)
            progress.update(bar, loss=f"{held_out_loss:.3f}")
            risen = 0 if held_out_loss < lowest else risen + 1
            if held_out_loss < lowest:
                # Copied, since training goes on in the same tensors; the last weights may have overfitted.
                lowest, best = held_out_loss, {name: value.clone() for name, value in model.network.state_dict().items()}
            if risen == recipe.patience:
                break
        progress.update(bar, completed=recipe.steps)
    return best


def _share_of_rate(step: int, steps: int) -> float:
    """Warm up over the first twentieth, then fall along a cosine to a twentieth of the rate."""
    warmup = max(1, steps // 20)
    fallen = (step - warmup) / max(1, steps - warmup)
    return (step + 1) / warmup if step < warmup else 0.05 + 0.95 * (1 + math.cos(math.pi * min(1.0, fallen))) / 2


def _draw_windows(recipe: Recipe, streams: Mapping[str, Tokens], random: np.random.Generator) -> Tokens:
    """Return int32 [blocks, sequence_length + 1], so that every token of a block has a target; a language's stream is a ring."""
    names = list(recipe.shares)
    windows = []
    for name in random.choice(names, size=recipe.blocks, p=[recipe.shares[name] for name in names]):
        stream = streams[name]
        start = int(random.integers(len(stream)))
        windows.append(np.take(stream, range(start, start + recipe.sequence_length + 1), mode="wrap"))
    return np.stack(windows)


@torch.no_grad()
def _measure(model: LanguageModel, held_out: Sequence[Any]) -> float:
    """Return the mean over languages of the held-out nats per token."""
    model.eval()
    means = []
    for batches in held_out:
        nats = sum(float(linear_cross_entropy(model.hidden_states(inputs_bt), model.head, targets_bt)) for inputs_bt, targets_bt in batches)
        tokens = sum(int((targets_bt >= 0).sum()) for _, targets_bt in batches)  # IGNORED is below 0
        means.append(nats / tokens)
    model.train()
    # Each language counts alike, however many texts it has: else English alone would decide when to stop.
    return sum(means) / len(means)
