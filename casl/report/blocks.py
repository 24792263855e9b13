r"""What a page of a report holds, as blocks of text. Only their writers, html.py and markdown.py, escape.

Letters that the paper raises and lowers ("AP^e_50" is AP with e above and 50 below) become tags in HTML and Markdown,
\textsuperscript in LaTeX and mathtext in pictures; `typeset` finds them for all four.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

# control characters but white space, and marks that turn the direction of the text behind them
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RAISED = re.compile(r"(?<=\w)\^([A-Za-z0-9-]+)(?:_([A-Za-z0-9]+))?")  # a lone underscore is part of a name


@dataclass(frozen=True)
class Raised:
    """Text whose raised and lowered letters are set as such; a plain str keeps its "^"."""

    text: str


@dataclass(frozen=True)
class Verbatim:
    """Text that no writer escapes: numbers and words of casl's own that hold no markup, never a user's."""

    text: str


@dataclass(frozen=True)
class Marked:
    """Text set off. style: "code", "strong", "best" of its kind, "quoted" from the paper, "word" between two terms,
    "small", "unbroken" over lines, or one of casl.report.claims.VERDICTS."""

    style: str
    text: Text


@dataclass(frozen=True)
class Link:
    """Text that leads to an address. Markdown, which is pasted elsewhere, shows the text alone."""

    text: Text
    address: str


Text = str | Raised | Verbatim | Marked | Link | tuple["Text", ...]


@dataclass(frozen=True)
class Heading:
    """The heading of a section. anchor: the name that links to it use."""

    text: Text
    anchor: str = ""


@dataclass(frozen=True)
class Caution:
    """The warning that the page of a small profile begins with."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: Text


@dataclass(frozen=True)
class Lines:
    """Short lines one below another, paragraphs in HTML. bullets: Markdown lists them instead of breaking lines."""

    texts: Sequence[Text]
    bullets: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list."""

    texts: Sequence[Text]


@dataclass(frozen=True)
class Rows:
    """A plain table. words: how many columns from the left hold words, not numbers. breaks: long entries may break."""

    heads: Sequence[Text]
    lines: Sequence[Sequence[Text]]
    words: int = 1
    breaks: bool = False


@dataclass(frozen=True)
class Picture:
    """An image: the name of a file beside the page, or content of PNG or SVG, which HTML alone shows.

    link: the page it leads to.
    """

    alt: str
    image: str | bytes
    link: str = ""


@dataclass(frozen=True)
class Tile:
    """A small picture with its caption. file: beside the page, "" where there is no picture; size: in pixels."""

    title: str
    text: Text = ""
    file: str = ""
    alt: str = ""
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Steps:
    """Tiles of which each leads to the next. HTML alone shows them."""

    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Gallery:
    """Rows of tiles under a line each, as many rows beside each other as fit. HTML alone shows it."""

    rows: Sequence[tuple[str, Sequence[Tile]]]


@dataclass(frozen=True)
class Preformatted:
    """Lines that keep their breaks, to be copied."""

    text: str


@dataclass(frozen=True)
class Cell:
    """One place of a grid. tag, attributes: those of its HTML element."""

    text: Text
    tag: str = "td"
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """A coloured table. HTML alone shows it."""

    heads: Sequence[Sequence[Cell]]
    lines: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Group:
    """Blocks that belong together. only: the writer that shows them, "html" or "markdown", "" for both.

    summary: what HTML shows until a click opens them. one_line: HTML's source has no line break between them.
    """

    blocks: Sequence[Block]
    only: str = ""
    summary: str = ""
    one_line: bool = False


Block = Heading | Caution | Paragraph | Lines | Bullets | Rows | Picture | Steps | Gallery | Preformatted | Grid | Group


ALL_TABLES = Link("All tables", "index.html")


@dataclass(frozen=True)
class Page:
    """The content of one file. above: pages that it belongs to, which HTML links at its top."""

    title: str
    blocks: Sequence[Block]
    above: Sequence[Link] = ()


def caution(warning: str) -> list[Block]:
    """A block with the warning; no block for an empty one."""
    return [Caution(warning)] if warning else []


def section(heading: str, lines: Sequence[str], only: str = "") -> list[Block]:
    """A heading over a list; no block without lines. only: as in Group."""
    parts = (Heading(heading), Bullets([Raised(line) for line in lines]))
    return [Group(parts, only, one_line=True)] if lines else []


def between(texts: Sequence[Text], separator: Text) -> tuple[Text, ...]:
    """Texts with a separator between any two."""
    return tuple(chain.from_iterable((separator, text) for text in texts))[1:]


def visible(text: str) -> str:
    """Text with the replacement character in place of what would not be seen and could change how the rest looks."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def typeset(text: str, plain: Callable[[str], str], raised: Callable[[str, str], str]) -> str:
    """Write a text with raised and lowered letters, piece by piece.

    Args:
        plain: how text in line is written.
        raised: (above, below) -> how letters above, and below them, are written; below may be "".
    """
    pieces, end = [], 0
    for found in _RAISED.finditer(text):
        pieces += [plain(text[end : found.start()]), raised(found[1], found[2] or "")]
        end = found.end()
    return "".join([*pieces, plain(text[end:])])


def tagged(text: str, plain: Callable[[str], str]) -> str:
    """Text with the tags that HTML and Markdown have for raised and lowered letters."""
    return typeset(text, plain, lambda up, down: f"<sup>{up}</sup>" + (f"<sub>{down}</sub>" if down else ""))
