"""A tiny model, tiny packed data and trial configurations over them, all made on the spot."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainables.config import TrialConfig

VOCABULARY, SEQUENCE, BLOCKS = 96, 16, 24


def write_model(folder: Path, *, tied: bool = True, **changes: Any) -> Path:
    """Write a random Qwen2-shaped model of some 20,000 parameters and return its folder."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = Qwen2ForCausalLM(Qwen2Config(**(sizes | changes), tie_word_embeddings=tied, initializer_range=0.1))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(0, 0.1)
    model.save_pretrained(str(folder))
    return folder


def write_blocks(folder: Path, blocks: int = BLOCKS) -> Path:
    """Write packed blocks with something to learn (each token is likely followed by its double) and return the data folder."""
    rng = np.random.default_rng(3)
    tokens = np.zeros((blocks, SEQUENCE + 1), dtype=np.int32)
    tokens[:, 0] = rng.integers(1, VOCABULARY, blocks)
    for column in range(1, SEQUENCE + 1):
        doubled = (2 * tokens[:, column - 1]) % VOCABULARY
        tokens[:, column] = np.where(rng.random(blocks) < 0.7, doubled, rng.integers(0, VOCABULARY, blocks))
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "train.npy", tokens)
    return folder


def make_config(root: Path, *, method: dict[str, Any] | None = None, folder: str = "trial", **sections: Any) -> TrialConfig:
    """Return the config of a tiny trial: 20 steps of 8 blocks in micro-batches of 2; sections are merged over that."""
    base: dict[str, Any] = {
        "uid": "tiny/arm/0",
        "seed": 11,
        "folder": str(root / folder),
        "model": {"folder": str(root / "model")},
        "data": {"folder": str(root / "data")},
        "method": method or {"name": "lora", "rank": 4, "alpha": 8.0},
        "optimizer": {"learning_rate": 1e-2, "weight_decay": 0.1, "clip_norm": 0.5},
        "schedule": {"warmup_share": 0.2},
        "batch": {"sequence_length": SEQUENCE, "blocks": 8, "micro_blocks": 2},
        "budget": {"tokens": 20 * 8 * SEQUENCE, "curve_every": 8 * SEQUENCE},
    }
    for name, section in sections.items():
        base[name] = base[name] | section if isinstance(section, dict) and name in base else section
    return TrialConfig.model_validate(base)
