r"""Headings with the paper's raised and lowered letters: "AP^e_50" is AP with e above and 50 below.

Written in Markdown and HTML as tags, in LaTeX as \textsuperscript, in pictures as matplotlib's mathtext.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

_RAISED = re.compile(r"(?<=\w)\^([A-Za-z0-9-]+)(?:_([A-Za-z0-9]+))?")  # a lone underscore is part of a name


def typeset(text: str, plain: Callable[[str], str], raised: Callable[[str, str], str]) -> str:
    """The heading, piece by piece.

    Args:
        plain: how text in line is written.
        raised: (above, below) -> how letters above, and below them, are written; below may be "".
    """
    pieces, end = [], 0
    for found in _RAISED.finditer(text):
        pieces += [plain(text[end : found.start()]), raised(found[1], found[2] or "")]
        end = found.end()
    return "".join([*pieces, plain(text[end:])])


def tagged(text: str, plain: Callable[[str], str] = escape) -> str:
    """HTML, also for Markdown with its own `plain`."""
    return typeset(text, plain, lambda up, down: f"<sup>{up}</sup>" + (f"<sub>{down}</sub>" if down else ""))


def in_picture(text: str) -> str:
    """Mathtext for matplotlib."""

    def raised(up: str, down: str) -> str:
        return rf"$^{{\text{{{up}}}}}" + (rf"_{{\text{{{down}}}}}$" if down else "$")

    return typeset(text, lambda words: words.replace("$", r"\$"), raised)
