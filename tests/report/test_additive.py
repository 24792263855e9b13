"""The additive model. Oracles: statsmodels' ordinary least squares, the paired t-test, and simulated truths."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from casl.report.additive import Additive, Numbers
from casl.report.images import covariance


def layout(seed: int, cells: int, seeds: int, missing: int) -> dict[int, dict[int, float]]:
    """Cell -> seed -> value, with some numbers missing."""
    generator = random.Random(seed)
    effects = [generator.gauss(0, 2) for _ in range(seeds)]
    values = {c: {s: 20 + c + effects[s] + generator.gauss(0, 0.8) for s in range(seeds)} for c in range(cells)}
    for _ in range(missing):
        cell = generator.randrange(cells)
        if len(values[cell]) > 1:
            del values[cell][generator.choice(sorted(values[cell]))]
    return values


@pytest.mark.parametrize(
    ("cells", "seeds", "missing"), [(25, 3, 0), (25, 3, 12), (5, 4, 3), (2, 3, 0), (6, 2, 2), (9, 7, 20)]
)
def test_every_contrast_is_that_of_ordinary_least_squares(cells: int, seeds: int, missing: int) -> None:
    values = layout(cells + seeds, cells, seeds, missing)
    seen = [(c, s, v) for c, of in values.items() for s, v in of.items()]
    design = np.zeros((len(seen), cells + seeds - 1))
    for line, (c, s, _) in enumerate(seen):
        design[line, c] = 1
        if s:
            design[line, cells + s - 1] = 1
    oracle = sm.OLS([v for *_, v in seen], design).fit()
    model = Additive({c: Numbers("AP", of) for c, of in values.items()})
    generator = random.Random(0)
    for _ in range(20):
        weights = [generator.gauss(0, 1) for _ in range(cells)]
        weights = [w - sum(weights) / cells for w in weights]
        expected = oracle.t_test([*weights, *[0.0] * (seeds - 1)])
        found = model.estimate(dict(enumerate(weights)))
        assert found is not None and found.interval is not None
        assert found.value == pytest.approx(expected.effect.item(), abs=1e-8)
        assert found.error == pytest.approx(expected.sd.item(), abs=1e-8)
        assert found.freedom == oracle.df_resid
        assert found.p == pytest.approx(expected.pvalue.item(), abs=1e-8)
        assert found.interval == pytest.approx(expected.conf_int()[0], abs=1e-6)


def test_covariances_of_contrasts_are_those_of_ordinary_least_squares() -> None:
    """Two gains over one baseline share its error: with equal numbers of seeds their correlation is one half."""
    values = layout(3, 6, 3, 0)
    model = Additive({c: Numbers("AP", of) for c, of in values.items()})
    found = model.covariance([{1: 1, 0: -1}, {2: 1, 0: -1}, {3: 1, 4: -1}])
    residual = sum((v - m) ** 2 for v, m in _fitted(values)) / (6 * 3 - 6 - 3 + 1)
    assert found[0, 0] == pytest.approx(2 / 3 * residual)
    assert found[0, 1] == pytest.approx(found[0, 0] / 2)
    assert found[0, 2] == pytest.approx(0, abs=1e-9)


def _fitted(values: dict[int, dict[int, float]]) -> list[tuple[float, float]]:
    """Values and fits of a complete layout: mean of the cell plus mean of the seed minus the grand mean."""
    array = np.array([[v for _, v in sorted(of.items())] for of in values.values()])
    fits = array.mean(1, keepdims=True) + array.mean(0, keepdims=True) - array.mean()
    return list(zip(array.ravel().tolist(), fits.ravel().tolist(), strict=True))


def test_two_cells_alone_are_the_paired_t_test() -> None:
    a, b = [10.0, 11.5, 12.0], [11.0, 12.0, 14.5]
    found = Additive({n: Numbers("AP", dict(enumerate(v))) for n, v in (("a", a), ("b", b))}).estimate(
        {"b": 1, "a": -1}
    )
    assert found is not None
    assert found.value == pytest.approx(np.mean(b) - np.mean(a))
    assert found.freedom == 2
    assert found.p == pytest.approx(stats.ttest_rel(b, a).pvalue)


def test_more_cells_of_a_kind_narrow_the_interval_of_a_difference() -> None:
    """Twenty-five cells of three seeds: 48 degrees of freedom in place of 2 make t 2.01 in place of 4.30."""
    values = layout(1, 25, 3, 0)
    whole, pair = (
        Additive({c: Numbers("AP", values[c]) for c in chosen}).estimate({1: 1, 0: -1})
        for chosen in (range(25), (0, 1))
    )
    assert whole is not None and pair is not None and whole.half_width and whole.error
    assert whole.half_width / whole.error == pytest.approx(2.011, abs=1e-3)
    assert (whole.freedom, pair.freedom) == (48, 2)


def test_numbers_of_two_kinds_have_seeds_and_a_variance_of_their_own() -> None:
    """A difference of two differences of kinds: variances add, with Satterthwaite's degrees of freedom rounded down."""
    det, pq = layout(1, 3, 3, 0), layout(2, 2, 3, 0)
    model = Additive(
        {("det", c): Numbers("det", of) for c, of in det.items()}
        | {("pq", c): Numbers("pq", of) for c, of in pq.items()}
    )
    one, other = model.estimate({("det", 1): 1, ("det", 0): -1}), model.estimate({("pq", 1): 1, ("pq", 0): -1})
    both = model.estimate({("det", 1): 1, ("det", 0): -1, ("pq", 1): -1, ("pq", 0): 1})
    assert one and other and both and one.error and other.error and both.error
    assert (one.freedom, other.freedom) == (4, 2)
    assert both.error**2 == pytest.approx(one.error**2 + other.error**2)
    exact = both.error**4 / (one.error**4 / 4 + other.error**4 / 2)
    assert both.freedom == math.floor(exact)
    assert model.estimate({("det", 1): 1, ("pq", 0): -1}) is None, "their seeds are not one effect"


