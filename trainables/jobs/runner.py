"""Driving one trial on a DeepSpeed engine of its own, in a worker that knows neither Ray nor MLflow.

`run_trial` is the door. The process is left as it was found, so that another trial can follow in it.
"""

import gc
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from records.files import build_folder
from records.folders import WEIGHTS_FOLDER
from records.results import Outcome, Result, RungReport
from trainables.config import TrialConfig
from trainables.corpora.tokens.folder import load_card
from trainables.costs import predict_peak_gib
from trainables.evaluation.divergence import measure_divergence
from trainables.evaluation.nats import evaluate
from trainables.group import broadcast_flag, join_group
from trainables.jobs.facts import read_attention, read_built
from trainables.jobs.measurement import call_own_metrics, claim_on_every_worker
from trainables.jobs.trial import AnswerDue, CheckpointDue, EndDue, EvaluationDue, StepDue, Trial, Work
from trainables.models.model import LanguageModel, build_model, count_parameters
from trainables.randomness import derive_seed, own_random_state
from trainables.training.engine import Engine
from trainables.training.meters import WATCHED_STEP, MemoryMeter, SpeedMeter

Report = Callable[[RungReport], bool]


def run_trial(config: TrialConfig, report: Report) -> Result:
    """Train a trial to its end and return what happened; also written to `result.json` of its folder.

    `report` is called on rank 0 at every rung and answers whether to go on. An interrupted trial is taken up at its newest
    complete checkpoint, and its last report is made again. Raises ValueError where that checkpoint cannot be resumed.
    """
    ended = claim_on_every_worker(config)
    if ended is not None:
        if ended.rungs:
            _ask(report, ended.rungs[-1])
        return ended
    trial = Trial(config)
    runner = Runner(trial)
    try:
        runner.build()
        while not isinstance(due := trial.due(), EndDue):
            if isinstance(due, AnswerDue):  # alone in its process, it may be waited for
                trial.answer(_ask(report, due.report))
            else:
                runner.carry_out(due)
        return runner.end(due)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:  # the CPU's allocator raises a plain RuntimeError
        if not is_out_of_memory(error):
            raise
        return trial.give_up(error)
    finally:
        runner.close()


class Runner:
    """A trial's model in an engine of its own, which does what the trial says is due.

    Several runners may be driven in turns in one process, but for ZeRO stage 3, which puts a `linear` of its own into the whole process.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial, self.config = trial, trial.config

    def build(self) -> None:
        """Build model, method and engine, where a checkpoint left them if there is one, and compare them with what was asked."""
        trial, config = self.trial, self.config
        with own_random_state(derive_seed(config.seed, "initialisation")):
            model = build_model(config, trial.resumed.weights if trial.resumed else None)
            # Counted before the engine is built: ZeRO 3 leaves each worker only its own share of the weights.
            trainable, total = count_parameters(model)
            self.engine = Engine(model, config, trial.steps)
        trial.facts |= read_built(model, config, (trainable, total), self.engine.peak_learning_rate)
        with self.engine.whole() as whole, self.engine.autocast():
            trial.facts["attention"] = read_attention(whole)
        self.memory, self.speed = MemoryMeter(model), SpeedMeter()  # on a GPU the peak is counted from here on
        state = trial.take_up()
        if state is not None:
            self.engine.load_state(*state)
        trial.note_metrics(
            {
                "efficiency/trainable_parameters": float(trainable),
                "efficiency/total_parameters": float(total),
                "efficiency/trainable_share": trainable / total,
                "efficiency/predicted_peak_memory_gib": predict_peak_gib(config),
                "efficiency/start_seconds": time.time() - trial.begun,
            }
        )
        model.train()

    def carry_out(self, due: Work) -> None:
        """Do what is due and tell the trial what came of it; the process's random state is left as it was."""
        match due:
            case StepDue():
                self._train(due)
            case EvaluationDue():
                self._evaluate(due)
            case CheckpointDue():
                self.trial.save(*self.engine.state(), self._save_weights)

    def _train(self, due: StepDue) -> None:
        began = time.perf_counter()
        watched = self.speed.steps == WATCHED_STEP
        with self.trial.random_state.in_place(), self.memory.watch(self.engine.state()[0]) if watched else nullcontext():
            step = self.engine.train_step(*due.blocks, flag=due.flag)
        seconds = time.perf_counter() - began
        if step.finite:  # one that is no number ended before its update, and was shorter
            self.speed.note(step.tokens, seconds)
        self.trial.note(step, seconds)

    def _evaluate(self, due: EvaluationDue) -> None:
        began = time.perf_counter()
        model, data_folder = self.engine.model, Path(self.config.data.folder)
        model.eval()
        # At rest the model draws nothing, but the study's own functions may.
        with self.trial.random_state.in_place(), self.engine.whole() as whole, self.engine.autocast():
            evaluation = evaluate(whole, data_folder, "validation")
            metrics = call_own_metrics(whole, self.config) | self._measure_divergence(whole)
        model.train()
        seconds = time.perf_counter() - began
        self.trial.note_evaluation(due.rung, evaluation, metrics | self._costs(), seconds)

    def _measure_divergence(self, model: LanguageModel) -> dict[str, float]:
        data, base = Path(self.config.data.folder), self.config.data.base_result_folder
        if not base:
            return {}
        return measure_divergence(model, load_card(data), data, Path(base), Path(self.config.model.folder))

    def _costs(self) -> dict[str, float]:
        """Return the metrics of memory, speed and GPU time up to now."""
        gpus = self.trial.world_size if torch.cuda.is_available() else 0  # a worker computes on one
        gradient_share = self.trial.world_size if self.config.engine.zero_stage >= 2 else 1
        optimizer_state, _ = self.engine.state()
        measured = self.memory.metrics(optimizer_state, gradient_share) | self.speed.metrics()
        return measured | {"efficiency/gpu_seconds": self.trial.wall_seconds() * gpus}

    def _save_weights(self, folder: Path) -> None:
        with self.engine.whole() as model:
            if self.trial.rank == 0:
                model.save(folder)

    def end(self, due: EndDue) -> Result:
        """Write the weights of a completed trial, and return its result. Called on every worker."""
        if due.outcome is Outcome.COMPLETED:  # before the result, which says that they are there
            with self.engine.whole() as model:
                if self.trial.rank == 0:
                    with build_folder(self.trial.folder / WEIGHTS_FOLDER, replaces=True) as building:
                        model.save(building)
        return self.trial.end(self._costs())

    def close(self) -> None:
        """Let go of the model and of everything DeepSpeed attached to the process."""
        engine = vars(self).pop("engine", None)  # absent where building it failed
        if engine is not None:
            engine.close()
        vars(self).pop("memory", None)  # it holds the model too
        del engine
        gc.collect()  # module, engine and hooks refer to one another in circles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a GPU or, where torch has no class for it, on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _ask(report: Report, rung: RungReport) -> bool:
    """Report on rank 0 and return its answer on every worker."""
    rank, _ = join_group()
    return broadcast_flag(report(rung) if rank == 0 else False)
