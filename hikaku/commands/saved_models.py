"""Models that lie on this machine: folders in Hugging Face format, and what trials left behind."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records.folders import CONFIG_FILE, WEIGHTS_FOLDER
from records.refusals import Refusal
from records.results import load_result
from records.run_id import RunId
from records.sealed import INTACT, DamagedError
from trainables.config import TrialConfig
from trainables.models.folder import WEIGHTS, inspect_folder
from trainables.models.source import digest_model

if TYPE_CHECKING:
    from trainables.corpora.tokens.tokenizer import Tokenizer
    from trainables.models.model import LanguageModel


@dataclass(frozen=True)
class SavedModel:
    """A model by the name a person gives it: its folder, or its base's with the configuration and the weights of a trial."""

    name: str
    folder: Path
    config: TrialConfig | None = None
    weights: Path | None = None

    def as_json(self) -> dict[str, str | None]:
        """Return name, folder, and the SHA-256 of the model's files and of the trial's weights."""
        weights = digest_model(self.weights) if self.weights else None
        return {"name": self.name, "folder": str(self.folder), "sha256": digest_model(self.folder), "weights_sha256": weights}

    def load(self) -> "LoadedModel":
        """Return the model on this machine's GPU or CPU, in its trial's precision; a folder's in bf16 on a GPU, in fp32 on a CPU."""
        import torch

        from trainables.corpora.tokens.writing import load_text_tokenizer
        from trainables.group import autocast, device_of_worker
        from trainables.models.model import build_model, load_model

        config, device = self.config, device_of_worker()
        precision = config.model.precision if config else "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
        model = build_model(config, self.weights) if config and self.weights else load_model(self.folder, precision)
        context: AbstractContextManager[Any] = autocast(config) if config and self.weights else nullcontext()
        return LoadedModel(model.to(device).eval(), load_text_tokenizer(self.folder), precision, context)


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to compute: within `autocast`, as its trial computed."""

    model: "LanguageModel"
    tokenizer: "Tokenizer"
    precision: str
    autocast: AbstractContextManager[Any]


def find_model(name: str, state: Path) -> SavedModel:
    """Return the model that is meant: a folder, or a run whose study lies under `state`.

    A run is a trial `study/arm/number`, a finalist's replicate `study/arm/number/seed-N`, or `study/base`. Raises ValueError in one line
    where neither is there, or the run left no weights.
    """
    folder = Path(name).expanduser().absolute()
    if folder.is_dir():
        inspect_folder(folder)
        return SavedModel(name, folder)
    run = _read_uid(name)
    trial = state / run.study / run.folder if run else state
    if run is None or not (trial / CONFIG_FILE).is_file():
        raise Refusal("MODEL_OR_TRIAL", name, f"a model folder, or study/arm/number of a trial under {state}")
    config = TrialConfig.model_validate_json((trial / CONFIG_FILE).read_text(encoding="utf-8"))
    weights = trial / WEIGHTS_FOLDER
    if run.kind != "base" and not any(weights.glob(WEIGHTS)):
        raise Refusal("MODEL_OR_TRIAL", f"{name}, which left no weights in {trial}", "a trial that has completed")
    _refuse_damage(name, trial, config)
    inspect_folder(Path(config.model.folder))
    return SavedModel(name, Path(config.model.folder), config, None if run.kind == "base" else weights)


def _refuse_damage(name: str, trial: Path, config: TrialConfig) -> None:
    """Raise Refusal where configuration or weights are not those that the run's result names; one of the format before names none."""
    result = load_result(trial)
    if result is None:
        return
    if result.config and result.config != config.owner.config:
        got = f"{name}, whose {trial / CONFIG_FILE} is of another configuration than its result"
        raise Refusal("MODEL_OR_TRIAL", got, "a trial as it was trained")
    try:
        INTACT.check(trial, {file: digest for file, digest in result.files.items() if file.startswith(f"{WEIGHTS_FOLDER}/")})
    except DamagedError as error:
        raise Refusal("MODEL_OR_TRIAL", f"{name}: {error}", "weights as they were trained") from None


def _read_uid(name: str) -> RunId | None:
    """Return the run that a name stands for; None where it is no uid."""
    try:
        return RunId.parse(name)
    except ValueError:
        return None
