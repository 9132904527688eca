"""Whether a study is of the model or the data that a claim is of."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.guidance.claim_book import Setting
from records.folders import ORIGINS_FILE
from records.runs import StudyRuns

SAME_SIZE = 0.01  # by which two counts of one model's parameters may differ, as a share: tied or untied, padded or not


@dataclass(frozen=True)
class StudySetting:
    """The model and the data of one study."""

    runs: StudyRuns

    def is_own(self, setting: Setting | None) -> bool:
        """Return whether the model or the data are the setting's; of a claim that names neither, no study has them."""
        return setting is not None and (self.has_model(setting) or self.has_texts(setting))

    def has_model(self, setting: Setting) -> bool:
        """Return whether the model is the setting's by its name, of one from a folder the folder's, and by its size where it is known.

        A small model that stands in for another, in a folder of its name, is not that model.
        """
        size = self.runs.base.metrics.get("efficiency/total_parameters") if self.runs.base else None
        named = self.runs.model.lower() in (setting.model.lower(), setting.model.lower().rpartition("/")[2])
        return named and (size is None or math.isclose(size, setting.parameters, rel_tol=SAME_SIZE))

    def has_texts(self, setting: Setting) -> bool:
        """Return whether texts that are adapted to lie in a folder, or a file, of the setting's name."""
        return setting.texts.lower() in self._places

    @cached_property
    def _places(self) -> frozenset[str]:
        """Return every folder's and file's name on the paths that the training texts were taken from; none where nothing says."""
        path = self.runs.artifact(self.runs.parent, ORIGINS_FILE)
        sets: Mapping[str, Any] = {} if path is None else json.loads(path.read_text(encoding="utf-8"))["data"]
        paths = [each for data_set in sets.values() if data_set.get("role") == "adapt" for each in _paths_of(data_set)]
        parts = [part.lower() for path in paths for part in path.replace("\\", "/").split("/")]
        return frozenset(name for part in parts for name in (part, part.partition(".")[0]))


def _paths_of(data_set: Mapping[str, Any]) -> Iterator[str]:
    if data_set.get("path"):
        yield str(data_set["path"])
    files: Mapping[str, str] = data_set.get("files") or {}
    yield from (str(path) for split, path in files.items() if split == "train")
