"""Finalists: which runs judge an arm, and adapters applied weaker and stronger."""

import time
from pathlib import Path

import pytest

from hikaku.search.finalists import choose_judged, choose_opened, has_ended
from records.metrics import definition_of
from records.results import Outcome, Result, load_result, save_result
from records.run_id import RunId
from tests.support.tiny import FULL, LORA, Referee, make_trial, write_data, write_model
from trainables.evaluation.nats import evaluate
from trainables.jobs.measurement import SCALES, measure_scales
from trainables.jobs.runner import run_trial
from trainables.models.model import build_model

STUDY = RunId.of_study("s")
LORA_3, LORA_33, SFT_0 = STUDY.trial("lora", 3), STUDY.trial("lora", 33), STUDY.trial("sft", 0)
BEST = {"lora": LORA_3, "sft": SFT_0}


def end(folder: Path, run: RunId, outcome: Outcome) -> None:
    result = Result(uid=str(run), outcome=outcome, tokens=1, metrics={}, started=time.time(), ended=time.time())
    save_result(folder / run.folder, result)


def test_completed_replicates_judge_in_place_of_the_best(tmp_path: Path) -> None:
    replicates = [trial.replicate(seed) for trial in (LORA_3, LORA_33, SFT_0) for seed in range(2)]
    failed = LORA_3.replicate(1)
    for run in replicates:
        end(tmp_path, run, Outcome.DIVERGED if run == failed else Outcome.COMPLETED)
    assert has_ended(tmp_path, failed)
    assert not has_ended(tmp_path, LORA_3.replicate(2))
    opened = choose_opened(tmp_path, BEST, replicates)
    assert opened == [run for run in replicates if run != failed]
    assert choose_judged(BEST, opened) == {"lora": [LORA_3.replicate(0)], "sft": [SFT_0.replicate(0), SFT_0.replicate(1)]}


def test_without_finalists_the_best_judge(tmp_path: Path) -> None:
    assert choose_opened(tmp_path, BEST, []) == [LORA_3, SFT_0]
    assert choose_judged(BEST, [STUDY.base, LORA_3, SFT_0]) == {"lora": [LORA_3], "sft": [SFT_0]}


def test_an_arm_whose_replicates_all_failed_is_not_judged(tmp_path: Path) -> None:
    replicates = [trial.replicate(0) for trial in BEST.values()]
    end(tmp_path, replicates[0], Outcome.FAILED)
    end(tmp_path, replicates[1], Outcome.COMPLETED)
    assert choose_judged(BEST, choose_opened(tmp_path, BEST, replicates)) == {"sft": [SFT_0.replicate(0)]}


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
    model = build_model(config, root / "scaled" / "weights").eval()
    assert config.method.scaled is not None
    nats: dict[float, float] = {}
    for scale in (0.0, 1.0):
        with config.method.scaled(model.network, scale):
            nats[scale] = evaluate(model, root / "data", "validation").metrics(None)["eval/nats_per_token"]
    assert nats[1.0] == pytest.approx(trained, rel=1e-6)
    with model.network.disable_adapter():
        base = evaluate(model, root / "data", "validation").metrics(None)["eval/nats_per_token"]
    assert nats[0.0] == pytest.approx(base, rel=1e-6)
    assert abs(trained - base) > 1e-3


def test_full_fine_tuning_has_no_scale(root: Path) -> None:
    config = make_trial(root, "full", FULL)
    result = run_trial(config, Referee())
    measure_scales(config)
    assert load_result(root / "full") == result
