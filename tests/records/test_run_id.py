"""A uid is parsed and put together in one place: what its parts are, where a run lies, what stands above it."""

from pathlib import Path

import pytest

from records.run_id import RunId

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
