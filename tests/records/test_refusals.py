"""A refusal is data until its line is made: its key is prefixed, its place added, and it survives pydantic and pickling."""

import pickle
import re
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from records.refusals import Refusal, read_error, refuse_name
from tests.support.tree import ROOT

PACKAGES = ("hikaku", "records", "search_spaces", "trainables", "analysis")
NAMES = ("rank", "targets", "dropout")


class Adapter(BaseModel):
    """Something pydantic checks: by bounds, by a validator of ours, and between two kinds of value."""

    rank: int = Field(default=8, ge=1)
    targets: Literal["attention", "mlp"] = "attention"
    share: Literal["auto"] | float = "auto"

    @field_validator("rank")
    @classmethod
    def _even(cls, rank: int) -> int:
        if rank % 2:
            raise Refusal("nested.key", rank, "an even rank")
        return rank


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (Refusal("method.rank", 0, "at least 1"), "method.rank: got 0; allowed: at least 1"),
        (Refusal(got="low 2 and high 1", allowed="low below high"), "got low 2 and high 1; allowed: low below high"),
        (Refusal("rank", 7, "4, 8", scope="in a grid"), "rank: got 7; allowed in a grid: 4, 8"),
        (Refusal("revision", "'main'", scope="only with an id"), "revision: got 'main'; allowed only with an id"),
        (Refusal("split", fault="that of english is fixed"), "split: that of english is fixed"),
        (Refusal(place="a.yaml", fault="no such file", allowed="a file"), "a.yaml: no such file; allowed: a file"),
        (Refusal("rank", 0, "1", place="a.yaml:3"), "a.yaml:3: rank: got 0; allowed: 1"),
        (Refusal("rank", 0, "1", place="--set rank"), "--set rank: got 0; allowed: 1"),
        (Refusal("rank.low", 0, "1", place="--set rank"), "--set rank: rank.low: got 0; allowed: 1"),
        (Refusal("text", fault="ends\n  early"), "text: ends early"),
        (refuse_name("x.rnak", "rnak", NAMES, fault="unknown key"), "x.rnak: unknown key; did you mean 'rank'?"),
        (refuse_name("x", "colour", NAMES), "x: got 'colour'; allowed: rank, targets, dropout"),
    ],
)  # fmt: skip
def test_a_refusal_reads_as_one_line(refusal: Refusal, line: str) -> None:
    assert str(refusal) == line


def test_a_key_is_put_below_another_and_a_place_before_it() -> None:
    refusal = Refusal("method.rank", 7, "4, 8, 16")
    placed = refusal.below("arms.lora.starts.1").at("study.yaml:21")
    assert (placed.key, placed.got, placed.allowed) == ("arms.lora.starts.1.method.rank", 7, "4, 8, 16")
    assert str(placed) == "study.yaml:21: arms.lora.starts.1.method.rank: got 7; allowed: 4, 8, 16"
    assert Refusal(got=1, allowed="2").below("seed").key == "seed"
    assert refusal.key == "method.rank"  # what was raised stays as it was


def test_what_a_validator_refuses_comes_out_of_pydantic_with_its_key() -> None:
    with pytest.raises(ValidationError) as caught:
        Adapter(rank=3)
    refusal = read_error(caught.value.errors()[0])
    assert (refusal.key, refusal.got, refusal.allowed) == ("nested.key", 3, "an even rank")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"rank": 0}, "got 0; allowed: at least 1"),
        ({"rank": "x"}, "got 'x'; allowed: a whole number"),
        ({"targets": "atention"}, "got 'atention'; allowed: 'attention', 'mlp'; did you mean 'attention'?"),
        ({"share": [1]}, "got a list; allowed: 'auto'"),
    ],
)
def test_pydantics_own_errors_say_what_is_allowed(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Adapter.model_validate(values)
    assert str(read_error(caught.value.errors()[0])) == line


def test_a_refusal_outlives_pickling_as_ray_does_it() -> None:
    refusal = Refusal("resources.workers", 2, "1", fault="other workers", scope="here", near="one", place="a.yaml:3")
    for same in (refusal, refusal.below("x"), Refusal(fault="alone", place="b")):
        again = pickle.loads(pickle.dumps(same))
        assert isinstance(again, ValueError)
        assert (str(again), vars(again)) == (str(same), vars(same))


def test_lines_are_made_in_one_place() -> None:
    """A text with `; allowed` would be a line written by hand, or one that is taken apart again."""
    written = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"[;:] allowed\b|did you mean", line) and path.name != "refusals.py"
    ]
    assert written == []
