"""A study that the version before began goes on: its state folder is `tests/support/earlier_state.tar.gz`."""

import json
import tarfile
from pathlib import Path

import pytest

from hikaku.search.standing import read_standing
from hikaku.study.study import Study
from records.obstacles import Obstacle
from records.results import Outcome, load_result
from records.sealed import FORMAT
from tests.support.local_launch import launch
from tests.support.tree import ROOT

EARLIER = ROOT / "tests" / "support" / "earlier_state.tar.gz"


@pytest.fixture
def begun(tmp_path: Path) -> Study:
    """Return the study; its state lies in `tmp_path / "state"`, which is not where it was written."""
    with tarfile.open(EARLIER) as archive:
        archive.extractall(tmp_path, filter="data")
    described = json.loads((tmp_path / "described.json").read_text())
    for section in (described["model"], *described["data"].values()):
        section["path"] = str(tmp_path / section["path"])
    return Study.model_validate(described)


def test_a_study_of_the_version_before_goes_on(begun: Study, tmp_path: Path) -> None:
    folder = tmp_path / "state" / begun.name
    ended, resumed = folder / "trials" / "lora" / "0", folder / "trials" / "lora" / "1"
    before = json.loads((ended / "result.json").read_text())
    assert "format" not in before
    (checkpoint,) = (resumed / "checkpoints").iterdir()
    trained = json.loads((checkpoint / "progress.json").read_text())["curve"]
    lines: list[str] = []
    summary = launch(begun, tmp_path / "state", lines.append, recorded=False)
    assert summary.exit_code == 0
    assert not [line for line in lines if "put aside" in line]
    assert [row.outcome for row in read_standing(begun, folder).snapshot()].count(None) == 0
    kept, taken_up = load_result(ended), load_result(resumed)
    assert kept is not None
    assert taken_up is not None
    assert kept.started == before["started"]  # not trained again
    assert kept.metrics.items() >= before["metrics"].items()
    assert taken_up.outcome in (Outcome.COMPLETED, Outcome.PRUNED)
    assert [point.model_dump() for point in taken_up.curve[: len(trained)]] == trained  # gone on from its checkpoint
    for file in ("study.json", "data/card.json", "trials/lora/1/result.json"):
        assert json.loads((folder / file).read_text())["format"] == FORMAT


def test_a_study_of_a_version_to_come_is_refused_in_one_line(begun: Study, tmp_path: Path) -> None:
    path = tmp_path / "state" / begun.name / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": FORMAT + 1}))
    with pytest.raises(
        Obstacle, match=r"study\.json: format 3 was written by a newer hikaku, this one reads 1 and 2; go on with that version$"
    ):
        launch(begun, tmp_path / "state", print)
