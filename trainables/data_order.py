"""Which blocks a step trains on: a new permutation of the packed blocks each epoch, drawn from the trial's seed.

The order is a function of seed and step alone, so it needs no saving, and every number of workers trains on the same blocks.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainables.config import Batch
from trainables.randomness import derive_seed

TRAIN_FILE = "train.npy"


class DataOrder:
    """The packed blocks of a prepared data folder in a trial's order."""

    def __init__(self, folder: Path, batch: Batch, seed: int) -> None:
        self._blocks = np.load(folder / TRAIN_FILE, mmap_mode="r", allow_pickle=False)  # int32 [blocks, sequence_length + 1]
        if self._blocks.shape[1] != batch.sequence_length + 1:
            raise ValueError(f"{folder}: was packed for batch.sequence_length {self._blocks.shape[1] - 1}, not {batch.sequence_length}")
        if len(self._blocks) == 0:
            raise ValueError(f"{folder / TRAIN_FILE}: no block; allowed: at least one block of training text")
        self._per_step, self._seed = batch.blocks, seed
        self._epochs: dict[int, Tensor] = {}

    def step_blocks(self, step: int, *, rank: int, world_size: int) -> tuple[Tensor, Tensor]:
        """Return this worker's share of a step, inputs and targets, int32 [blocks / world_size, sequence_length] each."""
        places = range(step * self._per_step, (step + 1) * self._per_step)
        share = [self._block_at(place) for place in places[rank::world_size]]
        blocks = torch.from_numpy(np.stack([self._blocks[index] for index in share]))
        return blocks[:, :-1], blocks[:, 1:]

    def _block_at(self, place: int) -> int:
        epoch, offset = divmod(place, len(self._blocks))
        return int(self._permutation(epoch)[offset])

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, f"order/{epoch}"))
            self._epochs = {epoch: torch.randperm(len(self._blocks), generator=generator)}
        return self._epochs[epoch]
