"""Documents that say the same twice: exact copies, near-duplicates, and what stands in training and in testing.

Texts are compared by their shingles, all runs of some characters, blanks and differences of width or case left out. Texts of fewer than 20
characters are only ever exact copies.

Near-duplicates share 0.6 of the 5-character shingles of both (Jaccard). Pairs worth comparing are found by MinHash: 126 permutations in
42 bands of 3, which miss a pair at that limit once in 27,000; each pair found is then compared exactly.

Documents of two splits overlap where one holds 0.65 of the other's 8-character shingles: a near-duplicate, or a paragraph in its book.
A text of fewer than 50 characters, which a book may well hold by chance, must be 0.65 of the longer text.

Of instruction data, prompts and answers are compared apart: both prompts must ask the same (`prompts`), and both answers be
near-duplicates, or overlap, by themselves. Two questions on one passage are no copies of one another, and neither are a translation and
its reverse.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from trainables.corpora.prompts import asks_same
from trainables.corpora.reading.document import Document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Shingles = NDArray[np.uint64]

NEAR, LONG = 5, 8  # characters of a shingle
BANDS, ROWS = 42, 3
PERMUTATIONS = BANDS * ROWS
SIMILAR = 0.6  # near-duplicates: share of the shingles of both
HELD = 0.65  # overlap: share of one text's shingles
SHORTEST = 20  # characters of a text that is compared
SHORT = 50  # characters of a text that is looked for inside longer ones
CHUNK = 4096  # shingles that are permuted at a time
LOOKED_AT = 32  # documents with prompts that hold most of one's shingles, of which one may be its copy


class Overlap(NamedTuple):
    """Two documents that overlap, and how much: the share of common shingles."""

    first: Document
    second: Document
    share: float


def find_duplicates(documents: Sequence[Document]) -> dict[int, Overlap]:
    """Return the places of documents that nearly duplicate an earlier one, each with the pair that shows it."""
    import numpy as np

    signed = {place: _sign_document(document) for place, document in enumerate(documents) if len(fold(document)) >= SHORTEST}
    compared = list(signed)  # row of `bands` -> place in `documents`
    bands = np.array(list(signed.values())).reshape(-1, BANDS)  # uint64 [compared, BANDS]; also where nothing is compared
    duplicates: dict[int, Overlap] = {}
    kept: dict[int, int] = {}  # of a duplicate, the document that stays
    for first, second in sorted(_find_candidates(bands)):  # sorted, since a set has no order that lasts
        # Of one that goes itself, the one that stays: what is like neither would be lost with it.
        earlier, later = kept.get(compared[first], compared[first]), compared[second]
        if later in duplicates:
            continue
        one, other = documents[earlier], documents[later]
        # Shingled again rather than held: a corpus's shingles take many times the memory of its bands.
        share = measure_similarity(find_shingles(fold(one)), find_shingles(fold(other)))
        if share >= SIMILAR and (not (one.prompt or other.prompt) or _are_copies(one, other, _is_near)):
            duplicates[later] = Overlap(one, other, share)
            kept[later] = earlier
    return duplicates


def find_overlap(train: Sequence[Document], test: Sequence[Document]) -> Overlap | None:
    """Return the first pair, (of train, of test), that overlaps; None where all are apart. See `find_overlaps`."""
    return next(find_overlaps(train, test), None)


def find_overlaps(train: Sequence[Document], test: Sequence[Document]) -> Iterator[Overlap]:
    """Yield, for every document of `train` that overlaps one of `test`, the pair and its share."""
    import numpy as np

    if not test:
        return
    digests = {document.digest: document for document in test}
    texts = [fold(document) for document in test]
    lengths = np.array([len(text) for text in texts])  # characters, [test]
    shingles = [find_shingles(text, LONG) for text in texts]
    sizes = np.array([len(document_shingles) for document_shingles in shingles])  # [test]
    # An index of all test shingles, sorted, so that a training document is looked up at once and not compared pair by pair.
    owners = np.repeat(np.arange(len(test)), sizes)  # the test document of each key
    keys = np.concatenate(shingles)
    order = np.argsort(keys, kind="stable")
    keys, owners = keys[order], owners[order]
    for document in train:
        if copy := digests.get(document.digest):
            yield Overlap(document, copy, 1.0)
            continue
        text = fold(document)
        own, length = find_shingles(text, LONG), len(text)
        places = _spread(np.searchsorted(keys, own, "left"), np.searchsorted(keys, own, "right"))  # of equal keys, in the index
        if not len(places) or length < SHORTEST:
            continue
        common = np.bincount(owners[places], minlength=len(test))  # shingles shared with each test document, [test]
        is_short_pair = np.minimum(lengths, length) < SHORT
        of_whole = np.where(is_short_pair, np.maximum(sizes, len(own)), np.minimum(sizes, len(own)))
        shares = common / of_whole
        shares[lengths < SHORTEST] = 0
        held = np.flatnonzero(shares >= HELD)
        most_alike: list[int] = held[np.argsort(-shares[held], kind="stable")][:LOOKED_AT].tolist()
        for place in most_alike:
            other = test[place]
            # A text without a prompt may hold a question with its answer, as a page does; two questions are compared apart.
            if not (document.prompt and other.prompt) or _are_copies(document, other, _holds):
                yield Overlap(document, other, float(shares[place]))
                break


def fold(document: Document) -> str:
    """Return what is compared of a document: prompt and text without blanks and differences of width or case."""
    return _fold(f"{document.prompt}{document.text}")


def _fold(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _are_copies(one: Document, other: Document, compare: Callable[[str, str], bool]) -> bool:
    """Return whether two questions with their answers are each other's copies, where `compare` says so of the answers."""
    long_answers = min(len(_fold(one.text)), len(_fold(other.text))) >= SHORTEST
    return compare(one.text, other.text) and asks_same(one.prompt, other.prompt, long_answers=long_answers)


