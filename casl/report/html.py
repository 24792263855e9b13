"""Blocks as an HTML page: one file, nothing loaded from elsewhere but pictures that lie beside it.

Pages are light or dark as the reader's system is, fit a telephone, and need no script: the one they have sorts lists.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape as escaped
from typing import assert_never

from casl.report import blocks
from casl.report.claims import VERDICTS
from casl.report.style import SCRIPT, STYLE

_SCROLLED = '<div class="scroll {0}" tabindex="0" role="region" aria-label="{0}">'  # reached and moved by keys too
_MARKS = {
    "code": ("<code>", "</code>"),
    "strong": ("<b>", "</b>"),
    "best": ('<b class="best">', "</b>"),
    "word": ("<i>", "</i>"),
    "small": ("<small>", "</small>"),
    **{verdict: (f'<span class="verdict v-{verdict.replace(" ", "-")}">', "</span>") for verdict in VERDICTS},
}


def escape(text: str) -> str:
    """Text that HTML shows as it is."""
    return escaped(blocks.visible(text))


def write(page: blocks.Page) -> str:
    """A page as the text of an HTML file."""
    title = escape(page.title)
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = (
        f'<html lang="en"><head><meta charset="utf-8">{view}<title>{title}</title><style>{STYLE}</style></head><body>'
    )
    links = "".join(_text(link) for link in page.above)
    top = f'<nav aria-label="pages above">{links}</nav>' if links else ""
    main = ["<main>", f"<h1>{title}</h1>", _blocks(page.blocks), "</main>"]
    parts = ["<!DOCTYPE html>", head, top, *main, f"<script>{SCRIPT}</script></body></html>\n"]
    return "\n".join(part for part in parts if part)


def _blocks(parts: Iterable[blocks.Block], separator: str = "\n") -> str:
    return separator.join(text for part in parts if (text := _block(part)))


def _block(block: blocks.Block) -> str:
    """ "" for a block that Markdown alone shows."""
    match block:
        case blocks.Heading():
            anchor = f' id="{escape(block.anchor)}"' if block.anchor else ""
            return f"<h2{anchor}>{_text(block.text)}</h2>"
        case blocks.Caution():
            return f'<p class="warning">{escape(block.text)}</p>'
        case blocks.Paragraph():
            return f"<p>{_text(block.text)}</p>"
        case blocks.Lines():
            return "\n".join(f"<p>{_text(line)}</p>" for line in block.texts)
        case blocks.Bullets():
            return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in block.texts)}</ul>"
        case blocks.Rows():
            return _rows(block)
        case blocks.Picture():
            return _picture(block)
        case blocks.Steps():
            return f'<ol class="tiles steps">{"".join(f"<li>{_tile(tile)}</li>" for tile in block.tiles)}</ol>'
        case blocks.Gallery():
            wide = " wide" if any(len(tiles) > 2 for _, tiles in block.rows) else ""
            return f'<div class="gallery{wide}">{"".join(map(_gallery_row, block.rows))}</div>'
        case blocks.Preformatted():
            return f"<pre>{escape(block.text)}</pre>"
        case blocks.Grid():
            return _grid(block)
        case blocks.Group():
            return "" if block.only == "markdown" else _group(block)
    assert_never(block)


def _group(group: blocks.Group) -> str:
    separator = "" if group.one_line else "\n"
    if not group.summary:
        return _blocks(group.blocks, separator)
    opened = f"<details><summary>{escape(group.summary)}</summary>"
    return separator.join([opened, _blocks(group.blocks, separator), "</details>"])


def _picture(picture: blocks.Picture) -> str:
    """An image of a file, loaded when scrolled to, or of bytes embedded in the page."""
    if isinstance(picture.image, str):
        source = f'{escape(picture.image)}" loading="lazy'
    else:
        kind = "svg+xml" if picture.image.startswith(b"<?xml") else "png"
        source = f"data:image/{kind};base64,{base64.b64encode(picture.image).decode()}"
    image = f'<img alt="{escape(picture.alt)}" src="{source}">'
    shown = f'<a href="{escape(picture.link)}">{image}</a>' if picture.link else image
    return f"{_SCROLLED.format('picture')}{shown}</div>"


def _gallery_row(row: tuple[str, Sequence[blocks.Tile]]) -> str:
    heading, tiles = row
    return f'<section><p>{escape(heading)}</p><div class="tiles row">{"".join(map(_tile, tiles))}</div></section>'


def _tile(tile: blocks.Tile) -> str:
    """A picture that leads to its file, where it may be larger, and its caption."""
    file, (width, height) = escape(tile.file), tile.size
    image = f'<img alt="{escape(tile.alt)}" src="{file}" width="{width}" height="{height}" loading="lazy">'
    shown = f'<a href="{file}">{image}</a>' if tile.file else ""
    caption = f"<b>{escape(tile.title)}</b>" + (f"<span>{_text(tile.text)}</span>" if tile.text else "")
    opened = "<figure>" if tile.file else '<figure class="bare">'
    return f"{opened}{shown}<figcaption>{caption}</figcaption></figure>"


def _rows(rows: blocks.Rows) -> str:
    heads = [blocks.Cell(head, "th") for head in rows.heads]
    lines = [heads, *([blocks.Cell(entry) for entry in line] for line in rows.lines)]
    opened = f'{_SCROLLED.format("table")}<table class="{"list words" if rows.breaks else "list"}">'
    return "\n".join([opened, *map(_line, lines), "</table></div>"])


def _grid(grid: blocks.Grid) -> str:
    opened, middle = f'{_SCROLLED.format("table")}<table class="grid"><thead>', "</thead><tbody>"
    return "\n".join([opened, *map(_line, grid.heads), middle, *map(_line, grid.lines), "</tbody></table></div>"])


def _line(cells: Iterable[blocks.Cell]) -> str:
    return f"<tr>{''.join(map(_cell, cells))}</tr>"


def _cell(cell: blocks.Cell) -> str:
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in cell.attributes.items())
    return f"<{cell.tag}{attributes}>{_text(cell.text)}</{cell.tag}>"


def _text(text: blocks.Text) -> str:
    match text:
        case str():
            return escape(text)
        case tuple():
            return "".join(map(_text, text))
        case blocks.Raised():
            return blocks.tagged(text.text, escape)
        case blocks.Verbatim():
            return text.text
        case blocks.Link():
            return f'<a href="{escape(text.address)}">{_text(text.text)}</a>'
        case blocks.Marked("unbroken"):
            return _text(text.text).replace(" ", "\N{NO-BREAK SPACE}")
        case blocks.Marked():
            return _text(text.text).join(_MARKS[text.style])
    assert_never(text)
