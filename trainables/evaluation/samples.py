"""A few texts that a model writes on, so that a reader sees what the figures are of."""

from pathlib import Path

import pandas as pd

from records.files import write_file
from records.folders import SAMPLES_FILE
from trainables.corpora.tokens.folder import load_card, split_folder
from trainables.corpora.tokens.tokenizer import load_text_tokenizer
from trainables.evaluation.generation import find_fitting, generate
from trainables.models.model import LanguageModel

DOCUMENTS, OPENING_CHARACTERS, NEW_TOKENS, EXPECTED_CHARACTERS = 3, 40, 48, 200
LOOKED_AT = 50  # documents among which some leave room in the model's context


def write_samples(model: LanguageModel, model_folder: Path, data_folder: Path, folder: Path) -> None:
    """Write the samples of a run: greedy continuations of the first test documents, that leave room for one, of each set adapted to.

    A document with a prompt is answered; of another the first 40 characters are given. The file is a table as MLflow shows them, with
    the columns set, document, given, expected (the document's own first 200 characters from there) and written.
    """
    tokenizer = load_text_tokenizer(model_folder)
    samples: list[dict[str, str]] = []
    for name in load_card(data_folder).adapted:
        rows = pd.read_parquet(split_folder(data_folder, name, "test") / "documents.parquet").head(LOOKED_AT)
        # (given, expected): a prompt and its answer, or a text cut after its opening.
        pairs = [
            (prompt, text) if prompt else (text[:OPENING_CHARACTERS], text[OPENING_CHARACTERS:])
            for prompt, text in zip(rows["prompt"], rows["text"], strict=True)
        ]
        places = find_fitting(model, tokenizer, [given for given, _ in pairs], NEW_TOKENS)[:DOCUMENTS]
        written = generate(model, tokenizer, [pairs[place][0] for place in places], new_tokens=NEW_TOKENS, as_written=True)
        for place, text in zip(places, written, strict=True):
            given, expected = pairs[place]
            document = {"set": name, "document": rows["id"][place], "given": given}
            samples.append(document | {"expected": expected[:EXPECTED_CHARACTERS], "written": text})
    table = pd.DataFrame(samples).to_json(orient="split", index=False, force_ascii=False, indent=1)
    write_file(folder / SAMPLES_FILE, table)
