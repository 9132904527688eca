"""Data sets of the Hugging Face hub at a pinned commit, fetched once into hikaku's cache: `hub:owner/name@commit[:config]`."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from records.files import build_folder, hold_place, remove_folder
from records.refusals import Refusal
from trainables.corpora.reading.formats import SUFFIXES

PREFIX = "hub:"
SOURCE = re.compile(r"hub:(?P<id>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})(?::(?P<config>[\w.-]+))?")
Fetch = Callable[..., object]


def fetch_data_set(source: str, cache: Path | None = None, fetch: Fetch | None = None) -> Path:
    """Return the local folder of a data set's text files, of one config where it is named; `fetch` stands in for the hub's download.

    What was fetched once is not asked for again: a commit never changes. Raises ValueError, in one line, for a source without a commit,
    one that cannot be had, and one without such files.
    """
    from platformdirs import user_cache_path

    match = SOURCE.fullmatch(source)
    if match is None:
        raise Refusal(got=repr(source), allowed="hub:owner/name@commit[:config], the commit 40 hexadecimal digits")
    root = cache or Path(os.environ.get("HIKAKU_CACHE") or user_cache_path("hikaku")) / "data_sets"
    folder = root / source.removeprefix(PREFIX).replace("/", "--").replace(":", "--")
    with hold_place(folder):  # whoever asks at the same time waits for the one that fetches
        if folder.is_dir():
            return folder
        with build_folder(folder) as building:
            request = {"repo_id": match["id"], "revision": match["revision"], "allow_patterns": _choose_files(match["config"])}
            try:
                (fetch or _download)(repo_type="dataset", local_dir=building, **request)
            except Exception as error:  # the hub's client raises its own, its HTTP library's and the network's errors
                first = str(error).strip().partition("\n")[0]
                failure = f"could not be fetched: {type(error).__name__}: {first}"
                raise Refusal(source, fault=failure, allowed="a commit that the hub has") from None
            remove_folder(building / ".cache")  # the hub client's own notes
            if not any(file.is_file() for file in building.rglob("*")):
                absent = f"has no {', '.join(SUFFIXES['auto'])} files there"
                raise Refusal(source, fault=absent, allowed="another config or data set")
    return folder


def _download(**request: Any) -> None:
    import huggingface_hub

    hub: Any = huggingface_hub
    hub.logging.set_verbosity_error()  # its retries: the reason is told once
    hub.snapshot_download(**request)


def _choose_files(config: str | None) -> list[str]:
    """Return patterns of the files to fetch: of a config those in a folder of its name, or whose names begin with it."""
    endings = [f"{suffix}{packed}" for suffix in SUFFIXES["auto"] for packed in ("", ".gz")]
    places = ("*",) if config is None else (f"{config}", f"{config}[-_.]*", f"{config}/*")
    return [f"{folder}{place}{ending}" for folder in ("", "*/") for place in places for ending in endings]
