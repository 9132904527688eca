"""What a study's texts are in tokens, for people: which are trained, which are only given, which are padding; and how many a text takes.

Everything is read from the prepared folder, which `hikaku tune` trains on and finds there afterwards.
"""

import contextlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from analysis.text.wording import Wording, read_wording
from hikaku.commands.options import AsJson, Overrides, State, StudyPath, print_json, read_study
from hikaku.study.folder import load_identity, lock_study, prepare_texts
from hikaku.study.study import Study
from records.folders import DATA_FOLDER
from records.refusals import refuse_name
from trainables.corpora.language.scripts import SCRIPTS
from trainables.corpora.sources import SPLITS
from trainables.corpora.tokens.folder import CARD_FILE, TRAIN_FILES, Card, split_folder
from trainables.models.source import resolve_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.text import Text

    from trainables.corpora.tokens.tokenizer import Tokenizer

TokenState = Literal["given", "trained", "measured"]
STYLES = {"given": "cyan dim", "trained": "green", "measured": "green", "padding": "dim", "boundary": "dim"}
HEAD, TAIL = 80, 20  # tokens shown of a longer prompt, and of a longer text, from its beginning and its end
SEEN_BLOCKS = 1000  # the sample is one of the first
UNFINISHED = "\N{WHITE VERTICAL RECTANGLE}"  # a token that ends inside a character, which the next one shows


@dataclass(frozen=True)
class Piece:
    """A token and what it is for; `text` as far as it is known with the tokens before it."""

    id: int
    text: str
    state: TokenState


@dataclass(frozen=True)
class Passage:
    """A document, or a piece of a long one, as the model meets it."""

    title: str
    tokens: tuple[Piece, ...]
    padding: int = 0  # tokens that fill its row up


@dataclass(frozen=True)
class Fertility:
    """Tokens per character of a set: of each split, and by script on the validation documents."""

    splits: dict[str, float]
    scripts: dict[str, float]


@dataclass(frozen=True)
class TokenView:
    """A sample of a study's tokens. The block is one of those that every trial trains on."""

    study: str
    set: str
    sequence_length: int
    blocks: int
    train_tokens: int
    padding_share: float
    train_digest: str
    block: int
    block_documents: int
    block_padding: int
    trained: tuple[Passage, ...]
    evaluated: tuple[Passage, ...]
    fertility: dict[str, Fertility]

    def as_json(self) -> dict[str, Any]:
        """Return the view as plain data."""
        return asdict(self)


def view_tokens(study: Study, folder: Path, say: Callable[[str], None], *, documents: int, name: str | None = None) -> TokenView:
    """Return a sample of a study's tokens, prepared in its state folder where they are not there yet.

    `documents` of a packed block are shown, and as many validation documents of the set `name`, by default the first that is adapted to.
    Raises ValueError for a set that the study has not, and where `hikaku tune` would refuse the model or the texts.
    """
    if name is not None and name not in study.data:
        raise refuse_name("--data", name, study.data)
    model, card = _prepare(study, folder, say)
    from trainables.corpora.tokens.tokenizer import load_text_tokenizer

    tokenizer, data = load_text_tokenizer(model), folder / DATA_FOLDER
    chosen = name or card.adapted[0]
    block, passages, padding = _sample_block(data, tokenizer)
    return TokenView(
        study=study.name,
        set=chosen,
        sequence_length=card.sequence_length,
        blocks=card.train_blocks,
        train_tokens=card.train_tokens,
        padding_share=card.train_padding_share,
        train_digest=card.train_digest,
        block=block,
        block_documents=len(passages),
        block_padding=padding,
        trained=tuple(passages[:documents]),
        evaluated=tuple(_sample_rows(split_folder(data, chosen, "validation"), tokenizer, documents)),
        fertility={each: _measure_fertility(card, data, each) for each in card.sets},
    )


