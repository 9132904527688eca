"""What script, word and stratum metrics add to the time of evaluating the embedded base on 200,000 tokens of Japanese.

Ours is the evaluation of every trial, metrics included; plain is perplexity alone: the same rows in the same passes, summed. Both sides
alternate in one run, and medians are reported. Sudachi's part, which is done once a study, is timed apart.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --write docs/benchmarks.md      puts the table into the page
"""

import argparse
import json
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import cast

import numpy as np
import torch

from benchmarks.page import describe_command, write_between
from trainables.corpora.shipped import read_shipped
from trainables.corpora.sources import DataSet
from trainables.corpora.tokens.attribution import attribute, load_attribution
from trainables.corpora.tokens.folder import split_folder
from trainables.corpora.tokens.packing import IGNORED
from trainables.corpora.tokens.tokenizer import load_text_tokenizer
from trainables.corpora.tokens.writing import prepare_data
from trainables.evaluation.nats import evaluate, plan_passes
from trainables.models.embedded import ensure_embedded
from trainables.models.loss import linear_cross_entropy
from trainables.models.model import LanguageModel, load_model
from trainables.models.recipes import RECIPES

SEQUENCE, ROWS = 256, 8
START, END = "<!-- evaluation: begin -->", "<!-- evaluation: end -->"


def main() -> None:
    """Measure both sides, and print or write the table."""
    parser = argparse.ArgumentParser(description=cast("str", __doc__).splitlines()[0])
    parser.add_argument("--base", choices=list(RECIPES), default="small", help="which of the embedded models")
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--write", type=Path, help="a page that has the markers of this benchmark")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    base = ensure_embedded(recipe=RECIPES[options.base])
    with tempfile.TemporaryDirectory() as folder:
        data, preparing = prepare(base, Path(folder), options.tokens)
        model = load_model(base, "fp32").eval()
        sides: dict[str, Callable[[], float]] = {"plain": lambda: plain(model, data), "ours": lambda: ours(model, data)}
        seconds = {side: list[float]() for side in sides}
        found: dict[str, float] = {}
        for _ in range(options.repeats + 1):
            for side, run in sides.items():
                load_attribution.cache_clear()  # a study reads it once, here every run pays for it
                began = time.perf_counter()
                found[side] = run()
                seconds[side].append(time.perf_counter() - began)
        assert math.isclose(found["plain"], found["ours"], rel_tol=1e-6), f"the sides disagree: {found}"
    table = render_table(options.base, options.tokens, preparing, {side: statistics.median(times[1:]) for side, times in seconds.items()})
    if options.write is None:
        print(table)
        return
    write_between(options.write, START, END, f"{describe_command()}.\n\n{table}")


def prepare(base: Path, folder: Path, tokens: int) -> tuple[Path, float]:
    """Return a prepared folder whose validation split has so many tokens of Japanese, and the seconds its attribution took.

    The shipped documents are taken again and again, a number before each, until there are enough.
    """
    tokenizer = load_text_tokenizer(base)
    texts: list[str] = []
    count = 0
    for number, sample in enumerate(cycle(read_shipped("japanese"))):
        texts.append(f"{number}\n{sample.text}")
        count += len(tokenizer.encode(texts[-1:])[0])
        if count >= tokens:
            break
    splits = {"validation": texts, "train": [sample.text for sample in read_shipped("chinese")]}
    splits["test"] = [sample.text for sample in read_shipped("finance")]
    for split, documents in splits.items():
        lines = [json.dumps({"text": text}, ensure_ascii=False) for text in documents]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    files = {split: str(folder / f"{split}.jsonl") for split in splits}
    data_set = DataSet.model_validate({"role": "adapt", "format": "jsonl", "files": files, "evaluation_tokens": 2 * tokens})
    prepare_data({"japanese": data_set}, base, SEQUENCE, folder / "data")
    began = time.perf_counter()
    attribute(texts, tokenizer.encode(texts), tokenizer.find_bytes)
    return folder / "data", time.perf_counter() - began


def ours(model: LanguageModel, data: Path) -> float:
    """Return the perplexity of the evaluation that every trial has."""
    return evaluate(model, data, "validation", rows_per_pass=ROWS).metrics(None)["eval/perplexity"]


@torch.no_grad()
def plain(model: LanguageModel, data: Path) -> float:
    """Return the perplexity and nothing else."""
    folder = split_folder(data, "japanese", "validation")
    inputs, targets = (np.load(folder / f"{name}.npy") for name in ("inputs", "targets"))
    widths = SEQUENCE - np.argmax(targets[:, ::-1] != IGNORED, axis=1)
    nats = 0.0
    for rows, width in plan_passes(widths, ROWS * SEQUENCE):
        inputs_bt, targets_bt = (torch.from_numpy(array[rows, :width]).long() for array in (inputs, targets))
        nats += linear_cross_entropy(model.hidden_states(inputs_bt), model.head, targets_bt).item()
    return math.exp(nats / int((targets != IGNORED).sum()))


def render_table(base: str, tokens: int, preparing: float, seconds: dict[str, float]) -> str:
    """Return a markdown table with the machine and the ratio."""
    return "\n".join(
        [
            f"{tokens:,} tokens of Japanese, the embedded {base} base, fp32; {platform.machine()} CPU, {torch.get_num_threads()} threads, "
            f"torch {torch.__version__}.",
            "",
            "| evaluation | seconds | beside plain |",
            "|---|---:|---:|",
            f"| perplexity alone | {seconds['plain']:.2f} | 1.00 |",
            f"| with scripts, words and strata | {seconds['ours']:.2f} | {seconds['ours'] / seconds['plain']:.3f} |",
            f"| attribution, once a study | {preparing:.2f} | {preparing / seconds['plain']:.2f} |",
        ]
    )


if __name__ == "__main__":
    main()
