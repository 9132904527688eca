"""A study: one comparison, checked before anything heavy is imported.

`hikaku/study/sections.py` holds the study file's sections, `hikaku/study/reading.py` reads YAML into them with line numbers, and
`hikaku/study/rules.py` says which sections fit together. A study's identity is its resolved configuration, less what changes no trial;
`Study.identity` names that.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, model_validator

from hikaku.study.rules import check_study
from hikaku.study.sections import StudySections
from hikaku.study.setting import Setting
from records.run_id import RunId
from trainables.config import Precision, TrialConfig
from trainables.methods import MEASURED_ONLY


class Study(StudySections):
    """A whole study, validated. Raises Refusal for sections that do not fit together."""

    @model_validator(mode="after")
    def _sections_fit_together(self) -> "Study":
        check_study(self)
        return self

    @property
    def id(self) -> RunId:
        """Return the id of the study's own run, from which those of all its runs are made."""
        return RunId.of_study(self.name)

    def rungs(self) -> tuple[int, ...]:
        """Return the nominal token counts at which pruning may happen: first rung x reduction factor^k, below the budget."""
        rungs: list[int] = []
        if self.pruning is not None:
            rung = self.pruning.first_rung
            while rung < self.budget.tokens:
                rungs.append(rung)
                rung *= self.pruning.reduction_factor
        return tuple(rungs)

    def derive_seed(self, *words: str | int) -> int:
        """Return a 31-bit seed for one use, e.g. `derive_seed(arm, number)`: the study's seed and the words decide it alone."""
        text = "/".join(map(str, (self.seed, *words)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    def seed_of(self, run: RunId) -> int:
        """Return the seed of a run: a trial has its own, replicates of one index share theirs in all arms."""
        if run.kind == "trial":
            return self.derive_seed(run.arm, run.number)
        return self.derive_seed("finalists", run.seed) if run.kind == "replicate" else self.derive_seed(run.kind)

    def trial_config(self, run: RunId, setting: Setting, choices: Mapping[str, Any]) -> TrialConfig:
        """Return the configuration of one run: what every trial shares, with what the arm's space chose put over it.

        The base counts as full fine-tuning that is never trained. Raises pydantic.ValidationError.
        """
        training, base = self.training, run.kind == "base"
        flat: dict[str, Any] = {
            "uid": str(run),
            "seed": self.seed_of(run),
            # Plain text and numbers: this is what Tune, MLflow and the tables hold, by the same names.
            "folder": str(setting.folder / run.folder),
            "model.folder": str(setting.model_folder),
            "model.digest": setting.model_digest,
            "model.precision": setting.precision,
            "model.activation_checkpointing": training.activation_checkpointing,
            "data.folder": str(setting.data_folder),
            "data.digest": setting.texts_digest,
            "data.base_result_folder": "" if base else str(setting.folder / self.id.base.folder),
            "budget.tokens": self.budget.tokens,
            "budget.rungs": self.rungs(),
            "budget.curve_every": training.curve_every,
            "budget.keep_best": training.keep_best,
            "engine.zero_stage": training.zero_stage,
            "engine.workers": self.resources.workers,
            "similarity": self.similarity.model_dump() if self.similarity else None,
            "own_metrics": {f"own/{name}": function for name, function in self.own_metrics.items()},
            "method.name": MEASURED_ONLY if base else self.arms[run.arm].method,
        }
        for section in ("optimizer", "schedule", "batch"):
            flat |= {f"{section}.{key}": value for key, value in getattr(training, section).model_dump().items()}
        return TrialConfig.unflatten(flat | dict(choices))  # what was chosen comes last: an ablation may vary even the seed

    def default_of(self, key: str) -> Any:
        """Return the default of a key of the study by its dotted name; `absent` where it has none."""
        *path, last = key.split(".")
        owner: Any = self
        for part in path:
            inner: Any = owner
            owner = getattr(inner, part, None) if isinstance(inner, BaseModel) else inner[int(part) if part.isdecimal() else part]
        field = type(owner).model_fields.get(last) if isinstance(owner, BaseModel) else None
        return "absent" if field is None or field.is_required() else field.get_default(call_default_factory=True)

    def identity(self, precision: Precision, data_digests: Mapping[str, str], model_digest: str, *, stored: bool = False) -> dict[str, Any]:
        """Return what makes this study this study, as plain data: a run with the same identity resumes it.

        Precision is resolved, and texts and model stand by their content's digest in place of their path. Left out is what
        does not change a trial: description, finalists, weights, resources, tracking, storage; and, of what is `stored`, every
        key at its default, so that one which a later version adds changes no identity.
        """
        left_out = {"description", "finalists", "weights", "resources", "tracking", "storage"}
        plain = self.model_dump(mode="json", exclude=left_out, exclude_defaults=stored)
        plain.setdefault("training", {})["precision"] = precision
        plain["model"].pop("path", None)
        plain["model"]["digest"] = model_digest
        for name, data in plain["data"].items():
            for key in ("path", "files", "fetched_by", "expect"):
                data.pop(key, None)
            if data.get("template", "plain") not in {"plain", "chat"}:
                data.pop("template")  # a file: the digest covers what it says
            data["digest"] = data_digests[name]
        return plain
