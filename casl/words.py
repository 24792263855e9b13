"""Counts in sentences."""

from __future__ import annotations


def noun(count: float, one: str, many: str = "") -> str:
    """What stands beside a count: "cell" beside 1, else "cells", or `many` where that is not one with an s."""
    return one if count == 1 else many or f"{one}s"


def number_of(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 cell", "0 cells", "2 boxes"."""
    return f"{count} {noun(count, one, many)}"
