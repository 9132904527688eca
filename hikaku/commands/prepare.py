"""`hikaku prepare`: texts of any kind become one clean folder with a card, and people are told what was kept."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from analysis.text.wording import Wording, read_wording
from records.refusals import Refusal, find_near, refuse_name
from trainables.corpora.cleaning.clean_card import CleanCard
from trainables.corpora.cleaning.cleaning import Preparation, Stage, prepare_folder
from trainables.corpora.cleaning.filters import Filters, Language
from trainables.corpora.cleaning.normalisation import FOLDS, Fold
from trainables.corpora.reading.formats import Format, Reading, Unit
from trainables.corpora.reading.hub import PREFIX, fetch_data_set
from trainables.corpora.sources import SplitShares, check_encoding


def run_preparation(sources: Sequence[str], destination: Path, asked: Preparation, licences: Sequence[str]) -> CleanCard:
    """Return the card of the folder that was written. Raises ValueError, in one line, for what is wrong with the sources."""
    stated = read_licences(licences, sources)
    console = Console(stderr=True)
    wording = read_wording()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(wording("commands.prepare.stage.fetching"), total=1)
        found = {source: fetch_data_set(source) if source.startswith(PREFIX) else Path(source).expanduser() for source in sources}

        def show(stage: Stage, share: float, facts: Mapping[str, object]) -> None:
            bar.update(task, description=wording(f"commands.prepare.stage.{stage}", **facts), completed=share)

        return prepare_folder(found, destination, asked, stated, show)


def read_folds(text: str) -> tuple[Fold, ...]:
    """Return the folds named, with commas between. Raises ValueError for one that is none."""
    named = [name.strip() for name in text.split(",") if name.strip()]
    if strange := next((name for name in named if name not in FOLDS), None):
        raise refuse_name("--fold", strange, FOLDS)
    return tuple(fold for fold in FOLDS if fold in named)


def read_licences(stated: Sequence[str], sources: Sequence[str]) -> dict[str, str]:
    """Return each source's licence: of `LICENCE`, which is for all, and `SOURCE=LICENCE`. Raises ValueError for a source not given."""
    licences: dict[str, str] = {}
    own: dict[str, str] = {}
    for each in stated:
        source, mark, licence = each.rpartition("=")
        if mark and source not in sources:
            near = find_near(source, sources)
            allowed = "LICENCE for all sources, or SOURCE=LICENCE" + ("" if near else f" of {' or '.join(sources)}")
            raise Refusal("--licence", repr(each), allowed, near=near)
        if mark:
            own[source] = licence
        else:
            licences |= dict.fromkeys(sources, licence)
    return licences | own


def read_split(validation: float, test: float) -> SplitShares:
    """Return the shares put aside. Raises ValueError where one is none, or nothing is left to train on."""
    if min(validation, test) <= 0 or validation + test >= 1:
        raise Refusal("--validation, --test", f"{validation:g} and {test:g}", "shares above 0 that leave some for train")
    return SplitShares(validation=validation, test=test)


def print_card(card: CleanCard, destination: Path, console: Console | None = None) -> None:
    """Print the account, what was changed, the splits, and what a person should know before using the folder."""
    console, wording = console or Console(soft_wrap=True), read_wording()
    account = Table(title=wording("commands.prepare.documents"), title_justify="left", show_header=False)
    account.add_row(wording("commands.prepare.read"), f"{card.read:,}")
    account.add_row(wording("commands.prepare.used"), f"{card.used:,}")
    for reason, count in card.truncated.items():
        account.add_row(wording("commands.prepare.truncated", reason=reason), f"{count:,}")
    for reason, count in card.skipped.items():
        account.add_row(wording("commands.prepare.skipped", reason=reason), f"{count:,}")
    console.print(account)
    changes = Table(title=wording("commands.prepare.changed"), title_justify="left", show_header=False)
    for kind, count in card.changes.items():
        changes.add_row(kind, f"{count:,}")
    if card.changes:
        console.print(changes)
    names = ("split", "pairs" if card.questions else "documents", "characters", "median", "longest", "scripts")
    splits = Table(*(wording(f"commands.prepare.column.{name}") for name in names))
    for name, split in card.splits.items():
        commonest = list(split.scripts.items())[:3]
        shares = ", ".join(f"{wording(f'labels.class.{script}')} {count / max(split.characters, 1):.0%}" for script, count in commonest)
        lengths = (f"{split.characters:,}", f"{split.lengths.median:,}", f"{split.lengths.longest:,}")
        splits.add_row(wording(f"labels.split.{name}"), f"{split.documents:,}", *lengths, shares)
    console.print(splits)
    for line in _find_remarks(card, wording):
        console.print(line, highlight=False, markup=False)
    console.print(f"{destination}  {card.digest[:12]}", highlight=False, markup=False)


