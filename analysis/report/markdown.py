"""A document as markdown: report.md, readable as it stands."""

from collections.abc import Mapping

from analysis.labels import format_cell
from analysis.report.document import Block, Document, Figure, Folded, Leanings, Paragraph, Points, Sample, Section, Tile, Tiles
from analysis.report.tables import Table
from analysis.text.wording import Wording
from records.folders import FIGURES_FOLDER


def render_markdown(document: Document, wording: Wording) -> str:
    """Return the document as markdown; what has a link is marked `[so]`, and where it leads stands at the end."""
    sections = [_render_section(section, document.links, wording) for section in document.sections]
    text = "\n\n".join(part for part in (f"# {document.title}", document.lead, *sections) if part)
    targets = [f"[{name}]: {target}" for name, target in document.links.items() if f"[{name}]" in text]
    footer = "\n".join(targets)
    return (f"{text}\n\n{footer}" if footer else text) + "\n"


def _render_section(section: Section, links: Mapping[str, str], wording: Wording) -> str:
    return "\n\n".join([f"## {section.title}", *(_render_block(block, links, wording) for block in section.blocks)])


def _render_block(block: Block, links: Mapping[str, str], wording: Wording) -> str:
    match block:
        case Paragraph():
            text = f"**{block.text}**" if block.tone == "verdict" else block.text
        case Folded():
            text = f"<details><summary>{block.line}</summary>\n\n{block.text}\n\n</details>"
        case Points():
            text = "\n".join(f"- {item}" for item in block.items)
        case Tiles():
            text = "\n".join(_render_tile(tile) for tile in block.tiles)
        case Leanings():
            text = "\n\n".join(f"**{each.title}**\n\n" + "\n".join(f"- {item}" for item in each.items) for each in block.leanings)
        case Table():
            table = block.as_markdown(lambda text: f"[{text}]" if text in links else text)
            text = f"### {block.title}\n\n{table}" if block.title else table
        case Figure():
            text = f"### {block.title}\n\n![{block.title}]({FIGURES_FOLDER}/{block.name}.svg)\n\n{block.caption}"
        case Sample():
            written = "\n".join(f"- {title}: {_quote(text, wording)}" for title, text in block.written.items())
            text = f"**{block.title}**: {_quote(block.given, wording)}\n\n{written}"
    return text


def _render_tile(tile: Tile) -> str:
    values = ", ".join(f"{title} {format_cell(value)}" for title, value in tile.values)
    return f"- {tile.title}: {values}{f'. {tile.note}' if tile.note else ''}"


def _quote(text: str, wording: Wording) -> str:
    """Return a text on one line, with nothing in it that markdown would take for its own."""
    plain = " ".join(text.split()).replace("`", "'")
    return f"`{plain}`" if plain else wording("report.page.nothing")
