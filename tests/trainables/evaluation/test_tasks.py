"""Tasks: exact accuracy for known answers, likelihoods as a float64 oracle has them, and a line for whatever is wrong."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from records.metrics import definition_of
from tests.support.real_data import REAL, needs_real_data
from trainables.corpora.tokens.tokenizer import load_text_tokenizer
from trainables.evaluation import similarity
from trainables.evaluation.generation import generate
from trainables.evaluation.scoring import ModelScorer
from trainables.evaluation.similarity import overlap
from trainables.evaluation.tasks import Bleu, Continuation, JCommonsenseQA, Question, Score, Settings, read_items
from trainables.methods.lora import Lora
from trainables.models.embedded import ensure_embedded
from trainables.models.model import LanguageModel, load_model, load_network
from trainables.models.recipes import TINY

ASKED = (
    ("空から降る白いものは？", ("雪", "石", "机", "歌", "靴下"), 0),
    ("本を借りられる建物は？", ("駅", "図書館", "港", "滝", "畑"), 1),
    ("朝の挨拶は？", ("さようなら", "おやすみ", "おはよう", "乾杯", "ごめん"), 2),
    ("魚が住むところは？", ("空", "箱", "雲", "水の中", "火"), 3),
)


def write_questions(path: Path, asked: Sequence[tuple[str, Sequence[str], int]] = ASKED) -> str:
    rows = [{"question": q, **{f"choice{n}": choice for n, choice in enumerate(choices)}, "label": label} for q, choices, label in asked]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def script(picks: Sequence[int], *, by_character: Sequence[int] = ()) -> Callable[[Sequence[Continuation]], list[Score]]:
    """Return a scorer to which the choice `picks` names is likeliest, and per character the one that `by_character` names."""

    def score(continuations: Sequence[Continuation]) -> list[Score]:
        scores: list[Score] = []
        for place, each in enumerate(continuations):
            item, choice = divmod(place, 5)
            nats = 1.0 if choice == picks[item] else 1.5 if by_character and choice == by_character[item] else 1.9
            longest = 100 if by_character and choice == by_character[item] else 1
            scores.append(Score(nats, 1, longest if by_character else len(each.text)))
        return scores

    return score


def refuse(prompts: Sequence[str], new_tokens: int) -> list[str]:
    raise AssertionError("nothing is to be written")


def test_known_answers_give_the_known_accuracy(tmp_path: Path) -> None:
    task = JCommonsenseQA(write_questions(tmp_path / "valid.json"), Settings())
    measured = task.measure(script([0, 1, 2, 0], by_character=[0, 0, 0, 3]), refuse)
    metrics = {name.removeprefix("task/jcommonsenseqa/"): value for name, value in measured.metrics.items()}
    assert (metrics["items"], metrics["accuracy"], metrics["accuracy_by_character"]) == (4, 0.75, 0.5)
    z, share, n = 1.959963984540054, 0.75, 4  # Wilson 1927, written out
    centre, half = (
        (share + z * z / (2 * n)) / (1 + z * z / n),
        z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n),
    )
    assert metrics["accuracy_low"] == pytest.approx(centre - half)
    assert metrics["accuracy_high"] == pytest.approx(centre + half)
    for name in measured.metrics:
        definition_of(name)


@needs_real_data
@pytest.mark.parametrize("wrong", [0, 1, 500, 1119])
def test_known_answers_on_the_real_file(wrong: int) -> None:
    path = REAL / "jcommonsenseqa" / "valid-v1.3.json"
    labels = [json.loads(line)["label"] for line in path.read_text(encoding="utf-8").splitlines()]
    picks = [(label + 1) % 5 if place < wrong else label for place, label in enumerate(labels)]
    metrics = JCommonsenseQA(str(path), Settings()).measure(script(picks), refuse).metrics
    assert metrics["task/jcommonsenseqa/items"] == 1119
    assert metrics["task/jcommonsenseqa/accuracy"] == (1119 - wrong) / 1119


def test_the_prompt_is_what_the_facts_say(tmp_path: Path) -> None:
    valid, train = write_questions(tmp_path / "valid.json", ASKED[:1]), write_questions(tmp_path / "train.json")
    plain = JCommonsenseQA(valid, Settings())
    instruction = "次の問いに、候補の中から最もふさわしいものを一つ選んで答える。\n\n"
    own = "問い：空から降る白いものは？\n候補：雪、石、机、歌、靴下\n答え："
    assert plain.context(plain.questions[0]) == instruction + own
    assert plain.measure(script([0]), refuse).facts["prompt"] == instruction + "問い：{question}\n候補：{choices}\n答え："

    settings = Settings(few_shot=2, examples=train, seed=1)
    task = JCommonsenseQA(valid, settings)
    context = task.context(task.questions[0])
    assert context.startswith(instruction)
    assert context.endswith(own)
    for example in task.examples:
        assert f"問い：{example.question}\n" in context
        assert f"答え：{example.choices[example.label]}\n\n" in context
    facts = task.measure(script([0]), refuse).facts
    assert (facts["few_shot"], facts["examples_seed"]) == (2, 1)
    assert JCommonsenseQA(valid, settings).examples == task.examples
    drawn = {tuple(e.question for e in JCommonsenseQA(valid, replace(settings, seed=seed)).examples) for seed in range(20)}
    assert len(drawn) > 1
    assert not any(ASKED[0][0] in questions for questions in drawn)  # what is asked is never shown with its answer


BROKEN = {
    "bad JSON": ('{"question": ', "valid.json:2: bad JSON: "),
    "no label": (
        '{"question": "q", "choice0": "a", "choice1": "b", "choice2": "c", "choice3": "d", "choice4": "e"}',
        "valid.json:2: label: ",
    ),
    "label beyond": (
        '{"question": "q", "choice0": "a", "choice1": "b", "choice2": "c", "choice3": "d", "choice4": "e", "label": 5}',
        "valid.json:2: label: got 5; allowed: 0, 1, 2, 3, 4",
    ),
    "empty choice": (
        '{"question": "q", "choice0": "", "choice1": "b", "choice2": "c", "choice3": "d", "choice4": "e", "label": 0}',
        "valid.json:2: choice0: ",
    ),
    "not an object": ("[1]", "valid.json:2: "),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_malformed_item_is_named_by_file_and_line(kind: str, tmp_path: Path) -> None:
    line, says = BROKEN[kind]
    path = tmp_path / "valid.json"
    write_questions(path, ASKED[:1])
    path.write_text(f"{path.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(says)) as refused:
        read_items(str(path), Question)
    assert str(refused.value).startswith(f"{tmp_path}/{says}")
    assert "\n" not in str(refused.value)


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    valid = write_questions(tmp_path / "valid.json", ASKED[:2])
    (tmp_path / "empty.json").write_text("\n")
    (tmp_path / "one.txt").write_text("a\nb\n")
    (tmp_path / "other.txt").write_text("a\n")
    (tmp_path / "gap.txt").write_text("a\n\n")
    one, other, gap = (str(tmp_path / f"{name}.txt") for name in ("one", "other", "gap"))
    refusals: list[tuple[Any, str, Settings, str]] = [
        (JCommonsenseQA, str(tmp_path / "absent.json"), Settings(), "no such file"),
        (JCommonsenseQA, str(tmp_path / "empty.json"), Settings(), "holds no item"),
        (JCommonsenseQA, valid, Settings(few_shot=1), "without --examples"),
        (JCommonsenseQA, valid, Settings(few_shot=1, examples=valid), "at most 0"),
        (Bleu, valid, Settings(), "prompt: "),
        (Bleu, f"{one},{other}", Settings(), "has 2 lines and"),
        (Bleu, f"{one},{gap}", Settings(), "gap.txt:2: is empty"),
        (Bleu, f"{one},{one},{one}", Settings(), "two text files"),
        (Bleu, f"{one},{one}", Settings(few_shot=1), "0 for task bleu"),
        (Bleu, f"{one},{one}", Settings(prompt="translate"), "{prompt}"),
        (Bleu, f"{one},{one}", Settings(similarity="own/encoder@main"), "40 hexadecimal"),
    ]
    for task, data, settings, says in refusals:
        with pytest.raises(ValueError, match=says):
            task(data, settings)


def test_bleu_asks_for_texts_and_measures_them(tmp_path: Path) -> None:
    pairs = [("The cat sleeps.", "猫が眠る。"), ("It rains.", "雨が静かに降る。")]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"prompt": p, "reference": r}, ensure_ascii=False) + "\n" for p, r in pairs), encoding="utf-8")
    asked: list[tuple[list[str], int]] = []

    def write(prompts: Sequence[str], new_tokens: int) -> list[str]:
        asked.append((list(prompts), new_tokens))
        return [" 猫が眠る。\n次の行", "雨が降る。"]

    measured = Bleu(str(path), Settings(prompt="英語：{prompt}\n日本語：", new_tokens=9)).measure(refuse_score, write)
    assert asked == [(["英語：The cat sleeps.\n日本語：", "英語：It rains.\n日本語："], 9)]
    expected = overlap(["猫が眠る。\n次の行", "雨が降る。"], [reference for _, reference in pairs])
    assert {name: measured.metrics[f"task/bleu/{name}"] for name in expected} == {name: each.value for name, each in expected.items()}
    assert {name: measured.facts[f"{name}_signature"] for name in expected} == {name: each.signature for name, each in expected.items()}
    assert measured.facts["generation"] == "greedy, at most 9 tokens"
    assert "semantic_similarity" not in measured.facts
    for name in measured.metrics:
        definition_of(name)

    (tmp_path / "en.txt").write_text("".join(f"{prompt}\n" for prompt, _ in pairs), encoding="utf-8")
    (tmp_path / "ja.txt").write_text("".join(f"{reference}\n" for _, reference in pairs), encoding="utf-8")
    measured = Bleu(f"{tmp_path / 'en.txt'},{tmp_path / 'ja.txt'}", Settings()).measure(refuse_score, write)
    expected = overlap(["猫が眠る。", "雨が降る。"], [reference for _, reference in pairs])
    assert measured.metrics["task/bleu/bleu_words"] == expected["bleu_words"].value


def refuse_score(continuations: Sequence[Continuation]) -> list[Score]:
    raise AssertionError("nothing is to be scored")


def test_an_absent_extra_is_said_and_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "find_spec", lambda name: None)
    (tmp_path / "one.txt").write_text("雨\n")
    settings = Settings(similarity=f"own/encoder@{'0' * 40}")
    measured = Bleu(f"{tmp_path / 'one.txt'},{tmp_path / 'one.txt'}", settings).measure(refuse_score, lambda prompts, new_tokens: ["雨"])
    assert "task/bleu/semantic_similarity" not in measured.metrics
    assert str(measured.facts["semantic_similarity"]).startswith("absent: sentence-transformers is not installed")


@pytest.fixture(scope="module")
def tiny() -> Path:
    return ensure_embedded(recipe=TINY, show_progress=False)


def draw_continuations() -> list[Continuation]:
    task = [Continuation(f"問い：{q}\n候補：{'、'.join(choices)}\n答え：", choice) for q, choices, _ in ASKED for choice in choices]
    return [*task, Continuation("", "雨が降る。"), Continuation("Rain falls on the roof, and ", "the cat sleeps. " * 20)]


def measure_by_oracle(model: Any, tokenizer: Any, each: Continuation) -> float:
    """Return nats from whole float64 logits of one row."""
    context, text = (ids.tolist() for ids in tokenizer.encode([each.context, each.text]))
    ids = [tokenizer.start, *context, *text]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids[:-1]])).logits[0, len(context) :].numpy()
    logits -= logits.max(axis=1, keepdims=True)
    logarithms = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-logarithms[np.arange(len(text)), text].sum())


@pytest.mark.parametrize("tokens_per_pass", [1, 200, 100_000])
def test_scores_equal_a_float64_oracle_for_any_grouping(tiny: Path, tokens_per_pass: int) -> None:
    tokenizer, continuations = load_text_tokenizer(tiny), draw_continuations()
    model = load_model(tiny, "fp32")
    scores = ModelScorer(model, tokenizer, "cpu", tokens_per_pass=tokens_per_pass)(continuations)
    oracle = load_network(tiny, "fp32").double().eval()
    expected = [measure_by_oracle(oracle, tokenizer, each) for each in continuations]
    np.testing.assert_allclose([score.nats for score in scores], expected, rtol=2e-6)
    assert [score.characters for score in scores] == [len(each.text) for each in continuations]
    assert [score.tokens for score in scores] == [len(ids) for ids in tokenizer.encode([each.text for each in continuations])]


def test_what_the_model_would_write_is_the_likeliest(tiny: Path) -> None:
    model, tokenizer = load_model(tiny, "fp32"), load_text_tokenizer(tiny)
    prompts = ("The old man walked to the", "She said that it", "It was a")
    written = generate(model, tokenizer, prompts, new_tokens=1)
    scores = ModelScorer(model, tokenizer, "cpu")([Continuation(*pair) for pair in zip(prompts, written, strict=True)])
    assert [score.tokens for score in scores] == [1] * len(prompts)
    others = ModelScorer(model, tokenizer, "cpu")([Continuation(prompt, text) for prompt in prompts for text in (" a", " the", "凹")])
    assert all(score.nats <= min(other.nats for other in others[3 * place : 3 * place + 3]) for place, score in enumerate(scores))


def test_adapters_count_and_the_mode_is_left_alone(tiny: Path) -> None:
    tokenizer, continuations = load_text_tokenizer(tiny), draw_continuations()[:3]
    plain = ModelScorer(load_model(tiny, "fp32"), tokenizer, "cpu")(continuations)
    torch.manual_seed(0)
    method = Lora(rank=2, alpha=4.0, dropout=0.5)
    adapted = LanguageModel(method.prepare(load_network(tiny, "fp32")), method)
    for training in (True, False):
        adapted.train(training)
        assert [s.nats for s in ModelScorer(adapted, tokenizer, "cpu")(continuations)] == pytest.approx([s.nats for s in plain])
        assert adapted.training is training
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.1)
    changed = ModelScorer(adapted, tokenizer, "cpu")(continuations)
    assert all(abs(one.nats - other.nats) > 1e-3 for one, other in zip(plain, changed, strict=True))


def test_what_cannot_be_scored_is_refused(tiny: Path) -> None:
    model, tokenizer = load_model(tiny, "fp32"), load_text_tokenizer(tiny)
    scorer = ModelScorer(model, tokenizer, "cpu")
    with pytest.raises(ValueError, match="no token of the continuation ''"):
        scorer([Continuation("a", "")])
    with pytest.raises(ValueError, match="at most 1024, the model's context"):
        scorer([Continuation("猫" * 2000, "犬")])
    with torch.no_grad():
        model.head.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="no finite likelihood"):
        scorer([Continuation("a", "b")])
