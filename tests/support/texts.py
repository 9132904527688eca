"""Small texts on disk, and a model folder whose tokens are bytes: then every count is known beforehand."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.support.tiny import write_model

JAPANESE = ("東京は", "夜の", "七時", "猫が", "窓辺で", "眠る", "雨が", "降る", "山は", "静かだ", "川を", "渡る", "駅まで", "歩く")
WORDS = (*JAPANESE, "the", "cat", "rain", "falls", "on", "a", "roof", "sleeps")
PROSE = (
    "朝の川辺を歩くと、水の上に薄い霧が流れていました。",
    "駅前の古い本屋は、雨の日になると紙の匂いが強くなります。",
    "祖母は台所の窓を開け、庭の柿の木に向かって手を振った。",
    "山道を登りきると、遠くの町の灯が星のようにまたたいていた。",
    "昼休みの校庭では、子どもたちが大きな輪を作って遊んでいる。",
    "冬の夜、彼は机の上の地図を広げて、行ったことのない国を探した。",
)


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


def write_mixed(folder: Path) -> Path:
    """Write the kinds of file that folders of Japanese texts hold, sound and not."""
    folder.mkdir()
    for name, text, encoding in zip("abcdi", PROSE, ("shift_jis", "euc_jp", "iso2022_jp", "utf-16", "utf-8-sig"), strict=False):
        (folder / f"{name}.txt").write_bytes(f"{text}\r\n".encode(encoding))
    rows = "".join(json.dumps({"text": text}) + "\n" for text in draw_texts(300, seed=5, longest=40)).encode()
    packed = gzip.compress(rows)
    (folder / "e_cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (folder / "f_bad.jsonl").write_text(f'{json.dumps({"text": PROSE[5]})}\n{{"text": "no end\n', encoding="utf-8")
    (folder / "g_lost.txt").write_text("一行目。\n\ufffd\ufffdが失われた。\n", encoding="utf-8")
    (folder / "h_empty.txt").write_bytes(b"")
    (folder / "notes.doc").write_bytes(b"no text")
    return folder
