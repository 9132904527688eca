"""Trials with the true worker, on real Ray: the two ways to start one agree, a process serves again, NaN is diverged."""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.tune.utils.util import Tee
from safetensors.torch import load_file, save_file

from records.obstacles import Obstacle
from records.results import Outcome, Result, RungReport, hold_run, load_result
from tests.support.tiny import FULL, LORA, make_config, write_data, write_model
from trainables.config import TrialConfig
from trainables.process import Share, ask_actor, conduct, make_torch_trainer, measure, run_jobs, stand_in_for_streams, train_replicate

ONE = Share(workers=1, cpus=1, gpus=0, retries=0)
REFEREE = "patient-referee"

# What mpirun, srun and torchrun would leave to a Ray node that they started: the third of four processes on two machines.
OTHER_LAUNCHERS = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "PMI_RANK": "3",
    "PMI_SIZE": "4",
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "4",
    "SLURM_LOCALID": "1",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "192.0.2.1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "another",
}


@ray.remote(num_cpus=0)
class PatientReferee:
    """Lets every trial go on and remembers what it was told."""

    def __init__(self) -> None:
        self.ended: dict[str, str] = {}

    def report(self, uid: str, report: RungReport) -> bool:
        return True

    def finish(self, uid: str, result: Result) -> Outcome:
        self.ended[uid] = result.reason
        return result.outcome

    def said(self) -> dict[str, str]:
        return self.ended


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("trials")
    write_model(folder / "model")
    write_data(folder / "data")
    inherited = {"env_vars": OTHER_LAUNCHERS}  # so every test here runs inside a foreign job's environment
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False, runtime_env=inherited)
    actor: Any = PatientReferee
    referee = actor.options(name=REFEREE).remote()
    yield folder
    del referee
    ray.shutdown()


def conduct_all(configs: list[TrialConfig]) -> list[Outcome]:
    """Run trials one after another in one process of Ray, as a reused Tune process does."""

    def conduct_each(flats: list[dict[str, Any]]) -> list[Outcome]:
        return [conduct(flat, REFEREE, ONE) for flat in flats]

    task: Any = ray.remote(num_cpus=1)(conduct_each)
    return ray.get(task.remote([config.flatten() for config in configs]))


def losses(config: TrialConfig) -> list[float]:
    result = load_result(Path(config.folder))
    assert result is not None
    assert result.outcome == Outcome.COMPLETED
    return [point.loss for point in result.curve]


@pytest.mark.parametrize("method", [pytest.param(LORA, id="lora"), pytest.param(FULL, id="full", marks=pytest.mark.proof)])
def test_local_mode_torch_trainer_and_a_reused_process_give_the_same_losses(root: Path, method: dict[str, Any]) -> None:
    name = str(method["name"])
    first, again, other = (make_config(root, method=method, folder=f"{name}-{which}", uid=f"tiny/{name}/{which}") for which in range(3))
    assert conduct_all([first, again]) == [Outcome.COMPLETED, Outcome.COMPLETED]
    task: Any = ray.remote(num_cpus=0)(lambda: make_torch_trainer([("trial", other.flatten())], ONE, REFEREE).fit() and None)
    ray.get(task.remote())
    assert len(losses(first)) == 20
    assert losses(first) == losses(again) == losses(other)


def test_a_loss_that_is_no_number_ends_as_diverged_within_one_step(root: Path, tmp_path: Path) -> None:
    broken = write_model(tmp_path / "model")
    tensors = load_file(broken / "model.safetensors")
    tensors["model.norm.weight"][0] = 3e38  # its product with the head overflows
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    config = make_config(root, folder="nan", uid="tiny/nan/0", model={"folder": str(broken)})
    assert conduct_all([config]) == [Outcome.DIVERGED]
    result = load_result(Path(config.folder))
    assert result is not None
    assert result.tokens <= 8 * 16
    assert result.reason.startswith("step 1: loss nan")


def test_an_error_of_the_trial_is_told_as_failed_in_one_line(root: Path) -> None:
    config = make_config(root, folder="broken", uid="tiny/broken/0", own_metrics={"own/odd": "math:nothing_of_that_name"})
    assert conduct_all([config]) == [Outcome.FAILED]
    told: dict[str, str] = ask_actor(REFEREE, "said")
    assert "\n" not in told[config.uid]
    assert "nothing_of_that_name" in told[config.uid]
    assert load_result(Path(config.folder)) is None, "a worker whose referee died must not write that its trial failed"


def test_what_is_no_trials_fault_leaves_it_unfinished(root: Path, tmp_path: Path) -> None:
    gone = make_config(root, folder="gone", uid="tiny/gone/0", model={"folder": str(tmp_path / "nowhere")})
    with pytest.raises(Obstacle, match=f"{tmp_path / 'nowhere'}: No such file or directory; put it back, then give the same command again"):
        conduct_all([gone])
    full = make_config(root, folder="full", uid="tiny/full/0")
    lacking: Any = ray.remote(num_cpus=1)(train_without_room)
    with pytest.raises(
        Obstacle, match=r"full/checkpoints: No space left on device \([0-9.]+ MiB needed, 0\.001 MiB free\); make room there"
    ):
        ray.get(lacking.remote(full.flatten()))
    assert not {gone.uid, full.uid} & set(ask_actor(REFEREE, "said"))
    assert conduct_all([full]) == [Outcome.COMPLETED]


def train_without_room(flat: dict[str, Any]) -> None:
    """Train a replicate on a disk that has room for small files alone."""
    import shutil

    usage = shutil.disk_usage
    shutil.disk_usage = lambda path: usage(path)._replace(free=1000)
    try:
        train_replicate(flat, ONE)
    finally:
        shutil.disk_usage = usage


def test_base_and_test_run_with_a_trials_resources(root: Path) -> None:
    base = make_config(root, method=FULL, folder="base", uid="tiny/base")
    flat = base.flatten()
    task: Any = ray.remote(num_cpus=1)(lambda: [run_jobs([(job, flat)], ONE)[0].metrics for job in ("base", "test")])
    measured, opened = ray.get(task.remote())
    assert measured["retention/english"] == 1.0
    assert not any(name.startswith("test/") for name in measured)
    assert opened["test/perplexity"] > 1


def test_a_share_counts_what_fits() -> None:
    assert ONE.fits(cpus=4, gpus=0) == 4
    assert Share(workers=2, cpus=1, gpus=0, retries=0).fits(cpus=4, gpus=0) == 1  # the trial's own process takes a little
    assert Share(workers=1, cpus=1, gpus=0.5, retries=0).fits(cpus=16, gpus=1) == 2
    assert Share(workers=2, cpus=4, gpus=1, retries=0).fits(cpus=64, gpus=8) == 4


def test_two_processes_never_work_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("records.results.PATIENCE", 0.1)
    config = make_config(tmp_path)
    with hold_run(Path(config.folder)):
        with pytest.raises(TimeoutError, match="another process still holds it"):
            conduct(config.flatten(), REFEREE, ONE)
        with pytest.raises(TimeoutError, match="another process still holds it"):
            measure([("base", config.model_dump(mode="json"))], ONE)


def test_what_tune_copies_to_a_log_is_a_whole_stream(capsys: pytest.CaptureFixture[str]) -> None:
    copy = io.StringIO()
    tee: Any = Tee(sys.stdout, copy)
    with contextlib.redirect_stdout(tee), stand_in_for_streams():
        assert not sys.stdout.isatty()
        assert sys.stdout.writable()
        sys.stdout.write("a line\n")
    assert capsys.readouterr().out == copy.getvalue() == "a line\n"