def print_view(view: TokenView, console: "Console") -> None:
    """Print the sample: colours and signs say the same."""
    from rich.text import Text

    wording = read_wording()

    def line(*parts: str | tuple[str, str]) -> None:
        console.print(Text.assemble(*parts), highlight=False, soft_wrap=True)

    def padding(count: int) -> str:
        return wording("commands.tokens.padding", count=count)

    line(wording("commands.tokens.blocks", study=view.study, blocks=view.blocks, length=view.sequence_length))
    line(wording("commands.tokens.trained_share", tokens=view.train_tokens, padding=view.padding_share))
    line(wording("commands.tokens.stream", digest=view.train_digest))
    line(wording("commands.tokens.attention"))
    line("")
    given, trained = wording("commands.tokens.given"), wording("commands.tokens.trained")
    line((trained, STYLES["trained"]), "  ", (f"⟦{given}⟧", STYLES["given"]), "  ", (wording("commands.tokens.filling"), STYLES["padding"]))
    line(wording("commands.tokens.signs", unfinished=UNFINISHED))
    line("")
    line((wording("commands.tokens.block", block=view.block, documents=view.block_documents), "bold"))
    for passage in view.trained:
        console.print(_render(passage, wording), highlight=False)
    if (more := view.block_documents - len(view.trained)) > 0:
        line((wording("commands.tokens.more", count=more), STYLES["padding"]))
    line((padding(view.block_padding), STYLES["padding"]))
    line("")
    line((wording("commands.tokens.rows", set=view.set), "bold"))
    for passage in view.evaluated:
        console.print(_render(passage, wording), highlight=False)
    line("")
    _print_fertility(view, console, wording)


def _print_fertility(view: TokenView, console: "Console", wording: Wording) -> None:
    from rich.table import Table

    console.print(wording("commands.tokens.fertility"), soft_wrap=True)
    table = Table("", *view.fertility, box=None, pad_edge=False)
    measured = [fertility.splits | fertility.scripts for fertility in view.fertility.values()]
    labels = {name: wording(f"labels.split.{name}") for name in SPLITS} | {name: wording(f"labels.class.{name}") for name in SCRIPTS}
    for name, label in labels.items():
        if any(name in each for each in measured):
            table.add_row(label, *(f"{each[name]:.3f}" if name in each else "–" for each in measured))
    console.print(table)


def _prepare(study: Study, folder: Path, say: Callable[[str], None]) -> tuple[Path, Card]:
    """Return the model's folder and the card of the texts, made present as `hikaku tune` does."""
    model = resolve_model(study.model, fetch=True)
    assert model.folder is not None
    running = load_identity(folder) is not None and (folder / DATA_FOLDER / CARD_FILE).exists()  # a study that runs may be looked into
    with contextlib.nullcontext() if running else lock_study(study, folder):
        return model.folder, prepare_texts(study, model.folder, folder, say)


def _sample_block(data: Path, tokenizer: "Tokenizer") -> tuple[int, list[Passage], int]:
    """Return a block's place, its documents and its padding: of the first blocks, one with padding, and then with the most documents."""
    import numpy as np

    from trainables.corpora.tokens.packing import count_padding

    inputs, targets, positions = (np.load(data / name, mmap_mode="r", allow_pickle=False) for name in TRAIN_FILES)
    padding = count_padding(np.array(targets[:SEEN_BLOCKS]))
    begins = np.array(positions[:SEEN_BLOCKS]) == 0
    counts = begins.sum(axis=1) - (padding > 0)  # padding begins at 0 too
    block = int(np.lexsort((-counts, padding == 0))[0])
    used = targets.shape[1] - int(padding[block])
    starts = np.flatnonzero(begins[block, :used]).tolist()
    wording, passages = read_wording(), list[Passage]()
    for number, (first, after) in enumerate(zip(starts, [*starts[1:], used], strict=True), start=1):
        tokens = _read(inputs[block, first:after], targets[block, first:after], tokenizer, "trained")
        key = "commands.tokens.document" if tokens[0].id == tokenizer.start else "commands.tokens.continued"
        passages.append(Passage(wording(key, number=number), tokens))
    return block, passages, int(padding[block])


