"""How near what a model writes comes to references: BLEU and chrF by sacrebleu, and semantic similarity as an extra.

BLEU's own word splitters do not know Japanese: words are Sudachi's here, and the same is counted over characters. Every figure
stands beside the signature that says how it was made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from trainables.corpora.language.japanese import surfaces

SIMILARITY_ABSENT = "absent: sentence-transformers is not installed (pip install 'hikaku[similarity]')"


@dataclass(frozen=True)
class Figure:
    """A value and the signature of its making: sacrebleu's own, or model and revision."""

    value: float
    signature: str


def overlap(answers: Sequence[str], references: Sequence[str]) -> dict[str, Figure]:
    """Return BLEU and chrF of the whole corpus, 0 to 100, over words and over characters; one reference an answer.

    `chrf_words` is chrF++, which counts pairs of words beside characters; `chrf_characters` counts characters alone.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    answer_words, reference_words = join_words(answers), join_words(references)
    makers = {
        "bleu_words": (BLEU(tokenize="none", force=True), answer_words, reference_words),  # force: the words are split on purpose
        "bleu_characters": (BLEU(tokenize="char"), answers, references),
        "chrf_words": (CHRF(word_order=2), answer_words, reference_words),
        "chrf_characters": (CHRF(), answers, references),
    }
    scores = {name: metric.corpus_score(left, [right]).score for name, (metric, left, right) in makers.items()}
    return {name: Figure(score, str(makers[name][0].get_signature())) for name, score in scores.items()}


def join_words(texts: Sequence[str]) -> list[str]:
    """Return the texts as Sudachi's words with spaces between them, whether or not spaces stood between them before."""
    return [" ".join(words) for words in surfaces(texts)]


def describe_words() -> str:
    """Return how the words were split: Sudachi's version, dictionary and mode, and what becomes of blanks."""
    return f"SudachiPy {version('sudachipy')}, sudachidict_core {version('sudachidict_core')}, mode C, blanks beside Japanese left out"


def semantic_similarity(answers: Sequence[str], references: Sequence[str], model: str, revision: str) -> Figure | None:
    """Return the mean cosine, -1 to 1, of each answer's embedding with its reference's; None where the extra is not installed.

    `model` is an id on the hub and `revision` its commit, 40 hexadecimal digits.
    """
    if find_spec("sentence_transformers") is None:
        return None
    from sentence_transformers import SentenceTransformer  # pyright: ignore[reportMissingImports]

    encoder = SentenceTransformer(model, revision=revision, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    left, right = (encoder.encode(list(texts), normalize_embeddings=True, show_progress_bar=False) for texts in (answers, references))
    signature = f"{model}@{revision}|sentence-transformers:{version('sentence-transformers')}"
    cosines = (left * right).sum(axis=1)  # [answers]: both sides have length 1
    return Figure(float(cosines.mean()), signature)
