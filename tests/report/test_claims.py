"""Verdicts: worked examples, and the paper's claims held against the paper's own tables."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from ablations.claims import CLAIMS
from casl import catalog
from casl.report import html, markdown
from casl.report.claims import Verdict, judge
from casl.report.claims_page import page, to_json
from casl.report.layout import gains
from casl.report.render import to_json as table_json
from casl.report.table import Repetition, Table, build_table
from casl.report.wording import gained
from casl.spec.claim import Claim, Gap, Place, highest, rising
from tests.report.sample import Numbers, Spot, tabled

SMALL = "SMALL PROFILE: does not test the paper's claim"
A, B, C = (Place("t", "r", column, "ap_det") for column in "abc")


def table(*, small: bool = False, note: str = "", **columns: Sequence[float | None] | None) -> Table:
    spots: dict[Spot, Numbers] = {
        ("r", name, "ap_det", "AP"): (values, float(10 * i)) for i, (name, values) in enumerate(columns.items())
    }
    return tabled("t", spots, small=small, note=note)


def verdict(claim: Claim, made: Table) -> Verdict:
    return judge([claim], [made])[0]


CLAIM = Claim("b-a", "b beats a", "Sec. 1", better=(B,), worse=(A,))


def test_a_difference_that_seeds_agree_on_supports_the_claim() -> None:
    found = verdict(CLAIM, table(a=[10.0, 11.0, 12.0], b=[15.0, 16.1, 16.9]))
    assert (found.verdict, found.tests_paper) == ("supported", True)
    one = found.evidence[0]
    assert [one.better_value, one.worse_value] == pytest.approx([16.0, 11.0])
    assert one.difference is not None
    assert [one.difference.mean, one.difference.n, one.paper] == pytest.approx([5.0, 3, 10.0])


def test_the_opposite_difference_speaks_against_it() -> None:
    assert verdict(CLAIM, table(a=[15.0, 16.1, 16.9], b=[10.0, 11.0, 12.0])).verdict == "not supported"


def test_a_difference_that_seeds_do_not_agree_on_is_undecided() -> None:
    found = verdict(CLAIM, table(a=[10.0, 11.0, 12.0], b=[11.0, 10.5, 13.0]))
    assert (found.verdict, found.reason) == (
        "undecided",
        "0 of 1 differences are significant; 1 of 1 differences point the claim's way",
    )


def test_pairing_sees_what_the_spread_between_seeds_hides() -> None:
    """Seeds differ by 10, the two sides by 1 in each of them."""
    assert verdict(CLAIM, table(a=[10.0, 20.0, 30.0], b=[11.0, 21.1, 30.9])).verdict == "supported"


def test_one_seed_is_undecided_and_shows_its_difference() -> None:
    found = verdict(CLAIM, table(a=[10.0], b=[15.0]))
    assert found.verdict == "undecided"
    assert found.reason.startswith("one seed")
    assert found.evidence[0].difference is not None
    assert found.evidence[0].difference.mean == pytest.approx(5.0)


def test_only_seeds_that_both_sides_have_are_compared() -> None:
    found = verdict(CLAIM, table(a=[10.0, None, 12.0], b=[11.0, 99.0, None]))
    one = found.evidence[0]
    assert one.difference is not None
    assert (one.difference.n, one.difference.mean, one.better_value) == (1, 1.0, 11.0)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (table(a=[1.0], b=[None]), "t: r, b is not run"),
        (table(a=[1.0], b=None, note="needs HTC++"), "r: needs HTC++"),
        (table(a=[1.0]), "t has no cell r, b here"),
        (table(a=[-1.0], b=[1.0]), "t: r, a is undefined"),
        (table(a=[1.0, None], b=[None, 1.0]), "no seed has both sides"),
    ],
)
def test_what_is_not_measured_is_named(made: Table, reason: str) -> None:
    found = verdict(CLAIM, made)
    assert (found.verdict, found.reason) == ("not run", reason)


def test_a_table_that_is_not_in_the_report_is_named() -> None:
    assert judge([CLAIM], [])[0].reason == "t is not in this report"


def test_every_comparison_of_a_claim_has_to_hold() -> None:
    rise = rising("rises", "rises", "Sec. 1", [A, B, C])
    low, middle, high = [10.0, 11.0, 12.0], [15.0, 16.1, 16.9], [20.0, 21.2, 22.1]
    assert verdict(rise, table(a=low, b=middle, c=high)).verdict == "supported"
    assert verdict(rise, table(a=low, b=middle, c=[15.5, 16.0, 17.5])).verdict == "undecided"
    assert verdict(rise, table(a=low, b=high, c=middle)).verdict == "not supported"
    partly = verdict(rise, table(a=low, b=middle, c=[None, None, None]))
    assert (partly.verdict, partly.reason.split(";")[0]) == ("undecided", "1 of 2 comparisons measured")


def test_the_level_against_a_claim_is_divided_by_its_comparisons() -> None:
    """b - a is -1.0, -1.3, -0.7: t = 5.77, p = 0.029, below 0.05 and above 0.025."""
    a, b = [10.0, 10.3, 9.7], [9.0, 9.0, 9.0]
    assert verdict(CLAIM, table(a=a, b=b)).verdict == "not supported"
    two = highest("best", "b is best", "Sec. 1", B, [A, C])
    assert verdict(two, table(a=a, b=b, c=[8.0, 8.1, 8.2])).verdict == "undecided"


def test_a_gap_is_compared_seed_by_seed() -> None:
    """Losses of -1, -1.1, -0.9 against -5, -5.2, -4.9: better by 4, 4.1, 4."""
    claim = Claim("loses-less", "loses less", "Sec. 1", better=(Gap(B, A),), worse=(Gap(C, A),))
    found = verdict(claim, table(a=[20.0, 30.0, 40.0], b=[19.0, 28.9, 39.1], c=[15.0, 24.8, 35.1]))
    one = found.evidence[0]
    assert one.difference is not None
    assert found.verdict == "supported"
    assert one.difference.mean == pytest.approx((4.0 + 4.1 + 4.0) / 3)
    assert one.paper == pytest.approx((10 - 0) - (20 - 0))


def test_equality_within_a_margin_needs_a_test_too() -> None:
    claim = Claim("same", "the same", "Sec. 1", better=(B,), worse=(A,), within=0.5)
    assert verdict(claim, table(a=[10.0, 11.0, 12.0], b=[10.0, 11.05, 12.1])).verdict == "supported"
    assert verdict(claim, table(a=[10.0, 11.0, 12.0], b=[10.0, 12.0, 11.0])).verdict == "undecided"
    assert verdict(claim, table(a=[10.0, 11.0, 12.0], b=[15.0, 16.1, 16.9])).verdict == "not supported"


def test_a_run_is_not_compared_with_itself() -> None:
    same = Claim("a-a", "a beats a", "Sec. 1", better=(A,), worse=(A,))
    found = verdict(same, table(a=[1.0, 2.0]))
    assert (found.verdict, found.evidence[0].difference) == ("not run", None)
    assert "are the same run in this profile" in found.reason


def test_a_small_profile_says_that_it_does_not_test_the_paper() -> None:
    a, b = [10.0, 11.0, 12.0], [15.0, 16.1, 16.9]
    small, whole = ([verdict(CLAIM, table(small=size, a=a, b=b))] for size in (True, False))
    renders = (lambda found: html.write(page(found)), lambda found: markdown.write(page(found)), to_json)
    for render in renders:
        assert SMALL in render(small).replace("&#x27;", "'").replace("\\", "")
        assert SMALL not in render(whole).replace("&#x27;", "'").replace("\\", "")
    assert "supported in mini" in html.write(page(small))
    assert "supported in mini" not in html.write(page(whole))
    record = json.loads(to_json(small))
    assert (record["claims"][0]["verdict"], record["claims"][0]["tests_paper_claim"]) == ("supported", False)


def test_json_has_every_comparison() -> None:
    record = json.loads(to_json([verdict(CLAIM, table(a=[10.0, 11.0, 12.0], b=[15.0, 16.1, None]))]))
    assert record["counts"] == {"supported": 1, "not supported": 0, "undecided": 0, "not run": 0}
    one = record["claims"][0]["evidence"][0]
    place = {"table": "t", "row": "r", "metric": "ap_det", "figure": "AP"}
    assert one["better"] == [{**place, "column": "b"}]
    assert (one["seeds"], one["difference"], one["paper_difference"]) == (2, pytest.approx(5.05), 10.0)


@pytest.fixture(scope="module")
def papers() -> dict[str, Table]:
    """All tables of the registry under profile `paper`, nothing run."""
    profile = catalog.load("profile", "paper")
    tables = {name: catalog.load("ablation", name) for name in catalog.ABLATIONS}
    return {name: build_table(a, profile, [a.build(profile)], {}, {}) for name, a in tables.items()}


def test_every_claim_names_cells_that_exist_and_holds_for_the_papers_own_numbers(papers: dict[str, Table]) -> None:
    there = {Place(t.name, c.row, c.column, c.metric, c.figure) for t in papers.values() for c in t.cells}
    for found in judge(CLAIMS, list(papers.values())):
        terms = (*found.claim.better, *found.claim.worse)
        assert {place for term in terms for place in term.places} <= there, found.claim.id
        for one in found.evidence:
            if found.claim.source.startswith("not in the paper"):
                assert one.paper is None
                continue
            assert one.paper is not None, f"{one.better} or {one.worse} has no number in the paper"
            margin = found.claim.within
            assert one.paper > 0 if margin is None else abs(one.paper) <= margin + 1e-9, found.claim.id


def test_every_table_of_the_paper_has_a_claim() -> None:
    terms = itertools.chain.from_iterable((*c.better, *c.worse) for c in CLAIMS)
    named = {place.table for term in terms for place in term.places}
    assert named == {f"table{n}" for n in range(1, 11)}


def drawn(seed: int, value: float, *draws: float) -> Repetition:
    return Repetition(seed, f"evaluate-{seed}", f"{seed}{value}", "done", value, "", None, "c0ffee", False, draws)


def of_draws(**columns: Sequence[Repetition]) -> Table:
    """Table `t` with one row `r`, its cells made of the given repetitions."""
    made = tabled("t", {("r", n, "ap_det", "AP"): ([r.value for r in rs], 0.0) for n, rs in columns.items()})
    cells = [replace(c, repetitions=tuple(columns[c.column]), key=c.column) for c in made.cells]
    return replace(made, cells=tuple(cells))


def test_the_interval_over_images_is_of_the_differences_of_equal_draws() -> None:
    """Draws differ by 4, 1, 3, 2 and -1 alone; sorted -1, 1, 2, 3, 4 the 2.5 % quantile is -1 + 0.1 x 2."""
    a, b = [drawn(0, 10.0, 10, 20, 30, 40, 50)], [drawn(0, 12.0, 14, 21, 33, 42, 49)]
    found = verdict(CLAIM, of_draws(a=a, b=b)).evidence[0]
    assert found.images == pytest.approx((-0.8, 3.9))


def test_seeds_are_averaged_before_the_interval_and_undefined_draws_left_out() -> None:
    a = [drawn(0, 1.0, 10, 20, 30), drawn(1, 1.0, 10, 20, -1)]
    b = [drawn(0, 2.0, 12, 21, 99), drawn(1, 2.0, 16, 23, 99)]
    assert verdict(CLAIM, of_draws(a=a, b=b)).evidence[0].images == pytest.approx((2.05, 3.95))


def test_evaluations_without_draws_have_no_interval() -> None:
    assert verdict(CLAIM, of_draws(a=[drawn(0, 1.0)], b=[drawn(0, 2.0, 1, 2)])).evidence[0].images is None


def test_a_gain_over_the_baseline_has_the_interval_of_its_claim() -> None:
    """Differences of equal draws are 1, 2, 3: their 2.5 and 97.5 % quantiles are 1.05 and 2.95."""
    a, b = [drawn(0, 5.0, 3, 5, 7)], [drawn(0, 3.0, 2, 3, 4)]
    made = replace(of_draws(a=a, b=b), baseline="b")
    (gain,) = gains(made).values()
    assert gain.images == pytest.approx((1.05, 2.95))
    assert gained(gain) == "+2.0, over images +1.1 to +3.0, paper 0.0"
    first = json.loads(table_json(made))["cells"][0]
    assert first["gain_images"] == pytest.approx([1.05, 2.95])
