"""A trial trained again from its MLflow record alone, and compared: `hikaku repro`.

The record holds the trial's configuration, where the study's model and texts came from, and what they were by digest. Nothing of the
study's state is read or written.
"""

import math
import re
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from analysis.text.wording import read_wording
from hikaku.commands.options import AsJson, State, print_json
from hikaku.study.origins import Origins, load_origins
from records.folders import CONFIG_FILE, DATA_FOLDER, ORIGINS_FILE, RESULT_FILE
from records.refusals import Refusal
from records.results import Outcome, Result, RungReport, load_result
from records.run_id import RunId
from records.runs import Run, StudyRuns, read_study_runs
from trainables.config import TrialConfig

JUDGED = "eval/perplexity"
TIMED = ("efficiency/", "convergence/seconds", "test/", "scaled/")  # of the machine and its load, or measured after training


COLUMNS = ("metric", "recorded", "again", "difference")


@dataclass(frozen=True)
class Rerun:
    """What a trial measured and what it measures again, by metric; `curve` is the largest relative difference of its losses.

    `changed` holds what is not as it was on the machine that trained it: fact -> (then, now).
    """

    uid: str
    before: Mapping[str, float]
    again: Mapping[str, float]
    curve: float
    changed: Mapping[str, tuple[str, str]]
    tolerance: float
    put_aside: tuple[str, ...] = ()  # lines of what lay in the folder and was not the trial's own

    @property
    def is_same(self) -> bool:
        """Return whether the final perplexity is the same within the tolerance."""
        return self.difference(JUDGED) <= self.tolerance

    def difference(self, name: str) -> float:
        """Return how far a metric is from what it was, relative to that; infinite where it is missing or no number."""
        before, again = self.before.get(name, math.nan), self.again.get(name, math.nan)
        return 0.0 if before == again else _relative(before, again)

    def as_json(self) -> dict[str, Any]:
        """Return uid, the verdict, every metric before and again, and what changed on the machine."""
        metrics = {name: {"before": self.before[name], "again": self.again.get(name)} for name in self.before}
        return {
            "uid": self.uid,
            "same": self.is_same,
            "tolerance": self.tolerance,
            "curve": self.curve,
            "metrics": metrics,
            "changed": {fact: {"before": then, "now": now} for fact, (then, now) in self.changed.items()},
        }


def rerun_trial(uid: str, uri: str, folder: Path | None, tolerance: float) -> Rerun:
    """Return a trial trained again on this machine, compared with its record; what is trained is kept in `folder`, where one is given.

    Raises ValueError, in one line, for a run that is not recorded or measured nothing, and for a model or texts that have changed since.
    """
    from hikaku.search.asides import AsideLines

    runs = read_study_runs(RunId.parse(uid).study, uri)
    every = {run.uid: run for run in (*runs.trials, *runs.replicates)}
    if uid not in every:
        raise Refusal("UID", uid, f"the uid of one of the {len(every)} trials and replicates of {runs.name}")
    run, base = every[uid], runs.base
    config, before = _read_config(runs, run), _read_result(runs, run)
    assert base is not None, f"{uid} ended, and so the base was measured"
    path = runs.artifact(runs.parent, ORIGINS_FILE)
    if path is None:
        raise Refusal("UID", f"{uid}, whose record lacks {ORIGINS_FILE}", "a study that hikaku tune has written since it keeps one")
    origins = load_origins(path)
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        root = Path(place).expanduser().absolute() / runs.name
        asides = AsideLines(root)
        shared = _make_present(origins, run, config, root)
        again = _train(config, before, _read_config(runs, base), shared, root)
        put_aside = tuple(asides.new())
    return Rerun(
        uid=uid,
        before=_comparable(before),
        again=_comparable(again),
        curve=_compare_curves(before, again),
        changed=_compare_facts(before, again),
        tolerance=tolerance,
        put_aside=put_aside,
    )


def _read_config(runs: StudyRuns, run: Run) -> TrialConfig:
    path = runs.artifact(run, CONFIG_FILE)
    if path is None:
        raise Refusal("UID", f"{run.uid}, whose record lacks {CONFIG_FILE}", "a run that has ended")
    return TrialConfig.model_validate_json(path.read_text(encoding="utf-8"))


def _read_result(runs: StudyRuns, run: Run) -> Result:
    path = runs.artifact(run, RESULT_FILE)
    result = None if path is None else load_result(path.parent)
    if result is None or result.outcome in (Outcome.FAILED, Outcome.OUT_OF_MEMORY):
        raise Refusal("UID", f"{run.uid}, which {run.outcome or 'has not ended'}", "a trial that measured something")
    return result


def _make_present(origins: Origins, run: Run, config: TrialConfig, root: Path) -> Mapping[str, Mapping[str, str]]:
    """Return where the model and the tokens of the texts lie now, the same by digest as they were."""
    from trainables.corpora.tokens.writing import prepare_data
    from trainables.models.source import resolve_model

    model = resolve_model(origins.model, fetch=True)
    _refuse_change("the model", run.facts["revision"], origins.model.revision or str(model.digest))
    assert model.folder is not None
    card = prepare_data(origins.data, model.folder, config.batch.sequence_length, root / DATA_FOLDER)
    _refuse_change("the texts in tokens", run.facts["train_digest"], card.train_digest)
    return {"model": {"folder": str(model.folder)}, "data": {"folder": str(root / DATA_FOLDER)}}


