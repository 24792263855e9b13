"""Where panels of a picture stand: which of them beside each other, and which share a scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

from casl.report.layout import Panel, quantity

ACROSS = 3  # panels beside each other, so that letters can be read at the width of a page


def scale_of(panel: Panel) -> str:
    """What panels of one scale have in common: the metric and figure of their numbers."""
    return next((quantity(cell) for one in panel.series for cell in one.cells if cell), "")


def lines_of(panels: Sequence[Panel], rows_of: Callable[[Panel], Hashable]) -> list[list[Panel]]:
    """Panels in lines of at most ACROSS. Those with the same rows stand together, and of these those of one scale.

    Lines with other rows are joined where there is room and their headings begin alike, as "warmup AP^e" and
    "warmup AP^det".
    """
    together: dict[Hashable, list[Panel]] = {}
    for panel in panels:
        together.setdefault(rows_of(panel), []).append(panel)
    lines: list[list[Panel]] = []
    for same in together.values():
        own = _packed(same)
        if (
            lines
            and len(own) == 1
            and len(lines[-1]) + len(own[0]) <= ACROSS
            and _kind(lines[-1][-1]) == _kind(same[0])
        ):
            lines[-1] += own.pop()
        lines += own
    return lines


def _kind(panel: Panel) -> str:
    """How a heading begins: all but its last word."""
    return panel.heading.rpartition(" ")[0]


def _packed(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Lines of about the same length, which do not part panels of one scale where that can be."""
    most = math.ceil(len(panels) / math.ceil(len(panels) / ACROSS))
    of_scale: dict[str, list[Panel]] = {}
    for panel in panels:
        of_scale.setdefault(scale_of(panel), []).append(panel)
    lines: list[list[Panel]] = []
    for group in of_scale.values():
        parts = math.ceil(len(group) / ACROSS)
        each = math.ceil(len(group) / parts)
        for start in range(0, len(group), each):
            part = group[start : start + each]
            if lines and len(lines[-1]) + len(part) <= max(most, each):
                lines[-1] += part
            else:
                lines.append(list(part))
    return lines
