"""Which characters and words each token of an evaluation split covers: computed once a study, so that measuring them costs almost nothing.

A byte-level token may end inside a kanji. The one rule: a token's nats are shared evenly over its bytes, a character's nats are its
bytes' sum, and a character (or a word) is right when every token covering it is. So the classes' nats add up to the whole.
Where a tokenizer's normalisation changes the text, a token's bytes are those of the characters that its offsets name.

    <set>/<split>/attribution.npz
    script_shares   float32 [tokens, SCRIPTS]    share of each token's bytes that lie in characters of a script
    part_shares     float32 [tokens, PARTS]      the same by part of speech; 0 outside Japanese
    characters      int32 [characters, 3]        place in SCRIPTS, first token, last token
    words           int32 [words, 3]             place in PARTS, first token, last token; Japanese documents alone, blanks left out
    word_characters int64 [PARTS]                characters of those words, blanks included under symbol

Tokens are the targets of the split, document after document.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.corpora.language.complexity import is_japanese
from trainables.corpora.language.japanese import Word, split_words
from trainables.corpora.language.scripts import SCRIPTS, classify_all
from trainables.corpora.tokens.packing import Tokens

FILE = "attribution.npz"
PARTS = ("noun", "verb", "adjective", "adverb", "particle", "auxiliary", "affix", "symbol")
PART_OF_SUDACHI = {
    "名詞": "noun",
    "代名詞": "noun",
    "動詞": "verb",
    "形容詞": "adjective",
    "形状詞": "adjective",
    "連体詞": "adjective",
    "副詞": "adverb",
    "接続詞": "adverb",
    "感動詞": "adverb",
    "助詞": "particle",
    "助動詞": "auxiliary",
    "接頭辞": "affix",
    "接尾辞": "affix",
    "記号": "symbol",
    "補助記号": "symbol",
    "空白": "symbol",
}
Places = NDArray[np.int64]
Spans = tuple[Places, Places]  # first byte, and the byte after the last, of every token


@dataclass(frozen=True)
class Attribution:
    """The arrays of one split; see the module's text."""

    script_shares: NDArray[np.float32]
    part_shares: NDArray[np.float32]
    characters: NDArray[np.int32]
    words: NDArray[np.int32]
    word_characters: Places


class ByteSpans:
    """Finds the bytes that each token of a text stands for."""

    def __init__(self, backend: Any) -> None:
        import json

        self._backend = backend
        pipeline = json.loads(backend.to_str())
        self._byte_level = "ByteLevel" in json.dumps([pipeline.get("pre_tokenizer"), pipeline.get("decoder")])
        added = {token["id"]: token["content"] for token in pipeline.get("added_tokens", [])}
        vocabulary: dict[str, int] = backend.get_vocab(with_added_tokens=True)
        self._lengths = np.zeros(max(vocabulary.values()) + 1, np.int64)  # [ids]; a vocabulary may have gaps
        for token, place in vocabulary.items():
            self._lengths[place] = len(added[place].encode()) if place in added else self._length(token)

    def _length(self, token: str) -> int:
        if self._byte_level:
            return len(token)  # each letter stands for one byte
        is_byte = token.startswith("<0x") and token.endswith(">")  # sentencepiece's fallback for what it has no piece for
        return 1 if is_byte else len(token.replace("▁", " ").encode())

    def find(self, text: str, tokens: Tokens) -> Spans:
        """Return the byte spans of a text's tokens; of the bytes themselves where the tokens' add up to the text, else by offsets."""
        size = len(text.encode())
        lengths = self._lengths[tokens]  # bytes of each token, as the vocabulary spells it
        if lengths.sum() == size + 1 and not self._byte_level and not text.startswith(" "):
            lengths[0] -= 1  # the blank that sentencepiece puts before a text
        ends = np.cumsum(lengths)
        if len(ends) and ends[-1] == size:
            return ends - lengths, ends
        return self._by_offsets(text, tokens)

    def _by_offsets(self, text: str, tokens: Tokens) -> Spans:
        encoding = self._backend.encode(text, add_special_tokens=False)
        assert len(encoding.offsets) == len(tokens), "the tokens are not this text's"
        character_sizes = [len(letter.encode()) for letter in text]
        bytes_before = np.concatenate([[0], np.cumsum(character_sizes)])  # [characters + 1]
        offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)  # characters, [tokens, 2]; no token at all is [0, 2]
        first, end = offsets.T
        return bytes_before[first], bytes_before[end]


