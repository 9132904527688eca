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
from torch import Tensor
from torch import distributed as dist

from trainables.corpora.packing import IGNORED
from trainables.corpora.prepared import Card, Split, load_card, split_folder
from trainables.evaluation.documents import COLUMNS
from trainables.loss import token_nats
from trainables.model import head_weight, hidden_states

Pass = tuple[NDArray[np.intp], int]  # rows that are computed together, and the columns that the longest of them fills


@dataclass(frozen=True)
class Evaluation:
    """The documents of one split of every set, measured. The table's columns are in `trainables/evaluation/documents.py`."""

    split: Split
    card: Card
    documents: pd.DataFrame

    def metrics(self, base: Mapping[str, float] | None) -> dict[str, float]:
        """Return the metrics of hikaku.metrics that this split gives, those of the adaptation from all its sets together.

        `base` is the base's metrics on the same split; retention is told only where they hold the set's bits per byte.
        """
        prefix, under = ("eval", "") if self.split == "validation" else ("test", "test/")
        metrics: dict[str, float] = {}
        if self.card.adapted:
            nats, tokens, characters, bytes_ = self._sum(self.card.adapted)
            metrics[f"{prefix}/perplexity"] = perplexity(nats, tokens)
            metrics[f"{prefix}/nats_per_token"] = nats / tokens
            metrics[f"{prefix}/bits_per_character"] = nats / math.log(2) / characters
            metrics[f"{prefix}/bits_per_byte"] = nats / math.log(2) / bytes_
        for name in self.card.retained:
            key = f"{under}retained/{name}/bits_per_byte"
            nats, _, _, bytes_ = self._sum((name,))
            metrics[key] = nats / math.log(2) / bytes_
            if base is not None and key in base:
                metrics[f"{under}retention/{name}"] = base[key] / metrics[key]
        return metrics

    def _sum(self, sets: tuple[str, ...]) -> tuple[float, float, float, float]:
        """Return the sums of nats, tokens, characters and bytes over the sets' documents."""
        rows = self.documents.query("set in @sets")
        nats, tokens, characters, bytes_ = (float(rows[column].sum()) for column in ("nats", "tokens", "characters", "bytes"))
        return nats, tokens, characters, bytes_


def perplexity(nats: float, tokens: float) -> float:
    """Return exp(nats / tokens), infinite where a float64 cannot hold it (above 709 nats per token)."""
    try:
        return math.exp(nats / tokens)
    except OverflowError:
        return math.inf


@torch.no_grad()
def evaluate(model: Any, data_folder: Path, split: Split, *, rows_per_pass: int = 8) -> Evaluation:
    """Return the split's documents of every set in the prepared folder, measured with the model on the model's own device.

    A pass computes at most `rows_per_pass` full rows' worth of tokens. In a process group of several workers each takes its share
    of the passes, and every worker returns the whole result. The model's training mode is left as it was.
    """
    card = load_card(data_folder)
    training = model.training
    model.eval()
    try:
        tables = [_measure_set(model, data_folder, name, split, rows_per_pass) for name in card.sets]
    finally:
        model.train(training)
    return Evaluation(split, card, pd.concat(tables, ignore_index=True))


def _measure_set(model: Any, data_folder: Path, name: str, split: Split, rows_per_pass: int) -> pd.DataFrame:
    folder = split_folder(data_folder, name, split)
    inputs, targets, owners = (
        np.load(folder / f"{array}.npy", mmap_mode="r", allow_pickle=False) for array in ("inputs", "targets", "rows")
    )
    table = pd.read_parquet(folder / "documents.parquet", engine="pyarrow", columns=["id", "tokens", "characters", "bytes"])
    device = next(model.parameters()).device
    sums = torch.zeros(len(table), dtype=torch.float64, device=device)
    passes = _plan_passes((np.asarray(targets) != IGNORED).sum(axis=1), rows_per_pass * inputs.shape[1])
    for (rows, width), counted in _own_passes(passes):
        inputs_bt, targets_bt = (torch.from_numpy(array[rows, :width].astype(np.int64)).to(device) for array in (inputs, targets))
        nats_bt = token_nats(hidden_states(model, inputs_bt), head_weight(model), targets_bt)
        if counted:
            sums.index_add_(0, torch.from_numpy(owners[rows].astype(np.int64)).to(device), nats_bt.double().sum(dim=1))
    nats = _sum_over_workers(sums)
    measured = table.rename(columns={"id": "document"}).assign(set=name, split=split, nats=nats.cpu().numpy())
    return measured.reindex(columns=list(COLUMNS))


def _plan_passes(lengths: NDArray[np.intp], tokens_per_pass: int) -> list[Pass]:
    """Return rows grouped by length, longest first, so that little of a pass is padding."""
    order = np.argsort(-lengths, kind="stable")
    passes: list[Pass] = []
    start = 0
    while start < len(order):
        width = int(lengths[order[start]])
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
        return [(each, True) for each in passes]
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
