"""A trial from its first step to its end: what it reports and leaves behind, interrupted, pruned, diverged, or out of memory."""

import gc
import hashlib
import json
import logging
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import trainables.jobs.runner
import trainables.jobs.trial
import trainables.training.engine
from records.metrics import METRICS, definition_of
from records.results import Outcome, Result, load_result
from tests.support.tiny import FULL, LORA, RUNGS, STEP, STEPS, Referee, make_config, make_trial, same_weights, write_data, write_model
from trainables.corpora.tokens.folder import TRAIN_FILES
from trainables.jobs.measurement import measure_base, open_test
from trainables.jobs.runner import run_trial
from trainables.methods.lora import Lora
from trainables.training.engine import Engine


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_model(tmp_path / "model")
    write_data(tmp_path / "data")
    return tmp_path


def test_a_whole_trial_reports_each_rung_and_leaves_result_weights_and_documents(root: Path) -> None:
    base = measure_base(make_config(root, folder="base"))
    config = make_trial(root, "trial", data={"base_result_folder": str(root / "base")})
    referee = Referee()
    result = run_trial(config, referee)
    assert (result.outcome, result.reason, result.tokens) == (Outcome.COMPLETED, "", STEPS * STEP)
    assert [report.tokens for report in referee.reports] == [*RUNGS, STEPS * STEP]
    assert tuple(referee.reports) == result.rungs
    assert load_result(Path(config.folder)) == result
    assert result.metrics["eval/nats_per_token"] < base.metrics["eval/nats_per_token"]
    assert result.metrics["retention/english"] == pytest.approx(
        base.metrics["retained/english/bits_per_byte"] / result.metrics["retained/english/bits_per_byte"]
    )
    assert [point.tokens for point in result.curve] == [STEP * step for step in range(1, STEPS + 1)]
    assert result.facts["built.method.rank"] == "4"
    assert result.facts["built.method.scale"] == "2.0"
    assert result.facts["built.optimizer.learning_rate"] == "0.01"
    assert result.facts["attention"] == base.facts["attention"] == "sdpa; documents that share a block do not see one another"
    assert json.loads((root / "trial" / "config.json").read_text())["uid"] == config.uid
    assert (root / "trial" / "documents.parquet").exists()
    assert not list((root / "trial" / "checkpoints").rglob("worker-*")), "optimizer states are dropped"
    for name in {**result.metrics, **base.metrics, **result.curve[-1].system}:
        definition_of(name)
    assert_the_table_says_what_is_known_when(result, base)


