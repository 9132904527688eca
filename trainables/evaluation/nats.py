"""Nats of every document of a split, and the metrics made from them.

Sums come first and are taken over all workers, in float64; the one division comes last. So the result does not depend on how
rows are grouped into passes or shared among workers (beyond the rounding of the model's own matrix products).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pyarrow import parquet
from torch import Tensor
from torch import distributed as dist

from trainables.corpora.language.scripts import SCRIPTS
from trainables.corpora.tokens.attribution import PARTS, load_attribution
from trainables.corpora.tokens.folder import Card, Split, check_split, split_folder
from trainables.corpora.tokens.packing import IGNORED
from trainables.evaluation.classes import ClassSums, find_right, sum_parts, sum_scripts, sum_scripts_by_document
from trainables.evaluation.documents import COLUMNS
from trainables.models.loss import token_nats
from trainables.models.model import LanguageModel

Pass = tuple[NDArray[np.intp], int]  # rows that are computed together, and the columns that the longest of them fills
_PARQUET: Any = parquet
NO_SCRIPTS = ClassSums(*np.zeros((4, len(SCRIPTS))))
NO_PARTS = ClassSums(*np.zeros((4, len(PARTS))))


@dataclass(frozen=True)
class Evaluation:
    """The documents of one split of every set, measured. The table's columns are in `trainables/evaluation/documents.py`.

    `scripts` and `parts` are the adapted sets' sums by class.
    """

    split: Split
    card: Card
    documents: pd.DataFrame
    scripts: ClassSums
    parts: ClassSums

    def metrics(self, base: Mapping[str, float] | None) -> dict[str, float]:
        """Return the metrics of records.metrics that this split gives, those of the adaptation from all its sets together.

        `base` is the base's metrics on the same split; retention is told only where they hold the set's bits per byte.
        """
        prefix, under = ("eval", "") if self.split == "validation" else ("test", "test/")
        metrics: dict[str, float] = {}
        if self.card.adapted:
            sums = self._sum("set in @sets", self.card.adapted)
            metrics[f"{prefix}/perplexity"] = perplexity(sums["nats"], sums["tokens"])
            metrics[f"{prefix}/nats_per_token"] = sums["nats"] / sums["tokens"]
            metrics[f"{prefix}/bits_per_character"] = sums["nats"] / math.log(2) / sums["characters"]
            metrics[f"{prefix}/bits_per_byte"] = sums["nats"] / math.log(2) / sums["bytes"]
            metrics[f"{prefix}/character_accuracy"] = sums["right_characters"] / sums["characters"]
            metrics |= self._classes(under)
        for name in self.card.domains:
            sums = self._sum("set in @sets", (name,))
            metrics[f"{under}domain/{name}/perplexity"] = perplexity(sums["nats"], sums["tokens"])
            metrics[f"{under}domain/{name}/bits_per_character"] = sums["nats"] / math.log(2) / sums["characters"]
        for name in self.card.retained:
            key, sums = f"{under}retained/{name}/bits_per_byte", self._sum("set in @sets", (name,))
            metrics[key] = sums["nats"] / math.log(2) / sums["bytes"]
            if base is not None and key in base:  # a base may have been measured without this set
                metrics[f"{under}retention/{name}"] = base[key] / metrics[key]
        return metrics

    def _classes(self, under: str) -> dict[str, float]:
        """Return the adapted sets' metrics by script, by part of speech, and by stratum."""
        metrics = dict(self.scripts.metrics(f"{under}script", SCRIPTS))
        metrics |= dict(self.parts.metrics(f"{under}word", PARTS))
        adapted = self.documents[self.documents["set"].isin(self.card.adapted)]
        for stratum in sorted(set(adapted["stratum"]) - {""}):  # empty: a text that has none
            sums = self._sum("set in @sets and stratum == @stratum", self.card.adapted, stratum)
            metrics[f"{under}stratum/{stratum}/bits_per_character"] = sums["nats"] / math.log(2) / sums["characters"]
            metrics[f"{under}stratum/{stratum}/accuracy"] = sums["right_characters"] / sums["characters"]
        return metrics

    def _sum(self, condition: str, sets: tuple[str, ...], stratum: str = "") -> dict[str, float]:
        """Return the sums of the counted columns over the documents that meet a condition on `sets` and `stratum`."""
        rows = self.documents.query(condition, local_dict={"sets": sets, "stratum": stratum})
        return {column: float(rows[column].sum()) for column in ("nats", "tokens", "characters", "bytes", "right_characters")}


def perplexity(nats: float, tokens: float) -> float:
    """Return exp(nats / tokens), infinite where a float64 cannot hold it (above 709 nats per token)."""
    try:
        return math.exp(nats / tokens)
    except OverflowError:
        return math.inf


