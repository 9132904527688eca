"""Tokens into rows: packed blocks to train on, padded rows to evaluate with. Plain numpy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IGNORED = -100  # a target that is not counted
Tokens = NDArray[np.int32]


def pack_blocks(documents: Sequence[Tokens], separator: int, sequence_length: int) -> Tokens:
    """Return int32 [blocks, sequence_length + 1]: every document behind a separator, cut into blocks that overlap by one token.

    The stream is a ring: the last block is filled from the beginning, so that no token is lost and none is padding. In every
    block column t + 1 is column t's target; each token of the ring is a target, those of the filling twice.
    """
    stream = np.concatenate([part for tokens in documents for part in (np.array([separator], np.int32), tokens)])
    blocks = -(-len(stream) // sequence_length)
    ring = np.resize(stream, blocks * sequence_length + 1)
    starts = np.arange(blocks)[:, None] * sequence_length
    return ring[starts + np.arange(sequence_length + 1)]


def cut_rows(documents: Sequence[Tokens], separator: int, sequence_length: int) -> tuple[Tokens, Tokens, Tokens]:
    """Return inputs and targets, int32 [rows, sequence_length], and int32 [rows], the document each row belongs to.

    A document's sequence is the separator, as context, and its tokens, each a target exactly once. Inputs are padded with 0,
    targets with IGNORED.
    """
    owner = [index for index, tokens in enumerate(documents) for _ in range(-(-len(tokens) // sequence_length))]
    inputs = np.zeros((len(owner), sequence_length), np.int32)
    targets = np.full((len(owner), sequence_length), IGNORED, np.int32)
    row = 0
    for tokens in documents:
        sequence = np.concatenate([np.array([separator], np.int32), tokens])
        for start in range(0, len(tokens), sequence_length):
            part = sequence[start : start + sequence_length + 1]
            inputs[row, : len(part) - 1], targets[row, : len(part) - 1] = part[:-1], part[1:]
            row += 1
    return inputs, targets, np.array(owner, np.int32)


def choose_within(lengths: Sequence[int], most: int | None) -> list[int]:
    """Return the places of the documents to use, in order, whose lengths together are at most `most` tokens.

    Each is taken that still fits beside those taken before it; where none fits, the shortest alone, so that there is always one.
    """
    if most is None:
        return list(range(len(lengths)))
    chosen: list[int] = []
    total = 0
    for place, length in enumerate(lengths):
        if total + length <= most:
            chosen.append(place)
            total += length
    return chosen or [min(range(len(lengths)), key=lambda place: lengths[place])]
