"""Methods that are adapters of peft: what they share."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from records.files import write_file
from trainables.methods.method import Method

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"  # as peft names them


class Adapter(Method, frozen=True):
    """A method that trains an adapter of peft over a frozen base. To make one: fields, `trainable_parameters`, `peft_config`."""

    freezes_base: ClassVar[bool] = True

    @abstractmethod
    def peft_config(self, network: Any) -> Any:
        """Return peft's configuration of the adapter for this network, a `PeftConfig`."""

    def prepare(self, network: Any) -> Any:
        """Return the model with float32 adapters over its frozen weights, as peft.PeftModel."""
        from peft import get_peft_model

        return get_peft_model(network, self.peft_config(network), autocast_adapter_dtype=True)

    def causal(self, network: Any) -> Any:
        """Return the base model, into whose layers peft has put the adapter."""
        return network.get_base_model()

    def save(self, network: Any, folder: Path, *, base: str | None = None, revision: str | None = None) -> None:
        """Write the adapter as peft reads it, safetensors and JSON; peft's own writer spends its time on a model card."""
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in get_peft_model_state_dict(network).items()}
        network.peft_config["default"].save_pretrained(str(folder))
        save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        if base is not None:
            path = folder / CONFIG_FILE
            named = {"base_model_name_or_path": base, "revision": revision, "inference_mode": True}
            written = json.loads(path.read_text(encoding="utf-8"))
            write_file(path, json.dumps(written | named, indent=2, sort_keys=True))

    def load(self, network: Any, folder: Path) -> None:
        """Put a saved adapter's weights into a prepared model, bit for bit. Raises AssertionError for weights of another adapter."""
        from peft import get_peft_model_state_dict, set_peft_model_state_dict
        from safetensors.torch import load_file

        weights = load_file(folder / WEIGHTS_FILE)
        # peft reports a learnt prompt as unknown after it has loaded it, and says nothing of what a file lacks.
        differ = sorted(weights.keys() ^ get_peft_model_state_dict(network).keys())
        assert not differ, f"{folder}: adapter weights missing or unknown: {differ[:3]}"
        set_peft_model_state_dict(network, weights)

    def read_adapter(self, base: Any, folder: Path) -> Any:
        """Return a base model with the adapter of a folder, which peft reads without the trial's configuration."""
        from peft import PeftModel

        return PeftModel.from_pretrained(base, str(folder))

    def merge(self, network: Any) -> Any:
        """Return the base model with the adapter added into its weights, rounded once to their type."""
        return network.merge_and_unload()