def test_cells_without_a_chain_of_common_seeds_cannot_be_compared() -> None:
    lone = {"a": Numbers("AP", {0: 1.0}), "b": Numbers("AP", {1: 2.0})}
    assert Additive(lone).estimate({"b": 1, "a": -1}) is None
    linked = Additive(lone | {"c": Numbers("AP", {0: 5.0, 1: 7.0})}).estimate({"b": 1, "a": -1})
    assert linked is not None
    assert linked.value == pytest.approx(-1.0), "seed 1 is 2 higher"
    assert linked.p is None, "nothing is left to test with"
    assert Additive(lone | {"c": Numbers("AP", {})}).estimate({"a": 1, "c": -1}) is None


def test_a_seed_that_the_baseline_alone_has_tells_nothing_of_its_gains() -> None:
    """Its effect takes up the one number there is. More seeds of a baseline help only with others of the same seed."""
    values = layout(4, 5, 3, 0)
    found = []
    for extra in ({}, {3: 31.0, 4: 12.0}):
        cells = {c: Numbers("AP", of | (extra if c == 0 else {})) for c, of in values.items()}
        found.append(Additive(cells).estimate({1: 1, 0: -1}))
    assert found[0] is not None and found[1] is not None
    assert found[0].value == pytest.approx(found[1].value)
    assert found[0].interval == pytest.approx(found[1].interval)


def test_equality_within_a_margin_is_two_one_sided_tests() -> None:
    a, b = [10.0, 11.0, 12.0], [10.0, 11.1, 12.2]
    found = Additive({n: Numbers("AP", dict(enumerate(v))) for n, v in (("a", a), ("b", b))}).estimate(
        {"b": 1, "a": -1}
    )
    assert found is not None
    gaps = np.subtract(b, a)
    sides = [
        stats.ttest_1samp(gaps, 0.5, alternative="less").pvalue,
        stats.ttest_1samp(gaps, -0.5, alternative="greater").pvalue,
    ]
    assert found.within(0.5) == pytest.approx(max(sides))
    assert found.beyond(0.05) == pytest.approx(stats.ttest_1samp(gaps, 0.05).pvalue)
    assert found.above(0.0) == pytest.approx(stats.ttest_1samp(gaps, 0.0, alternative="greater").pvalue)


def test_covariance_over_images_is_numpys_of_the_means_over_seeds() -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(3, 2, 50))
    found = covariance([{s: draws[c, s].tolist() for s in range(2)} for c in range(2)] + [{}, {0: [1.0, 2.0]}])
    expected = np.cov(draws[:2].mean(axis=1))
    assert [list(row[:2]) for row in found[:2]] == [pytest.approx(list(row), abs=1e-6) for row in expected]
    assert all(row[2:] == (None, None) for row in found) and found[2] == found[3] == (None,) * 4
    assert covariance([{}, {}]) == ()


def test_undefined_draws_are_left_out_of_the_covariance() -> None:
    found = covariance([{0: [1.0, 2.0, 3.0, -1.0]}, {0: [2.0, 4.0, 6.0, 50.0]}])
    assert found == ((1.0, 2.0), (2.0, 4.0))


def test_one_seed_has_an_interval_over_images_alone() -> None:
    cells = {n: Numbers("AP", {0: v}) for n, v in (("a", 1.0), ("b", 3.0))}
    images = {("a", "a"): 1.0, ("a", "b"): 0.5, ("b", "b"): 1.0}
    found = Additive(cells, images).estimate({"b": 1, "a": -1})
    assert found is not None
    assert (found.interval, found.p) == (None, None)
    assert found.over_images == pytest.approx((2 - 1.959964, 2 + 1.959964))


def test_the_interval_covers_the_truth_of_other_seeds_and_other_images() -> None:
    """Studies of six cells, three seeds and 100 images, drawn anew each time; AP is here a mean over images.

    A score is truth + seed + error of the training + difficulty of the image, of which a share is the cell's own, + an
    interaction of training and image. An interval over seeds alone covers the truth far too rarely, one over both in at
    least 95 % of studies, and not in nearly all of them.
    """
    generator = np.random.default_rng(5)
    cells, seeds, images, studies = 6, 3, 100, 200
    both = alone = 0
    for _ in range(studies):
        trained = generator.normal(size=(1, seeds, 1)) * 0.6 + generator.normal(size=(cells, seeds, 1)) * 0.4
        common, own = generator.normal(size=(1, 1, images)) * 9, generator.normal(size=(cells, 1, images)) * 5
        scores = trained + common + own + generator.normal(size=(cells, seeds, images)) * 2
        drawn = generator.integers(images, size=(100, images))
        draws = scores[:, :, drawn].mean(axis=3)
        known = covariance([{s: draws[c, s].tolist() for s in range(seeds)} for c in range(cells)])
        numbers = {c: Numbers("AP", {s: float(scores[c, s].mean()) for s in range(seeds)}) for c in range(cells)}
        pairs = {(a, b): v for a, row in enumerate(known) for b, v in enumerate(row) if v is not None}
        found = Additive(numbers, pairs).estimate({1: 1, 0: -1})
        seeds_only = Additive(numbers).estimate({1: 1, 0: -1})
        assert found and seeds_only and found.interval and seeds_only.interval
        both += found.interval[0] <= 0 <= found.interval[1]
        alone += seeds_only.interval[0] <= 0 <= seeds_only.interval[1]
    assert alone / studies < 0.85
    assert 0.93 <= both / studies <= 0.985
