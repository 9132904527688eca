"""A document as one page: report.html holds its style, its few lines of behaviour and its figures, and asks the network for nothing."""

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

from analysis.labels import format_cell
from analysis.report.document import Block, Document, Figure, Leaning, Leanings, Paragraph, Points, Sample, Section, Tile, Tiles
from analysis.report.figures.palette import BASE, VARIABLES, as_variables
from analysis.report.tables import Table
from analysis.text.wording import Wording

FOLDER = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def render_page(document: Document, wording: Wording) -> str:
    """Return the document as one HTML file that opens from a disk; the page's own policy forbids any request."""
    contents = "\n".join(f'<li><a href="#{section.name}">{escape(section.title)}</a></li>' for section in document.sections)
    sections = "\n".join(_render_section(section, document, wording) for section in document.sections)
    return f"""<!doctype html>
<html lang="{document.language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(document.title)} · hikaku</title>
<link rel="icon" href="data:,">
<style>
{_read("style.css")}</style>
</head>
<body>
<nav aria-label="{escape(wording("report.page.contents"))}">
<p class="brand">hikaku <span lang="ja">比較</span></p>
<ol>
{contents}
</ol>
<button id="theme" type="button">{escape(wording("report.page.theme"))}</button>
</nav>
<main>
<header>
<h1>{escape(document.title)}</h1>
<p class="lead">{_inline(document.lead, document.links)}</p>
</header>
{sections}
</main>
<script>
{_read("behaviour.js")}</script>
</body>
</html>
"""


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _render_section(section: Section, document: Document, wording: Wording) -> str:
    blocks = "\n".join(_render_block(block, document, wording) for block in section.blocks)
    return f'<section id="{section.name}">\n<h2>{escape(section.title)}</h2>\n{blocks}\n</section>'


def _render_block(block: Block, document: Document, wording: Wording) -> str:
    links = document.links
    match block:
        case Paragraph():
            html = f'<p class="{block.tone}">{_inline(block.text, links)}</p>'
        case Points():
            html = f"<ul>{''.join(f'<li>{_inline(item, links)}</li>' for item in block.items)}</ul>"
        case Tiles():
            html = f'<div class="tiles">{"".join(_render_tile(tile, document.colours) for tile in block.tiles)}</div>'
        case Leanings():
            html = f'<div class="leanings">{"".join(_render_leaning(each, document) for each in block.leanings)}</div>'
        case Table():
            html = _render_table(block, links, wording)
        case Figure():
            picture = as_variables(block.svg, block.name, {url: name for name, url in links.items()})
            caption = f"<figcaption><b>{escape(block.title)}</b> {_inline(block.caption, links)}</figcaption>"
            html = f'<figure class="picture" id="figure-{block.name}">{picture}{caption}</figure>'
        case Sample():
            rows = "".join(f"<dt>{escape(title)}</dt><dd>{escape(text) or '·'}</dd>" for title, text in block.written.items())
            html = f'<div class="sample"><h3>{escape(block.title)}</h3><p class="given">{escape(block.given)}</p><dl>{rows}</dl></div>'
    return html


def _render_leaning(leaning: Leaning, document: Document) -> str:
    items = "".join(f"<li>{_inline(item, document.links)}</li>" for item in leaning.items)
    hue = document.colours.get(leaning.side, BASE)
    return f'<div class="leaning" style="--hue: var({VARIABLES[hue]})"><h3>{escape(leaning.title)}</h3><ul>{items}</ul></div>'


def _render_tile(tile: Tile, colours: Mapping[str, str]) -> str:
    values = "".join(
        f'<div style="--hue: var({VARIABLES[colours[title]]})"><dt>{escape(title)}</dt>'
        f'<dd class="number">{escape(format_cell(value))}</dd></div>'
        for title, value in tile.values
    )
    note = f'<p class="note">{escape(tile.note)}</p>' if tile.note else ""
    return f'<div class="tile"><h3>{escape(tile.title)}</h3><dl>{values}</dl>{note}</div>'


def _render_table(table: Table, links: Mapping[str, str], wording: Wording) -> str:
    caption = f"<figcaption><b>{escape(table.title)}</b></figcaption>" if table.title else ""
    note = f'<p class="note">{_inline(table.note, links)}</p>' if table.note else ""
    defined = "".join(
        f"<dt>{escape(column.title)}</dt><dd>{_inline(column.definition, links)}</dd>" for column in table.columns if column.definition
    )
    folded = f"<details><summary>{escape(wording('report.page.definitions'))}</summary><dl>{defined}</dl></details>" if defined else ""
    return f'<figure class="table">{caption}<div class="scroll">{table.as_html(wording, links)}</div>{note}{folded}</figure>'


def _inline(text: str, links: Mapping[str, str]) -> str:
    """Return a text as HTML: backticks become code, and code that `links` knows leads there."""

    def as_code(found: re.Match[str]) -> str:
        name = found[1]
        code = f"<code>{escape(name)}</code>"
        return f'<a href="{escape(links[name])}">{code}</a>' if name in links else code

    parts = re.split(r"(`[^`]+`)", text)
    return "".join(re.sub(r"`([^`]+)`", as_code, part) if part.startswith("`") else escape(part) for part in parts)
