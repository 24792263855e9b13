"""Colour on a terminal, and nowhere else: not in a pipe, not where NO_COLOR is set (https://no-color.org)."""

from __future__ import annotations

import os
import sys

_CODES = {"red": 31, "green": 32, "yellow": 33, "bold": 1}


def coloured(text: str, colour: str) -> str:
    """A text in a colour of _CODES, where standard output is a terminal that shows any."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
