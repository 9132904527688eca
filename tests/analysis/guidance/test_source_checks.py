"""Published figures set against one another: each verdict follows from sums and comparisons, rounding carried along."""

from typing import Any

import pytest

from analysis.guidance.claim_book import Claim, ClaimBook
from analysis.guidance.source_checks import judge_by_source
from analysis.text.wording import read_wording


def by_source(book: ClaimBook, name: str) -> str:
    """Return the verdict of a claim's sources and its reason in one line."""
    claim = next(claim for claim in book.claims if claim.name == name)
    verdict = judge_by_source(claim, book, read_wording())
    return f"{verdict.word.replace('_', ' ')}: {verdict.reason}"


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("parameters_by_rank", "contradicts: not linear in rank"),
        ("loss_at_the_start", "contradicts: above ln(V)"),
        ("trainable_parameters", "contradicts: 16: printed 1,310,720, but 16 × 24 × (2 × (896 + 896) + 2 × (896 + 128)) is 2,162,688"),
        ("interval_and_t", "contradicts: t: printed 3.47, but (0.81 + 0.45) / (0.81 - 0.45) × t_quantile(0.975, 49) is 7.034"),
        ("interval", "agrees: (0.45 + 0.81) / 2 ≈ 11.84 - 11.21"),
        ("p_value", "agrees: p_of_t(3.47, 49)"),
        ("effect_size", "contradicts: not so: 0.52 > 25"),
        ("optimal_rank", "cannot be told: none is better than 16 in both figures, and that is so of 4, 8, 16, 32, 64 alike"),
        ("parameters_saved", "agrees: 1 - 1310720 / 494033920"),
        ("parameters_saved_in_the_readme", "agrees: 0.99735"),
        ("initial_loss_drop", "agrees: 2.89 + 2.47 ≈ 2.94 + 2.42"),
        ("initial_loss_drop_from_the_log", "contradicts: not so: 2.89 + 2.47 ≈ 12.11"),
        ("convergence_saved", "agrees: 1 - 850 / 920"),
        ("time_saved", "agrees: 1 - 2.3 / 3.1"),
        ("throughput_gained", "agrees: 484.7 / 359.6 - 1"),
        ("memory_saved", "agrees: 1 - 13.2 / 22.7"),
        ("optimizer_memory_saved", "agrees: 1 - 5.2 / 12.1"),
        ("bleu", "agrees: lora: (0.623 + 0.351) / 2; full: (0.641 + 0.365) / 2"),
        ("bleu_ratio", "agrees: 0.487 / 0.503"),
        ("character_accuracy", "agrees: (0.923 + 0.887 + 0.834) / 3; (0.934 + 0.901 + 0.856) / 3"),
        ("script_gaps", "agrees: 0.934 - 0.923 < 0.901 - 0.887; 0.901 - 0.887 < 0.856 - 0.834"),
        ("better_cross_domain", "contradicts: not so: 0.847 > 0.863"),
        ("overfitting_shows_held_out", "contradicts: not so: 0.26 > 0.28"),
        ("stability_score", "contradicts: full again: printed 0.84, elsewhere 0.89"),
        ("memory_saved_by_bf16", "contradicts: share: printed 0.5, but 1 - 13.2 / 18.4 is 0.2826"),
        ("warmup_steps", "contradicts: steps: printed 200, but 0.1 × 1000 is 100"),
        ("tokenizer", "contradicts: entries: printed 50,257, elsewhere 151,936"),
        ("target_memory", "contradicts: full: 22.7, above 16"),
        ("fiqa_length_shares", "agrees: 0.294 + 0.521 + 0.186 ≈ 1"),
        ("hours_by_precision", "agrees: bf16: 2.3"),
        ("overfitting_step", "cannot be told: "),
        ("fiqa_lengths", "agrees: 154 < 199"),
        ("fiqa_train_split", "agrees: "),
        ("fiqa_held_out_splits", "cannot be told: no other figure tells"),
        ("fiqa_steps", "agrees: 3 × ceil(5500 / 16)"),
    ],
)
def test_a_claim_is_set_against_the_other_figures_of_its_sources(book: ClaimBook, name: str, verdict: str) -> None:
    assert by_source(book, name).startswith(verdict)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"computed": {"lora": "{other.a} / {other.b}"}}, "agrees"),  # 2.3 / 3.1 is 0.742, and 0.76 with what rounding took
        ({"computed": {"lora": "2.3 / 3.1"}}, "contradicts"),
        ({"holds": ("{other.a} < {other.b}",)}, "agrees"),
        ({"holds": ("{other.a} > {other.b}",)}, "contradicts"),
        ({"holds": ("{other.b} < {other.c}",)}, "cannot_be_told"),  # 3.1 and 3.14 may be of one number
        ({"holds": ("{other.b} == {other.c}",)}, "agrees"),
        ({"holds": ("{other.a} < {other.b}", "{other.a} > {other.b}")}, "contradicts"),
        ({"trade_off": {"chosen": "b", "between": ("other", "size")}}, "contradicts"),
        ({"trade_off": {"chosen": "a", "between": ("other", "size")}}, "agrees"),
        ({"trade_off": {"chosen": "a", "between": ("other", "shrinking")}}, "cannot_be_told"),
        ({}, "cannot_be_told"),
    ],
)
def test_a_verdict_follows_from_the_figures(book: ClaimBook, fields: dict[str, Any], word: str) -> None:
    tables = [
        Claim(name=name, source=("D",), published=dict(zip("abc", values, strict=True)))
        for name, values in {"other": (2.3, 3.1, 3.14), "size": (1.0, 2.0, 3.0), "shrinking": (3.0, 2.0, 1.0)}.items()
    ]
    claim = Claim.model_validate({"name": "made", "source": ["D"], "published": {"lora": 0.76}} | fields)
    made = book.model_copy(update={"claims": (*tables, claim)})
    assert judge_by_source(claim, made, read_wording()).word == word
