"""Which blocks a step trains on: a new permutation of the packed blocks each epoch, drawn from the trial's seed.

The order is a function of seed and step alone, so it needs no saving, and every number of workers trains on the same blocks.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from records.refusals import Refusal
from trainables.config import Batch
from trainables.corpora.tokens.folder import TRAIN_FILES
from trainables.corpora.tokens.packing import IGNORED
from trainables.randomness import derive_seed


class DataOrder:
    """The packed blocks of a prepared data folder in a trial's order."""

    def __init__(self, folder: Path, batch: Batch, seed: int) -> None:
        self._arrays = [np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in TRAIN_FILES]  # [blocks, sequence_length]
        self._blocks, length = self._arrays[0].shape
        if length != batch.sequence_length:
            raise ValueError(f"{folder}: was packed for batch.sequence_length {length}, not {batch.sequence_length}")
        if self._blocks == 0:
            raise Refusal(place=str(folder / TRAIN_FILES[0]), fault="no block", allowed="at least one block of training text")
        self._per_step, self._seed = batch.blocks, seed
        self._epochs: dict[int, Tensor] = {}

    def digest(self) -> str:
        """Return the hex sha256 of the blocks as they lie in memory, which is the card's `train_digest` where nothing was changed."""
        digest = hashlib.sha256()
        for array in self._arrays:
            digest.update(array)
        return digest.hexdigest()

    def step_blocks(self, step: int, *, rank: int, world_size: int) -> tuple[Tensor, ...]:
        """Return this worker's share of a step: inputs, targets and positions, int32 [blocks / world_size, sequence_length] each."""
        # Places count on over the epochs, so a step may take the end of one permutation and the beginning of the next.
        places = range(step * self._per_step, (step + 1) * self._per_step)
        share = [self._block_at(place) for place in places[rank::world_size]]
        return tuple(torch.from_numpy(array[share]) for array in self._arrays)

    def count_steps(self, tokens: int) -> int:
        """Return after how many steps at least that many tokens are trained: prompts and padding are none."""
        _, targets, _ = self._arrays
        tokens_of_block = torch.from_numpy((targets != IGNORED).sum(axis=1))  # [blocks], in the files' order
        epochs, left = divmod(tokens, int(tokens_of_block.sum()))  # whole epochs, and tokens of the one that is begun
        tokens_up_to = torch.cumsum(tokens_of_block[self._permutation(epochs)], 0)  # [blocks], in that epoch's order
        blocks_begun = int(torch.searchsorted(tokens_up_to, left)) + 1 if left else 0
        blocks = epochs * self._blocks + blocks_begun
        return -(-blocks // self._per_step)  # rounded up: steps are whole

    def _block_at(self, place: int) -> int:
        epoch, offset = divmod(place, self._blocks)
        return int(self._permutation(epoch)[offset])

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, f"order/{epoch}"))
            # Only the current epoch's: a trial never looks back.
            self._epochs = {epoch: torch.randperm(self._blocks, generator=generator)}
        return self._epochs[epoch]
