"""What is written is on the disk and whole, whenever the process that writes it is killed; who writes holds a lock."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from records import files
from records.files import (
    append_line,
    begin_folder,
    build_folder,
    building_of,
    digest_file,
    digest_files,
    digest_folder,
    finish_folder,
    hold,
    hold_place,
    make_folder,
    remove_folder,
    sweep,
    write_file,
)
from records.folders import CHECKPOINTS_FOLDER
from records.results import hold_run
from tests.support.tree import ROOT


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the operations on the disk as they come: each by name, and in brackets what the kernel was really asked to bring there."""
    done: list[str] = []
    fsync = os.fsync

    def note_flush(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        done.append(f"[{path.name.partition('-')[0]}]")
        fsync(descriptor)

    monkeypatch.setattr(files, "before", lambda operation, path: done.append(f"{operation} {path.name.partition('-')[0]}"))
    monkeypatch.setattr(os, "fsync", note_flush)
    return done


def test_a_file_is_on_the_disk_before_it_is_renamed_and_its_folder_after(tmp_path: Path, operations: list[str]) -> None:
    folder = tmp_path / "run"
    write_file(folder / "a.json", "{}")
    made = ["make run", f"flush {tmp_path.name.partition('-')[0]}", f"[{tmp_path.name.partition('-')[0]}]"]
    written = ["write .a.json.part", "flush .a.json.part", "[.a.json.part]", "rename a.json", "flush run", "[run]"]
    assert operations == made + written


def test_a_folder_is_on_the_disk_with_all_in_it_before_it_is_renamed(tmp_path: Path, operations: list[str]) -> None:
    place = tmp_path / "weights"
    for text in ("old", "new"):
        operations.clear()
        with build_folder(place, replaces=True) as building:
            (building / "model").mkdir()
            (building / "model" / "a.bin").write_text(text)
    renamed = operations.index("rename weights")
    assert operations.index("rename .weights.old") < renamed < operations.index("remove .weights.old")
    assert [done for done in operations[:renamed] if done.startswith("[")][1:] == ["[model]", "[a.bin]", "[.weights.part]"]
    assert operations[renamed + 2] == f"[{tmp_path.name}]"
    assert (place / "model" / "a.bin").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_a_folder_that_is_removed_is_there_whole_or_not_at_all(tmp_path: Path, operations: list[str]) -> None:
    make_folder(tmp_path / "old" / "inside")
    operations.clear()
    remove_folder(tmp_path / "old")
    assert [done.split()[0] for done in operations if not done.startswith("[")] == ["rename", "flush", "remove"]
    remove_folder(tmp_path / "never")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["日本語\n", "日本語\n".encode(), lambda path: path.write_text("日本語\n", encoding="utf-8")])
def test_text_bytes_and_what_a_callable_writes_become_a_file(tmp_path: Path, content: files.Content) -> None:
    write_file(tmp_path / "a" / "b" / "c.txt", content)
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "日本語\n".encode()


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("no space left on device")

    write_file(tmp_path / "a", "old")
    with pytest.raises(OSError, match="no space left"):
        write_file(tmp_path / "a", fail)
    with pytest.raises(OSError, match="no space left"), build_folder(tmp_path / "b") as building:
        fail(building / "c")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_a_folder_that_holds_something_is_only_replaced_where_that_is_meant(tmp_path: Path) -> None:
    write_file(tmp_path / "home" / "mine.txt", "mine")
    with pytest.raises(OSError, match="not empty"), build_folder(tmp_path / "home") as building:
        write_file(building / "yours.txt", "yours")
    assert [path.name for path in tmp_path.rglob("*")] == ["home", "mine.txt"]


def test_several_workers_fill_one_folder_before_it_is_sealed(tmp_path: Path) -> None:
    begin_folder(tmp_path / "step")
    for rank in range(3):
        write_file(building_of(tmp_path / "step") / f"worker-{rank}.json", str(rank))
    assert not (tmp_path / "step").exists()
    finish_folder(tmp_path / "step")
    assert sorted(path.name for path in (tmp_path / "step").iterdir()) == ["worker-0.json", "worker-1.json", "worker-2.json"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_and_folders_have_the_modes_that_the_umask_gives(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with build_folder(tmp_path / "made" / "folder") as building:
            write_file(building / "a.txt", "a")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "made").rglob("*")}
    assert modes == {"folder": 0o777 & ~umask, "a.txt": 0o666 & ~umask}
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o777 & ~umask


