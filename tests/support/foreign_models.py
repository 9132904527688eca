"""Tiny random models of every type that hikaku trains, as their own classes in transformers build and save them."""

from pathlib import Path
from typing import Any

import torch

from tests.support.tiny import SIZES

ENDS = {"initializer_range": 0.1, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}  # tokens that a vocabulary so small has
TYPES: dict[str, dict[str, Any]] = {  # a name -> what sets it apart; the model type is its first word
    "qwen2": {"tie_word_embeddings": True},
    "qwen2 untied": {"tie_word_embeddings": False},
    "llama biased": {"attention_bias": True, "mlp_bias": True},
    "llama tied": {"tie_word_embeddings": True, "head_dim": 16},
    "qwen3": {"head_dim": 8},
    "qwen3 sliding": {"head_dim": 8, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
    "mistral": {"sliding_window": 4},
    "gemma2": {"head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8, "final_logit_softcapping": 2.0},
    "gemma2 uncapped": {"head_dim": 8, "final_logit_softcapping": None, "attn_logit_softcapping": None},
    "gemma3_text": {"head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8},
    "gemma3_text capped": {"head_dim": 8, "final_logit_softcapping": 2.0},
    "phi3": {"sliding_window": 4},
    "olmo2": {},
    "gpt_neox": {"rotary_pct": 0.5},
    "gpt_neox sequential": {"use_parallel_residual": False, "attention_bias": False, "tie_word_embeddings": True},
}


def build_foreign(name: str) -> Any:
    """Return the random model of that name, every weight, bias and norm drawn."""
    from transformers import AutoConfig, AutoModelForCausalLM

    kind = name.partition(" ")[0]
    config = AutoConfig.for_model(kind, **(SIZES | ENDS | TYPES[name]))
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if parameter.ndim < 2:
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
                elif "embed" in key:
                    parameter.normal_(0, 0.5)
    return model


def write_foreign(folder: Path, name: str) -> Path:
    """Write the random model of that name and return its folder."""
    build_foreign(name).save_pretrained(str(folder))
    return folder
