"""One trial on Ray: its workers are started, their reports reach the referee, its end is told.

A trial of one worker runs in Ray Train's local mode inside the process that Tune gave it; the process serves trial after trial, so that
imports and DeepSpeed's first start are paid once. A trial of several workers is a `TorchTrainer` of its own.
"""

import contextlib
import errno
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray
from ray import tune
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal import constants
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from records.obstacles import find_obstacle
from records.results import Outcome, Result, RungReport, claim_result, hold_run, load_result, save_result
from records.run_id import RunId
from trainables.config import TrialConfig

Job = Literal["trial", "replicate", "base", "test"]
Flat = dict[str, Any]  # a trial's configuration by dotted names, checked where it was made, and read again only by a worker
Jobs = Sequence[tuple[Job, Flat]]
DRIVER_CPUS = 0.01  # Tune refuses 0 for the process that only waits for a trial's workers

# Ray Train's helpers poll every two seconds by default, which is long beside a short trial.
ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

# What Open MPI, MPICH, Slurm or torchrun tell the processes that they start: DeepSpeed, torch and accelerate believe it, of whichever
# launcher it is. A study started inside such a job, or a Ray node started by one, inherits it, and is no part of that job.
LAUNCHERS = ("OMPI_", "PMI_", "PMIX_", "MPI_", "MV2_", "HYDRA_", "SLURM_", "TORCHELASTIC_")
RANKS = re.compile(r"((LOCAL|GROUP|ROLE|NODE|CROSS)_)?RANK|((LOCAL|GROUP|ROLE)_)?WORLD_SIZE|CROSS_SIZE|MASTER_(ADDR|PORT)")


