"""Full-parameter fine-tuning."""

from typing import Any, Literal

from trainables.methods.method import Method
from trainables.shape import ModelShape


class Full(Method, frozen=True):
    """Full-parameter fine-tuning; the sources call it SFT. A base that is only measured counts as a trial of it that never trains."""

    name: Literal["full"] = "full"

    def trainable_parameters(self, shape: ModelShape) -> int:
        """Return all parameters of the model, tied weights once."""
        return shape.parameters()

    def kept_for_backward(self, shape: ModelShape, width: int) -> int:
        """Return the bytes of both norms' outputs, before and after their weights, and of the MLP's product."""
        return 4 * width * shape.hidden + width * shape.intermediate

    def prepare(self, network: Any) -> Any:
        """Return the model with every parameter trainable."""
        return network.requires_grad_(True)

    def read_back(self, network: Any) -> dict[str, float]:
        """Return nothing to compare. Raises AssertionError where a parameter is frozen."""
        frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
        assert not frozen, f"method.name is full, the built model's {frozen[0]} is frozen"
        return {}