def _refuse_change(what: str, before: str, now: str) -> None:
    if before != now:
        raise Refusal(what, f"digest {now[:12]}…, recorded was {before[:12]}…", "what the trial was trained with")


def _train(config: TrialConfig, before: Result, base: TrialConfig, shared: Mapping[str, Mapping[str, str]], root: Path) -> Result:
    """Return the result of measuring the base and training the trial in this process, ended where it was ended."""
    import torch

    from trainables.jobs.measurement import measure_base
    from trainables.jobs.runner import run_trial

    threads = re.search(r"(\d+) threads", before.facts.get("device", ""))
    if threads is not None:
        torch.set_num_threads(int(threads[1]))  # which decides the order of sums
    base_folder = root / RunId.parse(base.uid).folder
    measure_base(_move(base, base_folder, shared))
    measured = {**shared, "data": {**shared["data"], "base_result_folder": str(base_folder)}}
    moved = _move(config, root / RunId.parse(config.uid).folder, measured)
    ended_at = before.rungs[-1].tokens if before.outcome in (Outcome.PRUNED, Outcome.INFEASIBLE) and before.rungs else None

    def report(rung: RungReport) -> bool:
        return rung.tokens != ended_at

    return run_trial(moved, report)


def _move(config: TrialConfig, folder: Path, shared: Mapping[str, Mapping[str, str]]) -> TrialConfig:
    """Return the configuration with this machine's places, on one worker."""
    changed: dict[str, Any] = {"folder": str(folder), "engine": config.engine.model_copy(update={"workers": 1})}
    for section, places in shared.items():
        changed[section] = getattr(config, section).model_copy(update=places)
    return config.model_copy(update=changed)


def _comparable(result: Result) -> dict[str, float]:
    return {name: value for name, value in result.metrics.items() if not name.startswith(TIMED)}


def _compare_curves(before: Result, again: Result) -> float:
    """Return the largest relative difference of the losses; infinite where the curves have not the same points."""
    if [point.tokens for point in before.curve] != [point.tokens for point in again.curve]:
        return math.inf
    return max((_relative(one.loss, other.loss) for one, other in zip(before.curve, again.curve, strict=True)), default=0.0)


def _relative(before: float, again: float) -> float:
    difference = abs(again - before)
    return difference / abs(before) if before and math.isfinite(difference) else math.inf


def _compare_facts(before: Result, again: Result) -> dict[str, tuple[str, str]]:
    names = dict.fromkeys([*before.facts, *again.facts])
    return {name: pair for name in names if (pair := (before.facts.get(name, ""), again.facts.get(name, "")))[0] != pair[1]}


def print_rerun(done: Rerun, console: Console | None = None) -> None:
    """Print every metric before and again, what changed on the machine, and the verdict."""
    console, wording = console or Console(soft_wrap=True), read_wording()
    table = Table(*(wording(f"commands.repro.column.{name}") for name in COLUMNS), box=None, pad_edge=False)
    for name, value in done.before.items():
        if name.startswith(("eval/", "retention/", "divergence/")):
            table.add_row(name, f"{value:.10g}", f"{done.again.get(name, math.nan):.10g}", f"{done.difference(name):.1e}")
    for line in done.put_aside:
        console.print(line, highlight=False, markup=False)
    console.print(table)
    console.print(wording("commands.repro.curve", apart=f"{done.curve:.1e}"), highlight=False)
    for fact, (then, now) in done.changed.items():
        before = then or wording("commands.repro.not_recorded")
        changed = wording("commands.repro.changed", fact=fact, then=before, now=now or wording("commands.repro.not_known"))
        console.print(changed, highlight=False, markup=False)
    verdict = wording("commands.repro.same" if done.is_same else "commands.repro.other", uid=done.uid, tolerance=done.tolerance)
    console.print(verdict, highlight=False)


def repro(  # noqa: PLR0913, PLR0917
    uid: Annotated[str, typer.Argument(metavar="UID", help="study/arm/number, or a finalist's study/arm/number/seed-N")],
    tracking: Annotated[str | None, typer.Option(metavar="URI", help="MLflow's [default: the store in the state folder]")] = None,
    folder: Annotated[Path | None, typer.Option("--into", metavar="FOLDER", help="keep what is trained, and go on there if it is")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="of the final perplexity, relative")] = 1e-6,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Train a trial again from its MLflow record alone, and compare: exit code 0 where the final perplexity is the same."""
    from records.places import find_store

    done = rerun_trial(uid, find_store(state, tracking), folder, tolerance)
    if as_json:
        print_json(done.as_json())
    else:
        print_rerun(done)
    raise typer.Exit(0 if done.is_same else 1)
