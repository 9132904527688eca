"""What a report is made of, before it is markdown or a page: sections of paragraphs, lists, tiles, tables, figures and samples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.labels import Cell
from analysis.report.tables import Table


@dataclass(frozen=True)
class Paragraph:
    """Running text; what stands between backticks is a name from code. `tone` is how a page sets it."""

    text: str
    tone: str = "plain"  # plain, verdict or aside


@dataclass(frozen=True)
class Folded:
    """One line, and below it, folded, what else there is to say of it."""

    line: str
    text: str


@dataclass(frozen=True)
class Points:
    """A list of texts."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Tile:
    """One measure at a glance: a value for each of the runs compared, and what to make of them. The tables hold the same numbers."""

    title: str
    values: tuple[tuple[str, Cell], ...]
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """Measures side by side."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Leaning:
    """What speaks for one side, or for none; `side` is the title of what is compared, which gives the colour."""

    title: str
    items: tuple[str, ...]
    side: str


@dataclass(frozen=True)
class Leanings:
    """Reasons side by side."""

    leanings: tuple[Leaning, ...]


@dataclass(frozen=True)
class Figure:
    """A picture as SVG text, drawn in the palette of `analysis.report.figures`, with its file's name, its title and how to read it."""

    name: str
    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Sample:
    """What several models wrote after the same opening."""

    title: str
    given: str
    written: Mapping[str, str]


Block = Paragraph | Folded | Points | Tiles | Leanings | Table | Figure | Sample


@dataclass(frozen=True)
class Section:
    """A part of the report under a title; `name` is where links to it lead."""

    name: str
    title: str
    blocks: tuple[Block, ...]

    def as_json(self) -> dict[str, Any]:
        """Return `name`, `title`, the texts in order, and the names of tables and figures."""
        return {
            "name": self.name,
            "title": self.title,
            "texts": [text for block in self.blocks for text in _texts_of(block)],
            "tables": [block.name for block in self.blocks if isinstance(block, Table)],
            "figures": [block.name for block in self.blocks if isinstance(block, Figure)],
        }


@dataclass(frozen=True)
class Document:
    """A whole report. `links` says where a text leads that names something: a trial to its MLflow run; `colours` what is drawn in which."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    links: Mapping[str, str]
    colours: Mapping[str, str]
    language: str = "en"

    def tables(self) -> Iterator[Table]:
        """Yield every table in order."""
        yield from (block for section in self.sections for block in section.blocks if isinstance(block, Table))

    def figures(self) -> Iterator[Figure]:
        """Yield every figure in order."""
        yield from (block for section in self.sections for block in section.blocks if isinstance(block, Figure))


def _texts_of(block: Block) -> Iterator[str]:
    match block:
        case Paragraph():
            yield block.text
        case Folded():
            yield from (block.line, block.text)
        case Points():
            yield from block.items
        case Leanings():
            yield from (f"{each.title}: {item}" for each in block.leanings for item in each.items)
        case _:
            pass