def _is_near(one: str, other: str) -> bool:
    """Return whether two texts are near-duplicates; short ones, whether they are equal."""
    one, other = _fold(one), _fold(other)
    if one == other or min(len(one), len(other)) < SHORTEST:
        return one == other
    return measure_similarity(find_shingles(one), find_shingles(other)) >= SIMILAR


def _holds(one: str, other: str) -> bool:
    """Return whether two texts overlap; short ones, whether they are equal."""
    import numpy as np

    one, other = _fold(one), _fold(other)
    if one == other or min(len(one), len(other)) < SHORTEST:
        return one == other
    left, right = find_shingles(one, LONG), find_shingles(other, LONG)
    choose = max if min(len(one), len(other)) < SHORT else min
    return len(np.intersect1d(left, right, assume_unique=True)) >= HELD * choose(len(left), len(right))


def find_shingles(text: str, length: int = NEAR) -> "Shingles":
    """Return uint64 [shingles], sorted: a hash of every distinct run of `length` characters; of the whole where it is shorter."""
    import numpy as np

    letters = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)  # code points, [characters]
    length = min(length, len(letters))
    count = len(letters) - length + 1  # of the runs
    hashes = np.zeros(count, np.uint64)
    # A polynomial hash of all runs at once, modulo 2^64; the odd factor is the golden ratio's, as in Fibonacci hashing.
    for place in range(length):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + letters[place : count + place]
    # Until they are mixed, low bits depend on the characters' low bits alone (the multiplier is SplitMix64's, Steele et al. 2014).
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(32)
    return np.unique(hashes)


def measure_similarity(one: "Shingles", other: "Shingles") -> float:
    """Return the share of the shingles of both that are common to both."""
    import numpy as np

    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def _sign_document(document: Document) -> "Shingles":
    """Return uint64 [BANDS], which agree where those of the texts do, and those of the prompts where there are some."""
    import numpy as np

    bands = _sign(find_shingles(_fold(document.text)))
    if document.prompt:
        bands ^= _sign(find_shingles(_fold(document.prompt))) * np.uint64(0xBF58476D1CE4E5B9)
    return bands


def _sign(shingles: "Shingles") -> "Shingles":
    """Return uint64 [BANDS]: a hash of each band of the document's smallest permuted shingles."""
    import numpy as np

    rng = np.random.default_rng(8)  # the same for every document, or their smallest would not compare
    # x -> factor x + offset modulo 2^64 permutes all hashes where the factor is odd; [PERMUTATIONS, 1] each.
    factors, offsets = (rng.integers(2**64, size=(PERMUTATIONS, 1), dtype=np.uint64) | np.uint64(1) for _ in range(2))
    smallest = np.full(PERMUTATIONS, 2**64 - 1, np.uint64)
    # By chunks: a book has a million shingles, and a million times PERMUTATIONS is about a gibibyte.
    for start in range(0, len(shingles), CHUNK):
        smallest = np.minimum(smallest, (shingles[start : start + CHUNK] * factors + offsets).min(1))
    rows = smallest.reshape(BANDS, ROWS)
    bands = np.zeros(BANDS, np.uint64)
    for row in range(ROWS):
        bands = (bands ^ rows[:, row]) * np.uint64(0x9E3779B97F4A7C15)
    return bands


def _find_candidates(bands: "Shingles") -> set[tuple[int, int]]:
    """Return pairs of rows (earlier, later) that agree in a band: of a run of equal ones each with the first and with the one before."""
    import numpy as np

    pairs: set[tuple[int, int]] = set()
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        same = np.flatnonzero(band[order][1:] == band[order][:-1]) + 1  # places in the order that equal the one before
        first = order[0] if len(order) else 0
        before = -1
        # Not every pair of a run: a thousand that agree would be half a million pairs, of which these few show as much.
        for place in same.tolist():
            if place != before + 1:  # a new run of equal ones begins
                first = order[place - 1]
            before = place
            pairs |= {(int(first), int(order[place])), (int(order[place - 1]), int(order[place]))}
    return pairs


def _spread(starts: "NDArray[np.intp]", ends: "NDArray[np.intp]") -> "NDArray[np.intp]":
    """Return all places of the ranges [start, end), one range after another."""
    import numpy as np

    lengths = ends - starts
    starts, lengths = starts[lengths > 0], lengths[lengths > 0]
    before: NDArray[np.intp] = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.intp)  # places in the ranges before each
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum(), dtype=np.intp)
