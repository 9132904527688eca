"""What tokens cover, against a slow oracle; sums by class add up; a kanji split over tokens is counted whole."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.real_data import REAL, needs_real_data
from trainables.corpora.language import japanese
from trainables.corpora.language.japanese import split_words
from trainables.corpora.language.scripts import SCRIPTS, classify
from trainables.corpora.tokens.attribution import PARTS, Attribution, ByteSpans, attribute, load_attribution, save_attribution
from trainables.evaluation.classes import sum_parts, sum_scripts

LONGEST_BYTES = 49_149  # that Sudachi takes
TEXTS = {
    "literary": "ja/aozora_utf8/1579_ruby_19976.txt",
    "encyclopedic": "ja/encyclopedic/gsd_dev.txt",
    "technical": "ja/technical/python_docs_ja.txt",
    "parallel": "parallel/pud.ja.txt",
}


def byte_tokens(text: str, cuts: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return byte spans of tokens that end at the given places, wherever in a character those are."""
    size = len(text.encode())
    ends = np.array(sorted({cut % size for cut in cuts} - {0} | {size}), np.int64)
    return np.concatenate([[0], ends[:-1]]), ends


def count_slowly(text: str, spans: Any, nats: list[float], hits: list[bool]) -> dict[str, list[float]]:
    """Return nats, characters and right characters by script, byte by byte."""
    owners = [token for token, (start, end) in enumerate(zip(*spans, strict=True)) for _ in range(start, end)]
    sums = {script: [0.0, 0, 0] for script in SCRIPTS}
    place = 0
    for character in text:
        covering = owners[place : place + len(character.encode())]
        sums[classify(character)][0] += sum(nats[token] / owners.count(token) for token in covering)
        sums[classify(character)][1] += 1
        sums[classify(character)][2] += all(hits[token] for token in covering)
        place += len(character.encode())
    return {script: list(values) for script, values in sums.items()}


@settings(deadline=None, max_examples=60)
@given(st.text("日本語のテキスト。、ー〜aZ９１ é😀\n", min_size=1, max_size=30), st.lists(st.integers(0, 200), max_size=20), st.randoms())
def test_sums_by_script_equal_a_count_byte_by_byte(text: str, cuts: list[int], random: Any) -> None:
    spans = byte_tokens(text, cuts)
    nats = [random.random() for _ in spans[0]]
    hits = [random.random() < 0.7 for _ in spans[0]]
    attribution = attribute([text], [np.zeros(len(nats), np.int32)], lambda _text, _tokens: spans)
    sums = sum_scripts(attribution, np.array(nats), np.array(hits))
    slow = count_slowly(text, spans, nats, hits)
    for place, script in enumerate(SCRIPTS):
        found = [sums.nats[place], sums.characters[place], sums.right[place]]
        assert found == pytest.approx(slow[script], rel=1e-5, abs=1e-6)
    assert sums.nats.sum() == pytest.approx(sum(nats), rel=1e-6)


def test_a_kanji_over_two_tokens_is_right_only_when_both_are() -> None:
    spans = (np.array([0, 2, 4]), np.array([2, 4, 6]))  # 漢字: the second token ends one kanji and begins the next
    attribution = attribute(["漢字"], [np.zeros(3, np.int32)], lambda _text, _tokens: spans)
    kanji = SCRIPTS.index("kanji")
    for hits, right in (([1, 1, 1], 2), ([1, 1, 0], 1), ([1, 0, 1], 0), ([0, 1, 1], 1)):
        assert sum_scripts(attribution, np.ones(3), np.array(hits, bool)).right[kanji] == right


def test_words_and_their_parts_of_speech() -> None:
    text = "猫が静かに眠った。"
    ends = np.cumsum([len(letter.encode()) for letter in text])
    attribution = attribute([text], [np.zeros(len(ends), np.int32)], lambda _text, _tokens: (ends - 3, ends))
    words = [(PARTS[part], text[first : last + 1]) for part, first, last in attribution.words]
    assert words == [(PARTS[part], word.surface) for (part, _, _), word in zip(attribution.words, split_words(text), strict=True)]
    assert ("noun", "猫") in words
    assert ("particle", "が") in words
    assert ("symbol", "。") in words
    hits = np.ones(len(ends), bool)
    hits[text.index("が")] = False
    sums = sum_parts(attribution, np.ones(len(ends)), hits)
    particle = PARTS.index("particle")
    assert sums.units[particle] - sums.right[particle] == 1
    assert sums.nats.sum() == sums.characters.sum() == len(text)


def test_only_japanese_has_words() -> None:
    attribution = attribute(["plain English"], [np.zeros(1, np.int32)], lambda text, _tokens: (np.array([0]), np.array([len(text)])))
    assert len(attribution.words) == 0
    assert not attribution.part_shares.any()


