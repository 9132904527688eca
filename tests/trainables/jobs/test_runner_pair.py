"""One trial on two workers: the same numbers as on one, the same end on both."""

import os
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, distributed
from torch.multiprocessing.spawn import start_processes

import trainables.jobs.runner
import trainables.training.engine
from records.results import Outcome, Result, RungReport, load_result
from tests.support.tiny import FULL, RUNGS, STEP, STEPS, Referee, make_trial, same_weights, write_data, write_model
from trainables.config import TrialConfig
from trainables.jobs.measurement import measure_base, open_test
from trainables.jobs.runner import run_trial

PLAIN = {"name": "lora", "rank": 4, "alpha": 8.0}  # dropout draws on each worker: without it the numbers must be the same


def _trial(root: Path, folder: str, stage: int, method: dict[str, Any], workers: int) -> TrialConfig:
    return make_trial(root, folder, method, engine={"zero_stage": stage, "workers": workers})


def _work(rank: int, root: Path) -> None:
    os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": "2"}
    trainables.training.engine.PERSISTENT_PARAMETERS = 0
    distributed.init_process_group("gloo", init_method=f"file://{root}/meeting", rank=rank, world_size=2)
    measure_base(_trial(root, "base-2", 0, PLAIN, 2))
    pair = _trial(root, "pair", 2, PLAIN, 2)
    run_trial(pair, Referee())
    open_test(pair)
    run_trial(_trial(root, "whole", 3, FULL, 2), Referee())
    broken = _trial(root, "broken", 3, FULL, 2)
    ask, asked = trainables.jobs.runner.broadcast_flag, iter(range(1, 100))

    def crash_at_the_second_report(flag: bool) -> bool:
        if next(asked) == 2:
            raise KeyboardInterrupt
        return ask(flag)

    trainables.jobs.runner.broadcast_flag = crash_at_the_second_report
    with pytest.raises(KeyboardInterrupt):
        run_trial(broken, Referee())
    trainables.jobs.runner.broadcast_flag = ask
    run_trial(broken, Referee())
    run_trial(_trial(root, "pruned", 1, PLAIN, 2), _Only(rank))
    if rank == 1:
        trainables.training.engine.NatsModule = _Poisoned
    diverged = run_trial(_trial(root, "diverged", 0, PLAIN, 2), Referee())
    (root / f"outcome-{rank}").write_text(diverged.outcome)
    distributed.destroy_process_group()


class _Only(Referee):
    """Says no at once, and must never be asked but on rank 0."""

    def __init__(self, rank: int) -> None:
        super().__init__(stop=1)
        self._rank = rank

    def __call__(self, report: RungReport) -> bool:
        assert self._rank == 0
        return super().__call__(report)


class _Poisoned(trainables.training.engine.NatsModule):
    """The loss of this worker is right, its gradient is 0 / 0."""

    def forward(self, inputs_bt: Tensor, targets_bt: Tensor, positions_bt: Tensor) -> Tensor:
        nats = super().forward(inputs_bt, targets_bt, positions_bt)
        return nats + (0 * nats).sqrt()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pair")
    write_model(root / "model")
    write_data(root / "data")
    start_processes(_work, args=(root,), nprocs=2, start_method="spawn")
    return root


def _result(root: Path, folder: str) -> Result:
    result = load_result(root / folder)
    assert result is not None
    return result


def test_two_workers_measure_what_one_measures(root: Path) -> None:
    one = measure_base(_trial(root, "base-1", 0, PLAIN, 1))
    assert _result(root, "base-2").metrics == pytest.approx(one.metrics, rel=1e-6)


def test_two_workers_train_what_one_trains(root: Path) -> None:
    alone = _trial(root, "alone", 0, PLAIN, 1)
    run_trial(alone, Referee())
    one, two = open_test(alone), _result(root, "pair")
    assert [point.loss for point in two.curve] == pytest.approx([point.loss for point in one.curve], rel=1e-5)
    assert two.tokens == one.tokens == STEPS * STEP
    for name in ("eval/perplexity", "test/perplexity", "retained/english/bits_per_byte"):
        assert two.metrics[name] == pytest.approx(one.metrics[name], rel=1e-5)


def test_a_trial_of_two_workers_is_resumed_bit_for_bit(root: Path) -> None:
    assert same_weights(_trial(root, "whole", 3, FULL, 2), _trial(root, "broken", 3, FULL, 2))


def test_both_workers_end_at_the_rung_when_rank_0_is_told_to(root: Path) -> None:
    pruned = _result(root, "pruned")
    assert (pruned.outcome, pruned.tokens) == (Outcome.PRUNED, RUNGS[0])


def test_a_gradient_that_is_no_number_on_one_worker_ends_both(root: Path) -> None:
    assert [(root / f"outcome-{rank}").read_text() for rank in range(2)] == ["diverged", "diverged"]
    assert _result(root, "diverged").tokens == 0
