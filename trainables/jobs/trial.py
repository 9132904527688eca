"""A trial's course without its model: what is due next, what a step taught, how it ended.

Whoever holds the model asks `due()`, does it, and says what came of it. Nothing here loops, waits, computes, or draws from the
process's generators, so that a runner may drive one trial (`trainables.jobs.runner`) or several in turns.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from records.files import digest_files, write_file
from records.folders import CHECKPOINTS_FOLDER, CONFIG_FILE, WEIGHTS_FOLDER
from records.results import CurvePoint, Outcome, Result, RungReport, save_result
from records.run_id import RunId
from trainables.config import TrialConfig
from trainables.corpora.tokens.folder import TRAIN_FILES, check_texts
from trainables.evaluation.documents import write_documents, write_rung
from trainables.evaluation.nats import Evaluation
from trainables.group import barrier, join_group
from trainables.jobs.facts import read_machine
from trainables.jobs.measurement import read_base
from trainables.randomness import RandomState, derive_seed
from trainables.training.checkpoint import Checkpoints, Progress
from trainables.training.convergence import convergence_metrics
from trainables.training.data_order import DataOrder
from trainables.training.engine import Step
from trainables.training.machine_load import MachineLoad

CHECKPOINT_SECONDS = 300.0  # between two checkpoints where no rung comes sooner


@dataclass(frozen=True)
class StepDue:
    """A training step is due; told by `Trial.note`."""

    blocks: tuple[Tensor, ...]  # this worker's inputs, targets and positions, int32 [blocks / workers, sequence_length] each
    flag: bool  # whether this worker wants a checkpoint after the step; the engine carries it to the others


@dataclass(frozen=True)
class EvaluationDue:
    """The model is to be measured on the validation documents; told by `Trial.note_evaluation`."""

    rung: int | None  # nominal tokens of its report; None where no report is to be made, but the documents are lacking


@dataclass(frozen=True)
class CheckpointDue:
    """The state of the model's training is to be written down; told by `Trial.save`."""


@dataclass(frozen=True)
class AnswerDue:
    """The trial waits to hear whether it goes on after this report; told by `Trial.answer`. Others may be driven meanwhile."""

    report: RungReport


@dataclass(frozen=True)
class EndDue:
    """Nothing is left to do but `Trial.end`."""

    outcome: Outcome
    reason: str


Work = StepDue | EvaluationDue | CheckpointDue  # what only the holder of the model can do
Due = Work | AnswerDue | EndDue