def test_long_texts_are_split_into_words_without_a_gap() -> None:
    text = "句点のない長い文が続く" * 4000 + "。短い文。" * 3000
    assert len(text.encode()) > 3 * LONGEST_BYTES
    words = split_words(text)
    assert "".join(word.surface for word in words) == text
    assert all(text[word.start : word.end] == word.surface for word in words[::97])


@pytest.mark.parametrize("sign", ["㌔", "㍿", "ﷺ"])
def test_texts_that_are_longer_once_normalised_are_split_where_no_word_is(sign: str) -> None:
    """Sudachi normalises one sign to up to eighteen, and refuses then what it took as it stood."""
    sentence = f"駅まで五{sign}ある。"
    text = sentence * (LONGEST_BYTES // len(sentence.encode()))
    words = [word.surface for word in split_words(text)]
    assert words == [word.surface for word in split_words(sentence)] * text.count("。")
    assert "".join(word.surface for word in split_words(sign * 15000)) == sign * 15000
    parted = split_words(f"{sign}" * 9000 + "か\u3099" * 2000)
    assert not any(word.surface.startswith("\u3099") for word in parted)


def test_a_text_that_fits_is_not_split() -> None:
    text = "モーニング娘。と朝を待つ" * (LONGEST_BYTES // len("モーニング娘。と朝を待つ".encode()))
    whole = [(each.begin(), each.surface()) for each in japanese._tokenizer().tokenize(text)]
    assert [(word.start, word.surface) for word in split_words(text)] == whole


def test_arrays_come_back_as_they_were_written(tmp_path: Path) -> None:
    attribution = attribute(["日本"], [np.zeros(2, np.int32)], lambda _text, _tokens: (np.array([0, 3]), np.array([3, 6])))
    save_attribution(tmp_path, attribution)
    loaded = load_attribution(tmp_path)
    assert all(np.array_equal(getattr(loaded, name), value) for name, value in vars(attribution).items())


def load_backend(folder: str) -> Any:
    from transformers import AutoTokenizer

    backend = AutoTokenizer.from_pretrained(REAL / folder).backend_tokenizer
    backend.encode_special_tokens = True
    return backend


@needs_real_data
@pytest.mark.parametrize("source", TEXTS)
@pytest.mark.parametrize("tokenizer", ["tokenizers/qwen2", "models/stories260K-hf"])
def test_real_texts_add_up(tokenizer: str, source: str) -> None:
    backend = load_backend(tokenizer)
    text = (REAL / TEXTS[source]).read_text(encoding="utf-8")[:20_000]
    tokens = np.array(backend.encode(text, add_special_tokens=False).ids, np.int32)
    attribution: Attribution = attribute([text], [tokens], ByteSpans(backend).find)
    nats = np.random.default_rng(0).random(len(tokens))
    sums = sum_scripts(attribution, nats, np.ones(len(tokens), bool))
    assert sums.nats.sum() == pytest.approx(nats.sum(), rel=1e-6)
    assert sums.characters.sum() == sums.right.sum() == len(text)
    split = (attribution.characters[:, 1] < attribution.characters[:, 2]) & (attribution.characters[:, 0] == SCRIPTS.index("kanji"))
    assert split.any(), "no kanji is split over tokens: the rule would not be tried"
    parts = sum_parts(attribution, nats, np.ones(len(tokens), bool))
    assert parts.nats.sum() == pytest.approx(nats.sum(), rel=1e-6)
    assert parts.characters.sum() == len(text)


@needs_real_data
def test_a_text_that_its_tokenizer_normalises_keeps_its_nats() -> None:
    backend = load_backend("tokenizers/qwen2")
    text = "か\u3099く"  # が in two characters, which Qwen2's tokenizer joins
    tokens = np.array(backend.encode(text, add_special_tokens=False).ids, np.int32)
    attribution = attribute([text], [tokens], ByteSpans(backend).find)
    sums = sum_scripts(attribution, np.ones(len(tokens)), np.ones(len(tokens), bool))
    assert sums.nats.sum() == pytest.approx(len(tokens))
    assert not math.isnan(sums.nats.sum())


@needs_real_data
def test_the_golden_tokens() -> None:
    backend = load_backend("tokenizers/qwen2")
    backend.encode_special_tokens = False  # a chat's marks stand among the texts
    golden = json.loads((REAL / "tokenizers/qwen2_golden_tokens.json").read_text(encoding="utf-8"))
    cases = golden if isinstance(golden, list) else golden.get("cases", golden)
    assert len(cases) == 13
    for case in cases:
        text, ids = (case["text"], case["ids"]) if isinstance(case, dict) else case
        assert backend.encode(text, add_special_tokens=False).ids == ids
