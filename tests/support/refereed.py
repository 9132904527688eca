"""Trials under a referee, one after another in this process, their metrics the stand-in's formula."""

import time
from pathlib import Path

from optuna.trial import FrozenTrial

from hikaku.search.referee import Referee
from hikaku.search.standing import read_standing
from hikaku.study.study import Study
from records.results import Outcome, RungReport, save_result
from tests.support.stand_in import make_referee, metrics_at, result_of
from trainables.config import TrialConfig


def stored_trials(referee: Referee) -> list[FrozenTrial]:
    return list(read_standing(referee.study, referee.setting.folder).trials().values())


def ask(referee: Referee) -> TrialConfig:
    flat = referee.next_trial()
    assert flat is not None
    return TrialConfig.unflatten(flat)


def rung(config: TrialConfig, tokens: int, **more: float) -> RungReport:
    return RungReport(tokens=tokens, metrics=metrics_at(config, tokens) | more, unix_time=time.time())


def run_to_end(referee: Referee, config: TrialConfig) -> Outcome:
    for tokens in (*config.budget.rungs, config.budget.tokens):
        if not referee.report(config.uid, rung(config, tokens)):
            result = result_of(config, Outcome.PRUNED, tokens)
            break
    else:
        result = result_of(config, Outcome.COMPLETED, config.budget.tokens)
    save_result(Path(config.folder), result)
    return referee.finish(config.uid, result)


def run_study(study: Study, folder: Path, *, reopen: bool = False) -> dict[str, tuple[Outcome, dict[str, object]]]:
    """Run a study one trial at a time, with a fresh referee for every trial when `reopen`."""
    ended: dict[str, tuple[Outcome, dict[str, object]]] = {}
    referee = make_referee(study, folder)
    while (flat := referee.next_trial()) is not None:
        config = TrialConfig.unflatten(flat)
        ended[config.uid] = (run_to_end(referee, config), {key: value for key, value in flat.items() if "folder" not in key})
        if reopen:
            referee.close(finished=False)
            referee = make_referee(study, folder)
    assert referee.is_done()
    referee.close(finished=True)
    return ended
