"""Answers that a model writes to the prompts of a test split, and how near in meaning they come to the true ones."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from trainables.config import Similarity
from trainables.corpora.tokens.folder import load_card, split_folder
from trainables.corpora.tokens.tokenizer import load_text_tokenizer
from trainables.evaluation.generation import find_fitting, generate
from trainables.evaluation.similarity import SIMILARITY_ABSENT, semantic_similarity
from trainables.models.model import LanguageModel

METRIC = "test/semantic_similarity"


def measure_similarity(model: LanguageModel, model_folder: Path, data_folder: Path, request: Similarity) -> tuple[dict[str, float], str]:
    """Return the metric, greedy answers against true ones, and the signature of its making.

    Asked are the first test documents of the sets that are adapted to, as far as they have prompts that leave room for an answer.
    There is no metric, and the reason in the signature's place, without the extra, without such prompts, or where the encoder cannot
    be loaded.
    """
    if find_spec("sentence_transformers") is None:
        return {}, SIMILARITY_ABSENT
    places = [split_folder(data_folder, name, "test") / "documents.parquet" for name in load_card(data_folder).adapted]
    rows = pd.concat([pd.read_parquet(place, columns=["prompt", "text"]) for place in places])
    rows = rows[rows["prompt"] != ""]
    tokenizer = load_text_tokenizer(model_folder)
    fitting = find_fitting(model, tokenizer, rows["prompt"].tolist(), request.new_tokens)
    rows = rows.iloc[fitting[: request.answers]]
    if rows.empty:
        return {}, "absent: no test document has a prompt that leaves room for an answer"
    answers = generate(model, tokenizer, rows["prompt"].tolist(), new_tokens=request.new_tokens, as_written=True)
    try:
        figure = semantic_similarity(answers, rows["text"].tolist(), request.model, request.revision)
    except OSError as error:  # at the end of a search: the hub is out of reach, or has no such model
        reason = str(error).strip().partition("\n")[0]
        return {}, f"absent: {request.model} cannot be loaded: {reason}"
    assert figure is not None  # the extra was looked for above, before minutes were spent on answers
    return {METRIC: figure.value}, f"{figure.signature}|answers:{len(answers)}|new_tokens:{request.new_tokens}|greedy"
