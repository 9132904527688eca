"""What a command on a study does first, without Ray: it looks at the stored trials, and writes nothing before it knows what is missing."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from hikaku.search import launcher
from hikaku.search.launcher import Launch
from hikaku.search.standing import read_standing, refuse_other_workers
from hikaku.study.setting import Setting
from hikaku.study.study import Study
from records.files import write_file
from records.folders import CONFIG_FILE
from records.run_id import RunId
from tests.support.stand_in import make_referee, make_study


def launch(study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return "searched" where the launcher goes on to Ray; building a referee of its own before fails the test."""

    def fail(*arguments: Any, **named: Any) -> None:
        raise AssertionError("a second referee, and with it a second writer to MLflow")

    setting = Setting(folder / study.name, folder / "model", folder / "data", "fp32", "sqlite:///nowhere.db")
    monkeypatch.setattr(Launch, "_prepare", lambda self: setting)
    monkeypatch.setattr(Launch, "_search", lambda self, setting: "searched")
    monkeypatch.setattr(launcher, "Referee", fail)
    return str(Launch(study, setting.folder, None, print, contextlib.ExitStack()).run())


def test_a_study_that_is_not_done_is_looked_at_without_a_referee(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path)
    assert launch(study, tmp_path, monkeypatch) == "searched"
    assert not (tmp_path / study.name).exists(), "looking writes nothing"
    referee = make_referee(study, tmp_path)
    assert referee.next_trial() is not None
    assert launch(study, tmp_path, monkeypatch) == "searched"  # also while another process holds the referee's lock


def test_other_workers_are_refused_before_ray_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    referee = make_referee(make_study(tmp_path), tmp_path)
    flat = referee.next_trial()
    assert flat is not None
    path = tmp_path / "small" / RunId.parse(flat["uid"]).folder / CONFIG_FILE
    for damaged in ("", "[]", "{}", "\0"):  # which the trial itself writes anew
        write_file(path, damaged)
        refuse_other_workers(read_standing(referee.study, tmp_path / "small"), tmp_path / "small")
    write_file(path, '{"engine": {"workers": 1}}')
    with pytest.raises(ValueError, match=r"^resources.workers: got 2; allowed: 1, with which small/lora/0 was begun, until it has ended$"):
        launch(make_study(tmp_path, resources={"workers": 2}), tmp_path, monkeypatch)
