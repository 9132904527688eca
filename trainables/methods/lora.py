"""Low-rank adapters."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from records.refusals import Refusal
from trainables.architectures import ARCHITECTURES, Role
from trainables.methods.adapter import Adapter
from trainables.methods.method import Scaling
from trainables.shape import ModelShape

ATTENTION: tuple[Role, ...] = ("query", "key", "value", "query_key_value", "output")
MLP: tuple[Role, ...] = ("gate", "up", "gate_up", "down")
TARGET_SETS: dict[str, tuple[Role, ...]] = {  # a matrix that is query, key and value at once is in every set that has a part of it
    "query_value": ("query", "value", "query_key_value"),
    "attention": ATTENTION,
    "mlp": MLP,
    "all_linear": ATTENTION + MLP,
}
# Which tensor a linear reads: adapters that read one tensor keep it for backward once. The output reads what attention made, which is
# kept under any method.
INPUTS: dict[Role, str] = {
    "query": "norm",
    "key": "norm",
    "value": "norm",
    "query_key_value": "norm",
    "gate": "mlp norm",
    "up": "mlp norm",
    "gate_up": "mlp norm",
    "down": "product",
}


class Lora(Adapter, frozen=True):
    """Low-rank adapters on frozen linears: W x + (alpha / rank) B A x (Hu et al. 2021, eq. 3)."""

    name: Literal["lora"] = "lora"
    rank: int = Field(default=16, ge=1)
    alpha: float | None = Field(default=None, gt=0)
    alpha_over_rank: float | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["query_value", "attention", "mlp", "all_linear"] = "attention"

    sized_by: ClassVar[tuple[str, ...]] = ("targets", "rank")
    grows_with: ClassVar[tuple[str, ...]] = ("dropout",)
    marks: ClassVar[Mapping[str, str]] = {"rank": "r", "alpha": "a"}

    @model_validator(mode="after")
    def _one_scale(self) -> Self:
        if (self.alpha is None) == (self.alpha_over_rank is None):
            raise ValueError("give the scale once: method.alpha or method.alpha_over_rank")
        return self

    @classmethod
    def check_names(cls, always: Collection[str], sometimes: Collection[str]) -> None:
        """Check that the scale is given once, and to every trial."""
        names = ("alpha", "alpha_over_rank")
        scales = [f"method.{name}" for name in names if name in always or name in sometimes]
        if len(scales) != 1:
            allowed = f"exactly one of {', '.join(f'method.{name}' for name in names)}"
            raise Refusal(got=" and ".join(scales) or "no scale", allowed=allowed)
        if scales[0].removeprefix("method.") in sometimes:
            raise Refusal(scales[0], "a condition", "a scale for every trial, without when")

    @property
    def scale(self) -> float:
        """Return alpha / rank, the factor before B A x."""
        return self.alpha_over_rank if self.alpha_over_rank is not None else (self.alpha or 0.0) / self.rank

    def recorded(self) -> dict[str, Any]:
        """Return the scale both as alpha and as alpha over rank, so that runs compare whichever of them was searched."""
        alpha = self.alpha if self.alpha is not None else self.scale * self.rank
        return {"alpha": alpha, "alpha_over_rank": self.scale}

    def trainable_parameters(self, shape: ModelShape) -> int:
        """Return rank * sum(d_in + d_out) over the targeted linears of every layer."""
        per_layer = sum(sum(shape.sizes_of(linear)) for linear in shape.linears(*TARGET_SETS[self.targets]))
        return self.rank * per_layer * shape.layers

    def kept_for_backward(self, shape: ModelShape, width: int) -> int:
        """Return the bytes of every adapter's input, which A's gradient needs, and of A x, which B's needs."""
        targets = shape.linears(*TARGET_SETS[self.targets])
        inner = width * self.rank * len(targets)
        if width == 2 or self.dropout:  # casting and dropout make every adapter an input of its own
            entries = sum(shape.size(linear.d_in) for linear in targets)
            masks = width * entries if self.dropout else 0  # as a CPU keeps them; a GPU's kernels take a byte an entry
            return inner + width * entries + masks
        inputs = {INPUTS[linear.role]: shape.size(linear.d_in) for linear in targets if linear.role in INPUTS}
        return inner + width * sum(inputs.values())

    def peft_config(self, network: Any) -> Any:
        """Return peft's LoraConfig. B starts at 0, so the prepared model computes what the base computes; A is drawn."""
        from peft import LoraConfig

        return LoraConfig(
            task_type="CAUSAL_LM",
            r=self.rank,
            lora_alpha=self.scale * self.rank,  # type: ignore[arg-type]  # peft says int and computes alpha / r
            lora_dropout=self.dropout,
            target_modules=self.target_names(network),
            bias="none",
        )

    def target_names(self, network: Any) -> list[str]:
        """Return the names of the linears that adapters stand on, as this network's type calls them."""
        linears = ARCHITECTURES[network.config.model_type].linears
        return [linear.name for linear in linears if linear.role in TARGET_SETS[self.targets]]

    def read_back(self, network: Any) -> dict[str, float]:
        """Return the rank and scale of the built adapters. Raises AssertionError where any layer differs from what was asked."""
        from peft.tuners.lora import LoraLayer

        for name, layer in network.named_modules():
            if isinstance(layer, LoraLayer):
                rank, scale = _adapter_rank(layer), float(layer.scaling["default"])
                assert rank == self.rank, f"{name}: method.rank is {self.rank}, the built adapter's is {rank}"
                assert abs(scale - self.scale) <= 1e-9 * self.scale, f"{name}: scale asked {self.scale}, built {scale}"
        return {"method.rank": self.rank, "method.scale": self.scale}

    @property
    def scaled(self) -> Scaling:
        """Return peft's context in which every adapter's scale is multiplied by a factor."""
        from peft.helpers import rescale_adapter_scale

        return rescale_adapter_scale


def _adapter_rank(layer: Any) -> int:
    weight = layer.lora_A["default"].weight
    return int(getattr(weight, "ds_shape", weight.shape)[0])  # ZeRO 3 leaves a worker an empty weight that remembers its shape
