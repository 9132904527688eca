"""Full-parameter fine-tuning."""

from pathlib import Path
from typing import Any, Literal

from trainables.methods.method import Method
from trainables.shape import ModelShape


class Full(Method):
    """Full-parameter fine-tuning; the sources call it SFT."""

    name: Literal["full"] = "full"

    def trainable_parameters(self, shape: ModelShape) -> int:
        """Return all parameters of the model, tied weights once."""
        return shape.parameters()

    def prepare(self, model: Any) -> Any:
        """Return the model with every parameter trainable."""
        return model.requires_grad_(True)

    def read_back(self, model: Any) -> dict[str, float]:
        """Return nothing to compare. Raises AssertionError where a parameter is frozen."""
        frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
        assert not frozen, f"method.name is full, the built model's {frozen[0]} is frozen"
        return {}

    def save(self, model: Any, folder: Path) -> None:
        """Write the whole model in Hugging Face format, safetensors and JSON."""
        model.save_pretrained(str(folder), safe_serialization=True)

    def load(self, model: Any, folder: Path) -> None:
        """Put saved weights into the model, bit for bit."""
        from safetensors.torch import load_file

        weights = {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}
        missing, unexpected = model.load_state_dict(weights, strict=False)
        untied = [name for name in missing if name not in (model.all_tied_weights_keys or {})]
        assert not untied, f"{folder}: weights are missing: {untied[:3]}"
        assert not unexpected, f"{folder}: unknown weights {unexpected[:3]}"

    def merge(self, model: Any) -> Any:
        """Return the model, which is whole already."""
        return model
