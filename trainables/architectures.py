"""The model types that hikaku trains: how each names and arranges its parameters. No torch.

What is counted, predicted, targeted by adapters and expected in a model's files follows from this table. To add a type: its row here,
and its line in the tests, which compare the row with the model that transformers builds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Role = Literal["query", "key", "value", "query_key_value", "output", "gate", "up", "gate_up", "down"]
Size = Literal["hidden", "queries", "keys", "queries_keys_values", "head", "intermediate", "gates_ups"]  # properties of a ModelShape
Setting = Literal["head_dim", "num_key_value_heads", "attention_bias", "mlp_bias", "final_logit_softcapping"]
Biased = Literal["never", "attention", "mlp", "always"]  # whether a linear has a bias, or which setting of the model says so


@dataclass(frozen=True)
class Linear:
    """One matrix of every layer: its path below the layer, what it does there, and its sizes."""

    path: str
    role: Role
    d_in: Size
    d_out: Size
    bias: Biased = "never"

    @property
    def name(self) -> str:
        """Return the last part of the path, by which adapters find it in every layer."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Architecture:
    """One model type as transformers builds it: names of parameters, and what its configuration means where it says nothing."""

    linears: tuple[Linear, ...]
    vectors: Mapping[str, Size]  # of every layer: the weights, and biases, of its norms
    last_vectors: Mapping[str, Size] = field(default_factory=lambda: {"model.norm.weight": "hidden"})  # of the norm before the head
    layer: str = "model.layers"
    embedding: str = "model.embed_tokens.weight"
    head: str = "lm_head.weight"
    earlier_names: Mapping[str, str] = field(default_factory=dict[str, str])  # what older files call a parameter -> its name
    tied: bool = False  # whether head and embedding are one, where config.json does not say
    head_size: int | None = None  # None: the hidden size over the heads
    key_value_heads: int | None = None  # None: as many as heads
    context: int = 2048
    attention_bias: bool = False
    logit_cap: float | None = None
    settings: tuple[Setting, ...] = ("head_dim", "num_key_value_heads")  # of config.json, that this type reads beside the usual
    attention: Literal["sdpa", "eager"] = "sdpa"  # the implementation that computes all this type asks for

    @property
    def is_gated(self) -> bool:
        """Return whether the MLP multiplies what it makes by a gate."""
        return any(linear.role in {"gate", "gate_up"} for linear in self.linears)


def _attention(inputs: Biased, output: Biased) -> tuple[Linear, ...]:
    return (
        Linear("self_attn.q_proj", "query", "hidden", "queries", inputs),
        Linear("self_attn.k_proj", "key", "hidden", "keys", inputs),
        Linear("self_attn.v_proj", "value", "hidden", "keys", inputs),
        Linear("self_attn.o_proj", "output", "queries", "hidden", output),
    )


def _gated_mlp(bias: Biased = "never") -> tuple[Linear, ...]:
    return (
        Linear("mlp.gate_proj", "gate", "hidden", "intermediate", bias),
        Linear("mlp.up_proj", "up", "hidden", "intermediate", bias),
        Linear("mlp.down_proj", "down", "intermediate", "hidden", bias),
    )


BEFORE: dict[str, Size] = {"input_layernorm.weight": "hidden", "post_attention_layernorm.weight": "hidden"}
AROUND: dict[str, Size] = {**BEFORE, "pre_feedforward_layernorm.weight": "hidden", "post_feedforward_layernorm.weight": "hidden"}
BIASED: tuple[Setting, ...] = ("head_dim", "num_key_value_heads", "attention_bias")
OF_HEADS: dict[str, Size] = {"self_attn.q_norm.weight": "head", "self_attn.k_norm.weight": "head"}

LLAMA = Architecture(
    linears=(*_attention("attention", "attention"), *_gated_mlp("mlp")),
    vectors=BEFORE,
    settings=(*BIASED, "mlp_bias"),
)
QWEN2 = Architecture(
    linears=(*_attention("attention", "never"), *_gated_mlp()),
    vectors=BEFORE,
    key_value_heads=32,
    context=32_768,
    attention_bias=True,  # in its code, and not among its settings
)
QWEN3 = Architecture(
    linears=(*_attention("attention", "attention"), *_gated_mlp()),
    vectors=BEFORE | OF_HEADS,
    head_size=128,
    key_value_heads=32,
    context=32_768,
    settings=BIASED,
)
MISTRAL = Architecture(linears=(*_attention("never", "never"), *_gated_mlp()), vectors=BEFORE, key_value_heads=8, context=131_072)
GEMMA2 = Architecture(
    linears=(*_attention("attention", "attention"), *_gated_mlp()),
    vectors=AROUND,
    tied=True,
    head_size=256,
    key_value_heads=4,
    context=8192,
    logit_cap=30.0,
    settings=(*BIASED, "final_logit_softcapping"),
    attention="eager",  # it caps its scores, which the fused kernels cannot
)
GEMMA3 = replace(GEMMA2, vectors=AROUND | OF_HEADS, context=131_072, logit_cap=None, attention="sdpa")
PHI3 = Architecture(
    linears=(
        Linear("self_attn.qkv_proj", "query_key_value", "hidden", "queries_keys_values"),
        Linear("self_attn.o_proj", "output", "queries", "hidden"),
        Linear("mlp.gate_up_proj", "gate_up", "hidden", "gates_ups"),
        Linear("mlp.down_proj", "down", "intermediate", "hidden"),
    ),
    vectors=BEFORE,
    context=4096,
)
OLMO2 = Architecture(
    linears=(*_attention("attention", "attention"), *_gated_mlp()),
    vectors={
        "post_attention_layernorm.weight": "hidden",
        "post_feedforward_layernorm.weight": "hidden",
        "self_attn.q_norm.weight": "queries",
        "self_attn.k_norm.weight": "keys",
    },
    settings=BIASED,
)
GPT_NEOX = Architecture(
    linears=(
        Linear("attention.query_key_value", "query_key_value", "hidden", "queries_keys_values", "attention"),
        Linear("attention.dense", "output", "queries", "hidden", "attention"),
        Linear("mlp.dense_h_to_4h", "up", "hidden", "intermediate", "always"),
        Linear("mlp.dense_4h_to_h", "down", "intermediate", "hidden", "always"),
    ),
    vectors={
        "input_layernorm.weight": "hidden",
        "input_layernorm.bias": "hidden",
        "post_attention_layernorm.weight": "hidden",
        "post_attention_layernorm.bias": "hidden",
    },
    last_vectors={"gpt_neox.final_layer_norm.weight": "hidden", "gpt_neox.final_layer_norm.bias": "hidden"},
    layer="gpt_neox.layers",
    embedding="gpt_neox.embed_in.weight",
    earlier_names={"embed_out.weight": "lm_head.weight"},
    attention_bias=True,
    settings=("attention_bias",),
)

ARCHITECTURES: dict[str, Architecture] = {  # by `model_type` of config.json
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA3,
    "phi3": PHI3,
    "olmo2": OLMO2,
    "gpt_neox": GPT_NEOX,
}
