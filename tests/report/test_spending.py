"""Repeated looks. Oracles: printed boundaries of five looks, and studies without any difference."""

from __future__ import annotations

from functools import partial
from statistics import NormalDist

import numpy as np
import pytest

from casl.report.spending import level_of, look, spent
from casl.report.table import Table
from casl.spec.claim import Claim, Place
from tests.report.sample import tabled

A, B, C = (Place("t", "r", column, "ap_det") for column in "abc")
CLAIMS = [Claim("b-a", "b beats a", "Sec. 1", (B,), (A,)), Claim("c-a", "c beats a", "Sec. 1", (C,), (A,))]


def test_the_first_looks_have_the_boundaries_of_lan_and_demets() -> None:
    """Five equal looks at two-sided 0.05: 4.8769 and 3.3569 are the printed first two; later ones are correlated."""
    first, second = spent(0.2), spent(0.4) - spent(0.2)
    assert -NormalDist().inv_cdf(first / 2) == pytest.approx(4.8769, abs=1e-3)
    assert -NormalDist().inv_cdf(second / 2) == pytest.approx(3.3569, abs=1e-3)
    third = -NormalDist().inv_cdf((spent(0.6) - spent(0.4)) / 2)
    assert 2.6803 < third < 2.6803 + 0.05, "wider than the exact one, which knows of the correlation"


@pytest.mark.parametrize("most", [2, 3, 10])
def test_all_looks_together_spend_the_level(most: int) -> None:
    assert sum(level_of(seeds, most) for seeds in range(2, most + 1)) == pytest.approx(0.05)
    assert all(level_of(seeds, most) < level_of(seeds + 1, most) for seeds in range(2, most))


def measured(generator: np.random.Generator, shift: float, seeds: int) -> list[Table]:
    """Tables with 0, 1, ... `seeds` seeds of one study; b is `shift` above a and c."""
    values = generator.normal(size=(3, seeds)) + generator.normal(size=(1, seeds)) + 20
    values[1] += shift
    columns = dict(zip("abc", values.tolist(), strict=True))
    return [
        tabled("t", {("r", n, "ap_det", "AP"): (v[:count] or [None], None) for n, v in columns.items()})
        for count in range(seeds + 1)
    ]


def at(tables: list[Table], seeds: int) -> list[Table]:
    return [tables[seeds]]


def test_looking_after_every_seed_finds_nothing_where_nothing_is_in_95_percent_of_studies() -> None:
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(40):
        tables = measured(generator, 0.0, 6)
        found = look(CLAIMS, partial(at, tables), 6, 6)
        wrong += any(d.verdict.verdict in ("supported", "contradicted") for d in found)
    assert wrong <= 4


def test_a_decision_stays_and_names_its_look() -> None:
    tables = measured(np.random.default_rng(1), 30.0, 5)
    clear, unsure = look(CLAIMS, partial(at, tables), 5, 5)
    assert (clear.verdict.verdict, clear.is_open) == ("supported", False)
    assert 2 <= clear.seeds < 5
    assert (unsure.verdict.verdict, unsure.seeds, unsure.is_open) == ("too imprecise", 0, True)
    again = [t if n < clear.seeds else tables[clear.seeds - 1] for n, t in enumerate(tables)]
    assert look(CLAIMS, partial(at, again), clear.seeds - 1, 5)[0].is_open, "one look earlier it was open"
