"""Errors that cells share. Oracles: statsmodels' mixed model, analysis of variance of a nested layout, simulation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from casl.report.additive import Additive, Estimate, Numbers
from casl.report.components import components

Layout = Sequence[str]  # the warmup of each cell; one without a letter has none


def drawn(layout: Layout, seeds: int, shared: float, own: float, generator: np.random.Generator) -> dict[int, Numbers]:
    """Cells without a true difference."""
    of_seed = generator.normal(size=seeds) * 2
    of_warmup = {(unit, seed): shared * generator.normal() for unit in set(layout) for seed in range(seeds)}
    cells = {}
    for cell, unit in enumerate(layout):
        values = {
            seed: 20 + of_seed[seed] + (of_warmup[unit, seed] if unit else 0.0) + own * generator.normal()
            for seed in range(seeds)
        }
        cells[cell] = Numbers("AP", values, {seed: (f"warmup-{unit}{seed}",) * bool(unit) for seed in range(seeds)})
    return cells


def table(cells: Mapping[int, Numbers]) -> pd.DataFrame:
    lines = [
        {"cell": name, "seed": seed, "unit": (cell.shares[seed] or (f"none {name} {seed}",))[0], "value": value}
        for name, cell in cells.items()
        for seed, value in cell.by_seed.items()
    ]
    return pd.DataFrame(lines).assign(all=1)


def between(one: Sequence[int], other: Sequence[int]) -> dict[int, float]:
    return {cell: 1 / len(one) for cell in one} | {cell: -1 / len(other) for cell in other}


def estimated(cells: Mapping[int, Numbers], weights: Mapping[int, float]) -> Estimate:
    found = Additive(cells).estimate(weights)
    assert found is not None
    return found


@pytest.mark.parametrize(("layout", "seeds"), [("aaabbbccc", 4), ("aabbbbc", 3), ("aaabcde", 5)])
@pytest.mark.parametrize("shared", [0.4, 2.0])
def test_sizes_are_those_of_statsmodels(layout: str, seeds: int, shared: float) -> None:
    cells = drawn(layout, seeds, shared, 1.0, np.random.default_rng(len(layout) + seeds))
    frame = table(cells)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an oracle at its bound
        model: Any = smf.mixedlm(
            "value ~ C(cell) + C(seed)", frame, groups="all", vc_formula={"unit": "0 + C(unit)"}, re_formula="0"
        )
        oracle = model.fit(reml=True, method=["powell", "lbfgs"])
    design = np.hstack([pd.get_dummies(frame[name]).to_numpy(dtype=float) for name in ("cell", "seed")])
    found = components(frame["value"].to_numpy(), design, [pd.get_dummies(frame["unit"]).to_numpy(dtype=float)])
    assert found is not None
    assert found.sizes.tolist() == pytest.approx([oracle.scale, oracle.vcomp[0]], rel=2e-3, abs=2e-3)


def test_groups_are_compared_by_the_means_of_groups_and_cells_of_one_by_their_own_errors() -> None:
    """Balanced and nested: the analysis of variance has both answers, with their degrees of freedom."""
    groups, each, seeds = 5, 4, 3
    cells = drawn("".join(letter * each for letter in "abcde"), seeds, 1.5, 0.5, np.random.default_rng(3))
    values = np.array([[v for _, v in sorted(c.by_seed.items())] for c in cells.values()]).reshape(groups, each, seeds)
    means = values.mean(1)
    left = means - means.mean(1, keepdims=True) - means.mean(0) + means.mean()
    of_groups = float((left**2).sum()) / ((groups - 1) * (seeds - 1))
    inside = values - values.mean(2, keepdims=True) - means[:, None] + means.mean(1)[:, None, None]
    of_cells = float((inside**2).sum()) / (groups * (each - 1) * (seeds - 1))
    group, cell = estimated(cells, between(range(4), range(4, 8))), estimated(cells, between([0], [1]))
    assert (group.freedom, cell.freedom) == ((groups - 1) * (seeds - 1), groups * (each - 1) * (seeds - 1))
    assert group.of_seeds == pytest.approx(math.sqrt(2 * of_groups / seeds), rel=1e-6)
    assert cell.of_seeds == pytest.approx(math.sqrt(2 * of_cells / seeds), rel=1e-6)
    t = group.value / math.sqrt(2 * of_groups / seeds)
    assert group.p == pytest.approx(2 * stats.t.sf(abs(t), group.freedom), rel=1e-5)


@pytest.mark.parametrize(
    ("layout", "one", "other", "studies"),
    [
        ("aaabbbccc", range(3), range(3, 6), 600),
        ("aaaabbbb", [0], [4], 600),
        (["", *"aaaa"], [1], [0], 600),
        (["", *"aaaa"], [1], [2], 600),
    ],
)
def test_what_is_shared_makes_no_difference_out_of_none(
    layout: Layout, one: Sequence[int], other: Sequence[int], studies: int
) -> None:
    """Cells without a true difference, whose warmups scatter more than what follows them: 5 % are to be found."""
    generator, found = np.random.default_rng(5), 0
    for _ in range(studies):
        p = estimated(drawn(layout, 3, 1.0, 0.4, generator), between(one, other)).p
        found += p is not None and p < 0.05
    assert found / studies <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / studies)


def test_taken_for_independent_the_same_cells_would_differ_far_too_often() -> None:
    generator, found = np.random.default_rng(5), 0
    for _ in range(100):
        cells = {n: Numbers(c.kind, c.by_seed) for n, c in drawn("aaabbbccc", 3, 1.0, 0.4, generator).items()}
        p = estimated(cells, between(range(3), range(3, 6))).p
        found += p is not None and p < 0.05
    assert found > 20


@pytest.mark.parametrize(
    "shares",
    [
        {0: ("labeler-x",), 1: ("labeler-y",), 2: ("labeler-z",)},
        {0: ("folder-x",), 1: ("folder-x",), 2: ("folder-x",)},
        {},
    ],
    ids=["all cells of a seed", "all seeds too", "nothing"],
)
def test_what_all_cells_share_changes_nothing(shares: dict[int, tuple[str, ...]]) -> None:
    cells = drawn("abcdef", 3, 0.0, 1.0, np.random.default_rng(2))
    alone = {n: Numbers(c.kind, c.by_seed) for n, c in cells.items()}
    alike = {n: Numbers(c.kind, c.by_seed, shares) for n, c in cells.items()}
    assert estimated(alike, between([0], [1])) == estimated(alone, between([0], [1]))
    assert estimated(cells, between([0], [1])) == estimated(alone, between([0], [1])), "each its own"


def test_sizes_settle_also_where_whole_steps_would_go_to_and_fro() -> None:
    """Those of the same numbers in another order are the same to the digits that reports keep."""
    generator = np.random.default_rng(1)
    for layout in ("aaaabbbb", "aabcd", ["", *"aaaa"]):
        for shared in (0.0, 0.3, 1.0, 5.0):
            for _ in range(30):
                cells = drawn(layout, 3, shared, 0.5, generator)
                there, back = (
                    estimated(dict(order), between([1], [2])) for order in (cells.items(), [*cells.items()][::-1])
                )
                assert there.of_seeds == pytest.approx(back.of_seeds, abs=1e-8) and there.freedom == back.freedom


def test_cells_that_never_differ_are_not_divided_by_nothing() -> None:
    cells = {n: Numbers("AP", {s: float(s) for s in range(3)}, {s: (f"warmup-{s}",) for s in range(3)}) for n in "abc"}
    cells["d"] = Numbers("AP", {0: 1.0, 1: 1.5, 2: 3.0})
    found = Additive(cells).estimate({"a": 1, "b": -1})
    assert found is not None and found.value == 0.0 and (found.error is None or found.error < 1e-3)


def test_the_joint_covariance_has_the_same_variances() -> None:
    cells = drawn(["", *"aaabbb"], 3, 1.0, 0.5, np.random.default_rng(8))
    contrasts = [between([1], [0]), between([4], [0]), between([1], [2])]
    joint = Additive(cells).covariance(contrasts)
    assert np.diag(joint) == pytest.approx([(estimated(cells, w).of_seeds or 0.0) ** 2 for w in contrasts], abs=1e-8)
    assert joint[0, 1] > 0.0, "they share the baseline"
