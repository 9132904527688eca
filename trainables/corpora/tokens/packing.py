"""Tokens into rows: packed blocks to train on, padded rows to evaluate with. Plain numpy."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IGNORED = -100  # a target that is not counted
Tokens = NDArray[np.int32]


class Passage(NamedTuple):
    """A document as the model meets it: all its tokens, of which the first `given` are context and no targets (at least one)."""

    tokens: Tokens
    given: int = 1


class Blocks(NamedTuple):
    """Packed passages, int32 [blocks, sequence_length] each.

    Targets are IGNORED where nothing is learnt; positions count from 0 in every piece of a passage, and in the padding.
    """

    inputs: Tokens
    targets: Tokens
    positions: Tokens


def pack_blocks(passages: Sequence[Passage], sequence_length: int) -> Blocks:
    """Return the passages in as few blocks as best fit finds, every token that is not given a target exactly once.

    Passages are cut into pieces of at most a block, which are placed longest first, each into the fullest block that has room for it.
    What is left of a block is padding, inputs 0. Pieces in which nothing is learnt are left out.
    """
    pieces = [piece for passage in passages for piece in _cut(passage, sequence_length)]
    blocks = _best_fit([len(targets) for _, targets in pieces], sequence_length)
    shape = len(blocks), sequence_length
    packed = Blocks(*(np.full(shape, filling, np.int32) for filling in (0, IGNORED, 0)))  # inputs, targets, positions
    for row, places in enumerate(blocks):
        start = 0
        for place in places:
            inputs, targets = pieces[place]
            end = start + len(inputs)
            packed.inputs[row, start:end] = inputs
            packed.targets[row, start:end] = targets
            packed.positions[row, start:end] = np.arange(len(inputs))  # from 0 again: attention stops at the piece's beginning
            start = end
        # Padding counts from 0 too, as a piece of its own: no document attends to it.
        packed.positions[row, start:] = np.arange(sequence_length - start)
    return packed


def cut_rows(passages: Sequence[Passage], sequence_length: int) -> tuple[Tokens, Tokens, Tokens]:
    """Return inputs and targets, int32 [rows, sequence_length], and int32 [rows], the passage each row belongs to.

    Every token that is not given is a target exactly once. Inputs are padded with 0, targets with IGNORED.
    """
    pieces: list[tuple[Tokens, Tokens]] = []
    owners: list[int] = []
    for owner, passage in enumerate(passages):
        for piece in _cut(passage, sequence_length):
            pieces.append(piece)
            owners.append(owner)
    inputs = np.zeros((len(pieces), sequence_length), np.int32)
    targets = np.full((len(pieces), sequence_length), IGNORED, np.int32)
    for row, (piece_inputs, piece_targets) in enumerate(pieces):
        length = len(piece_inputs)
        inputs[row, :length] = piece_inputs
        targets[row, :length] = piece_targets
    return inputs, targets, np.array(owners, np.int32)


def count_padding(targets: Tokens) -> NDArray[np.int64]:
    """Return int64 [rows], how many places at a row's end are padding: every piece of a passage ends with a target."""
    return (targets[:, ::-1] != IGNORED).argmax(axis=1)  # argmax finds the first True, from the row's end


def _cut(passage: Passage, length: int) -> Iterator[tuple[Tokens, Tokens]]:
    """Yield inputs and targets of a passage's pieces; each begins with the last token of the piece before."""
    tokens, given = passage
    targets = tokens[1:].copy()  # every position is taught the token after it
    targets[: given - 1] = IGNORED
    first_piece = (given - 1) // length * length  # pieces that lie wholly in what is given would teach nothing
    for start in range(first_piece, len(targets), length):
        end = min(start + length, len(targets))
        yield tokens[start:end], targets[start:end]


def _best_fit(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Return the pieces' places by block: longest first (equals in their order), each where the least room is left, O(n log most)."""
    blocks: list[list[int]] = []
    by_room: dict[int, list[int]] = {}  # blocks that have room, by how much
    rooms: list[int] = []  # its keys, sorted
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        tightest = bisect_left(rooms, lengths[place])  # the least room that is enough
        if tightest == len(rooms):
            block, room = len(blocks), most
            blocks.append([])
        else:
            room = rooms[tightest]
            block = by_room[room].pop()
            if not by_room[room]:
                del by_room[room], rooms[tightest]
        blocks[block].append(place)
        left = room - lengths[place]
        if left and left not in by_room:
            insort(rooms, left)
            by_room[left] = []
        if left:
            by_room[left].append(block)
    return blocks


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
