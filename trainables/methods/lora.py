"""Low-rank adapters."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from trainables.methods.method import Method
from trainables.shape import ModelShape

TARGET_SETS: dict[str, tuple[str, ...]] = {
    "query_value": ("q_proj", "v_proj"),
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "all_linear": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}


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
        """Return the model with fp32 adapters over its frozen weights, as peft.PeftModel.

        B starts at 0, so the prepared model computes what the base computes; A is drawn from torch's global generator.
        """
        from peft import LoraConfig, get_peft_model

        adapters = LoraConfig(
            task_type="CAUSAL_LM",
            r=self.rank,
            lora_alpha=self.scale * self.rank,  # type: ignore[arg-type]  # peft says int and computes alpha / r
            lora_dropout=self.dropout,
            target_modules=list(TARGET_SETS[self.targets]),
            bias="none",
        )
        return get_peft_model(model, adapters, autocast_adapter_dtype=True)

    def read_back(self, model: Any) -> dict[str, float]:
        """Return the rank and scale of the built adapters. Raises AssertionError where any layer differs from what was asked."""
        from peft.tuners.lora import LoraLayer

        for name, layer in model.named_modules():
            if isinstance(layer, LoraLayer):
                rank, scale = _adapter_rank(layer), float(layer.scaling["default"])
                assert rank == self.rank, f"{name}: method.rank is {self.rank}, the built adapter's is {rank}"
                assert abs(scale - self.scale) <= 1e-9 * self.scale, f"{name}: scale asked {self.scale}, built {scale}"
        return {"method.rank": self.rank, "method.scale": self.scale}

    def save(self, model: Any, folder: Path) -> None:
        """Write the adapter as peft reads it, safetensors and JSON; peft's own writer spends its time on a model card."""
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
        model.peft_config["default"].save_pretrained(str(folder))
        save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})

    def scaled(self, model: Any, times: float) -> AbstractContextManager[None]:
        """Return a context in which the adapter counts so many times as much as it was trained to."""
        from peft.helpers import rescale_adapter_scale

        return rescale_adapter_scale(model, times)

    def load(self, model: Any, folder: Path) -> None:
        """Put a saved adapter's weights into a prepared model, bit for bit."""
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        found = set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
        assert not found.unexpected_keys, f"{folder}: unknown adapter weights {found.unexpected_keys[:3]}"

    def attach(self, model: Any, folder: Path) -> Any:
        """Return a base model with the adapter of a folder, read as anyone reads it, without the trial's configuration."""
        from peft import PeftModel

        return PeftModel.from_pretrained(model, str(folder))

    def merge(self, model: Any) -> Any:
        """Return the base model with the adapter added into its weights, rounded once to their type."""
        return model.merge_and_unload()


def _adapter_rank(layer: Any) -> int:
    weight = layer.lora_A["default"].weight
    return int(getattr(weight, "ds_shape", weight.shape)[0])