def _sample_rows(folder: Path, tokenizer: "Tokenizer", documents: int) -> Iterator[Passage]:
    """Yield the first row of each of the first documents of an evaluation split."""
    import numpy as np
    import pandas as pd

    from trainables.corpora.tokens.packing import count_padding

    inputs, targets, owners = (np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("inputs", "targets", "rows"))
    names: list[str] = pd.read_parquet(folder / "documents.parquet", columns=["id"])["id"].tolist()
    for document, name in enumerate(names[:documents]):
        row = int(np.searchsorted(owners, document))
        padding = int(count_padding(targets[row : row + 1])[0])
        used = targets.shape[1] - padding
        yield Passage(name, _read(inputs[row, :used], targets[row, :used], tokenizer, "measured"), padding)


def _read(inputs: "NDArray[np.int32]", targets: "NDArray[np.int32]", tokenizer: "Tokenizer", learnt: TokenState) -> tuple[Piece, ...]:
    """Return a passage's tokens: its first input, and then what follows each input: the target, or the next input where it is given."""
    from tokenizers.decoders import DecodeStream

    from trainables.corpora.tokens.packing import IGNORED

    following: list[int] = [*inputs[1:].tolist(), int(targets[-1])]
    kinds: list[TokenState] = ["given", *("given" if target == IGNORED else learnt for target in targets.tolist())]
    stream: Any = DecodeStream(skip_special_tokens=False)
    backend = tokenizer.loaded.backend_tokenizer
    ids = [int(inputs[0]), *following]
    return tuple(Piece(id, stream.step(backend, id) or UNFINISHED, kind) for id, kind in zip(ids, kinds, strict=True))


def _measure_fertility(card: Card, data: Path, name: str) -> Fertility:
    import numpy as np

    from trainables.corpora.tokens.attribution import load_attribution

    attribution = load_attribution(split_folder(data, name, "validation"))
    characters = np.bincount(attribution.characters[:, 0], minlength=len(SCRIPTS))
    tokens = attribution.script_shares.sum(axis=0, dtype=np.float64)
    return Fertility(
        splits={split: counts.tokens / counts.characters for split, counts in card.sets[name].splits.items()},
        scripts={script: float(tokens[place] / characters[place]) for place, script in enumerate(SCRIPTS) if characters[place]},
    )


def _render(passage: Passage, wording: Wording) -> "Text":
    """Return a passage in colours and in signs: what is given stands in brackets, and the middle of what is long is left out."""
    from rich.text import Text

    text = Text.assemble(("▶ ", "bold"), (f"{_show(passage.title)} ", "bold"))
    for state, run in groupby(passage.tokens, key=lambda token: token.state):
        shown = [_show(token.text) for token in run]
        opening, closing = ("⟦", "⟧") if state == "given" else ("", "")
        text.append(opening, STYLES[state])
        if len(shown) > HEAD + TAIL:
            _append(text, shown[:HEAD], STYLES[state])
            text.append(f" {wording('commands.tokens.left_out', count=len(shown) - HEAD - TAIL)} ", STYLES["padding"])
            shown = shown[-TAIL:]
        _append(text, shown, STYLES[state])
        text.append(closing, STYLES[state])
    if passage.padding:
        text.append(f" {wording('commands.tokens.padding', count=passage.padding)}", STYLES["padding"])
    return text


def _append(text: "Text", tokens: Sequence[str], style: str) -> None:
    for place, token in enumerate(tokens):
        text.append("│" if place else "", STYLES["boundary"])
        text.append(token, style)


def _show(text: str) -> str:
    """Return a text in which line ends are seen, and nothing steers the terminal."""
    seen = ("↵" if letter == "\n" else f"<{ord(letter):02X}>" if unicodedata.category(letter)[0] == "C" else letter for letter in text)
    return "".join(seen)


def tokens(  # noqa: PLR0913, PLR0917
    study: StudyPath,
    overrides: Overrides = [],
    documents: Annotated[int, typer.Option(min=1, help="documents shown of a packed block, and of the set")] = 3,
    data: Annotated[str | None, typer.Option(metavar="NAME", help="the set shown [default: the first that is adapted to]")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show what is trained, only given, and padding, and how many tokens the texts take; prepares the texts as `tune` does."""
    known = read_study(study, overrides)
    from rich.console import Console

    from records.places import state_root

    console, aside = Console(), Console(stderr=True)
    view = view_tokens(known, state_root(state) / known.name, aside.print, documents=documents, name=data)
    if as_json:
        print_json(view.as_json())
    else:
        print_view(view, console)
