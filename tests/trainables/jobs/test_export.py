"""Training, generation and an exported model know the same ends of a text, where a model's own files name four different ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig, Qwen2Tokenizer

from tests.support.tiny import FULL, LORA, make_config, write_model
from trainables.corpora.sources import DataSet, read_texts
from trainables.corpora.tokens.tokenizer import encode_splits, load_text_tokenizer
from trainables.evaluation.generation import generate
from trainables.jobs import export
from trainables.models.model import build_model
from trainables.models.source import ModelSource

TEXT, TURN, CONFIGURED, GENERATED = 0, 1, 5, [7, 9]  # the ends that tokenizer, config.json and generation_config.json name
ALL = sorted([TEXT, TURN, CONFIGURED, *GENERATED])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    from tokenizers.pre_tokenizers import ByteLevel

    folder = tmp_path / "model"
    vocabulary = {letter: place for place, letter in enumerate(["<|endoftext|>", "<|im_end|>", *sorted(ByteLevel.alphabet())])}
    write_model(folder, vocab_size=len(vocabulary), eos_token_id=CONFIGURED)
    GenerationConfig(eos_token_id=GENERATED, do_sample=True, temperature=0.5).save_pretrained(str(folder))
    Qwen2Tokenizer(vocab=vocabulary, merges=[], eos_token="<|im_end|>").save_pretrained(str(folder))
    return folder


def _find_taught(root: Path, model: Path) -> set[int]:
    (root / "turn.jinja").write_text("{{ prompt }}<|im_end|>", encoding="utf-8")
    rows = [{"question": f"{number} is what?", "answer": f"{number}"} for number in range(40)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    taught: set[int] = set()
    for template in ("plain", str(root / "turn.jinja")):
        asked = DataSet(
            role="adapt", path=str(root / "rows.jsonl"), format="jsonl", prompt_field="question", text_field="answer", template=template
        )
        splits = encode_splits(asked, read_texts(asked), load_text_tokenizer(model))
        taught |= {int(document.passage(ended=True).tokens[-1]) for documents in splits.values() for document in documents}
    return taught


@pytest.mark.parametrize(("method", "merge"), [(LORA, False), (LORA, True), (FULL, False)])
def test_what_is_taught_is_stopped_at_and_exported(tmp_path: Path, model: Path, method: dict[str, Any], merge: bool) -> None:
    assert _find_taught(tmp_path, model) == {TEXT, TURN}
    config = make_config(tmp_path, method=method, folder=str(tmp_path))
    trial = build_model(config)
    stopped: list[list[int]] = []
    whole = trial.causal.generate

    def watch(**given: Any) -> Any:
        stopped.append(trial.causal.generation_config.eos_token_id)
        return whole(**given)

    trial.causal.generate = watch
    generate(trial, load_text_tokenizer(model), ["a"], new_tokens=2)
    assert stopped == [ALL]
    trial.save(tmp_path / "weights")
    folder = tmp_path / "exported"
    export.write_model(config, tmp_path / "weights", folder, ModelSource(path=str(model), licence="none"), merge=merge)
    settings = GenerationConfig.from_pretrained(folder)
    assert settings.eos_token_id == ALL
    assert (settings.do_sample, settings.temperature) == (True, 0.5)  # the base's other habits are left alone
    if merge or method == FULL:
        config = make_config(tmp_path, method=method, folder=str(tmp_path), model={"folder": str(folder)})
        assert load_text_tokenizer(folder).find_ends(build_model(config).causal) == ALL
