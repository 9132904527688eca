"""What a model writes after given prompts: greedy, or sampled by a seed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from records.refusals import Refusal
from trainables.corpora.tokens.tokenizer import Tokenizer
from trainables.models.model import LanguageModel
from trainables.randomness import derive_seed, own_random_state


def find_fitting(model: LanguageModel, tokenizer: Tokenizer, prompts: Sequence[str], new_tokens: int) -> list[int]:
    """Return the places of the prompts, as a template wrote them, that leave room for so many new tokens in the model's context."""
    most = model.config.max_position_embeddings - new_tokens  # beside the token that begins a text
    return [place for place, ids in enumerate(tokenizer.encode_prompts(prompts)) if 1 + len(ids) <= most]


@torch.no_grad()
def generate(  # noqa: PLR0913
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    rows_per_pass: int = 16,
    as_written: bool = False,
) -> list[str]:
    """Return what the model writes after each prompt, in order: up to `new_tokens` tokens, or to one that ends a text or turn
    (`Tokenizer.find_ends`).

    A prompt begins with the token that begins a text. Special tokens that stand in a prompt are themselves where a template has written
    it (`as_written`), else they are text; the answer holds none. Temperature 0 takes the likeliest token; any other samples from all
    tokens, the same texts for the same seed, prompts and `rows_per_pass`. The model's own settings of generation are not used; its
    training mode and torch's random state stay as they were. Raises ValueError for a prompt that with the new tokens exceeds the model's
    context.
    """
    contexts = [[tokenizer.start, *ids] for ids in (tokenizer.encode_prompts if as_written else tokenizer.encode)(prompts)]
    most = model.config.max_position_embeddings - new_tokens
    for prompt, context in zip(prompts, contexts, strict=True):
        if len(context) > most:
            allowed = f"at most {most}, the model's context less {new_tokens} new ones"
            raise Refusal(f"the prompt {prompt[:40]!r}…", f"{len(context)} tokens", allowed)
    answers: dict[int, str] = {}
    order = sorted(range(len(prompts)), key=lambda row: -len(contexts[row]))  # like lengths together
    with own_random_state(derive_seed(seed, "generation")), _at_rest(model, tokenizer, new_tokens, temperature) as causal:
        for start in range(0, len(order), rows_per_pass):
            rows = order[start : start + rows_per_pass]
            # The rows' order and grouping are settled before anything is sampled: the same seed draws the same texts.
            answers |= zip(rows, _continue(causal, tokenizer, [contexts[row] for row in rows]), strict=True)
    return [answers[row] for row in range(len(prompts))]


def _continue(causal: Any, tokenizer: Tokenizer, contexts: list[list[int]]) -> list[str]:
    """Return what the model writes after each context, generated together."""
    width = max(map(len, contexts))
    ids: list[list[int]] = []
    mask: list[list[int]] = []
    for context in contexts:
        padding = width - len(context)  # on the left, so that what is new stands in line
        ids.append([tokenizer.end] * padding + context)
        mask.append([0] * padding + [1] * len(context))
    ids_bt = torch.tensor(ids, device=causal.device)
    mask_bt = torch.tensor(mask, device=causal.device)
    written_bt = causal.generate(input_ids=ids_bt, attention_mask=mask_bt)[:, width:]
    return [tokenizer.decode(row) for row in written_bt.tolist()]


@contextmanager
def _at_rest(model: LanguageModel, tokenizer: Tokenizer, new_tokens: int, temperature: float) -> Iterator[Any]:
    """Give the causal model, its adapters applied, in evaluation mode and with these rules of generation in place of its own."""
    from transformers import GenerationConfig

    causal = model.causal
    own, training = causal.generation_config, model.training
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {"do_sample": False}
    causal.generation_config = GenerationConfig(
        max_new_tokens=new_tokens,
        use_cache=True,
        eos_token_id=tokenizer.find_ends(causal),
        pad_token_id=tokenizer.end,
        **sampling,
    )
    model.eval()
    try:
        yield causal
    finally:
        causal.generation_config = own
        model.train(training)
