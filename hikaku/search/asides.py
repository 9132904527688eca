"""What lies in the folders of a study's runs and is damaged or not theirs: put aside before it is used, and told in a line each."""

from collections.abc import Iterator
from pathlib import Path

from optuna.trial import FrozenTrial

from hikaku.search.standing import Standing
from hikaku.search.trial_store import choices_of, outcome_of, owner_of
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.documents import read_table
from records.files import append_line, put_aside
from records.folders import ASIDE_LOG, BASE_FOLDER, DOCUMENTS_FILE, RESULT_FILE, RUNGS_FILE, TRIALS_FOLDER
from records.refusals import Refusal
from records.results import Outcome, Owner, claim_result
from records.run_id import RunId
from records.sealed import DamagedError


def own_of(study: Study, setting: Setting, run: RunId, trial: FrozenTrial | None) -> Owner | None:
    """Return whose a run's result must be; None of a trial that was not given its choices yet, which so has none.

    `trial` is the run's own or its finalist's, None of the base. Raises Refusal where the store of trials says that the trial was begun
    with another configuration.
    """
    choices = {} if trial is None else choices_of(trial)
    if choices is None:
        return None
    owner = study.trial_config(run, setting, choices).owner
    stored = owner_of(trial) if trial is not None and run.kind == "trial" else None
    if stored is not None and stored != owner.config:
        fault = "the store of trials has it with another configuration"
        raise Refusal(str(run), fault=fault, allowed="the store with which this state folder was begun")
    return owner


def claim_results(standing: Standing, setting: Setting) -> None:
    """Put aside every result of a study's runs that is damaged or another run's, and tell which is gone. The study's folder is held."""
    study, trials, replicates = standing.study, standing.trials(), standing.replicates()
    open_ones = (run for run, trial in trials.items() if not trial.state.is_finished())
    judged = {study.id.base, *open_ones, *(replicates or standing.best().values())}  # which are done again where they lack something
    for run in (study.id.base, *trials, *replicates):
        owner, folder = own_of(study, setting, run, None if run.kind == "base" else trials[run.finalist]), setting.folder / run.folder
        if owner is None:
            continue
        if claim_result(folder, owner) is not None:
            _claim_documents(folder, owner, is_judged=run in judged)
        elif run not in judged and outcome_of(trials[run]) != Outcome.FAILED:  # of which the workers may have died without a word
            _tell_loss(folder, run)


def _tell_loss(folder: Path, run: RunId) -> None:
    """Say once of a trial that has ended, and is not trained again, that its result is gone; one that was put aside is told already."""
    path, log = folder / RESULT_FILE, folder / ASIDE_LOG
    if log.exists() and str(path) in log.read_text(encoding="utf-8"):
        return
    append_line(log, f"{path}: is gone; how {run} ended stands, and of its curve and costs what MLflow holds already")


def _claim_documents(folder: Path, owner: Owner, *, is_judged: bool) -> None:
    """Put aside a run's tables of documents that are damaged or another run's, and the result of one that is judged by them."""
    log = folder / ASIDE_LOG
    for name, lost in ((DOCUMENTS_FILE, "its documents"), (RUNGS_FILE, "its rungs' documents")):
        path = folder / name
        try:
            if path.exists():
                read_table(path, owner.config)
        except DamagedError as error:
            put_aside(path, str(error).removeprefix(f"{path}: "), log)
            if is_judged:
                put_aside(folder / RESULT_FILE, f"has lost {lost}", log)


class AsideLines:
    """The lines of what was put aside in a study's folder, each told once, from the time when this is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = {path: len(lines) for path, lines in self._read()}

    def new(self) -> list[str]:
        """Return the lines that came since the last call."""
        found: list[str] = []
        for path, lines in self._read():
            found += lines[self._told.get(path, 0) :]
            self._told[path] = len(lines)
        return found

    def _read(self) -> Iterator[tuple[Path, list[str]]]:
        patterns = (ASIDE_LOG, f"{BASE_FOLDER}/{ASIDE_LOG}", f"{TRIALS_FOLDER}/*/*/{ASIDE_LOG}", f"{TRIALS_FOLDER}/*/*/seed-*/{ASIDE_LOG}")
        for pattern in patterns:
            for path in sorted(self._folder.glob(pattern)):
                yield path, path.read_text(encoding="utf-8").splitlines()
