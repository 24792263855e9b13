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
    return re.sub(r"([\\`*_{}\[\]<>#|^~]|&(?=#?\w+;))", r"\\\1", blocks.visible(" ".join(text.split())))


def spaced(text: str) -> str:
    """As plain, but a space at either end stays."""
    words = plain(text)
    return f"{' ' * text[:1].isspace()}{words}{' ' * (text[-1:].isspace() and bool(words))}"


def begun(line: str) -> str:
    """A line that Markdown takes for text, although it may begin as a list or an underlined heading does."""
    return re.sub(r"^(\d*)([-+=.)])(?=[-+=\s]|$)", r"\1\\\2", line)


@dataclass(frozen=True)
class Dialect:
    """How Markdown is written.

    escaped: escapes text. beside: escapes text beside raised letters. begun: escapes how a line begins. narrow: a
    table's rule has no spaces and aligns nothing.
    """

    escaped: Callable[[str], str] = spaced
    beside: Callable[[str], str] = spaced
    begun: Callable[[str], str] = begun
    narrow: bool = False


REPORT = Dialect()
PROSE = Dialect(escaped=str, beside=str, begun=str, narrow=True)  # for pages whose source people read


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
            return dialect.begun(text(block.text))
        case blocks.Bullets() | blocks.Lines(bullets=True):
            return "\n".join(f"- {text(line)}" for line in block.texts)
        case blocks.Lines():
            return "\n".join(f"{dialect.begun(text(line))}  " for line in block.texts)
        case blocks.Rows():
            return _rows(block, dialect)
        case blocks.Picture():
            return f"![{text(block.alt)}]({block.image})" if isinstance(block.image, str) else None
        case blocks.Preformatted():
            fence = "`" * max(3, _longest(block.text) + 1)
            return f"{fence}\n{blocks.visible(block.text)}\n{fence}"
        case blocks.Group():
            return None if block.only == "html" else write_blocks(block.blocks, dialect)
        case blocks.Grid() | blocks.Steps() | blocks.Gallery():
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
            return _code(name)
        case blocks.Marked("unbroken"):
            return _text(text.text, dialect).replace(" ", "\N{NO-BREAK SPACE}")
        case blocks.Marked():
            return _text(text.text, dialect).join(_MARKS.get(text.style, ("", "")))
    assert_never(text)


def _code(text: str) -> str:
    """On one line; nothing is escaped within, so that more backticks stand around it than in it."""
    line, marks = " ".join(blocks.visible(text).splitlines()), "`" * (_longest(text) + 1)
    return f"{marks} {line} {marks}" if "`" in line else f"`{line}`"


def _longest(text: str) -> int:
    """Backticks in the longest run of them."""
    return max(map(len, re.findall("`+", text)), default=0)
