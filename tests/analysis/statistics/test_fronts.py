import csv
import itertools
import json
import math

import numpy as np
import pytest

from analysis.guidance.sentences import tell_blind_spot
from analysis.labels import label_point
from analysis.statistics.fronts import Point, collect_points, find_blind_spots, score_points, trace_front
from analysis.statistics.pareto import Direction, find_front, find_knee
from analysis.statistics.prices import price_search, price_trials
from analysis.text.wording import read_wording
from records.results import Outcome
from records.run_id import RunId
from records.runs import StudyRuns, read_study_runs
from records.tracking import RunRecord, Tracker, create_store
from tests.support.real_data import REAL, needs_real_data

WORDING = read_wording()

MEMORY, QUALITY, RETENTION = "efficiency/peak_memory_gib", "eval/perplexity", "retention/english"


def run(uid: str, outcome: Outcome, metrics: dict[str, float], **params: object) -> RunRecord:
    """Return a trial's or a replicate's record."""
    _, arm, number, *seed = uid.split("/")
    tags = {"arm": arm, "method": {"sft": "full"}.get(arm, arm)} | ({"trial": f"made/{arm}/{number}"} if seed else {})
    kind = "replicate" if seed else "trial"
    return RunRecord(
        uid=uid, kind=kind, name=uid, tags=tags, params=dict(params), outcome=outcome, tokens=100, metrics=metrics, started=1.0, ended=2.0
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> StudyRuns:
    folder = tmp_path_factory.mktemp("trade_off")
    uri = create_store(folder)
    tracker = Tracker(uri)
    space = {"method.rank": {"name": "CategoricalDistribution", "attributes": {"choices": [4, 8, 16, 32]}}}
    (folder / "lora.json").write_text(json.dumps(space))
    study = RunRecord(
        uid="made", kind="study", name="made", artifacts=(folder / "lora.json",), outcome=Outcome.COMPLETED, started=1.0, ended=9.0
    )
    base = RunRecord(uid="made/base", kind="base", name="base", outcome=Outcome.COMPLETED, metrics={QUALITY: 200.0}, started=1.0, ended=2.0)
    cost = {"efficiency/gpu_seconds": 1800.0, "efficiency/train_seconds": 900.0}
    small = {MEMORY: 8.0, QUALITY: 50.0, RETENTION: 0.9} | cost
    scaled = {"scaled/0.5/perplexity": 64.0, "scaled/0.5/bits_per_character": 4.0, "scaled/0.5/retention/english": 0.98}
    made = [
        run("made/lora/0", Outcome.COMPLETED, small | {"efficiency/energy_kwh": 0.2}, **{"method.rank": 8}),
        run("made/lora/1", Outcome.PRUNED, {MEMORY: 7.0, QUALITY: 90.0} | cost, **{"method.rank": 4}),
        run("made/lora/2", Outcome.COMPLETED, {MEMORY: 9.0, QUALITY: 60.0, RETENTION: 0.8} | cost, **{"method.rank": 32}),
        run("made/lora/3", Outcome.DIVERGED, {}, **{"method.rank": 4}),
        run("made/sft/0", Outcome.COMPLETED, {MEMORY: 22.0, QUALITY: 40.0, RETENTION: 0.7} | cost),
        run("made/lora/0/seed-0", Outcome.COMPLETED, {MEMORY: 8.0, QUALITY: 40.0, RETENTION: 0.8} | scaled),
        run(
            "made/lora/0/seed-1",
            Outcome.COMPLETED,
            {MEMORY: 8.0, QUALITY: 90.0, RETENTION: 0.84} | scaled | {"scaled/0.5/perplexity": 81.0},
        ),
        run("made/lora/0/seed-2", Outcome.DIVERGED, {QUALITY: 1e9}),
    ]
    for record in (study, base, *made):
        tracker.write(record)
    return read_study_runs("made", uri)


def test_points_are_completed_trials_means_over_seeds_and_other_scales(runs: StudyRuns) -> None:
    points = {label_point(point, WORDING): point for point in collect_points(runs)}
    assert list(points) == ["made/lora/0", "made/lora/0 at 0.5 of its scale", "made/lora/2", "made/sft/0"]
    first, half = points["made/lora/0"], points["made/lora/0 at 0.5 of its scale"]
    assert (first.seeds, half.seeds, points["made/lora/2"].seeds) == (2, 2, 1)
    assert first.values[QUALITY] == pytest.approx(60.0)  # geometric, of 40 and 90; the trial's own 50 was chosen
    assert first.values[RETENTION] == pytest.approx(0.82)
    assert half.values == pytest.approx({QUALITY: 72.0, "eval/bits_per_character": 4.0, RETENTION: 0.98, MEMORY: 8.0})


def test_a_front_over_two_metrics_in_their_directions(runs: StudyRuns) -> None:
    front = trace_front(collect_points(runs), [QUALITY, RETENTION])
    assert front is not None
    assert front.directions == ("minimize", "maximize")
    assert [label_point(point, WORDING) for point in front.best] == ["made/sft/0", "made/lora/0", "made/lora/0 at 0.5 of its scale"]
    assert front.hypervolume["all"] >= max(front.hypervolume["lora"], front.hypervolume["sft"]) > 0
    assert front.hypervolume["all"] < 1
    assert trace_front(collect_points(runs), ["eval/character_accuracy"]) is None
    with pytest.raises(ValueError, match="neither better high nor low"):
        trace_front(collect_points(runs), ["train/tokens"])
    with pytest.raises(KeyError):
        trace_front(collect_points(runs), ["eval/perplexities"])


def test_scores_follow_the_users_weights(runs: StudyRuns) -> None:
    points = collect_points(runs)
    quality = score_points(points, {QUALITY: 1.0, RETENTION: 0.0})
    assert str(quality[0].point.trial) == "made/sft/0"
    assert quality[0].score == 1.0
    both = {label_point(score.point, WORDING): score for score in score_points(points, {QUALITY: 1.0, RETENTION: 3.0})}
    half = both["made/lora/0 at 0.5 of its scale"]
    assert half.merits == pytest.approx({QUALITY: 0.0, RETENTION: 1.0})
    assert half.score == pytest.approx(0.75)
    for weights in ({}, {QUALITY: 0.0}, {QUALITY: 2.0, RETENTION: -1.0}):
        with pytest.raises(ValueError, match="none below 0"):
            score_points(points, weights)
    assert score_points(points, {"eval/character_accuracy": 1.0}) == ()


def test_what_the_front_cannot_see_is_told(runs: StudyRuns) -> None:
    spots = find_blind_spots(runs)
    assert [(spot.value, dict(spot.outcomes)) for spot in spots] == [(4, {"pruned": 1, "diverged": 1}), (16, {})]
    assert tell_blind_spot(spots[0], WORDING) == "lora: method.rank 4: 1 pruned, 1 diverged; the front cannot show what it would give"
    assert "never tried" in tell_blind_spot(spots[1], WORDING)


def test_prices_per_percent_of_perplexity(runs: StudyRuns) -> None:
    prices = {str(price.trial): price for price in price_trials(runs)}
    lora, sft = prices["made/lora/0"], prices["made/sft/0"]
    assert (lora.gpu_hours, lora.training_hours, lora.percent, lora.kwh) == (0.5, 0.25, 75.0, 0.2)
    assert lora.gpu_hours_per_percent == pytest.approx(0.5 / 75)
    assert lora.kwh_per_percent == pytest.approx(0.2 / 75)
    assert sft.kwh_per_percent is None
    whole, _ = price_search(runs)
    assert whole.trial is None
    assert (whole.arm, whole.runs, whole.gpu_hours, whole.tokens) == ("lora", 4, 1.5, 400)  # the pruned one is paid for too
    assert whole.percent == 75.0


@needs_real_data
def test_a_published_table_of_methods_gives_the_front_that_brute_force_gives() -> None:
    """PEFT's method comparison: 63 runs of Llama-3.2-3B; accuracy up, memory and forgetting down."""
    with (REAL / "hpo" / "peft_method_table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names: dict[str, Direction] = {"test_acc": "maximize", "max_mem": "minimize", "forgetting": "minimize"}
    values = np.array([[float(row[name]) if row[name] else math.nan for name in names] for row in rows])
    directions = tuple(names.values())
    beaten = {
        row
        for row, other in itertools.permutations(range(len(rows)), 2)
        if all(a >= b if way == "maximize" else a <= b for a, b, way in zip(values[other], values[row], directions, strict=True))
        and any(a != b for a, b in zip(values[other], values[row], strict=True))
    }
    whole = {row for row in range(len(rows)) if not np.isnan(values[row]).any()}
    front = {int(row) for row in np.flatnonzero(find_front(values, directions))}
    assert front == whole - beaten
    assert 3 <= len(front) < len(rows)
    knee = find_knee(values[:, :2], directions[:2])
    assert knee is not None
    assert find_front(values[:, :2], directions[:2])[knee]


def point(number: int, arm: str, perplexity: float, memory: float) -> Point:
    return Point(RunId.parse(f"made/{arm}/{number}"), arm, {QUALITY: perplexity, MEMORY: memory})


def test_one_run_that_went_wrong_blinds_no_front_and_no_score() -> None:
    sound = [point(0, "lora", 40.0, 5.0), point(1, "lora", 44.0, 4.0), point(0, "sft", 35.0, 9.0), point(1, "sft", 60.0, 8.0)]
    wrong = point(2, "sft", 1e9, 8.5)
    for base in ({}, {QUALITY: 170.0}):
        before, after = (trace_front(points, [MEMORY, QUALITY], base) for points in (sound, [*sound, wrong]))
        assert before is not None
        assert after is not None
        assert after.hypervolume["all"] == pytest.approx(before.hypervolume["all"], rel=0.25)
        assert after.hypervolume["all"] - after.hypervolume["lora"] > 0.005, "what one arm adds is still seen"
        assert after.reference[1] < 1000
    weights = {QUALITY: 1.0}
    scores = {str(score.point.trial): score.score for score in score_points([*sound, wrong], weights)}
    assert scores["made/sft/2"] == 0.0
    assert scores["made/lora/0"] - scores["made/lora/1"] > 0.02  # less than a millionth where the worst was 1e9


def test_distances_of_perplexity_are_those_of_nats() -> None:
    points = [point(n, "lora", math.exp(nats), memory) for n, (nats, memory) in enumerate([(3.0, 9.0), (4.0, 5.0), (6.0, 1.0)])]
    front = trace_front(points, [MEMORY, QUALITY], {QUALITY: math.exp(7.0)})
    assert front is not None
    assert front.knee is points[1]
    assert math.log(front.reference[1]) == pytest.approx(7.4)  # the base's nats, and a tenth of the range from the best beyond
