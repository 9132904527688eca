"""The options of `hikaku prepare`. Nothing heavy is imported before it runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from trainables.corpora.filters import Language
from trainables.corpora.formats import Format


def prepare(  # noqa: PLR0913, PLR0917
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="files, folders, globs, or hub:owner/name@commit[:config]")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="the clean folder, to be written")],
    documents: Annotated[Literal["file", "paragraph", "line"], typer.Option(help="what one document of a plain text is")] = "file",
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
    licence: Annotated[list[str], typer.Option(metavar="[SOURCE=]LICENCE", help="what the texts may be used under")] = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="print the card")] = False,
) -> None:
    """Prepare texts of any kind: one clean folder of train, validation and test, with a card that accounts for every document."""
    from hikaku.preparation import print_card, read_folds, read_split, run_preparation
    from trainables.corpora.cleaning import Preparation
    from trainables.corpora.filters import Filters
    from trainables.corpora.sources import check_encoding

    asked = Preparation(
        format=format,
        encoding=check_encoding(encoding),
        documents=documents,
        text_field=text_field,
        prompt_field=prompt_field,
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
