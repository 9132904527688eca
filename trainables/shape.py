"""The shape of a decoder model, read from its config.json without importing torch or transformers.

From it follow parameter counts, FLOPs per token and predicted memory, all before anything heavy is loaded.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from records.refusals import Refusal
from trainables.architectures import ARCHITECTURES, Architecture, Linear, Role, Size


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder, and the model type that says how they are arranged; `attention_bias` and `mlp_bias` as its type means them."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    tied_embeddings: bool
    attention_bias: bool
    context: int
    mlp_bias: bool = False
    logit_cap: float | None = None
    model_type: str = "qwen2"

    @property
    def architecture(self) -> Architecture:
        """Return how the model type names and arranges its parameters."""
        return ARCHITECTURES[self.model_type]

    def size(self, name: Size) -> int:
        """Return the entries of one of the sizes that an architecture is described by."""
        queries, keys = self.heads * self.head_size, self.key_value_heads * self.head_size
        sizes: dict[Size, int] = {
            "hidden": self.hidden,
            "queries": queries,
            "keys": keys,
            "queries_keys_values": queries + 2 * keys,
            "head": self.head_size,
            "intermediate": self.intermediate,
            "gates_ups": 2 * self.intermediate,
        }
        return sizes[name]

    def linears(self, *roles: Role) -> tuple[Linear, ...]:
        """Return the linears of one layer that have one of these roles; all of them without any."""
        return tuple(linear for linear in self.architecture.linears if not roles or linear.role in roles)

    def sizes_of(self, linear: Linear) -> tuple[int, int]:
        """Return (d_in, d_out) of a linear."""
        return self.size(linear.d_in), self.size(linear.d_out)

    def linear_sizes(self) -> dict[str, tuple[int, int]]:
        """Return (d_in, d_out) of the linears of one layer, by their Hugging Face names."""
        return {linear.name: self.sizes_of(linear) for linear in self.linears()}

    def linear_parameters(self) -> int:
        """Return the entries of the linears of every layer, biases left out."""
        return self.layers * sum(d_in * d_out for d_in, d_out in self.linear_sizes().values())

    def parameters(self) -> int:
        """Return the number of parameters, tied embeddings counted once."""
        layer = _count(self._layer_parameters())
        return _count(self._other_parameters()) + self.layers * layer

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of every parameter of the built model, by transformers' names; a tied head is the embedding alone."""
        layer = self._layer_parameters()
        layers = (f"{self.architecture.layer}.{index}" for index in range(self.layers))
        return self._other_parameters() | {f"{place}.{name}": shape for place in layers for name, shape in layer.items()}

    def _layer_parameters(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {name: (self.size(size),) for name, size in self.architecture.vectors.items()}
        for linear in self.linears():
            d_in, d_out = self.sizes_of(linear)
            shapes[f"{linear.path}.weight"] = (d_out, d_in)
            if self._has_bias(linear):
                shapes[f"{linear.path}.bias"] = (d_out,)
        return shapes

    def _other_parameters(self) -> dict[str, tuple[int, ...]]:
        names, matrix = self.architecture, (self.vocabulary, self.hidden)
        heads = {} if self.tied_embeddings else {names.head: matrix}
        return {names.embedding: matrix} | {name: (self.size(size),) for name, size in names.last_vectors.items()} | heads

    def _has_bias(self, linear: Linear) -> bool:
        return {"never": False, "always": True, "attention": self.attention_bias, "mlp": self.mlp_bias}[linear.bias]


def _count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(map(math.prod, shapes.values()))


WHOLE = "a whole file, as transformers writes it"
LOGIT_BYTES = 128 * 2**20  # of float32 logits alive at once: small beside a model that has such a vocabulary
LOSS_CHUNK_TOKENS = 1024  # more at once is no faster, on a CPU slower


def loss_chunk_tokens(vocabulary: int) -> int:
    """Return how many tokens' logits the loss holds at once: as many as LOGIT_BYTES hold, by eights, 1024 at most."""
    tokens = min(LOSS_CHUNK_TOKENS, max(1, LOGIT_BYTES // (4 * vocabulary)))
    return tokens - tokens % 8 if tokens > 8 else tokens  # matrix units work on rows by eights


def read_model_shape(folder: Path) -> ModelShape:
    """Return the shape written in a model folder's config.json. Raises as `read_config` and `shape_of` do."""
    return shape_of(read_config(folder), folder / "config.json")


def read_config(folder: Path) -> dict[str, Any]:
    """Return what a model folder's config.json says. Raises as `read_json_object` does."""
    return read_json_object(folder / "config.json")


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file of a model folder holds. Raises FileNotFoundError without one, Refusal where it holds none."""
    try:
        content: object = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise Refusal(fault=f"{path} is no JSON: {error}", allowed=WHOLE) from None
    if not isinstance(content, dict):
        raise Refusal(fault=f"{path} holds no JSON object", allowed=WHOLE)
    return cast(dict[str, Any], content)


def shape_of(config: Mapping[str, Any], path: Path) -> ModelShape:
    """Return the shape that a configuration describes; `path` is where it stands.

    Raises Refusal naming the model type that is not supported, or the field that is missing or no size.
    """
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise Refusal(fault=f"{path}: model_type {kind!r} is not supported", allowed=", ".join(ARCHITECTURES))
    architecture = ARCHITECTURES[kind]
    own = {name: config[name] for name in architecture.settings if name in config}
    hidden, heads = _read_size(config, "hidden_size", path), _read_size(config, "num_attention_heads", path)
    head_size = _read_size(own, "head_dim", path, architecture.head_size or hidden // heads, null=hidden // heads)
    groups = _read_size(own, "num_key_value_heads", path, architecture.key_value_heads or heads, null=heads)
    if heads % groups:
        raise Refusal(fault=f"{path}: num_attention_heads is {heads}", allowed=f"a multiple of num_key_value_heads, {groups}")
    cap = own.get("final_logit_softcapping", architecture.logit_cap)
    return ModelShape(
        hidden=hidden,
        layers=_read_size(config, "num_hidden_layers", path),
        heads=heads,
        key_value_heads=groups,
        head_size=head_size,
        intermediate=_read_size(config, "intermediate_size", path),
        vocabulary=_read_size(config, "vocab_size", path),
        tied_embeddings=bool(config.get("tie_word_embeddings", architecture.tied)),
        attention_bias=bool(own.get("attention_bias", architecture.attention_bias)),
        context=_read_size(config, "max_position_embeddings", path, architecture.context),
        mlp_bias=bool(own.get("mlp_bias", False)),
        logit_cap=None if cap is None else float(cap),
        model_type=str(kind),
    )


def _read_size(config: Mapping[str, Any], name: str, path: Path, otherwise: int | None = None, null: int | None = None) -> int:
    """Return a field that counts something; `otherwise` where it is absent, and `null` where it is null."""
    value = config.get(name, otherwise)
    if value is None:
        value = null
    if value is None:
        raise Refusal(fault=f"{path}: the field {name!r} is missing", allowed=WHOLE)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Refusal(fault=f"{path}: {name} is {value!r}", allowed="a whole number from 1")
    return value