def _find_remarks(card: CleanCard, wording: Wording) -> list[str]:
    encodings = ", ".join(f"{count} {name}" for name, count in Counter(card.files.values()).items())
    remarks = [wording("commands.prepare.files", encodings=encodings)]
    if card.questions:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in card.questions.items())
        remarks.append(wording("commands.prepare.questions", kinds=kinds))
    if card.left_out:
        files = f"{', '.join(card.left_out[:5])}{' …' if len(card.left_out) > 5 else ''}"
        remarks.append(wording("commands.prepare.left_out", files=files))
    if card.pre_tokenised:
        remarks.append(wording("commands.prepare.pre_tokenised", count=card.pre_tokenised))
    if card.overlaps:
        remarks.append(wording("commands.prepare.overlaps", count=len(card.overlaps)))
    empty = [wording(f"labels.split.{name}") for name, split in card.splits.items() if not split.documents]
    if empty:
        remarks.append(wording("commands.prepare.empty", splits=wording("commands.prepare.and").join(empty)))
    return remarks


def prepare(  # noqa: PLR0913, PLR0917
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="files, folders, globs, or hub:owner/name@commit[:config]")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="the clean folder, to be written")],
    documents: Annotated[Unit, typer.Option(help="what one document of a plain text is")] = "file",
    format: Annotated[Format, typer.Option(help="auto: by the files' names, Aozora Bunko's by their marks")] = "auto",
    encoding: Annotated[str, typer.Option(help="auto, or any that Python knows, for all files")] = "auto",
    text_field: Annotated[str | None, typer.Option(metavar="KEY", help="rows: key of the text [default: the usual names]")] = None,
    prompt_field: Annotated[str | None, typer.Option(metavar="KEY", help="rows: key of what is given before it")] = None,
    fold: Annotated[str, typer.Option(metavar="KINDS", help="kana: half-width to full; ascii: full-width to half; with commas")] = "",
    shortest: Annotated[int | None, typer.Option(min=1, metavar="N", help="leave out texts of fewer characters")] = None,
    longest: Annotated[int | None, typer.Option(min=1, metavar="N", help="leave out texts of more characters")] = None,
    truncate: Annotated[int | None, typer.Option(min=1, metavar="N", help="cut texts of more characters after a sentence")] = None,
    language: Annotated[Language | None, typer.Option(help="leave out texts that are less in it than --language-share")] = None,
    language_share: Annotated[float, typer.Option(min=0, max=1, help="least share of letters in the language's scripts")] = 0.5,
    most_repeated: Annotated[float | None, typer.Option(min=0, max=1, metavar="SHARE", help="leave out what repeats itself more")] = None,
    quality: Annotated[bool, typer.Option("--quality", help="leave out texts with control characters, or mostly of signs")] = False,
    validation: Annotated[float, typer.Option(help="share of documents for validation, about")] = 0.1,
    test: Annotated[float, typer.Option(help="share of documents for the test, about")] = 0.1,
    keep_duplicates: Annotated[bool, typer.Option("--keep-duplicates", help="keep exact and near-duplicates")] = False,
    allow_overlap: Annotated[bool, typer.Option("--allow-overlap", help="list texts that overlap across splits; do not refuse")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="count bad documents by reason; do not stop at the first")] = False,
    questions: Annotated[bool, typer.Option("--questions", help="make question and answer pairs of encyclopedic articles")] = False,
    licence: Annotated[list[str], typer.Option(metavar="[SOURCE=]LICENCE", help="what the texts may be used under")] = [],
    as_json: Annotated[bool, typer.Option("--json", help="print the card")] = False,
) -> None:
    """Prepare texts of any kind: one clean folder of train, validation and test, with a card that accounts for every document."""
    asked = Preparation(
        reading=Reading(format, check_encoding(encoding), documents, text_field, prompt_field),
        fold=read_folds(fold),
        truncate=truncate,
        filters=Filters(shortest, longest, language, language_share, most_repeated, quality),
        keep_duplicates=keep_duplicates,
        allow_overlap=allow_overlap,
        skip_bad=skip_bad,
        questions=questions,
        split=read_split(validation, test),
    )
    card = run_preparation(sources, destination, asked, licence)
    if as_json:
        typer.echo(card.model_dump_json(indent=1))
    else:
        print_card(card, destination)
