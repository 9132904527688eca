"""A uid is parsed and put together in one place: what its parts are, where a run lies, what stands above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from records.run_id import RunId
from tests.support.tree import ROOT

STUDY = RunId.of_study("s")
TRIAL = STUDY.trial("lora", 3)
UIDS = {"s": STUDY, "s/base": STUDY.base, "s/lora/3": TRIAL, "s/lora/3/seed-12": TRIAL.replicate(12), "s/base/0": STUDY.trial("base", 0)}


@pytest.mark.parametrize("uid", UIDS)
def test_a_uid_is_read_as_it_is_written(uid: str) -> None:
    assert RunId.parse(uid) == UIDS[uid]
    assert str(RunId.parse(uid)) == uid


def test_the_parts_of_each_kind() -> None:
    parts = {uid: (run.kind, run.study, run.arm, run.number, run.seed) for uid, run in UIDS.items()}
    assert parts["s"] == ("study", "s", "", -1, -1)
    assert parts["s/base"] == ("base", "s", "", -1, -1)
    assert parts["s/lora/3"] == ("trial", "s", "lora", 3, -1)
    assert parts["s/lora/3/seed-12"] == ("replicate", "s", "lora", 3, 12)


def test_folders_names_and_parents() -> None:
    assert {uid: run.folder for uid, run in UIDS.items()} == {
        "s": Path(),
        "s/base": Path("base"),
        "s/lora/3": Path("trials/lora/3"),
        "s/lora/3/seed-12": Path("trials/lora/3/seed-12"),
        "s/base/0": Path("trials/base/0"),  # an arm may be called so
    }
    assert [run.short for run in UIDS.values()] == ["s", "base", "lora/3", "lora/3/seed-12", "base/0"]
    assert [run.parent for run in UIDS.values()] == [None, STUDY, STUDY, TRIAL, STUDY]
    assert TRIAL.replicate(12).finalist == TRIAL.finalist == TRIAL


def test_parents_come_first_and_numbers_count_as_numbers() -> None:
    uids = ["s", "s/base", "s/lora/2", "s/lora/10", "s/sft/0", "s/lora/2/seed-2", "s/lora/2/seed-10"]
    assert [str(run) for run in sorted(map(RunId.parse, reversed(uids)), key=lambda run: run.order)] == uids


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "s/",
        "s/lora",
        "s/lora/",
        "s/lora/x",
        "s/lora/-1",
        "s/lora/03",
        "s/lora/3/seed-",
        "s/lora/3/4",
        "s/lora/３",
        "a/b/0/seed-1/c",
        "s\n",
    ],
)
def test_what_is_no_uid_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^uid: got .*; allowed: study, study/base, study/arm/number, or study/arm/number/seed-N$"):
        RunId.parse(text)


PACKAGES = ("hikaku", "records", "search_spaces", "trainables", "analysis")
TAKES_APART = {"split", "rsplit", "partition", "rpartition", "count", "startswith", "endswith", "removeprefix", "removesuffix"}


def find_uid_handling(code: str) -> Iterator[str]:
    """Yield each expression that takes what is called a uid apart, or puts one together from its parts."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TAKES_APART:
            if "uid" in ast.unparse(node.func.value):
                yield ast.unparse(node)
        elif isinstance(node, ast.JoinedStr):
            for part, follower in zip(node.values, [*node.values[1:], ast.Constant("")], strict=True):
                text = follower.value if isinstance(follower, ast.Constant) else ""
                is_uid = isinstance(part, ast.FormattedValue) and "uid" in ast.unparse(part) and str(text).startswith("/")
                if is_uid or text in ("/base", "/seed-", "seed-"):
                    yield ast.unparse(node)


def test_uids_are_taken_apart_and_put_together_in_one_place() -> None:
    handling: dict[str, list[str]] = {}
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        found = list(find_uid_handling(path.read_text(encoding="utf-8")))
        if found:
            handling[path.relative_to(ROOT).as_posix()] = found
    assert handling == {}  # RunId parses by a regular expression, and joins parts that have no name of their own


def test_handling_of_a_uid_is_recognised() -> None:
    handling = ["run.uid.split('/')", "uid.count('/') == 2", "f'{study.name}/base'", "f'{uid}/seed-{n}'", "other.startswith(f'{uid}/')"]
    others = ["metric.split('/')", "f'test/{name}'", "f'{run.uid}: completed'", "f'{study}/{place}'", "uid.replace('/', '-')"]
    assert [bool(list(find_uid_handling(code))) for code in (*handling, *others)] == [True] * 5 + [False] * 5
