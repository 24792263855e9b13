"""What is said of published effects, from tables of literal numbers; rank correlations against scipy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy.stats import spearmanr

from casl.report.effect import effect
from casl.report.layout import gains
from casl.report.table import Table
from casl.report.table_page import to_markdown
from casl.report.wording import best
from tests.report.sample import tabled

AP = "ap_det"


Row = tuple[list[float | None] | None, float | None]  # ours, None where it is quoted; the published number


def of_rows(*rows: Row, baseline: str = "") -> Table:
    """One column; the first row is "r0"."""
    return tabled("made_up", {(f"r{i}", "c", AP, "AP"): row for i, row in enumerate(rows)}, baseline=baseline)


def said(table: Table) -> list[str]:
    return effect(table, gains(table))


def test_signs_of_gains_are_counted_and_those_that_seeds_are_sure_of() -> None:
    table = of_rows(
        ([10.0, 10.1, 9.9], 30.0),
        ([12.0, 12.1, 11.9], 31.0),  # up as published, surely
        ([10.3, 9.8, 10.2], 32.0),  # up, as chance would have it
        ([7.0, 7.1, 6.9], 33.0),  # down, surely
        ([11.0, 11.1, 10.9], None),  # nothing was published
        baseline="r0",
    )
    beyond = "of them with an interval that leaves out 0"
    assert said(table)[0] == (f"Published gains over r0: 3. Same sign here: 2, 1 {beyond}. Other sign: 1, 1 {beyond}.")


def test_nothing_is_said_of_numbers_that_mean_nothing() -> None:
    table = of_rows(([10.0], 30.0), ([12.0], 29.0), ([11.0], 31.0), baseline="r0")
    smoke = replace(table, profile="smoke")
    assert len(said(table)) == 2 and best(table) == ({1}, {2})
    assert said(smoke) == ["Profile smoke only shows that everything runs; its numbers mean nothing."]
    assert best(smoke) == (set(), {2}), "the published ones mean what they did"
    assert "rho" not in to_markdown(smoke) and "rho" in to_markdown(table)


def test_one_seed_tells_signs_alone() -> None:
    table = of_rows(([10.0], 30.0), ([12.0], 29.0), baseline="r0")
    (sentence,) = said(table)
    assert sentence == (
        "Published gains over r0: 1. Same sign here: 0. Other sign: 1. No interval is known, which takes several seeds."
    )


def test_a_published_difference_of_nothing_has_no_sign() -> None:
    assert said(of_rows(([10.0], 30.0), ([12.0], 30.0), baseline="r0")) == []


def test_the_order_of_rows_is_scipys_rank_correlation_without_what_is_quoted_or_not_run() -> None:
    ours, paper = [3.0, 1.0, 4.0, 1.5, 5.0], [30.0, 10.0, 20.0, 15.0, 50.0]
    both: list[Row] = [([a], b) for a, b in zip(ours, paper, strict=True)]
    table = of_rows(*both, (None, 99.0), ([None], 1.0), ([2.0], None))
    (sentence,) = said(table)
    assert sentence.startswith("Order of rows, ours against published, as Spearman's rho with a two-sided p: c ")
    assert f"c {spearmanr(ours, paper).statistic:+.2f} (5 rows, " in sentence


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_rows_have_no_order(count: int) -> None:
    rows: list[Row] = [([float(i)], float(i)) for i in range(count)]
    assert said(of_rows(*rows, ([1.0], None))) == []


def test_it_stands_on_the_page_and_not_where_nothing_was_published() -> None:
    published = to_markdown(of_rows(([10.0], 30.0), ([12.0], 31.0), ([11.0], 32.0), baseline="r0"))
    assert "## Is what was published seen here" in published and "Published gains over r0: 2." in published
    assert "published seen" not in to_markdown(of_rows(([10.0], None), ([12.0], None), baseline="r0"))