@dataclass(frozen=True)
class Share:
    """What one trial takes of a cluster."""

    workers: int
    cpus: float  # per worker
    gpus: float  # per worker
    retries: int

    def of_trainable(self) -> dict[str, float]:
        """Return what Tune must reserve for a trial's own process, whose workers beyond one reserve for themselves."""
        return {"CPU": self.cpus, "GPU": self.gpus} if self.workers == 1 else {"CPU": DRIVER_CPUS}

    def of_task(self) -> dict[str, float]:
        """Return the same for a plain Ray task."""
        reserved = self.of_trainable()
        return {"num_cpus": reserved["CPU"], "num_gpus": reserved.get("GPU", 0)}

    def fits(self, cpus: float, gpus: float) -> int:
        """Return how many trials run at once on so many CPUs and GPUs."""
        per_trial = self.workers * self.cpus + (DRIVER_CPUS if self.workers > 1 else 0)
        by_gpu = gpus // (self.workers * self.gpus) if self.gpus else float("inf")
        return int(min(cpus // per_trial, by_gpu))


class TrialProcess(tune.Trainable):
    """A process that runs one trial after another, each in one step."""

    def setup(self, config: dict[str, Any], referee: str = "", share: Share | None = None) -> None:
        """Remember who judges and what the trial may take."""
        self._referee, self._share = referee, share

    def step(self) -> dict[str, Any]:
        """Run the trial to its end; where something stops the study that is not the trial's fault, leave it unfinished and say so."""
        assert self._share is not None
        flat = dict(self.config)
        try:
            with stand_in_for_streams():
                outcome = str(conduct(flat, self._referee, self._share))
        except Exception as error:
            obstacle = find_obstacle(error, Path(flat["folder"]))
            if obstacle is None:
                raise
            ask_actor(self._referee, "halt", line=str(obstacle))
            outcome = "unfinished"
        return {"done": True, "outcome": outcome}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial into this process."""
        self.config = new_config
        return True


class LogStream(io.TextIOBase):
    """A whole text stream over an object that can write and flush and no more, as Tune's `Tee` that copies a trial's output to its log."""

    encoding = "utf-8"

    def __init__(self, target: Any) -> None:
        self._target = target

    def writable(self) -> bool:
        """Return that it can be written to; everything else a stream is asked, whether it is a terminal for one, is answered with no."""
        return True

    def write(self, text: str, /) -> int:
        """Write a text, and return its length."""
        self._target.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what was written."""
        self._target.flush()


@contextlib.contextmanager
def stand_in_for_streams() -> Iterator[None]:
    """Within, standard output and error are whole text streams: libraries ask them whether they are a terminal."""
    with contextlib.redirect_stdout(LogStream(sys.stdout)), contextlib.redirect_stderr(LogStream(sys.stderr)):
        yield


def conduct(flat: Flat, referee: str, share: Share) -> Outcome:
    """Return how a trial was counted after running it to its end and telling the referee.

    An error of the trial's code ends it as failed. A process that dies is Tune's and Ray Train's to restart. Raises Obstacle where the
    error is not the trial's: it then stays unfinished.
    """
    # The configuration was checked where it was made, and the worker checks it again: here only its place and name matter.
    with hold_run(Path(flat["folder"])):
        # Only the referee writes a failure down: if it is what has died, the trial is not at fault and stays unfinished.
        result = _run_or_fail("trial", flat, share, referee)
        return Outcome(ask_actor(referee, "finish", uid=flat["uid"], result=result))


def train_replicate(flat: Flat, share: Share) -> Result:
    """Return the result of a finalist's replicate, which nothing ends early; a Ray task of the launcher's. Raises Obstacle as `conduct`."""
    folder = Path(flat["folder"])
    with hold_run(folder):
        result = _run_or_fail("replicate", flat, share, "")
        save_result(folder, result)
        return result


def _run_or_fail(job: Job, flat: Flat, share: Share, referee: str) -> Result:
    """Return the result of a run; of one whose code raised an error before it left any, a failed one.

    Raises Obstacle where the error says nothing of the run.
    """
    started = time.time()
    try:
        (result,) = run_jobs([(job, flat)], share, referee)
    except Exception as error:
        obstacle = find_obstacle(error, Path(flat["folder"]))
        if obstacle is not None:
            raise obstacle from error
        failed = {"uid": flat["uid"], "outcome": Outcome.FAILED, "reason": _one_line(error), "tokens": 0, "metrics": {}}
        owner = TrialConfig.unflatten(flat).owner
        left = claim_result(Path(flat["folder"]), owner)
        return left or Result(**failed, started=started, ended=time.time(), config=owner.config)
    return result


def drop_launchers(ranks: bool) -> dict[str, str]:
    """Take what other launchers left out of this process's environment, and return it.

    With `ranks` also a rank and the master's address, which in a worker of several Ray Train has set.
    """
    names = [name for name in os.environ if name.startswith(LAUNCHERS) or (ranks and RANKS.fullmatch(name))]
    return {name: os.environ.pop(name) for name in names}


def run_jobs(jobs: Jobs, share: Share, referee: str = "") -> list[Result]:
    """Return the results of a trial, of measuring the base, or of opening test splits, done one after another by Ray Train's workers."""
    make_trainer = make_local_trainer if share.workers == 1 else make_torch_trainer
    make_trainer(jobs, share, referee).fit()
    results = [load_result(Path(flat["folder"])) for _, flat in jobs]
    assert None not in results, "a worker returns only after writing its result"
    return [result for result in results if result is not None]


def make_local_trainer(jobs: Jobs, share: Share, referee: str) -> DataParallelTrainer:
    """Return the trainer of one worker in this process: Ray Train's local mode.

    Not TorchTrainer's, which destroys the process group at the end; without it DeepSpeed cannot start again in the same process.
    """
    drop_launchers(ranks=True)  # of the node that this process was started on
    scaling, run = ScalingConfig(num_workers=0), _run_config(jobs, share)  # 0 workers is the local mode
    return DataParallelTrainer(work, train_loop_config=_order(jobs, share, referee), scaling_config=scaling, run_config=run)


def make_torch_trainer(jobs: Jobs, share: Share, referee: str) -> TorchTrainer:
    """Return the trainer of workers in processes of their own."""
    _name_cluster()
    per_worker = {"CPU": share.cpus} | ({"GPU": share.gpus} if share.gpus else {})
    scaling = ScalingConfig(num_workers=share.workers, use_gpu=share.gpus > 0, resources_per_worker=per_worker)
    order, run = _order(jobs, share, referee), _run_config(jobs, share)
    return TorchTrainer(work, train_loop_config=order, scaling_config=scaling, run_config=run)


def _name_cluster() -> None:
    """Tell Ray Train's helpers which cluster they are in, by its address in the environment.

    One of them asks whether its controller is alive, of whichever cluster it finds on the machine. Where there are two it may ask
    the wrong one, and then removes the workers of a trial that is well.
    """
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    constants.ENV_VARS_TO_PROPAGATE.add("RAY_ADDRESS")


def _order(jobs: Jobs, share: Share, referee: str) -> dict[str, Any]:
    """Return what `work` is handed: plain values only."""
    return {"jobs": list(jobs), "referee": referee, "threads": max(1, int(share.cpus))}


def _run_config(jobs: Jobs, share: Share) -> RunConfig:
    """Return a name and a place that are the same whenever the jobs are taken up again."""
    job, first = jobs[0]
    name = f"{job}-{first['uid'].replace('/', '-')}"
    return RunConfig(name=name, storage_path=first["folder"], failure_config=FailureConfig(max_failures=share.retries))


def work(order: dict[str, Any]) -> None:
    """Do one worker's part of every job, in the process where Ray Train calls it."""
    import torch

    from trainables.jobs import measurement
    from trainables.jobs.runner import run_trial

    drop_launchers(ranks=False)  # a worker's own rank is Ray Train's
    os.environ["OMP_NUM_THREADS"] = str(order["threads"])
    torch.set_num_threads(order["threads"])
    for job, flat in order["jobs"]:
        config = TrialConfig.unflatten(flat)
        for place in (config.model.folder, config.data.folder):
            if not Path(place).is_dir():  # libraries tell of a missing model as if its name were wrong
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place)
        if job == "trial":
            run_trial(config, ask_referee(order["referee"], config.uid))
        elif job == "replicate":
            run_trial(config, lambda report: True)
            if RunId.parse(config.uid).kind == "replicate":  # else a trial whose files were lost
                measurement.measure_scales(config)
        elif job == "base":
            measurement.measure_base(config)
        else:
            measurement.open_test(config)


def ask_referee(referee: str, uid: str) -> Callable[[RungReport], bool]:
    """Return the `report` that a trial is handed: it asks the referee and waits for the answer."""
    return lambda report: ask_actor(referee, "report", uid=uid, report=report)


def ask_actor(name: str, method: str, *arguments: Any, **named: Any) -> Any:
    """Return what a named actor's method answers."""
    actor: Any = ray.get_actor(name)
    return ray.get(getattr(actor, method).remote(*arguments, **named))


def measure(jobs: Jobs, share: Share) -> list[Result]:
    """Return the results of jobs on runs that no one else writes meanwhile; a Ray task of the launcher's."""
    with contextlib.ExitStack() as held:
        for _, flat in jobs:  # all before the first begins: a run that another process holds stops the jobs before any is done
            held.enter_context(hold_run(Path(flat["folder"])))
        return run_jobs(jobs, share)


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else ""  # Ray's errors carry a whole traceback, whose last line names the error
    return f"{type(error).__name__}: {last}"[:500]
