"""A tiny model, tiny packed data and trial configurations over them, all made on the spot."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from records.results import RungReport
from trainables.config import TrialConfig
from trainables.corpora.language.scripts import SCRIPTS
from trainables.corpora.tokens.attribution import PARTS, Attribution, save_attribution
from trainables.corpora.tokens.folder import TRAIN_FILES, Card, SetCard, SplitCounts

VOCABULARY, SEQUENCE, BLOCKS = 96, 16, 24
STEP = 8 * SEQUENCE  # tokens of one step
RUNGS = (2 * STEP, 4 * STEP)
STEPS = 7
SIZES: dict[str, Any] = {  # of a model of some 20,000 parameters, as transformers' configurations call them
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
LORA = {"name": "lora", "rank": 4, "alpha": 8.0, "dropout": 0.1}
FULL = {"name": "full"}


def write_model(folder: Path, *, tied: bool = True, **changes: Any) -> Path:
    """Write a random Qwen2-shaped model of some 20,000 parameters and return its folder."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = Qwen2ForCausalLM(Qwen2Config(**(SIZES | changes), tie_word_embeddings=tied, initializer_range=0.1))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(0, 0.1)
    model.save_pretrained(str(folder))
    return folder


def draw_tokens(rows: int, length: int, seed: int) -> np.ndarray[Any, Any]:
    """Return int32 [rows, length] with something to learn: seven times in ten a token is followed by its double."""
    rng = np.random.default_rng(seed)
    tokens = np.zeros((rows, length), dtype=np.int32)
    tokens[:, 0] = rng.integers(1, VOCABULARY, rows)
    for column in range(1, length):
        doubled = (2 * tokens[:, column - 1]) % VOCABULARY
        tokens[:, column] = np.where(rng.random(rows) < 0.7, doubled, rng.integers(0, VOCABULARY, rows))
    return tokens


def write_data(folder: Path, blocks: int = BLOCKS) -> Path:
    """Write a prepared data folder with a set to adapt to and one to retain, each of six short documents a split."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    tokens = draw_tokens(blocks, SEQUENCE + 1, seed=3)
    positions = np.tile(np.arange(SEQUENCE, dtype=np.int32), (blocks, 1))
    positions[::2, SEQUENCE // 2 :] -= SEQUENCE // 2  # two documents in every second block
    for name, array in zip(TRAIN_FILES, (tokens[:, :-1], tokens[:, 1:], positions), strict=True):
        np.save(folder / name, array)
    sets = {}
    roles: dict[str, Literal["adapt", "retain"]] = {"japanese": "adapt", "english": "retain"}
    for number, (name, role) in enumerate(roles.items()):
        counts = {}
        for split, seed in {"validation": 5, "test": 6}.items():
            tokens = draw_tokens(6, SEQUENCE + 1, seed=seed + 10 * number)
            targets = tokens[:, 1:].copy()
            targets[::2, SEQUENCE // 2 :] = -100
            lengths = (targets >= 0).sum(axis=1)
            place = folder / name / split
            place.mkdir(parents=True)
            np.save(place / "inputs.npy", np.where(targets >= 0, tokens[:, :-1], 0).astype(np.int32))
            np.save(place / "targets.npy", targets)
            np.save(place / "rows.npy", np.arange(6, dtype=np.int32))
            texts = {"id": [f"{split}-{row}" for row in range(6)], "tokens": lengths, "characters": 2 * lengths, "bytes": 5 * lengths}
            pd.DataFrame(texts | {"prompt": "", "text": ["…"] * 6, "stratum": ["simple", "complex"] * 3}).to_parquet(
                place / "documents.parquet"
            )
            save_attribution(place, two_characters_a_token(int(lengths.sum())))
            total = int(lengths.sum())
            counts[split] = SplitCounts(documents=6, characters=2 * total, bytes=5 * total, tokens=total)
        sets[name] = SetCard(role=role, digest=name, splits=counts, read=12, used=12)
    card = Card(
        sequence_length=SEQUENCE,
        train_blocks=blocks,
        train_tokens=blocks * SEQUENCE,
        train_padding_share=0.0,
        train_digest="tiny",
        tokenizer_digest="tiny",
        request="tiny",
        sets=sets,
    )
    (folder / "card.json").write_text(card.model_dump_json(), encoding="utf-8")
    return folder


def two_characters_a_token(tokens: int) -> Attribution:
    """Return an attribution in which every token is two characters, kanji and hiragana in turn, and no word is known."""
    classes = np.where(np.arange(tokens) % 2, SCRIPTS.index("hiragana"), SCRIPTS.index("kanji"))
    located = np.repeat(np.arange(tokens), 2)
    return Attribution(
        script_shares=np.eye(len(SCRIPTS), dtype=np.float32)[classes],
        part_shares=np.zeros((tokens, len(PARTS)), np.float32),
        characters=np.column_stack([np.repeat(classes, 2), located, located]).astype(np.int32),
        words=np.zeros((0, 3), np.int32),
        word_characters=np.zeros(len(PARTS), np.int64),
    )


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


class Referee:
    """Answers reports, and remembers them; `stop` names the call at which to say no, `crash` the one at which to fail."""

    def __init__(self, *, stop: int | None = None, crash: int | None = None) -> None:
        self.reports: list[RungReport] = []
        self._stop, self._crash = stop, crash

    def __call__(self, report: RungReport) -> bool:
        self.reports.append(report)
        if len(self.reports) == self._crash:
            raise KeyboardInterrupt
        return len(self.reports) != self._stop


def make_trial(root: Path, folder: str, method: dict[str, Any] = LORA, **sections: Any) -> TrialConfig:
    return make_config(root, folder=folder, method=method, **({"budget": {"rungs": RUNGS, "tokens": STEPS * STEP}} | sections))


def _weights(config: TrialConfig) -> dict[str, Tensor]:
    (file,) = (Path(config.folder) / "weights").glob("*.safetensors")
    return load_file(file)


def same_weights(one: TrialConfig, other: TrialConfig) -> bool:
    first, second = _weights(one), _weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
