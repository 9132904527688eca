"""What a model writes: as step by step, whatever the batch, by seed, and with nothing left changed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from tests.support.texts import write_byte_model
from trainables.corpora.tokens.tokenizer import Tokenizer, load_text_tokenizer
from trainables.evaluation.generation import generate
from trainables.methods.lora import Lora
from trainables.models.model import LanguageModel, load_model

PROMPTS = ("The cat", "猫", "Rain falls on the roof.", "a", "")
NEW = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_byte_model(tmp_path_factory.mktemp("generation") / "model")


@pytest.fixture
def tokenizer(folder: Path) -> Tokenizer:
    return load_text_tokenizer(folder)


@pytest.fixture
def model(folder: Path) -> LanguageModel:
    return load_model(folder, "fp32")


def write_step_by_step(model: LanguageModel, tokenizer: Tokenizer, prompt: str, new_tokens: int = NEW) -> list[int]:
    """Return the likeliest token after the likeliest token, each from a whole forward pass without cache or padding."""
    ids = [tokenizer.start, *tokenizer.encode([prompt])[0].tolist()]
    written: list[int] = []
    model.eval()
    while len(written) < new_tokens and tokenizer.end not in written:
        with torch.no_grad():
            written.append(int(model.causal(input_ids=torch.tensor([ids + written])).logits[0, -1].argmax()))
    return written


@pytest.mark.parametrize("rows_per_pass", [1, 2, 16])
def test_greedy_text_is_that_of_single_steps(model: LanguageModel, tokenizer: Tokenizer, rows_per_pass: int) -> None:
    expected = [tokenizer.decode(write_step_by_step(model, tokenizer, prompt)) for prompt in PROMPTS]
    assert generate(model, tokenizer, PROMPTS, new_tokens=NEW, rows_per_pass=rows_per_pass) == expected
    assert len(set(expected)) > 1


def test_writing_ends_where_the_text_or_the_turn_ends(model: LanguageModel, tokenizer: Tokenizer) -> None:
    tokens = write_step_by_step(model, tokenizer, PROMPTS[0])
    ends = tokens[3]
    model.causal.generation_config.eos_token_id = [ends]  # as instruct models name the token that ends a turn
    whole = model.causal.generate
    lengths: list[int] = []

    def count(**given: Any) -> Any:
        out = whole(**given)
        lengths.append(out.shape[1] - given["input_ids"].shape[1])
        return out

    model.causal.generate = count
    generate(model, tokenizer, PROMPTS[:1], new_tokens=NEW)
    assert lengths == [tokens.index(ends) + 1]


def test_samples_follow_the_seed_alone(model: LanguageModel, tokenizer: Tokenizer) -> None:
    def sample(seed: int, temperature: float = 1.0) -> list[str]:
        return generate(model, tokenizer, PROMPTS, new_tokens=NEW, temperature=temperature, seed=seed)

    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = sample(3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert sample(3) == one
    assert sample(4) != one
    assert sample(3, 1e-4) == generate(model, tokenizer, PROMPTS, new_tokens=NEW)


def test_the_models_own_habits_are_left_out_and_left_alone(model: LanguageModel, tokenizer: Tokenizer) -> None:
    plain = generate(model, tokenizer, PROMPTS, new_tokens=NEW)
    own = GenerationConfig(do_sample=True, temperature=5.0, repetition_penalty=3.0, min_new_tokens=20, top_k=3)
    model.causal.generation_config = own
    for training in (True, False):
        model.train(training)
        assert generate(model, tokenizer, PROMPTS, new_tokens=NEW) == plain
        assert model.training is training
    assert model.causal.generation_config is own
    assert model.config.use_cache is False


def test_adapters_are_heard_and_their_dropout_is_not(model: LanguageModel, tokenizer: Tokenizer) -> None:
    plain = generate(model, tokenizer, PROMPTS, new_tokens=NEW)
    method = Lora(rank=2, alpha=4.0, dropout=0.5)
    adapted = LanguageModel(method.prepare(model.network), method).train()
    assert generate(adapted, tokenizer, PROMPTS, new_tokens=NEW) == plain
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.5)
    assert generate(adapted, tokenizer, PROMPTS, new_tokens=NEW) != plain
    assert adapted.training


def test_a_prompt_beyond_the_context_is_refused(model: LanguageModel, tokenizer: Tokenizer) -> None:
    generate(model, tokenizer, ["x" * 51], new_tokens=NEW)
    with pytest.raises(ValueError, match=r"got 53 tokens; allowed: at most 52, the model's context less 12 new ones"):
        generate(model, tokenizer, ["x" * 52], new_tokens=NEW)
