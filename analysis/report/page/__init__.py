"""A document as one page: report.html holds its style, its few lines of behaviour and its figures, and asks the network for nothing.

`page.html` is the page around a document, `blocks.html` has a macro for each kind of block. Whatever stands between {{ }} is escaped.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.labels import Cell, define, format_cell, is_absent
from analysis.report.document import Block, Document, Figure
from analysis.report.figures.palette import BASE, VARIABLES, as_variables
from analysis.report.tables import Column, Table
from analysis.text.wording import Wording

FOLDER = Path(__file__).parent
BRIEF = 26  # letters of a text that a page keeps on one line


def render_page(document: Document, wording: Wording) -> str:
    """Return the document as one HTML file that opens from a disk; the page's own policy forbids any request."""
    names = _names(document.links, wording, document.colours)
    return (
        _environment()
        .get_template("page.html")
        .render(document=document, style=_read("style.css"), behaviour=_read("behaviour.js"), **names)
    )


def render_table(table: Table, wording: Wording, links: Mapping[str, str]) -> str:
    """Return a `table` element; every number carries its exact value, and a text that `links` knows leads there."""
    blocks = _environment().get_template("blocks.html").make_module(_names(links, wording, {}))
    grid: Any = getattr(blocks, "grid")  # noqa: B009 - a macro, which the module's type does not know
    return str(grid(table))


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _names(links: Mapping[str, str], wording: Wording, colours: Mapping[str, str]) -> dict[str, Any]:
    """Return what templates may call, beside the document itself."""

    def inline(text: str) -> Markup:
        """Return a text as HTML: backticks become code, and code that `links` knows leads there."""
        parts = re.split(r"`([^`]+)`", text)  # text, code, text, …
        return Markup().join(_as_code(part, links) if place % 2 else part for place, part in enumerate(parts))

    def hint(column: Column) -> str:
        """Return what a column's numbers mean, in its own words or by its metric."""
        return column.definition or (define(column.metric, wording) if column.metric else "")

    def hue(title: str) -> str:
        """Return the variable that holds the colour of what is compared; grey for what has none."""
        return VARIABLES[colours.get(title, BASE)]

    def picture(figure: Figure) -> Markup:
        """Return a figure's SVG, whose texts matplotlib has escaped."""
        return Markup(as_variables(figure.svg, figure.name, {url: name for name, url in links.items()}))

    own = {"inline": inline, "hint": hint, "hue": hue, "picture": picture, "links": links, "wording": wording}
    return own | {"kind": _kind, "show": format_cell, "exact": repr, "is_number": _is_number, "style_of": _style_of}


def _read(name: str) -> Markup:
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def _as_code(name: str, links: Mapping[str, str]) -> Markup:
    code = Markup("<code>{}</code>").format(name)
    return Markup('<a href="{}">{}</a>').format(links[name], code) if name in links else code


def _kind(block: Block) -> str:
    """Return the macro that writes a block: its class's name in small letters."""
    return type(block).__name__.lower()


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float) and not is_absent(cell)


def _style_of(cell: Cell, is_numeric: bool) -> str:
    """Return the class of a cell: numbers stand to the right, short texts on one line."""
    if is_numeric or _is_number(cell):
        return "number"
    return "brief" if isinstance(cell, str) and len(cell) <= BRIEF else ""
