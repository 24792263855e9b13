"""Names that mean something to one of the formats of a report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from casl.report.table import Table
from tests.report.sample import tabled

ODD = {
    "script": "<script>document.title='taken'</script>",
    "image": "<img src=x onerror=\"document.title='taken'\">",
    "attribute": "\" onmouseover=\"document.title='taken'",
    "entity": "&lt;b&gt; &#60;i&#62;",
    "formula": "=1+1",
    "plus": "+cmd|' /C calc'!A0",
    "minus": "-2+3",
    "at": "@SUM(1)",
    "tab": "\t=1+1",
    "wide": "\uff1d1+1",
    "input": r"\input{/etc/hostname}",
    "write": r"\immediate\write18{touch taken}",
    "brackets": "[1cm] a",
    "star": "*",
    "dollars": r"$\frac{1$ $$",
    "backslash": "\\",
    "pipe": "a | b || c",
    "backticks": "```` `a` ``",
    "emphasis": "**a** _b_ ~~c~~ [d](http://e.test) ![f](g.png)",
    "lines": "a\n# b\n\n- c\r\n| d |",
    "quotes": "'a' \"b\" `c`",
    "controls": "a\x00b\x07c\x1bd\x7fe\x9bf",
    "backwards": "a\u202eb\u2066c\u200fd",
    "separators": "a\u2028b\u2029c\x85d\x0be",
    "underline": "===",
    "list": "- a",
    "numbered": "1. a",
    "comment": "a % b --> c",
    "long": "w" * 300,
}


def named(name: str) -> Table:
    """A table in which everything that a user can name has this name."""
    spots = {
        (row, column, "ap_det", "AP"): ([20.0 + len(row + column) % 7], 45.3)
        for row in (name, "F 2x")
        for column in (name, "W 2x")
    }
    made = tabled("mine", {**spots, (name, "quoted", "ap_det", "AP"): (None, 1.0)}, note=name, baseline=name)
    text: dict[str, Any] = dict.fromkeys(
        ("title", "source", "profile_title", "data", "row_axis", "column_axis", "folder"), name
    )
    return replace(made, **text, notes=(name,), options=(("data", name),))
