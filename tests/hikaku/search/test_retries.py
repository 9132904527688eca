"""Failed runs are tried again under their own ids; all other ends stand."""

from pathlib import Path

import pytest

from hikaku.search.retries import reopen_failed
from hikaku.search.standing import read_standing
from records.results import Outcome, RungReport, load_result, save_result
from tests.support.stand_in import make_referee, make_study, metrics_at, result_of
from trainables.config import TrialConfig

ENDS = (Outcome.FAILED, Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.COMPLETED)


def test_only_what_failed_is_tried_again_from_where_it_was(tmp_path: Path) -> None:
    study = make_study(tmp_path, budget={"trials": 2, "tokens": 900}, constraints=[{"metric": "retention/retained", "at_least": -9}])
    folder, referee = tmp_path / "small", make_referee(study, tmp_path)
    configs: dict[Outcome, TrialConfig] = {}
    for end in ENDS:
        flat = referee.next_trial()
        assert flat is not None
        config = configs[end] = TrialConfig.unflatten(flat)
        referee.report(config.uid, RungReport(tokens=100, metrics=metrics_at(config, 100), unix_time=0))
        assert referee.finish(config.uid, result_of(config, end, 900 if end == Outcome.COMPLETED else 100)) == end
    with pytest.raises(TimeoutError, match="another process still holds it"):
        reopen_failed(study, folder, patience=0.1)
    referee.close(finished=True)
    before = {row.uid: row for row in read_standing(study, folder).snapshot()}
    failed = configs[Outcome.FAILED]

    assert list(map(str, reopen_failed(study, folder))) == [failed.uid]
    assert load_result(Path(failed.folder)) is None
    assert "tried again; put aside as result.json.set-aside-1" in (Path(failed.folder) / "set-aside.log").read_text()
    after = {row.uid: row for row in read_standing(study, folder).snapshot()}
    assert after.pop(failed.uid).outcome is None
    assert after == {uid: row for uid, row in before.items() if uid != failed.uid}

    referee = make_referee(study, tmp_path)  # which takes it up as any that was interrupted
    again = referee.next_trial()
    assert again == failed.flatten()
    assert referee.next_trial() is None
    assert referee.report(failed.uid, RungReport(tokens=900, metrics=metrics_at(failed, 900), unix_time=0))
    assert referee.finish(failed.uid, result_of(failed, Outcome.COMPLETED, 900)) == Outcome.COMPLETED
    assert referee.is_done()
    (trial,) = (trial for run, trial in read_standing(study, folder).trials().items() if str(run) == failed.uid)
    assert len(trial.constraints) == 1
    assert trial.values is not None
    assert set(trial.intermediate_values) == {100, 900}
    referee.close(finished=True)
    assert reopen_failed(study, folder) == []


def test_a_failed_replicate_is_tried_again(tmp_path: Path) -> None:
    study = make_study(tmp_path, budget={"trials": 1, "tokens": 900}, finalists={"best": 1, "seeds": 2})
    folder, referee = tmp_path / "small", make_referee(study, tmp_path)
    while (flat := referee.next_trial()) is not None:
        config = TrialConfig.unflatten(flat)
        referee.finish(config.uid, result_of(config, Outcome.COMPLETED, 900))
    ends = (Outcome.FAILED, Outcome.COMPLETED, Outcome.DIVERGED, Outcome.COMPLETED)
    replicates = referee.replicates()
    for run, end in zip(replicates, ends, strict=True):
        config = TrialConfig.unflatten(referee.configure_replicate(run))
        save_result(folder / run.folder, result_of(config, end, 900))
    referee.close(finished=True)
    assert reopen_failed(study, folder) == replicates[:1]
    assert [load_result(folder / run.folder) is None for run in replicates] == [True, False, False, False]
