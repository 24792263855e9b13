"""Whether what a table published is seen in what is measured here: signs of gains, and the order of rows.

Counts and no verdict: a table has many cells, and the claims of the paper are judged apart (casl.report.claims).
"""

from __future__ import annotations

from collections.abc import Mapping

from casl.report.layout import Gain, quantity
from casl.report.significance import spearman
from casl.report.table import Table
from casl.report.wording import UNMEANT, chance

FEWEST = 3  # rows that have an order to compare


def effect(table: Table, found: Mapping[int, Gain]) -> list[str]:
    """A sentence about gains and one about the order of rows; none where no published number has a measured one
    beside it, and a single one where numbers mean nothing.

    Args:
        found: gains over the table's baseline, `layout.gains`.
    """
    told = [*_of_gains(table, found), *_of_orders(table)]
    if told and table.profile in UNMEANT:
        return [f"Profile {table.profile} only shows that everything runs; its numbers mean nothing."]
    return told


def _of_gains(table: Table, found: Mapping[int, Gain]) -> list[str]:
    """How many published gains have the same sign here, and of how many the interval leaves no other sign."""
    both = [(g.paper, g.ours) for g in found.values() if g.paper and g.ours is not None]
    if not both:
        return []
    same = [ours for paper, ours in both if paper * ours.value > 0]
    other = [ours for paper, ours in both if paper * ours.value < 0]
    text = f"Published gains over {table.baseline}: {len(both)}. Same sign here: {len(same)}"
    if any(ours.interval for _, ours in both):
        sure = [sum(1 for o in side if o.interval and o.interval[0] * o.interval[1] > 0) for side in (same, other)]
        beyond = "of them with an interval that leaves out 0"
        return [f"{text}, {sure[0]} {beyond}. Other sign: {len(other)}, {sure[1]} {beyond}."]
    return [f"{text}. Other sign: {len(other)}. No interval is known, which takes several seeds."]


def _of_orders(table: Table) -> list[str]:
    """How well the order of measured rows agrees with the published one, for each column of one kind of number."""
    told = []
    for column in table.columns:
        cells = [c for c in table.cells if c.column == column and c.paper is not None and c.value is not None]
        if len(cells) < FEWEST or len({quantity(c) for c in cells}) > 1:
            continue
        pairs = [(c.value, c.paper) for c in cells if c.value is not None and c.paper is not None]
        rank = spearman([ours for ours, _ in pairs], [paper for _, paper in pairs])
        if rank is not None:
            told.append(f"{column} {rank.rho:+.2f} ({rank.n} rows, {chance(rank.p)})")
    said = "Order of rows, ours against published, as Spearman's rho with a two-sided p"
    return [f"{said}: {', '.join(told)}."] if told else []
