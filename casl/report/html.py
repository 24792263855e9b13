"""Blocks as an HTML page: one file, no script, nothing loaded from elsewhere but pictures that lie beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape as escaped
from typing import assert_never

from casl.report import blocks
from casl.report.claims import VERDICTS

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1c1c; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p { margin: .2rem 0; } .warning { background: #b3261e; color: #fff; font-weight: 600; padding: .5rem .8rem;
border-radius: .3rem; margin: .6rem 0; display: inline-block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; }
th { font-weight: 600; padding: .3rem .7rem; text-align: left; } thead th { text-align: center; }
sup, sub { font-size: .7em; line-height: 0; } .grid tbody th { white-space: nowrap; }
.grid td { padding: .45rem .8rem; text-align: center; border: 2px solid #fff; min-width: 6.5rem; }
.grid small { display: block; font-size: .75rem; opacity: .85; } .grid td.gap { background: #eee; color: #666; }
.grid th.group { border-bottom: 2px solid #555; } .quoted, .grid td.quoted { color: #777; font-style: italic; }
.grid td.quoted { background: repeating-linear-gradient(135deg, #fff, #fff 6px, #f4f4f4 6px, #f4f4f4 12px); }
.grid b { font-size: 1.1rem; font-weight: 500; white-space: nowrap; }
.grid td.quoted b { font-size: 1rem; font-weight: 400; }
.grid .best { font-weight: 800; border: 2px solid; border-radius: .3rem; padding: 0 .35rem; }
.grid a { color: inherit; text-decoration: none; } .grid a:hover { text-decoration: underline; }
.list td, .list th { border-bottom: 1px solid #ddd; padding: .2rem .6rem; font-size: .85rem; text-align: left; }
.list td:not(:last-child) { white-space: nowrap; } .list.words td { white-space: normal; vertical-align: top; }
code { font-size: .8rem; } img { max-width: 100%; } td.n, th.n { text-align: right !important; }
.verdict { display: inline-block; border-radius: .3rem; padding: .05rem .55rem; font-weight: 600; white-space: nowrap; }
.v-supported { background: #d9efdd; color: #14532d; } .v-contradicted { background: #f8d7d3; color: #7f1d1d; }
.v-equivalent { background: #d8e6f6; color: #123a63; } .v-too-imprecise { background: #fdf0cf; color: #713f12; }
.v-not-run { background: #e8e8e8; color: #444; }
summary { cursor: pointer; margin: .5rem 0; }
"""


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
    head = f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head><body>'
    parts = ["<!DOCTYPE html>", head, f"<h1>{title}</h1>", _blocks(page.blocks), "</body></html>\n"]
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
    if isinstance(picture.png, str):
        source = f'{escape(picture.png)}" loading="lazy'
    else:
        source = f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
    image = f'<img alt="{escape(picture.alt)}" src="{source}">'
    return f'<a href="{escape(picture.link)}">{image}</a>' if picture.link else image


def _rows(rows: blocks.Rows) -> str:
    heads = [blocks.Cell(head, "th") for head in rows.heads]
    lines = [heads, *([blocks.Cell(entry) for entry in line] for line in rows.lines)]
    opened = f'<div class="scroll"><table class="{"list words" if rows.breaks else "list"}">'
    return "\n".join([opened, *map(_line, lines), "</table></div>"])


def _grid(grid: blocks.Grid) -> str:
    opened, middle = '<div class="scroll"><table class="grid"><thead>', "</thead><tbody>"
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
