"""Checkpoints are complete or absent; what is kept is the last and the best."""

import json
from pathlib import Path

import pytest
import torch

from records.results import RungReport
from trainables.training.checkpoint import Checkpoints, Progress, read_checkpoint


def _open(folder: Path, keep_best: int = 1) -> Checkpoints:
    return Checkpoints(folder, rank=0, keep_best=keep_best, barrier=lambda: None)


def _save(checkpoints: Checkpoints, step: int, loss: float | None = None, *, world_size: int = 1) -> None:
    report = RungReport(tokens=step, metrics={"eval/perplexity": float("inf")}, unix_time=1.0)
    progress = Progress(world_size=world_size, zero_stage=0, step=step, tokens=8 * step, rungs=[report], validation_loss=loss)
    checkpoints.save(progress, {"exp_avg/0": torch.full((3,), float(step))}, {"scheduler": step}, _save_weights)


def _save_weights(folder: Path) -> None:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("[0-9]*"))


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    checkpoints = _open(tmp_path)
    _save(checkpoints, 7, 2.5)
    found = checkpoints.newest(world_size=1, zero_stage=0)
    assert found is not None
    tensors, numbers = found.worker_state(0)
    assert (found.progress.step, found.progress.tokens, found.progress.validation_loss) == (7, 56, 2.5)
    assert found.progress.rungs[-1].metrics["eval/perplexity"] == float("inf")
    assert (tensors["exp_avg/0"].tolist(), numbers) == ([7.0] * 3, {"scheduler": 7})
    assert (found.weights / "model.safetensors").read_bytes() == b"weights"


def test_nothing_saved_is_nothing_found(tmp_path: Path) -> None:
    assert _open(tmp_path / "none").newest(world_size=1, zero_stage=0) is None


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = _open(tmp_path, keep_best=2)
    for step, loss in [(1, 3.0), (2, 1.0), (3, 4.0), (4, 2.0), (5, None), (6, 5.0)]:
        _save(checkpoints, step, loss)
    assert _steps(tmp_path) == [2, 4, 6]


def test_an_ended_trial_keeps_the_best_weights_without_optimizer_states(tmp_path: Path) -> None:
    checkpoints = _open(tmp_path)
    for step, loss in [(1, 1.0), (2, 3.0)]:
        _save(checkpoints, step, loss)
    (tmp_path / ".0000000003.part").mkdir()
    checkpoints.drop_states(2)
    assert [path.name for path in tmp_path.iterdir()] == ["0000000001"]
    assert sorted(path.name for path in (tmp_path / "0000000001").iterdir()) == ["manifest.json", "progress.json", "weights"]
    assert read_checkpoint(tmp_path / "0000000001") is not None


@pytest.mark.parametrize("file", ["manifest.json", "progress.json", "worker-0.json", "worker-0.safetensors", "weights/model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_any_damage_to_any_file_is_noticed(tmp_path: Path, file: str, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = _open(tmp_path)
    _save(checkpoints, 1, 1.0)
    _save(checkpoints, 2, 2.0)
    path = tmp_path / "0000000002" / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    found = checkpoints.newest(world_size=1, zero_stage=0)
    assert found is not None
    assert found.progress.step == 1
    assert "0000000002 is damaged" in caplog.text


def test_a_save_that_was_killed_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoints = _open(tmp_path)
    _save(checkpoints, 1)

    def die(folder: Path) -> None:
        raise KeyboardInterrupt

    progress = Progress(world_size=1, zero_stage=0, step=2)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(progress, {"exp_avg/0": torch.zeros(3)}, {}, die)
    found = _open(tmp_path).newest(world_size=1, zero_stage=0)
    assert found is not None
    assert found.progress.step == 1
    _save(checkpoints, 2)
    assert _steps(tmp_path) == [2]


@pytest.mark.parametrize(("world_size", "zero_stage"), [(2, 0), (1, 3)])
def test_resuming_differently_is_refused_in_one_line(tmp_path: Path, world_size: int, zero_stage: int) -> None:
    checkpoints = _open(tmp_path)
    _save(checkpoints, 1)
    with pytest.raises(ValueError, match=f"asked to resume with {world_size} and {zero_stage}; allowed: the same") as refused:
        checkpoints.newest(world_size=world_size, zero_stage=zero_stage)
    assert "\n" not in str(refused.value)


def test_only_safetensors_and_json_are_written(tmp_path: Path) -> None:
    _save(_open(tmp_path), 1)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:
        if path.suffix == ".json":
            json.loads(path.read_text())
