"""BLEU and chrF equal sacrebleu's own on the same words; semantic similarity is there with its model, or absent."""

import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sacrebleu
from numpy.typing import NDArray

from trainables.corpora.language.japanese import surfaces
from trainables.evaluation import similarity
from trainables.evaluation.similarity import join_words, overlap, semantic_similarity

REFERENCES = (
    "猫が窓辺で静かに眠っている。",
    "昨日は一日じゅう雨が降っていた。",
    "来年の春に東京へ引っ越すつもりです。",
    "Python 3.11 が要る。",
)
ANSWERS = ("猫が窓のそばで静かに眠っていた。", "昨日は一日じゅう雨が降っていた。", "春になったら東京に行く。", "")
REVISION = "0123456789abcdef0123456789abcdef01234567"


def test_words_are_sudachis() -> None:
    assert join_words(["猫が窓辺で眠る。"]) == ["猫 が 窓辺 で 眠る 。"]
    assert [line.split() for line in join_words(REFERENCES[:3])] == surfaces(REFERENCES[:3])


@pytest.mark.parametrize("part", [lambda text: " ".join(text.replace(" ", "")), lambda text: "　".join(surfaces([text])[0])])
def test_blanks_between_words_count_as_nothing(part: Callable[[str], str]) -> None:
    texts = (
        "猫が窓辺で静かに眠っている。",
        "昨日は一日じゅう雨が降っていた。",
        "来年の春に東京へ引っ越すつもりです。",
        "「朝だ」と父は言った。",
    )
    parted = [part(text) for text in texts]
    for answers, references in ((parted, texts), (texts, parted)):
        assert {round(figure.value, 6) for figure in overlap(answers, references).values()} == {100}


def test_blanks_beside_other_scripts_count_as_nothing_and_between_their_words_stay() -> None:
    assert {
        round(figure.value, 6) for figure in overlap(["2024 年 に Python 3 を 学ん だ 。"], ["2024年にPython 3を学んだ。"]).values()
    } == {100}
    assert join_words(["the cat", "thecat"]) == ["the cat", "thecat"]


def test_figures_and_signatures_are_sacrebleus_own() -> None:
    figures = overlap(ANSWERS, REFERENCES)
    words, wanted = join_words(ANSWERS), [join_words(REFERENCES)]
    own: dict[str, Any] = {
        "bleu_words": sacrebleu.corpus_bleu(words, wanted, tokenize="none"),
        "bleu_characters": sacrebleu.corpus_bleu(ANSWERS, [REFERENCES], tokenize="char"),
        "chrf_words": sacrebleu.corpus_chrf(words, wanted, word_order=2),
        "chrf_characters": sacrebleu.corpus_chrf(ANSWERS, [REFERENCES]),
    }
    assert {name: figure.value for name, figure in figures.items()} == {name: score.score for name, score in own.items()}
    assert len({figure.value for figure in figures.values()}) == len(figures)
    end = f"version:{sacrebleu.__version__}"
    assert figures["bleu_words"].signature == f"nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|{end}"
    assert figures["bleu_characters"].signature == f"nrefs:1|case:mixed|eff:no|tok:char|smooth:exp|{end}"
    assert figures["chrf_words"].signature == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|{end}"
    assert figures["chrf_characters"].signature == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|{end}"


def test_the_same_texts_are_all_of_it_and_strangers_nothing() -> None:
    assert {round(figure.value, 6) for figure in overlap(REFERENCES, REFERENCES).values()} == {100}
    assert {figure.value for figure in overlap(["x"], ["山川"]).values()} == {0}


def test_similarity_is_absent_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "find_spec", lambda name: None)
    assert semantic_similarity(ANSWERS, REFERENCES, "own/encoder", REVISION) is None


def test_similarity_is_the_mean_cosine_and_names_model_and_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Encoder:
        def __init__(self, model: str, **given: Any) -> None:
            asked.update(given, model=model)

        def encode(self, texts: Sequence[str], *, normalize_embeddings: bool, show_progress_bar: bool) -> NDArray[np.float64]:
            assert normalize_embeddings
            assert not show_progress_bar
            return np.array([[1.0, 0.0] if text == "東" else [0.6, 0.8] for text in texts])

    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=Encoder))
    monkeypatch.setattr(similarity, "find_spec", lambda name: name)
    monkeypatch.setattr(similarity, "version", lambda name: "9.9")
    figure = semantic_similarity(["東", "東"], ["東", "西"], "own/encoder", REVISION)
    assert figure is not None
    assert figure.value == pytest.approx((1 + 0.6) / 2)
    assert figure.signature == f"own/encoder@{REVISION}|sentence-transformers:9.9"
    assert (asked["model"], asked["revision"], asked["trust_remote_code"]) == ("own/encoder", REVISION, False)
