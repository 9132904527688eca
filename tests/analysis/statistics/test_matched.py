"""What is retained at equal learning: two methods on one curve differ in how far they went along it, and in nothing else."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.findings import Findings
from analysis.guidance.card import tell_condition
from analysis.statistics.courses import Course, Documents, match
from analysis.statistics.matched import MatchedQuality, match_finalists
from analysis.text.wording import read_wording
from records.folders import DOCUMENTS_FILE, RUNGS_FILE
from tests.support.made_runs import MadeRuns, make_run, make_study

DOCUMENTS, SEEDS, TOKENS = 40, 5, 100.0
LORA, FULL = (4.4, 4.2, 4.0), (4.2, 3.8, 3.5)  # nats per token at the rungs: full fine-tuning learnt far more
ENGLISH = 1.0  # nats per byte of the base


def keep(learnt: float, worse: float) -> float:
    """Return the nats per byte of the retained set that go with so much learning."""
    return ENGLISH + 0.2 * (5.0 - learnt) + worse


def make_rungs(levels: Sequence[float], worse: float, seed: int, side: int) -> pd.DataFrame:
    """Return what a run keeps: documents hard and easy alike for all, each run faster or slower along the curve, and a little off it."""
    hard, own = np.random.default_rng(0).normal(0, 0.3, DOCUMENTS), np.random.default_rng([seed, side])
    along, off = own.normal(0, 0.02), own.normal(0, 0.005)
    rows: list[pd.DataFrame] = []
    for number, level in enumerate(levels):
        true = level + along
        for name, mean, noise in (("japanese", true, 0.02), ("english", keep(true, worse) + off, 0.01)):
            nats = TOKENS * (mean + hard + own.normal(0, noise, DOCUMENTS))
            columns = {"rung": 1000 * 2**number, "set": name, "split": "validation", "document": [f"{name}{n}" for n in range(DOCUMENTS)]}
            sources = [f"{name}{n // 2}" for n in range(DOCUMENTS)]
            rows.append(pd.DataFrame(columns | {"source": sources, "nats": nats, "tokens": TOKENS, "bytes": TOKENS}))
    return pd.concat(rows, ignore_index=True)


def make_finalists(worse: float = 0.0, lora: Sequence[float] = LORA, full: Sequence[float] = FULL, seeds: int = SEEDS) -> MadeRuns:
    """Return a study of which the two finalists were trained again and kept their rungs; LoRA lies `worse` above the common curve."""
    roles = {"japanese": "adapt", "english": "retain"}
    tables = {("toy/base", DOCUMENTS_FILE): make_rungs([5.0], 0.0, 0, 0)}
    curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
    trials, replicates = [], []
    for side, (arm, levels, apart) in enumerate((("lora", lora, worse), ("sft", full, 0.0))):
        metrics = {"eval/perplexity": math.exp(levels[-1]), "retention/english": ENGLISH / keep(levels[-1], apart)}
        trials.append(make_run(f"toy/{arm}/0", metrics | {"efficiency/trainable_parameters": 10.0**side}))
        for seed in range(seeds):
            run = make_run(f"toy/{arm}/0/seed-{seed}", metrics, trial=f"toy/{arm}/0", seed_index=str(seed))
            tables[run.uid, RUNGS_FILE] = make_rungs(levels, apart, seed, side)
            curves[run.uid, "divergence/english"] = [(1000 * 2**rung, keep(level, apart) - 1) for rung, level in enumerate(levels)]
            replicates.append(replace(run, roles=roles))
    return replace(make_study(trials, tuple(replicates)), tables=tables, curves=curves)


def judge(study: MadeRuns) -> MatchedQuality:
    findings = Findings(study)
    assert findings.sides is not None
    (matched,) = match_finalists(study, *findings.sides)
    return matched


def tell(study: MadeRuns) -> str:
    (condition,) = [each for each in Findings(study).conditions if each.name == "retention"]
    return tell_condition(condition, read_wording())


def test_two_arms_on_one_curve_do_not_differ_at_equal_learning() -> None:
    study = make_finalists()
    matched = judge(study)
    assert (matched.reason, matched.better) == ("chance", None)
    assert matched.low < 0 < matched.high
    assert matched.learnt == pytest.approx(4.0, abs=0.05)  # LoRA's end, which full fine-tuning passed long before its own
    assert matched.retention == pytest.approx((1 / 1.2, 1 / 1.2), abs=0.01)
    assert [each.winner for each in Findings(study).conditions if each.name == "retention"] == [None]
    assert "no difference is shown at equal learning" in tell(study)


@pytest.mark.parametrize(("worse", "better"), [(0.05, "full"), (-0.05, "lora")])
def test_a_method_off_the_curve_is_told_apart_however_far_it_went(worse: float, better: str) -> None:
    study = make_finalists(worse)
    matched = judge(study)
    assert matched.better == better
    assert matched.mean == pytest.approx(worse, abs=0.02)
    assert matched.diverged_less == better
    assert [each.winner for each in Findings(study).conditions if each.name == "retention"] == [better]


def test_what_cannot_be_matched_says_why() -> None:
    assert judge(make_finalists(full=(3.6, 3.5, 3.4))).reason == "no_overlap"
    assert "none in common" in tell(make_finalists(full=(3.6, 3.5, 3.4)))
    assert judge(make_finalists(full=(4.2, 3.5))).reason == "few_rungs"
    assert judge(make_finalists(seeds=0)).reason == "one_seed"
    assert judge(make_finalists(seeds=1)).reason == "one_seed"
    earlier = replace(make_finalists(), tables={})  # by a version that kept no rungs
    assert judge(earlier).reason == "not_kept"
    assert "kept no documents" in tell(earlier)


def test_sources_are_what_is_drawn() -> None:
    """With all documents of a kind from one source nothing is known of chance between sources."""
    study = make_finalists(0.05)
    whole = {key: table.assign(source=table["set"] + "book") for key, table in study.tables.items()}
    assert judge(replace(study, tables=whole)).reason == "doubtful"


def test_between_rungs_a_straight_course_is_followed_exactly_and_a_bent_one_widens_the_interval() -> None:
    tokens = np.full(DOCUMENTS, 1.0)

    def course(levels: Sequence[float], power: float) -> Course:
        learnt = np.array(levels)[:, None, None] * np.ones((1, DOCUMENTS, SEEDS))
        return Course(learnt, (5 - learnt) ** power)

    def width(power: float) -> float:
        found = match(course((4.4, 4.2, 4.0), power), course((4.1, 3.5, 3.0, 2.8), power), Documents(tokens, tokens))
        assert found.learnt == pytest.approx(np.full(SEEDS, 4.0))
        assert found.low <= 1e-12
        assert found.high >= -1e-12
        return float(found.high - found.low)

    assert width(1.0) == pytest.approx(0.0, abs=1e-9)
    assert width(2.0) > 0.05
    assert width(3.0) > width(2.0)
