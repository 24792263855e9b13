"""What is read off rows, columns and metrics: groups, gains, headings."""

from __future__ import annotations

from dataclasses import replace
from html import escape

import pytest

from casl.report.blocks import tagged
from casl.report.canvas import in_picture
from casl.report.layout import column_groups, gains
from casl.report.table import Table
from casl.report.wording import best, headline, here, missing, quantities, quoted, stand_ins, stood_in
from tests.report.sample import Numbers, Spot, tabled


def frameworks() -> Table:
    """As Table 10: each row has its own metric."""
    kinds = {
        "FCOS (E)": ("ap_det", "AP", 10.0),
        "FPN (P)": ("ap_det", "AP", 5.0),
        "PanopticFPN (P)": ("pq", "PQ", 30.0),
    }
    spots: dict[Spot, Numbers] = {}
    for row, (metric, figure, value) in kinds.items():
        spots[row, "ImageNet", metric, figure] = ([value], value + 30)
        spots[row, "ours", metric, figure] = ([value + 2], value + 33)
    return tabled("table10", spots, baseline="ImageNet")


def parts() -> Table:
    """As Table 9: several figures as columns, the baseline is a row."""
    values = {"none": (10.0, 20.0), "backbone": (13.0, 24.0), "all": (14.0, 23.0)}
    spots: dict[Spot, Numbers] = {}
    for row, pair in values.items():
        for (column, figure), value in zip((("AP^det", "AP"), ("AP^det_50", "AP50")), pair, strict=True):
            spots[row, column, "ap_det", figure] = ([value], None)
    return tabled("table9", spots, baseline="none")


def test_gains_over_a_column_are_those_of_the_same_row() -> None:
    found = gains(frameworks())
    assert {i: (g.ours.value if g.ours else None, g.paper) for i, g in found.items()} == {
        1: (2.0, 3.0),
        3: (2.0, 3.0),
        5: (2.0, 3.0),
    }


def test_gains_over_a_row_are_those_of_the_same_column() -> None:
    found = gains(parts())
    assert {i: g.ours.value for i, g in found.items() if g.ours} == {2: 3.0, 3: 4.0, 4: 4.0, 5: 3.0}


def test_the_best_is_sought_among_what_can_be_compared() -> None:
    assert best(parts())[0] == {4, 3}, "one for each figure"
    assert best(frameworks())[0] == {1, 3, 5}, "one for each framework: rows are different tasks"


def test_notes_of_quoted_cells_are_told_apart_from_missing_ones() -> None:
    made = tabled("t", {("a", "b", "pq", "PQ"): (None, 1.0)}, note="needs HTC++")
    assert (missing(made), quoted(made)) == ([], ["a, b: needs HTC++"])


def test_what_stands_for_a_model_of_the_paper_is_said_by_its_name() -> None:
    spots: dict[Spot, Numbers] = {("labeler", name, "ap_e", "AP"): (None, 38.0) for name in ("R-101", "Swin-T")}
    made = tabled("table5", spots)
    notes = ("resnet_nano stands for R-101; seeds measured by different commits", "N 8 stands for 30")
    made = replace(made, cells=tuple(replace(c, note=n) for c, n in zip(made.cells, notes, strict=True)))
    assert (here(made, "R-101"), here(made, "Swin-T")) == ("R-101 (here resnet_nano)", "Swin-T")
    assert stood_in(made) == "Stand-ins: resnet_nano for R-101." and stood_in(made) in headline(made)
    at = replace(made, cells=(replace(made.cells[0], note="lite0 on images of 128 px stands for R-101"),))
    assert stand_ins(at) == {"R-101": "lite0 at 128 px"} and stood_in(parts()) == ""


def test_columns_are_grouped_only_where_they_are_different_numbers() -> None:
    schedules = tabled("table4", {("F 1x", f"W {n}x", "ap_det", "AP"): ([1.0], None) for n in (1, 2)})
    assert column_groups(schedules) == [("", ("W 1x",)), ("", ("W 2x",))]
    assert column_groups(parts()) == [("", ("AP^det", "AP^det_50"))]


def test_figures_of_one_metric_are_listed_together() -> None:
    assert quantities(parts()) == "ap_det AP, AP50"


@pytest.mark.parametrize(
    ("text", "html", "mathtext"),
    [
        ("warmup AP^det-a", "warmup AP<sup>det-a</sup>", r"warmup AP$^{\text{det-a}}$"),
        ("AP^e_50", "AP<sup>e</sup><sub>50</sub>", r"AP$^{\text{e}}_{\text{50}}$"),
        ("my_set ^ & $5", "my_set ^ &amp; $5", r"my_set ^ & \$5"),
        ("^x", "^x", "^x"),
    ],
)
def test_headings_raise_only_what_follows_a_name(text: str, html: str, mathtext: str) -> None:
    assert (tagged(text, escape), in_picture(text)) == (html, mathtext)
