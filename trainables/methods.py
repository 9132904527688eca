"""How a base model becomes trainable. A method's fields are its hyperparameters.

To add a method: one class with `name`, `prepare` and `trainable_parameters`, and its line in `METHODS`
(and in the union of `trainables/config.py`). `prepare` imports torch and peft inside, because study files are checked
against these classes where neither may be imported.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainables.model_shape import ModelShape

TARGET_SETS: dict[str, tuple[str, ...]] = {
    "query_value": ("q_proj", "v_proj"),
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "all_linear": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}


class Method(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(Method):
    """Low-rank adapters on frozen linears: W x + (alpha / rank) B A x (Hu et al. 2021, eq. 3)."""

    name: Literal["lora"] = "lora"
    rank: int = Field(default=16, ge=1)
    alpha: float | None = Field(default=None, gt=0)
    alpha_over_rank: float | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["query_value", "attention", "mlp", "all_linear"] = "attention"

    @model_validator(mode="after")
    def _one_scale(self) -> "Lora":
        if (self.alpha is None) == (self.alpha_over_rank is None):
            raise ValueError("give the scale once: method.alpha or method.alpha_over_rank")
        return self

    @property
    def scale(self) -> float:
        """Return alpha / rank, the factor before B A x."""
        return self.alpha_over_rank if self.alpha_over_rank is not None else (self.alpha or 0.0) / self.rank

    def trainable_parameters(self, shape: ModelShape) -> int:
        """Return rank * sum(d_in + d_out) over the targeted linears of every layer."""
        sizes = shape.linear_sizes()
        per_layer = sum(sum(sizes[name]) for name in TARGET_SETS[self.targets])
        return self.rank * per_layer * shape.layers

    def prepare(self, model: Any) -> Any:
        """Return the model with fp32 adapters over its frozen weights."""
        raise NotImplementedError


class Full(Method):
    """Full-parameter fine-tuning; the sources call it SFT."""

    name: Literal["full"] = "full"

    def trainable_parameters(self, shape: ModelShape) -> int:
        """Return all parameters of the model, tied weights once."""
        return shape.parameters()

    def prepare(self, model: Any) -> Any:
        """Return the model with every parameter trainable."""
        raise NotImplementedError


METHODS: dict[str, type[Method]] = {"lora": Lora, "full": Full}
