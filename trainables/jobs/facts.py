"""What was built, read back and compared with what was asked, and on what it runs."""

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

import torch

from trainables.config import TrialConfig
from trainables.group import device_of_worker
from trainables.models.model import LanguageModel, isolates_documents
from trainables.shape import read_model_shape

LIBRARIES = ("hikaku", "torch", "transformers", "peft", "deepspeed", "ray", "optuna", "mlflow")


def read_machine(config: TrialConfig) -> dict[str, str]:
    """Return device, precision, versions and, where hikaku runs from its repository, the commit."""
    device = device_of_worker()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    versions = {f"version.{library}": importlib.metadata.version(library) for library in LIBRARIES}
    commit = read_commit()
    facts = {"device": name, "precision": config.model.precision, "version.python": platform.python_version(), **versions}
    return facts | ({"git_commit": commit} if commit else {})


@functools.cache  # a process serves many trials of one checkout
def read_commit() -> str:
    """Return the commit of hikaku's own source; empty where it was installed, possibly amid another repository, or shipped without one."""
    here = Path(__file__)  # that git tracks this very file is the proof that the repository is hikaku's own
    for arguments in (["ls-files", "--error-unmatch", here.name], ["rev-parse", "HEAD"]):
        try:
            answer = subprocess.run(["git", *arguments], cwd=here.parent, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
    return answer.stdout.strip()


def read_built(model: LanguageModel, config: TrialConfig, parameters: tuple[int, int], peak_learning_rate: float) -> dict[str, str]:
    """Return rank, scale, learning rate and (trainable, total) parameters as the built objects have them.

    Raises AssertionError, naming both values, where one is not what was asked or what the formula says.
    """
    configured = config.optimizer.learning_rate
    assert peak_learning_rate == configured, (
        f"optimizer.learning_rate is {configured}, the built optimizer's highest is {peak_learning_rate}"
    )
    formula, trainable = config.method.trainable_parameters(read_model_shape(Path(config.model.folder))), parameters[0]
    assert trainable == formula, f"{config.method.name}: {formula} trainable parameters by formula, {trainable} in the built model"
    # From the built objects, not the configuration: a setting that was lost on the way shows here.
    built = model.method.read_back(model.network) | {"optimizer.learning_rate": peak_learning_rate}
    return {f"built.{name}": repr(value) for name, value in built.items()} | {"built.parameters": f"{trainable} of {parameters[1]}"}


def read_attention(model: LanguageModel) -> str:
    """Return which kernel attends and whether documents that share a block see one another, as the built model shows."""
    seen = (
        "documents that share a block do not see one another" if isolates_documents(model) else "documents see those before them in a block"
    )
    return f"{model.config._attn_implementation}; {seen}"
