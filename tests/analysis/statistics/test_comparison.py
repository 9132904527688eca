"""What finalists are compared by: each figure against its formula on curves whose answer is known."""

import math
from pathlib import Path

import numpy as np
import pytest

from analysis.statistics.comparison import FIGURES, figures_of, find_overfitting, gains_of, steadiness
from analysis.statistics.finalists import Finalist, find_finalists
from records.results import CurvePoint, Outcome, RungReport
from records.runs import StudyRuns, read_study_runs
from records.tracking import RunRecord, Tracker, create_store

LOSSES = {"lora": [5.0, 4.0, 3.6, 3.4, 3.2, 3.1, 3.0, 2.9], "full": [5.0, 3.5, 3.0, 2.6, 2.3, 2.1, 2.0, 1.8]}
RUNGS = {"lora": [4.0, 3.5, 3.2], "full": [3.6, 3.0, 3.3]}  # full fine-tuning overfits after its second rung
TEST = {"lora": [3.3, 3.1], "full": [3.1, 2.9]}  # nats per token by seed
BASE = 4.0


def trained(uid: str, method: str, nats: float, seed: int | None) -> RunRecord:
    arm = uid.split("/")[1]
    own = {} if seed is None else {"trial": uid.rpartition("/")[0], "seed_index": str(seed)}
    curve = [
        CurvePoint(tokens=8 * (n + 1), loss=loss, learning_rate=1e-3, gradient_norm=2.0 + n % 2, seconds=float(n), unix_time=3.0)
        for n, loss in enumerate(LOSSES[method])
    ]
    rungs = [RungReport(tokens=20 * (n + 1), metrics={"eval/nats_per_token": v}, unix_time=3.0) for n, v in enumerate(RUNGS[method])]
    metrics = {
        "eval/bits_per_character": 5.0,
        "eval/nats_per_token": RUNGS[method][-1],
        "test/nats_per_token": nats,
        "efficiency/trainable_parameters": {"lora": 10.0, "full": 1000.0}[method],
        "efficiency/optimizer_gib": {"lora": 0.5, "full": 8.0}[method],
        "efficiency/tokens_per_second": {"lora": 30.0, "full": 20.0}[method],
    }
    return RunRecord(
        uid=uid,
        kind="trial" if seed is None else "replicate",
        name=uid,
        tags={"arm": arm, "method": method} | own,
        outcome=Outcome.COMPLETED,
        tokens=64,
        rungs=tuple(rungs),
        curve=tuple(curve),
        metrics=metrics,
        started=2.0,
        ended=4.0,
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyRuns, dict[str, Finalist]]:
    folder: Path = tmp_path_factory.mktemp("comparison")
    uri = create_store(folder)
    tracker = Tracker(uri)
    tracker.write(RunRecord(uid="made", kind="study", name="made", outcome=Outcome.COMPLETED, started=1.0, ended=9.0))
    base = {"test/nats_per_token": BASE}
    tracker.write(RunRecord(uid="made/base", kind="base", name="base", outcome=Outcome.COMPLETED, metrics=base, started=1.0, ended=2.0))
    for arm, method in {"lora": "lora", "sft": "full"}.items():
        tracker.write(trained(f"made/{arm}/0", method, 9.9, None))
        for seed, nats in enumerate(TEST[method]):
            tracker.write(trained(f"made/{arm}/0/seed-{seed}", method, nats, seed))
    runs = read_study_runs("made", uri)
    return runs, find_finalists(runs)


def test_steadiness_is_the_variance_about_the_line_in_the_last_quarter() -> None:
    wave = [0.1, -0.1, -0.1, 0.1]  # sums to 0 and has no slope: the line stays where it is
    history = [(at, 9.0) for at in range(1, 13)] + [(13 + n, 3.0 - 0.5 * n + wave[n]) for n in range(4)]
    assert steadiness(history) == pytest.approx((sum(value**2 for value in wave) / 2, 3.0 - 0.5 * 1.5))
    assert steadiness(history[::2]) is None  # two points are too few


def test_a_straight_fall_is_steady_however_steep() -> None:
    found = steadiness([(at, 9.0 - 0.4 * at) for at in range(1, 21)])
    assert found is not None
    assert found[0] == pytest.approx(0.0, abs=1e-20)


def test_steadiness_equals_numpys_fit() -> None:
    random = np.random.default_rng(2)
    history = [(int(at), float(value)) for at, value in zip(range(1000, 41_000, 1000), random.normal(3, 0.1, 40), strict=True)]
    at, values = np.array(history[30:]).T
    residuals = values - np.polyval(np.polyfit(at, values, 1), at)
    assert steadiness(history) == pytest.approx((residuals @ residuals / 8, values.mean()))
    assert steadiness([*history, (41_000, math.nan)]) is None
    assert steadiness([]) is None


def test_overfitting_is_a_rise_of_validation_while_training_falls() -> None:
    falling = [(n, 5.0 - n / 10) for n in range(1, 31)]
    found = find_overfitting([(10, 4.0), (20, 3.5), (30, 3.6)], falling)
    assert found is not None
    assert (found.tokens, found.is_shown) == (20, True)
    assert found.rise == pytest.approx(3.6 / 3.5 - 1)
    within = find_overfitting([(10, 4.0), (20, 3.5), (30, 3.51)], falling)
    assert within is not None
    assert not within.is_shown
    diverging = find_overfitting([(10, 4.0), (20, 3.5), (30, 3.6)], [(n, n / 10) for n in range(1, 31)])
    assert diverging is not None
    assert not diverging.is_shown  # training rises too: that is not overfitting
    assert find_overfitting([(30, 3.5), (30, 3.5)], falling) is None
    assert find_overfitting([(10, 4.0), (20, 3.5)], []) is None


def test_figures_are_the_formulas_over_seeds(study: tuple[StudyRuns, dict[str, Finalist]]) -> None:
    figures = {figure.name: figure for figure in figures_of(*study)}
    assert list(figures) == list(FIGURES)
    assert figures["overfitting/share"].values == {"lora": 0.0, "full": 1.0}
    assert figures["overfitting/tokens"].values == {"lora": 60.0, "full": 40.0}
    assert figures["overfitting/rise"].values["full"] == pytest.approx(0.1)
    assert figures["degradation/nats"].values == pytest.approx({"lora": 3.2 - 3.2, "full": 3.0 - 3.3})
    assert figures["stability/loss_variance"].values == {"lora": None, "full": None}  # two points in the last quarter are too few


def test_gains_are_the_formulas_of_the_seeds_means(study: tuple[StudyRuns, dict[str, Finalist]]) -> None:
    runs, finalists = study
    gains = {gain.name: gain for gain in gains_of(runs, finalists["lora"], finalists["full"])}
    assert gains["retained/perplexity"].value == pytest.approx(math.exp(3.0 - 3.2))
    assert gains["retained/nats"].value == pytest.approx((4.0 - 3.2) / (4.0 - 3.0))
    assert (gains["gain/trainable_parameters"].challenger, gains["gain/trainable_parameters"].value) == (10.0, 100.0)
    assert gains["gain/optimizer"].value == 16.0
    assert gains["gain/speed"].value == 1.5
    assert (gains["gain/weights"].challenger, gains["gain/weights"].value) == (None, None)