def test_a_line_is_added_and_one_without_its_end_is_dropped(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    append_line(log, "one")
    append_line(log, "two")
    assert log.read_text() == "one\ntwo\n"
    log.write_text("one\ntwo\nthr")
    append_line(log, "three")
    assert log.read_text() == "one\ntwo\nthree\n"


def test_leftovers_go_and_nothing_else(tmp_path: Path) -> None:
    left = [".a.json.part-0a1b2c3d", ".b.part", ".b.gone", ".optuna.db.part-0a1b2c3d-wal"]
    kept = [".bashrc", ".b", "a.json", ".a.json.lock", ".part", ".hidden.parts"]
    for name in (*left, *kept):
        (tmp_path / name).mkdir() if name.startswith(".b.") else (tmp_path / name).write_text("")
    sweep(tmp_path, "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*left[1:], *kept])
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    sweep(tmp_path / "never")


def test_what_nothing_replaced_is_put_back(tmp_path: Path) -> None:
    for name in ("weights", ".weights.part", ".weights.old"):
        write_file(tmp_path / name / "a", name)
    sweep(tmp_path)
    assert [(path.parent.name, path.read_text()) for path in tmp_path.glob("*/a")] == [("weights", "weights")]
    (tmp_path / "weights").rename(tmp_path / ".weights.old")
    with build_folder(tmp_path / "weights", replaces=True):
        assert (tmp_path / "weights" / "a").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["weights"]


def test_who_holds_a_run_finds_no_leftover_in_it(tmp_path: Path) -> None:
    step = tmp_path / CHECKPOINTS_FOLDER / "0000000001"
    for place in (tmp_path, step.parent, step):
        write_file(place / ".result.json.part-0a1b2c3d", "")
    with hold_run(tmp_path):
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock"]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Path]:
    """Yield a lock that another process holds, which said so."""
    code = f"import sys; from pathlib import Path; from records.files import hold\nwith hold(Path({str(tmp_path / 'lock')!r}), busy='x'):\n"
    command = [sys.executable, "-c", f"{code}    print('held', flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield tmp_path / "lock"
        process.kill()


def test_a_lock_that_is_held_is_refused_in_one_line_and_free_after_a_kill(holder: Path) -> None:
    who = json.loads(holder.with_name("lock.json").read_text())
    refused = rf"^study small is being run by process {who['process']} on {who['host']} \(lock: {holder}\)$"
    with pytest.raises(ValueError, match=refused), hold(holder, patience=0, busy="study small is being run"):
        pass
    with pytest.raises(TimeoutError, match=r"another process still holds it after 0\.1 seconds$"), hold(holder, patience=0.1):
        pass
    os.kill(who["process"], 9)
    with hold(holder, patience=10):
        assert holder.exists()
    assert holder.exists()


def test_a_place_of_its_own_is_held_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / ".home.part").mkdir()
    with hold_place(tmp_path / "home"):
        assert [path.name for path in tmp_path.iterdir()] == [".home.lock"]
    assert list(tmp_path.iterdir()) == []


def test_digests_are_of_names_and_contents(tmp_path: Path) -> None:
    write_file(tmp_path / "a.json", "a")
    write_file(tmp_path / "b" / "c.json", "c")
    assert digest_file(tmp_path / "a.json") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"  # of "a"
    assert list(digest_files(tmp_path)) == ["a.json", "b/c.json"]
    assert list(digest_files(tmp_path, "*.json", "a.*")) == ["a.json"]
    before = digest_folder(tmp_path)
    (tmp_path / "a.json").rename(tmp_path / "d.json")
    assert digest_folder(tmp_path) != before
    (tmp_path / "d.json").rename(tmp_path / "a.json")
    assert digest_folder(tmp_path) == before
