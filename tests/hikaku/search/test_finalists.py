"""Finalists: their replicates' names, which runs judge an arm, and adapters applied weaker and stronger."""

import time
from pathlib import Path
from typing import Any

import pytest

from hikaku.search.finalists import choose_judged, choose_opened, has_ended, replicate_uids, split_replicate
from records.metrics import definition_of
from records.results import Outcome, Result, load_result, save_result, trial_folder
from tests.support.tiny import FULL, LORA, Referee, make_trial, write_data, write_model
from trainables.evaluation.nats import evaluate
from trainables.jobs.measurement import SCALES, measure_scales
from trainables.jobs.runner import run_trial
from trainables.methods.lora import Lora
from trainables.models.model import build_model

BEST = {"lora": "s/lora/3", "sft": "s/sft/0"}


def end(folder: Path, uid: str, outcome: Outcome) -> None:
    save_result(trial_folder(folder, uid), Result(uid=uid, outcome=outcome, tokens=1, metrics={}, started=time.time(), ended=time.time()))


def test_a_replicates_uid_tells_its_finalist_and_seed() -> None:
    uids = replicate_uids(["s/lora/3", "s/sft/10"], 2)
    assert uids == ["s/lora/3/seed-0", "s/lora/3/seed-1", "s/sft/10/seed-0", "s/sft/10/seed-1"]
    assert [split_replicate(uid) for uid in uids] == [("s/lora/3", 0), ("s/lora/3", 1), ("s/sft/10", 0), ("s/sft/10", 1)]


def test_completed_replicates_judge_in_place_of_the_best(tmp_path: Path) -> None:
    replicates = replicate_uids(["s/lora/3", "s/lora/33", "s/sft/0"], 2)
    for uid in replicates:
        end(tmp_path, uid, Outcome.DIVERGED if uid == "s/lora/3/seed-1" else Outcome.COMPLETED)
    assert has_ended(tmp_path, "s/lora/3/seed-1")
    assert not has_ended(tmp_path, "s/lora/3/seed-2")
    opened = choose_opened(tmp_path, BEST, replicates)
    assert opened == [uid for uid in replicates if uid != "s/lora/3/seed-1"]
    assert choose_judged(BEST, opened) == {"lora": ["s/lora/3/seed-0"], "sft": ["s/sft/0/seed-0", "s/sft/0/seed-1"]}


def test_without_finalists_the_best_judge(tmp_path: Path) -> None:
    assert choose_opened(tmp_path, BEST, []) == ["s/lora/3", "s/sft/0"]
    assert choose_judged(BEST, ["s/base", "s/lora/3", "s/sft/0"]) == {"lora": ["s/lora/3"], "sft": ["s/sft/0"]}


def test_an_arm_whose_replicates_all_failed_is_not_judged(tmp_path: Path) -> None:
    replicates = replicate_uids(list(BEST.values()), 1)
    end(tmp_path, replicates[0], Outcome.FAILED)
    end(tmp_path, replicates[1], Outcome.COMPLETED)
    assert choose_judged(BEST, choose_opened(tmp_path, BEST, replicates)) == {"sft": ["s/sft/0/seed-0"]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finalists")
    write_model(root / "model")
    write_data(root / "data")
    return root


def test_a_trained_adapter_is_measured_at_several_scales_once(root: Path) -> None:
    config = make_trial(root, "lora", LORA)
    result = run_trial(config, Referee())
    measure_scales(config)
    measured = load_result(root / "lora")
    assert measured is not None
    own = {name: value for name, value in measured.metrics.items() if not name.startswith("scaled/")}
    assert own == result.metrics
    for scale in SCALES:
        for name in ("perplexity", "bits_per_character"):
            assert measured.metrics[f"scaled/{scale:g}/{name}"] > 0
    for name in measured.metrics:
        definition_of(name)
    measure_scales(config)
    assert load_result(root / "lora") == measured


def test_scales_lead_from_the_base_to_the_trial(root: Path) -> None:
    config = make_trial(root, "scaled", LORA)
    trained = run_trial(config, Referee()).metrics["eval/nats_per_token"]
    model: Any = build_model(config, root / "scaled" / "weights").eval()
    assert isinstance(config.method, Lora)
    nats: dict[float, float] = {}
    for scale in (0.0, 1.0):
        with config.method.scaled(model, scale):
            nats[scale] = evaluate(model, root / "data", "validation").metrics(None)["eval/nats_per_token"]
    assert nats[1.0] == pytest.approx(trained, rel=1e-6)
    with model.disable_adapter():
        base = evaluate(model, root / "data", "validation").metrics(None)["eval/nats_per_token"]
    assert nats[0.0] == pytest.approx(base, rel=1e-6)
    assert abs(trained - base) > 1e-3


def test_full_fine_tuning_has_no_scale(root: Path) -> None:
    config = make_trial(root, "full", FULL)
    result = run_trial(config, Referee())
    measure_scales(config)
    assert load_result(root / "full") == result
