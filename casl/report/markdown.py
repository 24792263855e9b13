"""Blocks as Markdown, for a README or a pull request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import assert_never

from casl.report import blocks

_MARKS = {
    **dict.fromkeys(("strong", "best"), ("**", "**")),
    "quoted": ("*", "*"),
    "word": ("<i>", "</i>"),
}


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line and without spaces at its ends."""
    return re.sub(r"([\\`*_{}\[\]<>#|^~])", r"\\\1", " ".join(text.split()))


def spaced(text: str) -> str:
    """As plain, but a space at either end stays."""
    words = plain(text)
    return f"{' ' * text[:1].isspace()}{words}{' ' * (text[-1:].isspace() and bool(words))}"


@dataclass(frozen=True)
class Dialect:
    """How Markdown is written.

    escaped: escapes text. beside: escapes text beside raised letters. narrow: a table's rule has no spaces and aligns
    nothing.
    """

    escaped: Callable[[str], str] = spaced
    beside: Callable[[str], str] = plain  # so "AP^e of" loses its space: reports have always been written so
    narrow: bool = False


REPORT = Dialect()
SEARCH = Dialect(beside=spaced)
PROSE = Dialect(escaped=str, beside=str, narrow=True)  # for pages whose source people read


def write(page: blocks.Page, dialect: Dialect = REPORT) -> str:
    """A page as the text of a Markdown file."""
    return f"# {dialect.escaped(page.title)}\n\n{write_blocks(page.blocks, dialect)}\n"


def write_blocks(parts: Iterable[blocks.Block], dialect: Dialect = REPORT) -> str:
    """Blocks as Markdown, separated by empty lines."""
    return "\n\n".join(text for part in parts if (text := _block(part, dialect)) is not None)


def _block(block: blocks.Block, dialect: Dialect) -> str | None:
    """None for a block that HTML alone shows."""

    def text(it: blocks.Text) -> str:
        return _text(it, dialect)

    match block:
        case blocks.Heading():
            return f"## {text(block.text)}"
        case blocks.Caution():
            return f"> **{text(block.text).removesuffix('.')}.**"
        case blocks.Paragraph():
            return text(block.text)
        case blocks.Bullets() | blocks.Lines(bullets=True):
            return "\n".join(f"- {text(line)}" for line in block.texts)
        case blocks.Lines():
            return "\n".join(f"{text(line)}  " for line in block.texts)
        case blocks.Rows():
            return _rows(block, dialect)
        case blocks.Picture():
            return f"![{text(block.alt)}]({block.png})" if isinstance(block.png, str) else None
        case blocks.Preformatted():
            return f"```\n{block.text}\n```"
        case blocks.Group():
            return None if block.only == "html" else write_blocks(block.blocks, dialect)
        case blocks.Grid():
            return None
    assert_never(block)


def _rows(rows: blocks.Rows, dialect: Dialect) -> str:
    lines = [f"| {' | '.join(_text(entry, dialect) for entry in line)} |" for line in (rows.heads, *rows.lines)]
    sides = ["---" if i < rows.words else "--:" for i in range(len(rows.heads))]
    lines.insert(1, f"|{'---|' * len(sides)}" if dialect.narrow else f"| {' | '.join(sides)} |")
    return "\n".join(lines)


def _text(text: blocks.Text, dialect: Dialect) -> str:
    match text:
        case str():
            return dialect.escaped(text)
        case tuple():
            return "".join(_text(part, dialect) for part in text)
        case blocks.Raised():
            return blocks.tagged(text.text, dialect.beside)
        case blocks.Verbatim():
            return text.text
        case blocks.Link():
            return _text(text.text, dialect)
        case blocks.Marked("code", str(name)):
            return f"`{name}`"  # nothing is escaped within
        case blocks.Marked("unbroken"):
            return _text(text.text, dialect).replace(" ", "\N{NO-BREAK SPACE}")
        case blocks.Marked():
            return _text(text.text, dialect).join(_MARKS.get(text.style, ("", "")))
    assert_never(text)
