"""A few texts that a model writes on, so that a reader sees what the figures are of."""

from pathlib import Path
from typing import Any

import pandas as pd

from hikaku.record import SAMPLES_FILE, write_atomically
from trainables.corpora.prepare import load_text_tokenizer
from trainables.corpora.prepared import load_card, split_folder
from trainables.evaluation.generation import generate

DOCUMENTS, OPENING_CHARACTERS, NEW_TOKENS, EXPECTED_CHARACTERS = 3, 40, 48, 200


def write_samples(model: Any, model_folder: Path, data_folder: Path, folder: Path) -> None:
    """Write the samples of a run: greedy continuations of the first test documents of each set that is adapted to.

    A document with a prompt is answered; of another the first 40 characters are given. The file is a table as MLflow shows them, with
    the columns set, document, given, expected (the document's own first 200 characters from there) and written.
    """
    tokenizer = load_text_tokenizer(model_folder)
    samples: list[dict[str, str]] = []
    for name in load_card(data_folder).adapted:
        rows = pd.read_parquet(split_folder(data_folder, name, "test") / "documents.parquet").head(DOCUMENTS)
        pairs = [
            (prompt, text) if prompt else (text[:OPENING_CHARACTERS], text[OPENING_CHARACTERS:])
            for prompt, text in zip(rows["prompt"], rows["text"], strict=True)
        ]
        written = generate(model, tokenizer, [given for given, _ in pairs], new_tokens=NEW_TOKENS)
        samples += [
            {"set": name, "document": document, "given": given, "expected": expected[:EXPECTED_CHARACTERS], "written": text}
            for document, (given, expected), text in zip(rows["id"], pairs, written, strict=True)
        ]
    table = pd.DataFrame(samples).to_json(orient="split", index=False, force_ascii=False, indent=1)
    write_atomically(folder / SAMPLES_FILE, table)