class Trial:
    """A trial in training on this worker: its data in their order, its own random state, and how far it came."""

    def __init__(self, config: TrialConfig) -> None:
        """Begin a trial, or take it up at its newest complete checkpoint. Raises ValueError where that one cannot be resumed."""
        self.config, self.begun = config, time.time()  # by this process, which may not be the first
        self.rank, self.world_size = join_group()
        self.folder, stage = Path(config.folder), config.engine.zero_stage
        if self.rank == 0:
            write_file(self.folder / CONFIG_FILE, config.model_dump_json(indent=1))
        self._checkpoints = Checkpoints(
            self.folder / CHECKPOINTS_FOLDER,
            rank=self.rank,
            keep_best=config.budget.keep_best,
            barrier=barrier,
            config=config.owner.config,
        )
        self.resumed = self._checkpoints.newest(world_size=self.world_size, zero_stage=stage)
        self.progress = self.resumed.progress if self.resumed else Progress(world_size=self.world_size, zero_stage=stage)
        self.progress.started = self.progress.started or self.begun
        self._wall_before, self._saved = self.progress.wall_seconds, self.begun
        check_texts(Path(config.data.folder), TRAIN_FILES)
        self._order = DataOrder(Path(config.data.folder), config.batch, config.seed)
        self.steps = self._order.count_steps(config.budget.tokens)
        self.random_state = RandomState(derive_seed(config.seed, f"dropout/{self.rank}"))
        self.facts = read_machine(config) | {"train_digest": self._order.digest()}
        self._base = read_base(config)
        self._load = MachineLoad(self.progress.energy_kwh or 0.0, self.world_size)
        self._evaluation: Evaluation | None = None  # the last one's documents are the run's
        self._owes_checkpoint = False
        # Whether the last report was answered before an interruption is not known here: it is made again.
        self._awaits_answer = bool(self.progress.rungs)
        self._ending: EndDue | None = None  # where something else than the budget's end ends it

    def due(self) -> Due:
        """Return what is due next, the same until the trial is told what came of it.

        A report is in a checkpoint before anybody hears of it: a trial that is interrupted then makes the same one again.
        """
        if self._owes_checkpoint:
            return CheckpointDue()
        if self._awaits_answer:
            return AnswerDue(self.progress.rungs[-1])
        if self._ending is None:  # neither ended at a rung nor by a step that is no number
            rung = self._rung_due()
            if rung is not None:
                return EvaluationDue(rung)
            if self.progress.step < self.steps:
                return self._step_due()
        end = self._ending or EndDue(Outcome.COMPLETED, "")
        # Taken up after its last rung: documents are not in a checkpoint, and are measured again.
        if self._evaluation is None and end.outcome in (Outcome.COMPLETED, Outcome.PRUNED):
            return EvaluationDue(None)
        return end

    def _rung_due(self) -> int | None:
        """Return the lowest nominal rung reached and not yet reported, the budget itself the last; every one after the last step."""
        budget, progress = self.config.budget, self.progress
        reported = progress.rungs[-1].tokens if progress.rungs else 0
        rungs = [*sorted(rung for rung in budget.rungs if rung < budget.tokens), budget.tokens]
        trained_out = progress.step == self.steps
        return next((rung for rung in rungs if rung > reported and (trained_out or rung <= progress.tokens)), None)

    def _step_due(self) -> StepDue:
        blocks = self._order.step_blocks(self.progress.step, rank=self.rank, world_size=self.world_size)
        return StepDue(blocks, flag=time.time() - self._saved > CHECKPOINT_SECONDS)

    def note(self, step: Step, seconds: float) -> None:
        """Add what a step taught and the seconds it took; one whose loss or gradient is no number ends the trial as diverged."""
        progress, every = self.progress, self.config.budget.curve_every
        if not step.finite:
            reason = f"step {progress.step + 1}: loss {step.loss:g}, gradient norm {step.gradient_norm}"
            self._ending = EndDue(Outcome.DIVERGED, reason)
            return
        before = progress.tokens
        progress.step += 1
        progress.tokens += step.tokens
        progress.train_seconds += seconds
        progress.validation_loss = None  # it was that of the weights before this step
        progress.pending_nats += step.loss * step.tokens
        progress.pending_tokens += step.tokens
        # A point at the first step past each multiple of the cadence, whatever the batch, so that trials' curves have like points.
        if progress.tokens // every > before // every or progress.step == self.steps:
            self._add_curve_point(step)
        self._owes_checkpoint = step.flags > 0  # any worker's flag counts: all of them write a checkpoint, or none

    def _add_curve_point(self, step: Step) -> None:
        progress = self.progress
        point = CurvePoint(
            tokens=progress.tokens,
            loss=progress.pending_nats / progress.pending_tokens,
            learning_rate=step.learning_rate,
            gradient_norm=step.gradient_norm,
            seconds=progress.train_seconds,
            unix_time=time.time(),
            system=self._load.read(),
        )
        progress.curve.append(point)
        progress.pending_nats, progress.pending_tokens = 0.0, 0

    def note_evaluation(self, rung: int | None, evaluation: Evaluation, metrics: Mapping[str, float], seconds: float) -> None:
        """Add what an evaluation measured and the seconds it took; at a rung, make its report, which a checkpoint must hold first.

        `metrics` are the runner's: the study's own, the divergence from the base, and what training has cost up to now.
        """
        progress, self._evaluation = self.progress, evaluation
        progress.metrics |= evaluation.metrics(self._base) | dict(metrics)
        progress.validation_loss = progress.metrics["eval/nats_per_token"]
        progress.evaluation_seconds += seconds
        if rung is not None:
            progress.rungs.append(RungReport(tokens=rung, metrics=self._count_costs(), unix_time=time.time()))
            self._owes_checkpoint = self._awaits_answer = True
            if self.rank == 0 and RunId.parse(self.config.uid).kind == "replicate":  # what forgetting at equal learning is read from
                card = evaluation.card
                write_rung(self.folder, rung, evaluation.documents, (*card.adapted, *card.retained), self.config.owner.config)

    def note_metrics(self, metrics: Mapping[str, float]) -> None:
        """Take these values as the last known ones."""
        self.progress.metrics |= metrics

    def save(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], save_weights: Callable[[Path], None]) -> None:
        """Write a checkpoint of the engine's state, the trial's own, and the weights, by `save_weights(folder)`. Called on every worker."""
        self.progress.wall_seconds = self.wall_seconds()
        self.progress.energy_kwh = self._load.energy_kwh()
        state = {**tensors, **self.random_state.tensors()}
        self._checkpoints.save(self.progress, state, numbers, save_weights)
        self._saved = time.time()
        self._owes_checkpoint = False

    def take_up(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the engine's tensors and numbers where a checkpoint left them, after taking up the trial's own; None at a beginning."""
        if self.resumed is None:
            return None
        tensors, numbers = self.resumed.worker_state(self.rank)
        self.random_state.take_up(tensors)
        return {name: tensor for name, tensor in tensors.items() if not name.startswith("random/")}, numbers

    def answer(self, goes_on: bool) -> None:
        """Take the answer to the last report: a trial ends there as pruned, unless it has spent its budget, which completes it."""
        self._awaits_answer = False
        rung = self.progress.rungs[-1].tokens
        if not goes_on and rung != self.config.budget.tokens:
            self._ending = EndDue(Outcome.PRUNED, f"ended at the rung of {rung} tokens")

    def end(self, metrics: Mapping[str, float]) -> Result:
        """Write documents and result, drop the optimizer states, and return the result; `metrics` are what training has cost.

        Called on every worker once `EndDue` is due, and once the weights of a completed trial lie in its folder.
        """
        end = self.due()
        assert isinstance(end, EndDue), f"{self.config.uid}: {type(end).__name__} comes before its end"
        self.note_metrics(metrics)
        result = self._result(end.outcome, end.reason, self._count_costs())
        if self.rank == 0:
            if self._evaluation is not None:
                write_documents(self.folder, self._evaluation.documents, self.config.owner.config)
            save_result(self.folder, result)
            self._checkpoints.drop_states(self.progress.step)
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

    def wall_seconds(self) -> float:
        """Return the seconds this trial has held its workers, those before an interruption included."""
        return self._wall_before + time.time() - self.begun

    def _count_costs(self) -> dict[str, float]:
        """Return the last known value of every metric, after adding those of the whole course: convergence, seconds, energy."""
        progress = self.progress
        progress.energy_kwh = self._load.energy_kwh()
        seconds = progress.train_seconds + progress.evaluation_seconds
        progress.metrics |= convergence_metrics(progress.curve)
        progress.metrics["efficiency/train_seconds"] = progress.train_seconds
        progress.metrics["efficiency/evaluation_share"] = progress.evaluation_seconds / (seconds or 1.0)
        if progress.energy_kwh is not None:
            progress.metrics["efficiency/energy_kwh"] = progress.energy_kwh
        return dict(progress.metrics)

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
            config=self.config.owner.config,
            files=digest_files(self.folder, f"{WEIGHTS_FOLDER}/**/*") if outcome is Outcome.COMPLETED else {},
        )
