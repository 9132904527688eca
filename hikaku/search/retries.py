"""Failed trials and replicates, opened again: each goes on under its own id from its last checkpoint, as one that was interrupted."""

from pathlib import Path

from hikaku.search.standing import read_standing
from hikaku.search.trial_store import outcome_of, reopen_trials
from hikaku.study.study import Study
from records.files import hold, put_aside
from records.folders import ASIDE_LOG, REFEREE_LOCK, RESULT_FILE
from records.results import Outcome, load_result
from records.run_id import RunId


def reopen_failed(study: Study, folder: Path, patience: float = 30) -> list[RunId]:
    """Return the failed trials and replicates of a study after opening them again; diverged ones and those out of memory stay ended.

    The study's folder is held by the caller. Raises TimeoutError when a referee of the study is still alive after `patience` seconds.
    """
    with hold(folder / REFEREE_LOCK, patience=patience):
        standing = read_standing(study, folder)
        trials = [run for run, trial in standing.trials().items() if outcome_of(trial) == Outcome.FAILED]
        replicates = [run for run in standing.replicates() if _has_failed(folder, run)]
        for run in (*trials, *replicates):  # before the trials: a result that lay there would end them again
            if (folder / run.folder / RESULT_FILE).exists():
                put_aside(folder / run.folder / RESULT_FILE, "is of a failed run, which is tried again", folder / run.folder / ASIDE_LOG)
        if trials:
            reopen_trials(study, folder, trials)
    return [*trials, *replicates]


def _has_failed(folder: Path, run: RunId) -> bool:
    result = load_result(folder / run.folder)
    return result is not None and result.outcome == Outcome.FAILED
