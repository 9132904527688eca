"""Data sets of the Hugging Face hub at a pinned commit, fetched once into the hub's own cache: `hub:owner/name@commit[:config]`."""

import re
from collections.abc import Callable
from pathlib import Path

from trainables.corpora.formats import SUFFIXES

PREFIX = "hub:"
SOURCE = re.compile(r"hub:(?P<id>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})(?::(?P<config>[\w.-]+))?")
Fetch = Callable[..., str]


def fetch_data_set(source: str, fetch: Fetch | None = None) -> Path:
    """Return the local folder of a data set's text files, of one config where it is named; `fetch` stands in for the hub's download.

    Raises ValueError, in one line, for a source without a commit, one that cannot be had, and one without such files.
    """
    asked = SOURCE.fullmatch(source)
    if asked is None:
        raise ValueError(f"got {source!r}; allowed: hub:owner/name@commit[:config], the commit 40 hexadecimal digits")
    if fetch is None:
        from huggingface_hub import snapshot_download as fetch
    try:
        folder = Path(
            fetch(repo_id=asked["id"], repo_type="dataset", revision=asked["revision"], allow_patterns=_choose_files(asked["config"]))
        )
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the network's errors
        first = str(error).strip().partition("\n")[0]
        raise ValueError(f"{source}: could not be fetched: {type(error).__name__}: {first}; allowed: a commit that the hub has") from None
    if not any(file.is_file() for file in folder.rglob("*")):
        raise ValueError(f"{source}: has no {', '.join(SUFFIXES['auto'])} files there; allowed: another config or data set")
    return folder


def _choose_files(config: str | None) -> list[str]:
    """Return patterns of the files to fetch: of a config those in a folder of its name, or whose names begin with it."""
    endings = [f"{suffix}{packed}" for suffix in SUFFIXES["auto"] for packed in ("", ".gz")]
    places = ("*",) if config is None else (f"{config}", f"{config}[-_.]*", f"{config}/*")
    return [f"{folder}{place}{ending}" for folder in ("", "*/") for place in places for ending in endings]
