"""The shape of a decoder model, read from its config.json without importing torch or transformers.

From it follow parameter counts, FLOPs per token and predicted memory, all before anything heavy is loaded.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from records.refusals import Refusal


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a Llama- or Qwen2-shaped decoder with gated MLPs and RMS norms."""

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

    def linear_sizes(self) -> dict[str, tuple[int, int]]:
        """Return (d_in, d_out) of the seven linears of one layer, by their Hugging Face names."""
        queries, keys = self.heads * self.head_size, self.key_value_heads * self.head_size
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    def linear_parameters(self) -> int:
        """Return the entries of the seven linears of every layer, biases left out."""
        return self.layers * sum(d_in * d_out for d_in, d_out in self.linear_sizes().values())

    def parameters(self) -> int:
        """Return the number of parameters, tied embeddings counted once."""
        sizes = self.linear_sizes()
        biases = sum(sizes[name][1] for name in ("q_proj", "k_proj", "v_proj")) if self.attention_bias else 0
        embeddings = self.vocabulary * self.hidden * (1 if self.tied_embeddings else 2)
        norms = 2 * self.hidden  # of a layer: before attention and before the MLP; one more stands before the head
        return embeddings + self.linear_parameters() + self.layers * (biases + norms) + self.hidden


LOGIT_BYTES = 128 * 2**20  # of float32 logits alive at once: small beside a model that has such a vocabulary
LOSS_CHUNK_TOKENS = 1024  # more at once is no faster, on a CPU slower


def loss_chunk_tokens(vocabulary: int) -> int:
    """Return how many tokens' logits the loss holds at once: as many as LOGIT_BYTES hold, by eights, 1024 at most."""
    tokens = min(LOSS_CHUNK_TOKENS, max(1, LOGIT_BYTES // (4 * vocabulary)))
    return tokens - tokens % 8 if tokens > 8 else tokens  # matrix units work on rows by eights


def read_model_shape(folder: Path) -> ModelShape:
    """Return the shape written in a model folder's config.json.

    Raises FileNotFoundError without one, and ValueError naming a field that is missing or an architecture
    that is neither Qwen2- nor Llama-shaped.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    kind = config.get("model_type")
    if kind not in ("qwen2", "llama"):
        raise Refusal(fault=f"{path}: model_type {kind!r} is not supported", allowed="qwen2, llama")
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        return ModelShape(
            hidden=hidden,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            key_value_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or hidden // heads),
            intermediate=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            tied_embeddings=bool(config.get("tie_word_embeddings", kind == "qwen2")),
            # Qwen2's biases are in its code and not among its settings.
            attention_bias=kind == "qwen2" or bool(config.get("attention_bias", False)),
            context=int(config.get("max_position_embeddings", 2048)),
        )
    except KeyError as missing:
        raise ValueError(f"{path}: the field {missing} is missing") from None