@torch.no_grad()
def evaluate(model: LanguageModel, data_folder: Path, split: Split, *, rows_per_pass: int = 8) -> Evaluation:
    """Return the split's documents of every set in the prepared folder, measured with the model on the model's own device.

    A pass computes at most `rows_per_pass` full rows' worth of tokens. In a process group of several workers each takes its share
    of the passes, and every worker returns the whole result. The model's training mode is left as it was.
    """
    card = check_split(data_folder, split)
    training = model.training  # read before it is changed; put back even after an error
    tables: list[pd.DataFrame] = []
    scripts, parts = NO_SCRIPTS, NO_PARTS
    model.eval()
    try:
        for name in card.sets:
            nats, hits = measure_tokens(model, split_folder(data_folder, name, split), rows_per_pass)
            attribution = load_attribution(split_folder(data_folder, name, split))
            table = _sum_documents(data_folder, name, split, nats, find_right(attribution.characters, hits))
            tables.append(table.assign(**dict(sum_scripts_by_document(attribution, nats, table))))
            if name in card.adapted:  # the others are measured whole: classes are told of what was adapted to
                scripts, parts = scripts + sum_scripts(attribution, nats, hits), parts + sum_parts(attribution, nats, hits)
    finally:
        model.train(training)
    return Evaluation(split, card, pd.concat(tables, ignore_index=True), scripts, parts)


@torch.no_grad()
def measure_tokens(model: LanguageModel, folder: Path, rows_per_pass: int = 8) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return nats [tokens] of a split's targets, document after document, and whether no other token was likelier [tokens]."""
    inputs, targets = (np.load(folder / f"{array}.npy", mmap_mode="r", allow_pickle=False) for array in ("inputs", "targets"))
    sequence_length = inputs.shape[1]
    is_target = np.asarray(targets) != IGNORED  # [rows, sequence_length]
    target_number = np.cumsum(is_target).reshape(is_target.shape) - 1
    places = np.where(is_target, target_number, 0)  # of each target among all targets
    device = next(model.parameters()).device
    totals_2t = torch.zeros((2, int(is_target.sum())), dtype=torch.float64, device=device)  # nats, and 1 where it was the likeliest
    widths = sequence_length - np.argmax(is_target[:, ::-1], axis=1)  # up to the last target: padding behind it is not computed
    for (rows, width), is_counted in _own_passes(plan_passes(widths, rows_per_pass * sequence_length)):
        inputs_bt, targets_bt = (torch.from_numpy(array[rows, :width].astype(np.int64)).to(device) for array in (inputs, targets))
        nats_bt, hits_bt = token_nats(model.hidden_states(inputs_bt), model.head, targets_bt)
        if is_counted:
            is_target_bt = torch.from_numpy(is_target[rows, :width]).to(device)
            places_t = torch.from_numpy(places[rows, :width]).to(device)[is_target_bt]
            totals_2t[0, places_t] = nats_bt[is_target_bt].double()
            totals_2t[1, places_t] = hits_bt[is_target_bt].double()
    # Each target was measured by one worker and is 0 on the others, so the sum over workers is the whole.
    nats, hits = _sum_over_workers(totals_2t).cpu().numpy()
    return nats, hits > 0.5


def _sum_documents(data_folder: Path, name: str, split: Split, nats: NDArray[np.float64], right: NDArray[np.bool_]) -> pd.DataFrame:
    """Return a row per document from nats [tokens] and whether each character is right [characters]."""
    path = split_folder(data_folder, name, split) / "documents.parquet"
    columns = ["id", "source", "tokens", "characters", "bytes", "stratum"]
    held = set(_PARQUET.read_schema(path).names)  # texts that were prepared before their sources were kept have none
    table = pd.read_parquet(path, engine="pyarrow", columns=[column for column in columns if column in held])
    count = len(table)
    document_of_token = np.repeat(np.arange(count), table["tokens"])
    document_of_character = np.repeat(np.arange(count), table["characters"])
    sums = {
        "nats": np.bincount(document_of_token, nats, count),
        "right_characters": np.bincount(document_of_character, right, count),
    }
    measured = table.rename(columns={"id": "document"}).assign(set=name, split=split, **sums)
    return measured.reindex(columns=list(COLUMNS))


def plan_passes(lengths: NDArray[np.intp], tokens_per_pass: int) -> list[Pass]:
    """Return rows grouped by length, longest first, so that little of a pass is padding."""
    order = np.argsort(-lengths, kind="stable")  # stable: rows of one length stay in the files' order
    passes: list[Pass] = []
    start = 0
    while start < len(order):
        width = int(lengths[order[start]])  # the first row of a pass is its longest
        end = start + max(1, tokens_per_pass // width)
        passes.append((order[start:end], width))
        start = end
    return passes


def _own_passes(passes: list[Pass]) -> list[tuple[Pass, bool]]:
    """Return this worker's passes, and whether each counts.

    Every worker makes equally many, since a forward pass of a sharded model (ZeRO 3) needs all workers: who has none left repeats
    the first, uncounted.
    """
    if not _several_workers():
        return [(one_pass, True) for one_pass in passes]
    rank, workers = dist.get_rank(), dist.get_world_size()
    rounds = -(-len(passes) // workers)
    places = [rank + workers * turn for turn in range(rounds)]
    return [(passes[place], True) if place < len(passes) else (passes[0], False) for place in places]


def _sum_over_workers(sums: Tensor) -> Tensor:
    if _several_workers():
        dist.all_reduce(sums)
    return sums


def _several_workers() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
