"""One worker of one trial: the loop that trains, measures and reports. It knows neither Ray nor MLflow.

A worker runs a trial handed to it and leaves the process as it found it, so that another trial can follow.
"""

import gc
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import nn

from records.files import write_atomically
from records.results import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    WEIGHTS_FOLDER,
    CurvePoint,
    Outcome,
    Result,
    RungReport,
    load_result,
    save_result,
)
from trainables.config import TrialConfig
from trainables.corpora.tokens.folder import load_card
from trainables.costs import predict_peak_gib
from trainables.evaluation.divergence import measure_divergence
from trainables.evaluation.documents import write_documents
from trainables.evaluation.nats import Evaluation, evaluate
from trainables.group import barrier, broadcast_flag, join_group
from trainables.jobs.facts import read_attention, read_built, read_machine
from trainables.jobs.measurement import call_own_metrics, read_base
from trainables.models.model import build_model, count_parameters
from trainables.randomness import derive_seed, own_random_state, random_state, restore_random_state
from trainables.training.checkpoint import Checkpoint, Checkpoints, Progress, replace_folder
from trainables.training.convergence import convergence_metrics
from trainables.training.data_order import DataOrder
from trainables.training.engine import Engine, Step
from trainables.training.machine_load import MachineLoad
from trainables.training.meters import WATCHED_STEP, MemoryMeter, SpeedMeter

CHECKPOINT_SECONDS = 300.0  # between two checkpoints where no rung comes sooner

Report = Callable[[RungReport], bool]


def run_trial(config: TrialConfig, report: Report) -> Result:
    """Train a trial to its end and return what happened; also written to `result.json` of its folder.

    `report` is called on rank 0 at every rung and answers whether to go on. An interrupted trial is taken up at its newest
    complete checkpoint, and its last report is made again. Raises ValueError where that checkpoint cannot be resumed.
    """
    ended = load_result(Path(config.folder))
    if ended is not None:
        if ended.rungs:
            _ask(report, ended.rungs[-1])
        return ended
    with own_random_state(derive_seed(config.seed, "initialisation")):
        trial = Trial(config, report)
        try:
            trial.build()
            return trial.conclude(*trial.train())
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return trial.give_up(error)
        finally:
            trial.close()


