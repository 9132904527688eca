"""Data sets of the hub: pinned to a commit, fetched once, and what cannot be had in one line."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.texts import draw_texts, write_jsonl
from trainables.corpora.cleaning.cleaning import Preparation, prepare_folder
from trainables.corpora.reading.hub import fetch_data_set


def test_hub_data_sets_are_pinned_and_fetched_once(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def fetch(**request: Any) -> None:
        asked.append(request)
        (request["local_dir"] / "main").mkdir()
        write_jsonl(request["local_dir"] / "main" / "train.jsonl", draw_texts(20))

    source = f"hub:owner/name@{'0a' * 20}:main"
    folder = fetch_data_set(source, tmp_path / "cache", fetch)
    assert fetch_data_set(source, tmp_path / "cache", fetch) == folder
    assert [(each["repo_id"], each["revision"], each["repo_type"]) for each in asked] == [("owner/name", "0a" * 20, "dataset")]
    assert "main/*.jsonl" in asked[0]["allow_patterns"]
    assert "*.jsonl" not in asked[0]["allow_patterns"]
    card = prepare_folder({source: folder}, tmp_path / "clean", Preparation(), {})
    assert list(card.files) == [f"{source}/main/train.jsonl"]


def test_hub_data_sets_that_cannot_be_had_are_one_line(tmp_path: Path) -> None:
    def fail(**_: Any) -> None:
        raise OSError("no network\nat all")

    for source in ("hub:owner/name", "hub:owner/name@main", "hub:name@" + "0a" * 20):
        with pytest.raises(ValueError, match=r"allowed: hub:owner/name@commit\[:config\], the commit 40 hexadecimal digits$"):
            fetch_data_set(source, tmp_path, fail)
    source = f"hub:owner/name@{'0a' * 20}"
    with pytest.raises(ValueError, match=r": could not be fetched: OSError: no network; allowed: a commit that the hub has$"):
        fetch_data_set(source, tmp_path, fail)
    with pytest.raises(ValueError, match=r"has no \.txt, .* files there"):
        fetch_data_set(source, tmp_path, lambda **_: None)
    assert list(tmp_path.iterdir()) == []
