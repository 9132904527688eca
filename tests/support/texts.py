"""Small texts on disk, and a model folder whose tokens are bytes: then every count is known beforehand."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.support.tiny import write_model

JAPANESE = ("東京は", "夜の", "七時", "猫が", "窓辺で", "眠る", "雨が", "降る", "山は", "静かだ", "川を", "渡る", "駅まで", "歩く")
WORDS = (*JAPANESE, "the", "cat", "rain", "falls", "on", "a", "roof", "sleeps")


def write_byte_model(folder: Path) -> Path:
    """Write a tiny Qwen2 model whose tokenizer makes one token of every byte, and return its folder."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    vocabulary = {"<|endoftext|>": 0} | {letter: place for place, letter in enumerate(sorted(ByteLevel.alphabet()), start=1)}
    write_model(folder, vocab_size=len(vocabulary))
    Qwen2Tokenizer(vocab=vocabulary, merges=[]).save_pretrained(str(folder))
    return folder


def draw_texts(count: int, seed: int = 0, longest: int = 12) -> list[str]:
    """Return texts of 1 to `longest` sentences, so unlike one another that none overlaps another."""
    rng = np.random.default_rng(seed)
    sentences = [["".join(rng.choice(WORDS, 3)) for _ in range(rng.integers(1, longest + 1))] for _ in range(count)]
    return [f"{place} {'。'.join(text)}。" for place, text in enumerate(sentences)]


def write_jsonl(path: Path, texts: Sequence[str], field: str = "text") -> str:
    """Write one object a line and return the path as a study would name it."""
    path.write_text("".join(json.dumps({field: text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    return str(path)


def join_targets(targets_rt: NDArray[np.int32], owners_r: NDArray[np.int32], document: int) -> list[int]:
    """Return a document's targets over all its rows, padding left out."""
    return [int(token) for row in targets_rt[owners_r == document] for token in row if token >= 0]
