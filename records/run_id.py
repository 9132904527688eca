"""Which run is meant: the one place where a uid is taken apart and put together.

A uid is text on the wire: in configs and results, in MLflow's tags and Optuna's names, on the command line, in reports. Within the code a
`RunId` travels, which was parsed once where the text came in.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from records.folders import BASE_FOLDER, TRIALS_FOLDER
from records.refusals import Refusal

Kind = Literal["study", "base", "trial", "replicate"]
KINDS: tuple[Kind, ...] = ("study", "base", "trial", "replicate")  # parents before children, in MLflow's sense

_BASE, _SEED = "base", "seed-"
_UID = re.compile(rf"(?P<study>[^/\s]+)(/({_BASE}|(?P<arm>[^/\s]+)/(?P<number>0|[1-9]\d*)(/{_SEED}(?P<seed>0|[1-9]\d*))?))?", re.ASCII)


@dataclass(frozen=True)
class RunId:
    """A run's id, whose text is its uid: `study`, `study/base`, `study/arm/number` or `study/arm/number/seed-N`."""

    kind: Kind
    study: str
    arm: str = ""  # empty for the study and its base
    number: int = -1  # of the trial within its arm; −1 for the study and its base
    seed: int = -1  # the index of a replicate's seed; −1 for all other kinds

    @classmethod
    def parse(cls, text: str) -> "RunId":
        """Return the id that a uid stands for. Raises Refusal for text that is no uid."""
        uid = _UID.fullmatch(text)
        if uid is None:
            raise Refusal("uid", repr(text), "study, study/base, study/arm/number, or study/arm/number/seed-N")
        study = cls.of_study(uid["study"])
        if uid["arm"] is None:
            return study if text == study.study else study.base
        trial = study.trial(uid["arm"], int(uid["number"]))
        return trial if uid["seed"] is None else trial.replicate(int(uid["seed"]))

    @classmethod
    def of_study(cls, name: str) -> "RunId":
        """Return the id of a study's own run, from which all others of the study are made."""
        return cls("study", name)

    @property
    def base(self) -> "RunId":
        """Return the id of the study's base."""
        return RunId("base", self.study)

    def trial(self, arm: str, number: int) -> "RunId":
        """Return the id of a trial of the study."""
        return RunId("trial", self.study, arm, number)

    def replicate(self, seed: int) -> "RunId":
        """Return the id of the run that trains this trial again with the seed of an index."""
        assert self.kind == "trial", "only trials are trained again"
        return replace(self, kind="replicate", seed=seed)

    @property
    def finalist(self) -> "RunId":
        """Return the id of the trial that a replicate trains again; a trial's is its own."""
        assert self.kind in ("trial", "replicate"), "the study and its base are no trials"
        return replace(self, kind="trial", seed=-1)

    @property
    def parent(self) -> "RunId | None":
        """Return the id of the run that this one lies below in MLflow: a replicate's trial, else the study; None for the study."""
        if self.kind == "study":
            return None
        return self.finalist if self.kind == "replicate" else RunId.of_study(self.study)

    @property
    def folder(self) -> Path:
        """Return the run's folder, relative to the study's: `base`, `trials/arm/number`, or below that `seed-N`."""
        if self.kind == "study":
            return Path()
        return Path(BASE_FOLDER) if self.kind == "base" else Path(TRIALS_FOLDER, *self._parts)

    @property
    def level(self) -> int:
        """Return 0 for the study, 1 for the base, 2 for trials, 3 for replicates: parents have lower ones than their children."""
        return KINDS.index(self.kind)

    @property
    def order(self) -> tuple[int, str, int, int]:
        """Return the key by which runs of a study are sorted: level, arm, number, seed."""
        return self.level, self.arm, self.number, self.seed

    @property
    def short(self) -> str:
        """Return what the run is called within its study, `arm/number` for a trial; the study by its name."""
        return "/".join(self._parts) or self.study

    def __str__(self) -> str:
        """Return the uid."""
        return "/".join((self.study, *self._parts))

    @property
    def _parts(self) -> tuple[str, ...]:
        """Return what stands behind the study's name in the uid."""
        parts_of_kind: dict[Kind, tuple[str, ...]] = {
            "study": (),
            "base": (_BASE,),
            "trial": (self.arm, str(self.number)),
            "replicate": (self.arm, str(self.number), f"{_SEED}{self.seed}"),
        }
        return parts_of_kind[self.kind]