def assert_the_table_says_what_is_known_when(result: Result, base: Result) -> None:
    """Compare what rungs and base hold with what records.metrics says of it: a study's objective is checked by that table alone."""
    assert {name for name in base.metrics if definition_of(name).stage != "evaluation"} == {"efficiency/total_parameters"}
    for rung in result.rungs:
        assert all(definition_of(name).judges for name in rung.metrics)
        # A curve tells of convergence only once its loss has fallen.
        at_each = [metric for metric in METRICS if metric.judges and "{" not in metric.name and not metric.needs and not metric.points]
        if not torch.cuda.is_available():  # there the second step is followed; a GPU keeps its account from the first
            expected = {metric.name for metric in at_each if metric.steps <= rung.tokens // STEP}
            assert expected == {metric.name for metric in at_each if metric.name in rung.metrics}


def test_lora_and_full_trials_say_that_they_train_on_the_same_tokens(root: Path) -> None:
    one_step = {"budget": {"rungs": (), "tokens": STEP}}
    told = {run_trial(make_trial(root, method["name"], method, **one_step), Referee()).facts["train_digest"] for method in (LORA, FULL)}
    blocks = [np.load(root / "data" / name) for name in TRAIN_FILES]
    assert told == {hashlib.sha256(b"".join(block.tobytes() for block in blocks)).hexdigest()}
    blocks[1][0, 0] += 1
    np.save(root / "data" / TRAIN_FILES[1], blocks[1])
    assert run_trial(make_trial(root, "changed", **one_step), Referee()).facts["train_digest"] not in told


def test_the_test_split_is_opened_once(root: Path) -> None:
    config = make_trial(root, "trial")
    run_trial(config, Referee())
    opened = open_test(config)
    assert opened.metrics["test/perplexity"] == pytest.approx(math.exp(opened.metrics["test/nats_per_token"]))
    assert opened.metrics["test/perplexity"] != opened.metrics["eval/perplexity"]
    written = (root / "trial" / "result.json").stat().st_mtime_ns
    assert open_test(config) == opened
    assert (root / "trial" / "result.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(("method", "stage"), [(LORA, 0), (LORA, 3), (FULL, 0), (FULL, 2)])
def test_a_resumed_trial_equals_the_uninterrupted_one_bit_for_bit(root: Path, method: dict[str, Any], stage: int) -> None:
    whole, broken = (make_trial(root, name, method, engine={"zero_stage": stage}) for name in ("whole", "broken"))
    expected = run_trial(whole, Referee())
    with pytest.raises(KeyboardInterrupt):
        run_trial(broken, Referee(crash=2))
    again = Referee()
    resumed = run_trial(broken, again)
    assert [report.tokens for report in again.reports] == [RUNGS[1], STEPS * STEP], "the last report is made again"
    assert again.reports[0].metrics["eval/nats_per_token"] == expected.rungs[1].metrics["eval/nats_per_token"]
    assert [point.loss for point in resumed.curve] == [point.loss for point in expected.curve]
    assert same_weights(whole, broken)


@pytest.mark.parametrize("method", [LORA, FULL])
def test_a_trial_in_bf16_is_resumed_from_its_fp32_masters(root: Path, method: dict[str, Any]) -> None:
    whole, broken = (make_trial(root, name, method, model={"precision": "bf16"}) for name in ("whole", "broken"))
    expected = run_trial(whole, Referee())
    with pytest.raises(KeyboardInterrupt):
        run_trial(broken, Referee(crash=1))
    assert [point.loss for point in run_trial(broken, Referee()).curve] == [point.loss for point in expected.curve]
    assert same_weights(whole, broken)


def test_a_trial_is_resumed_between_rungs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = make_trial(root, "whole"), make_trial(root, "broken")
    run_trial(whole, Referee())
    monkeypatch.setattr(trainables.jobs.trial, "CHECKPOINT_SECONDS", 0.0)
    _fail_at(monkeypatch, 4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_trial(broken, Referee())
    again = Referee()
    run_trial(broken, again)
    assert [report.tokens for report in again.reports] == [*RUNGS, STEPS * STEP]
    assert same_weights(whole, broken)


def _fail_at(monkeypatch: pytest.MonkeyPatch, call: int, error: BaseException) -> None:
    """Let a training step fail once, at this call."""
    original, calls = Engine.train_step, iter(range(1, 10_000))

    def train_step(self: Engine, *args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise error
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Engine, "train_step", train_step)


def test_a_damaged_checkpoint_is_passed_over(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, broken = make_trial(root, "whole"), make_trial(root, "broken")
    run_trial(whole, Referee())
    with pytest.raises(KeyboardInterrupt):
        run_trial(broken, Referee(crash=2))
    newest = max((root / "broken" / "checkpoints").iterdir())
    file = newest / "worker-0.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    again = Referee()
    with caplog.at_level(logging.WARNING):
        run_trial(broken, again)
    assert f"{newest} is damaged" in caplog.text
    assert [report.tokens for report in again.reports] == [*RUNGS, STEPS * STEP], "from the checkpoint of the first rung"
    assert same_weights(whole, broken)


def test_resuming_under_another_zero_stage_is_refused_in_one_line(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_trial(make_trial(root, "trial"), Referee(crash=1))
    with pytest.raises(ValueError, match=r"engine.zero_stage 0, asked to resume with 1 and 2; allowed: the same") as refused:
        run_trial(make_trial(root, "trial", engine={"zero_stage": 2}), Referee())
    assert "\n" not in str(refused.value)


def test_a_pruned_trial_ends_at_its_rung(root: Path) -> None:
    result = run_trial(make_trial(root, "trial"), Referee(stop=2))
    assert (result.outcome, result.tokens) == (Outcome.PRUNED, RUNGS[1])
    assert [rung.tokens for rung in result.rungs] == list(RUNGS)
    assert not (root / "trial" / "weights").exists()


def test_a_trial_that_has_ended_reports_again_and_is_not_trained_again(root: Path) -> None:
    config = make_trial(root, "trial")
    result, again = run_trial(config, Referee()), Referee()
    assert run_trial(config, again) == result
    assert again.reports == [result.rungs[-1]]


@pytest.mark.parametrize(("method", "stage"), [(LORA, 0), (FULL, 1), (FULL, 2), (LORA, 3)])
def test_a_gradient_that_is_no_number_ends_the_trial_within_one_step(
    root: Path, monkeypatch: pytest.MonkeyPatch, method: dict[str, Any], stage: int
) -> None:
    class Poisoned(trainables.training.engine.NatsModule):
        steps = 0

        def forward(self, inputs_bt: Tensor, targets_bt: Tensor, positions_bt: Tensor) -> Tensor:
            nats = super().forward(inputs_bt, targets_bt, positions_bt)
            Poisoned.steps += 1
            return nats if Poisoned.steps < 9 else nats + (0 * nats).sqrt()  # the third step's loss is right, its gradient 0 / 0

    monkeypatch.setattr(trainables.training.engine, "NatsModule", Poisoned)
    result = run_trial(make_trial(root, "trial", method, engine={"zero_stage": stage}), Referee())
    assert (result.outcome, result.tokens) == (Outcome.DIVERGED, 2 * STEP)
    assert result.reason.startswith("step 3: loss ")
    assert load_result(root / "trial") == result


def test_a_loss_that_is_no_number_ends_the_trial_within_one_step(root: Path) -> None:
    from safetensors.torch import save_file

    weights = load_file(root / "model" / "model.safetensors")
    weights["model.norm.weight"][0] = 3e38  # its product with the head overflows
    save_file(weights, root / "model" / "model.safetensors", metadata={"format": "pt"})
    result = run_trial(make_trial(root, "trial"), Referee())
    assert (result.outcome, result.tokens) == (Outcome.DIVERGED, 0)
    assert "loss nan" in result.reason


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore lines"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_is_an_outcome_after_which_the_process_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    _fail_at(monkeypatch, 6, error)
    result = run_trial(make_trial(root, "small"), Referee())
    assert (result.outcome, result.tokens) == (Outcome.OUT_OF_MEMORY, 5 * STEP)
    assert result.reason.startswith(str(error).splitlines()[0])
    assert "\n" not in result.reason
    assert load_result(root / "small") == result
    assert run_trial(make_trial(root, "next"), Referee()).outcome is Outcome.COMPLETED


def test_other_errors_are_not_swallowed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_at(monkeypatch, 3, RuntimeError("a shape is wrong"))
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        run_trial(make_trial(root, "trial"), Referee())
    assert load_result(root / "trial") is None


def test_trials_in_one_process_do_not_touch_one_another(root: Path) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    first = run_trial(make_trial(root, "first"), Referee())
    run_trial(make_trial(root, "between", FULL, seed=5, engine={"zero_stage": 3}), Referee())
    second = run_trial(make_trial(root, "second"), Referee())
    assert torch.equal(torch.get_rng_state(), before)
    assert [point.loss for point in first.curve] == [point.loss for point in second.curve]


def test_another_seed_gives_another_trial(root: Path) -> None:
    one, other = (run_trial(make_trial(root, f"seed-{seed}", seed=seed), Referee()) for seed in (1, 2))
    assert one.curve[0].loss != other.curve[0].loss


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_an_ended_trial_leaves_no_model_in_memory(root: Path, monkeypatch: pytest.MonkeyPatch, stage: int) -> None:
    built: list[weakref.ref[Any]] = []
    original: Callable[..., Any] = trainables.jobs.runner.build_model

    def build(*args: Any) -> Any:
        model = original(*args)
        built.append(weakref.ref(model))
        return model

    monkeypatch.setattr(trainables.jobs.runner, "build_model", build)
    result = run_trial(make_trial(root, "trial", FULL, engine={"zero_stage": stage}), Referee())
    gc.collect()
    assert isinstance(result, Result)
    assert built[0]() is None


def test_own_metrics_are_functions_of_model_and_data(root: Path) -> None:
    result = run_trial(
        make_trial(root, "trial", own_metrics={"own/embedding_norm": "tests.trainables.jobs.test_runner:embedding_norm"}), Referee()
    )
    assert result.metrics["own/embedding_norm"] > 0


def embedding_norm(model: Any, data_folder: Path) -> float:
    assert (data_folder / "card.json").exists()
    assert not model.training
    return float(model.get_input_embeddings().weight.norm())


def test_a_built_rank_that_is_not_the_one_asked_for_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, wrong = Lora.prepare, Lora(rank=3, alpha=6.0)
    config = make_trial(root, "trial")
    monkeypatch.setattr(Lora, "prepare", lambda self, model: prepare(wrong, model))
    with pytest.raises(AssertionError, match="trainable parameters by formula"):
        run_trial(config, Referee())