class Trial:
    """A trial in training on this worker: the model in its engine, the data in its order, and how far it came."""

    def __init__(self, config: TrialConfig, report: Report) -> None:
        self.config, self._report, self._started = config, report, time.time()
        self.rank, self.world_size = join_group()
        self.folder, stage = Path(config.folder), config.engine.zero_stage
        if self.rank == 0:
            write_atomically(self.folder / CONFIG_FILE, config.model_dump_json(indent=1))
        self.checkpoints = Checkpoints(self.folder / CHECKPOINTS_FOLDER, rank=self.rank, keep_best=config.budget.keep_best, barrier=barrier)
        self.resumed = self.checkpoints.newest(world_size=self.world_size, zero_stage=stage)
        self.progress = self.resumed.progress if self.resumed else Progress(world_size=self.world_size, zero_stage=stage)
        self.progress.started = self.progress.started or self._started
        self._wall_before, self._saved = self.progress.wall_seconds, self._started
        self.order = DataOrder(Path(config.data.folder), config.batch, config.seed)
        self.steps = self.order.count_steps(config.budget.tokens)
        self.evaluation: Evaluation | None = None
        self.facts = read_machine(config) | {"train_digest": self.order.digest()}
        self._base = read_base(config)
        self._load = MachineLoad(self.progress.energy_kwh or 0.0, self.world_size)

    def build(self) -> None:
        """Build model, method and engine, where a checkpoint left them if there is one, and compare them with what was asked."""
        config, resumed = self.config, self.resumed
        self.model = build_model(config, resumed.weights if resumed else None)
        trainable, total = count_parameters(self.model)
        self.engine = Engine(self.model, config, self.steps)
        self.facts |= read_built(self.model, config, (trainable, total), self.engine.peak_learning_rate)
        with self.engine.whole() as model, self.engine.autocast():
            self.facts["attention"] = read_attention(model)
        self.memory, self.speed = MemoryMeter(self.model), SpeedMeter()
        torch.manual_seed(derive_seed(config.seed, f"dropout/{self.rank}"))
        if resumed:
            self._take_up(resumed)
        self.progress.metrics |= {
            "efficiency/trainable_parameters": float(trainable),
            "efficiency/total_parameters": float(total),
            "efficiency/trainable_share": trainable / total,
            "efficiency/predicted_peak_memory_gib": predict_peak_gib(config),
            "efficiency/start_seconds": time.time() - self._started,
        }
        self.model.train()

    def train(self) -> tuple[Outcome, str]:
        """Train until the budget is spent, the referee says stop, or the loss is no longer a number; return outcome and reason."""
        if self.progress.rungs and not _ask(self._report, self.progress.rungs[-1]):
            return Outcome.PRUNED, f"ended at the rung of {self.progress.rungs[-1].tokens} tokens"
        while True:
            for rung in self._rungs_due():
                if not self._pass_rung(rung):
                    return Outcome.PRUNED, f"ended at the rung of {rung} tokens"
            if self.progress.step == self.steps:
                return Outcome.COMPLETED, ""
            began = time.perf_counter()
            blocks = self.order.step_blocks(self.progress.step, rank=self.rank, world_size=self.world_size)
            with self.memory.watch(self.engine.state()[0]) if self.speed.steps == WATCHED_STEP else nullcontext():
                step = self.engine.train_step(*blocks, flag=self._checkpoint_due())
            if not step.finite:
                return Outcome.DIVERGED, f"step {self.progress.step + 1}: loss {step.loss:g}, gradient norm {step.gradient_norm}"
            self._note(step, time.perf_counter() - began)
            if step.flags:
                self._save()

    def _rungs_due(self) -> list[int]:
        """Return the nominal rungs reached and not yet reported, the budget itself the last; all of them after the last step."""
        reported = self.progress.rungs[-1].tokens if self.progress.rungs else 0
        rungs = [*sorted(rung for rung in self.config.budget.rungs if rung < self.config.budget.tokens), self.config.budget.tokens]
        ended = self.progress.step == self.steps
        return [rung for rung in rungs if rung > reported and (ended or rung <= self.progress.tokens)]

    def _pass_rung(self, rung: int) -> bool:
        """Measure, keep, report; return whether to go on. What is reported is in a checkpoint first."""
        self._evaluate()
        self.progress.rungs.append(RungReport(tokens=rung, metrics=self.metrics(), unix_time=time.time()))
        self._save()
        goes_on = _ask(self._report, self.progress.rungs[-1])
        return goes_on or rung == self.config.budget.tokens  # what has spent its budget is completed

    def _evaluate(self) -> None:
        began = time.perf_counter()
        self.model.eval()
        with self.engine.whole() as model, self.engine.autocast():
            self.evaluation = evaluate(model, Path(self.config.data.folder), "validation")
            own = call_own_metrics(model, self.config) | self._divergence(model)
        self.model.train()
        self.progress.metrics |= self.evaluation.metrics(self._base) | own
        self.progress.validation_loss = self.progress.metrics["eval/nats_per_token"]
        self.progress.evaluation_seconds += time.perf_counter() - began

    def _divergence(self, model: nn.Module) -> dict[str, float]:
        data, base = self.config.data, self.config.data.base_result_folder
        card = load_card(Path(data.folder))
        return measure_divergence(model, card, Path(data.folder), Path(base), Path(self.config.model.folder)) if base else {}

    def _note(self, step: Step, seconds: float) -> None:
        """Add a step to what is known, and a point to the curve on its cadence in tokens."""
        done, every = self.progress, self.config.budget.curve_every
        done.step, done.validation_loss = done.step + 1, None
        done.train_seconds += seconds
        self.speed.note(step.tokens, seconds)
        done.pending_nats, done.pending_tokens = done.pending_nats + step.loss * step.tokens, done.pending_tokens + step.tokens
        before, done.tokens = done.tokens, done.tokens + step.tokens
        if done.tokens // every > before // every or done.step == self.steps:
            loss = done.pending_nats / done.pending_tokens
            point = CurvePoint(
                tokens=done.tokens,
                loss=loss,
                learning_rate=step.learning_rate,
                gradient_norm=step.gradient_norm,
                seconds=done.train_seconds,
                unix_time=time.time(),
                system=self._load.read(),
            )
            done.curve.append(point)
            done.pending_nats, done.pending_tokens = 0.0, 0

    def _checkpoint_due(self) -> bool:
        return time.time() - self._saved > CHECKPOINT_SECONDS

    def _save(self) -> None:
        tensors, numbers = self.engine.state()
        self.progress.wall_seconds = self._wall_seconds()
        self.progress.energy_kwh = self._load.energy_kwh()
        self.checkpoints.save(self.progress, tensors | random_state(), numbers, self._save_weights)
        self._saved = time.time()

    def _save_weights(self, folder: Path) -> None:
        with self.engine.whole() as model:
            if self.rank == 0:
                self.config.method.save(model, folder)

    def _take_up(self, checkpoint: Checkpoint) -> None:
        tensors, numbers = checkpoint.worker_state(self.rank)
        self.engine.load_state({name: tensor for name, tensor in tensors.items() if not name.startswith("random/")}, numbers)
        restore_random_state(tensors)

    def metrics(self) -> dict[str, float]:
        """Return the last known value of every metric."""
        done, gpus = self.progress, self.world_size if torch.cuda.is_available() else 0
        done.energy_kwh = self._load.energy_kwh()
        sharing = self.world_size if self.config.engine.zero_stage >= 2 else 1
        done.metrics |= self.memory.metrics(self.engine.state()[0], sharing) | self.speed.metrics() | convergence_metrics(done.curve)
        done.metrics |= {
            "efficiency/train_seconds": done.train_seconds,
            "efficiency/evaluation_share": done.evaluation_seconds / (done.train_seconds + done.evaluation_seconds or 1.0),
            "efficiency/gpu_seconds": self._wall_seconds() * gpus,
        }
        if done.energy_kwh is not None:
            done.metrics["efficiency/energy_kwh"] = done.energy_kwh
        return dict(done.metrics)

    def _wall_seconds(self) -> float:
        """Return the seconds this trial has held its workers, those before an interruption included."""
        return self._wall_before + time.time() - self._started

    def conclude(self, outcome: Outcome, reason: str) -> Result:
        """Write weights, documents and result, drop the optimizer states, and return the result. Called on every worker."""
        if outcome is Outcome.COMPLETED:
            with self.engine.whole() as model:
                if self.rank == 0:
                    replace_folder(self.folder / WEIGHTS_FOLDER, partial(self.config.method.save, model))
        if self.evaluation is None and outcome in (Outcome.COMPLETED, Outcome.PRUNED):
            self._evaluate()  # taken up after its last rung: the documents were not kept
        result = self._result(outcome, reason, self.metrics())
        if self.rank == 0:
            if self.evaluation is not None:
                write_documents(self.folder, self.evaluation.documents)
            save_result(self.folder, result)
            self.checkpoints.drop_states(self.progress.step)
        barrier()
        return result

    def give_up(self, error: BaseException) -> Result:
        """Return an out-of-memory result. With several workers the error is raised again, since the others wait in vain."""
        reason = f"{str(error).strip().splitlines()[0]} (try a smaller batch.micro_blocks)"
        result = self._result(Outcome.OUT_OF_MEMORY, reason, dict(self.progress.metrics))
        save_result(self.folder, result)
        if self.world_size > 1:
            raise error
        return result

    def _result(self, outcome: Outcome, reason: str, metrics: dict[str, float]) -> Result:
        return Result(
            uid=self.config.uid,
            outcome=outcome,
            reason=reason,
            tokens=self.progress.tokens,
            metrics=metrics,
            rungs=tuple(self.progress.rungs),
            curve=tuple(self.progress.curve),
            facts=self.facts,
            started=self.progress.started,
            ended=time.time(),
        )

    def close(self) -> None:
        """Let go of the model and of everything DeepSpeed attached to the process."""
        engine = vars(self).pop("engine", None)  # absent where building it failed
        if engine is not None:
            engine.close()
        vars(self).pop("model", None)
        vars(self).pop("memory", None)
        del engine
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a GPU or, where torch has no class for it, on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _ask(report: Report, rung: RungReport) -> bool:
    """Report on rank 0 and return its answer on every worker."""
    rank, _ = join_group()
    return broadcast_flag(report(rung) if rank == 0 else False)