def attribute(texts: Sequence[str], tokens: Sequence[Tokens], spans: Callable[[str, Tokens], Spans]) -> Attribution:
    """Return which characters and words the tokens of the documents cover."""
    parts: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32], NDArray[np.int32], Places]] = []
    before = 0  # tokens of the documents so far
    for text, ids in zip(texts, tokens, strict=True):
        starts, ends = _never_empty(*spans(text, ids), len(text.encode()))
        sizes = np.array([len(letter.encode()) for letter in text], np.int64)  # bytes, [characters]
        scripts = classify_all(text)
        words = split_words(text) if is_japanese(text) else []
        character_ends = np.cumsum(sizes)  # the byte after each character's last
        covered = _covering(starts, ends, character_ends - sizes, character_ends) + before
        parts.append(
            (
                _shares(np.repeat(scripts, sizes), starts, ends, len(SCRIPTS)),
                _part_shares(words, sizes, starts, ends),
                np.column_stack([scripts, covered]).astype(np.int32),
                _locate_words(words, character_ends, starts, ends, before),
                np.bincount([_part(word) for word in words for _ in word.surface], minlength=len(PARTS)),
            )
        )
        before += len(ids)
    *located, counts = zip(*parts, strict=True)
    return Attribution(*map(np.concatenate, located), word_characters=np.sum(counts, axis=0))


def save_attribution(folder: Path, attribution: Attribution) -> None:
    """Write the arrays into a split's folder."""
    np.savez(folder / FILE, **vars(attribution))


@lru_cache(maxsize=16)
def load_attribution(folder: Path) -> Attribution:
    """Return a split's arrays, kept for the next trial of the process."""
    with np.load(folder / FILE, allow_pickle=False) as arrays:
        return Attribution(**arrays)


def _never_empty(starts: Places, ends: Places, size: int) -> Spans:
    """Give a token of no bytes the byte that follows, or the last: its nats belong somewhere."""
    starts = np.minimum(starts, max(0, size - 1))
    return starts, np.maximum(ends, starts + 1)


def _shares(classes: NDArray[np.integer[Any]], starts: Places, ends: Places, count: int) -> NDArray[np.float32]:
    """Return float32 [tokens, count] of bytes' classes [bytes]; a class below 0 is none."""
    is_member = np.zeros((len(classes) + 1, count), np.int64)
    classified = np.flatnonzero(classes >= 0)
    is_member[classified + 1, classes[classified]] = 1
    bytes_before = np.cumsum(is_member, axis=0)  # [bytes + 1, count], so that a token's bytes of a class are one difference
    bytes_of_token = bytes_before[ends] - bytes_before[starts]
    sizes = (ends - starts)[:, None]
    return (bytes_of_token / sizes).astype(np.float32)


def _part_shares(words: Sequence[Word], sizes: Places, starts: Places, ends: Places) -> NDArray[np.float32]:
    classes = np.full(len(sizes), -1, np.int64)  # [characters]; -1 outside Japanese, where no word is
    for word in words:
        classes[word.start : word.end] = _part(word)
    return _shares(np.repeat(classes, sizes), starts, ends, len(PARTS))


def _locate_words(words: Sequence[Word], character_ends: Places, starts: Places, ends: Places, before: int) -> NDArray[np.int32]:
    """Return int32 [words, 3]: place in PARTS, first and last token; `before` is the number of tokens of earlier documents."""
    visible = [word for word in words if word.surface.strip()]
    if not visible:
        return np.zeros((0, 3), np.int32)
    byte_of_character = np.concatenate([[0], character_ends])
    first_bytes = byte_of_character[[word.start for word in visible]]
    end_bytes = byte_of_character[[word.end for word in visible]]
    covering_tokens = _covering(starts, ends, first_bytes, end_bytes) + before
    parts = [_part(word) for word in visible]
    return np.column_stack([parts, covering_tokens]).astype(np.int32)


def _covering(starts: Places, ends: Places, first: Places, last: Places) -> Places:
    """Return int [n, 2], the first and the last token that cover the bytes [first, last).

    By binary search: tokens follow one another, so their `starts` and `ends` [tokens] never fall.
    """
    return np.column_stack([np.searchsorted(ends, first, side="right"), np.searchsorted(starts, last, side="left") - 1])


def _part(word: Word) -> int:
    return PARTS.index(PART_OF_SUDACHI.get(word.coarse, "symbol"))
