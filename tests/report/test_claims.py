"""Verdicts: worked examples, and the paper's claims held against the paper's own tables."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablations.claims import CLAIMS
from casl import catalog
from casl.report import html, markdown
from casl.report.claims import VERDICTS, Verdict, judge
from casl.report.claims_page import by_source, counted_apart, page, to_json
from casl.report.evidence import trend_weights
from casl.report.images import covariance
from casl.report.layout import gains
from casl.report.render import to_json as table_json
from casl.report.render import write_table
from casl.report.stored import read_table
from casl.report.table import Repetition, Table, build_table
from casl.report.wording import chance, gained
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
    assert [one.difference.value, one.difference.seeds, one.paper] == pytest.approx([5.0, 3, 10.0])


def test_a_comparison_of_the_same_evaluations_is_shown_and_not_counted() -> None:
    """As of entities on a set without stuff, where their cell is that of objects."""
    runs = [
        Repetition(seed, f"evaluate-{seed}", f"k{seed}", "done", 15.0 + seed, "", None, "c0", False) for seed in (0, 1)
    ]
    made = table(a=[10.0, 11.1], b=[15.0, 16.0], c=[15.0, 16.0])
    cells = [replace(cell, key="same", repetitions=tuple(runs)) if cell.column != "a" else cell for cell in made.cells]
    twice = Claim("twice", "b and c beat a", "Sec. 1", better=(B, C), worse=(A, A))
    found = verdict(twice, replace(made, cells=tuple(cells)))
    assert [e.again for e in found.evidence] == [False, True] and len(found.rests_on) == 1
    assert found.reason.startswith("every") or "1 of 1 comparisons" in found.reason
    assert found.verdict == verdict(CLAIM, made).verdict
    ladders = rising("both", "b and c rise above a", "Sec. 1", [A, B])
    both = replace(ladders, better=(B, C), worse=(A, A))
    risen = verdict(both, replace(made, cells=tuple(cells)))
    assert len(risen.rests_on) == 2 and "measured" not in risen.reason, "trends are counted as they are"
    assert "the same evaluations as above" in markdown.write(page([found]))
    assert [e.get("again") for e in json.loads(to_json([found]))["claims"][0]["evidence"]] == [None, True]


def test_the_opposite_difference_contradicts_it() -> None:
    found = verdict(CLAIM, table(a=[15.0, 16.1, 16.9], b=[10.0, 11.0, 12.0]))
    assert (found.verdict, found.reason) == ("contradicted", "a difference against the claim is significant")


def test_a_difference_that_seeds_do_not_agree_on_is_too_imprecise() -> None:
    found = verdict(CLAIM, table(a=[10.0, 11.0, 12.0], b=[11.0, 10.5, 13.0]))
    assert (found.verdict, found.reason) == (
        "too imprecise",
        "1 of 1 comparisons point the claim's way, 0 significant alone",
    )


def test_a_difference_within_half_a_point_and_known_well_is_equivalent() -> None:
    """Differences 0.1, 0, 0.2: mean 0.1 with standard error 0.058; t of 0.4 / 0.058 = 6.9 has a one-sided p of 0.01."""
    found = verdict(CLAIM, table(a=[10.0, 11.0, 12.0], b=[10.1, 11.0, 12.2]))
    assert (found.verdict, found.reason) == ("equivalent", "no difference is beyond 0.5")
    wide = verdict(CLAIM, table(a=[10.0, 11.0, 12.0], b=[10.4, 11.0, 12.0]))
    assert wide.verdict == "too imprecise", "mean 0.13, but up to 0.7 is not ruled out"


def test_a_sure_difference_supports_even_where_it_is_within_the_margin() -> None:
    assert verdict(CLAIM, table(a=[10.0, 11.0, 12.0], b=[10.3, 11.31, 12.29])).verdict == "supported"


def test_pairing_sees_what_the_spread_between_seeds_hides() -> None:
    """Seeds differ by 10, the two sides by 1 in each of them."""
    assert verdict(CLAIM, table(a=[10.0, 20.0, 30.0], b=[11.0, 21.1, 30.9])).verdict == "supported"


def test_one_seed_is_too_imprecise_and_shows_its_difference() -> None:
    found = verdict(CLAIM, table(a=[10.0], b=[15.0]))
    assert found.verdict == "too imprecise"
    assert found.reason.startswith("one seed")
    assert found.evidence[0].difference is not None
    assert found.evidence[0].difference.value == pytest.approx(5.0)


def test_only_seeds_that_both_sides_have_are_compared() -> None:
    found = verdict(CLAIM, table(a=[10.0, None, 12.0], b=[11.0, 99.0, None]))
    one = found.evidence[0]
    assert one.difference is not None
    assert (one.difference.p, one.difference.value, one.better_value) == (None, 1.0, 11.0)


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
    both = Claim("both", "both", "Sec. 1", better=(B, C), worse=(A, A))
    low, middle, high = [10.0, 11.0, 12.0], [15.0, 16.1, 16.9], [20.0, 21.2, 22.1]
    assert verdict(both, table(a=low, b=middle, c=high)).verdict == "supported"
    assert verdict(both, table(a=low, b=middle, c=[10.5, 11.0, 12.5])).verdict == "too imprecise"
    assert verdict(both, table(a=low, b=middle, c=[2.0, 3.1, 3.9])).verdict == "contradicted"
    partly = verdict(both, table(a=low, b=middle, c=[None, None, None]))
    assert (partly.verdict, partly.reason.split(";")[0]) == ("too imprecise", "1 of 2 comparisons measured")


def test_rising_numbers_are_judged_by_their_straight_line() -> None:
    """Three levels: the line rises from first to last by c - a, whatever b is; the last step alone is unsure."""
    rise = rising("rises", "rises", "Sec. 1", [A, B, C])
    made = table(a=[10.0, 11.0, 12.0], b=[14.7, 16.0, 17.3], c=[15.5, 16.4, 17.2])
    found = verdict(rise, made)
    (trend,) = found.trends
    assert found.verdict == "supported" and trend.rise is not None
    assert [trend.rise.value, trend.paper] == pytest.approx([16.4 - 11.0 - 0.1 / 3, 20.0])
    assert found.evidence[1].difference is not None and (found.evidence[1].difference.p or 0) > 0.05
    assert (
        verdict(rise, table(a=[15.5, 16.4, 17.2], b=[14.7, 16.0, 17.3], c=[10.0, 11.0, 12.0])).verdict == "contradicted"
    )
    partly = verdict(rise, table(a=[10.0, 11.0, 12.0], b=[15.0, 16.1, 16.9], c=[None, None, None]))
    assert (partly.verdict, partly.reason) == ("not run", "t: r, c is not run")


def test_the_weights_of_a_trend_give_the_rise_of_the_least_squares_line() -> None:
    heights = [3.0, 9.0, 4.0, 11.0, 12.0]
    slope = np.polyfit(range(5), heights, 1)[0]
    assert sum(w * h for w, h in zip(trend_weights(5), heights, strict=True)) == pytest.approx(4 * slope)
    assert trend_weights(2) == [-1.0, 1.0]


def test_the_best_set_has_what_cannot_be_told_from_the_best() -> None:
    claim = highest("best", "c is best", "Sec. 1", C, [A, B])
    found = verdict(claim, table(a=[10.0, 11.0, 12.1], b=[18.9, 21.9, 22.0], c=[20.0, 21.0, 22.2]))
    assert found.best == ("t: r, c (ap_det)", "t: r, b (ap_det)")
    assert found.verdict == "too imprecise"
    lone = verdict(claim, table(a=[10.0, 11.0, 12.1], b=[12.0, 13.1, 14.0], c=[20.0, 21.0, 22.2]))
    assert (lone.verdict, lone.reason, lone.best) == ("supported", "it is above every other", ("t: r, c (ap_det)",))
    other = verdict(claim, table(a=[10.0, 11.0, 12.1], b=[25.0, 26.1, 27.2], c=[20.0, 21.0, 22.2]))
    assert (other.verdict, other.best) == ("contradicted", ("t: r, b (ap_det)",))
    close = verdict(claim, table(a=[10.0, 11.0, 12.0], b=[20.1, 21.0, 22.15], c=[20.0, 21.05, 22.2]))
    assert (close.verdict, close.reason) == ("equivalent", "no other is better by more than 0.5")


def test_a_difference_against_one_of_several_is_weighed_by_their_joint_covariance() -> None:
    """A second comparison that shares a asks for more than one alone, as Dunnett's test would say."""
    three = Claim("all", "all", "Sec. 1", better=(B, C, Place("t", "r", "d", "ap_det")), worse=(A, A, A))
    made = table(a=[10.0, 11.05, 12.2], b=[9.7, 10.6, 11.7], c=[10.05, 11.2, 12.0], d=[10.3, 10.9, 12.3])
    shared = verdict(three, made)
    assert shared.p_difference is not None
    one = shared.evidence[0].difference
    assert one is not None and one.p is not None
    assert 1.5 * one.p < shared.p_difference < 2.8 * one.p, "less than Bonferroni, which takes them for independent"


def test_verdicts_hold_among_all_claims_of_the_report() -> None:
    """p 0.03 for a claim alone; among two, of which the other is unsure, Holm doubles it."""
    made = table(a=[10.0, 11.0, 12.0], b=[11.0, 12.7, 12.7], c=[10.5, 10.8, 12.4])
    alone = judge([CLAIM], [made])[0]
    other = Claim("c-a", "c beats a", "Sec. 1", better=(C,), worse=(A,))
    among, unsure = judge([CLAIM, other], [made])
    assert alone.p_difference is not None and unsure.p_difference is not None
    assert alone.p_difference < 0.05 < unsure.p_difference
    assert among.p_difference == pytest.approx(2 * alone.p_difference)
    assert (alone.verdict, among.verdict) == ("supported", "too imprecise")
    assert among.reason.endswith("alone it would be significant, among all claims it is not")


def test_a_gap_is_compared_seed_by_seed() -> None:
    """Losses of -1, -1.1, -0.9 against -5, -5.2, -4.9: better by 4, 4.1, 4."""
    claim = Claim("loses-less", "loses less", "Sec. 1", better=(Gap(B, A),), worse=(Gap(C, A),))
    found = verdict(claim, table(a=[20.0, 30.0, 40.0], b=[19.0, 28.9, 39.1], c=[15.0, 24.8, 35.1]))
    one = found.evidence[0]
    assert one.difference is not None
    assert found.verdict == "supported"
    assert one.difference.value == pytest.approx((4.0 + 4.1 + 4.0) / 3)
    assert one.paper == pytest.approx((10 - 0) - (20 - 0))


def test_equality_within_a_margin_needs_a_test_too() -> None:
    claim = Claim("same", "the same", "Sec. 1", better=(B,), worse=(A,), within=0.5)
    assert verdict(claim, table(a=[10.0, 11.0, 12.0], b=[10.0, 11.05, 12.1])).verdict == "supported"
    assert verdict(claim, table(a=[10.0, 11.0, 12.0], b=[10.0, 12.0, 11.0])).verdict == "too imprecise"
    assert verdict(claim, table(a=[10.0, 11.0, 12.0], b=[15.0, 16.1, 16.9])).verdict == "contradicted"


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


def test_claims_of_the_paper_and_of_the_project_are_counted_apart_and_show_the_p_among_all() -> None:
    """One of either; the project's is listed first and shown last."""
    own = replace(CLAIM, id="own", text="a beats b", source="not in the paper: the table t")
    made = table(a=[10.0, 11.0, 12.0], b=[15.0, 16.1, 16.9], c=[10.5, 10.8, 12.4])
    found = judge([replace(own, better=(C,)), CLAIM], [made])
    assert [(v.own, v.verdict) for v in found] == [(True, "too imprecise"), (False, "supported")]
    assert [[n for n, _ in some] for some in by_source(found).values()] == [[1], [2]], "the paper's come first"
    written = markdown.write(page(found))
    paper, ours = written.partition("## Claims of this project")[::2]
    assert "1 claim: 1 supported" in paper and "b beats a" in paper and "a beats b" not in paper
    assert "1 claim: 0 supported" in ours and "a beats b" in ours
    for v, words in zip(found, (ours, paper), strict=True):
        assert v.p_difference is not None and f"{markdown.plain(chance(v.p_difference))} among all claims" in words
    assert counted_apart(found).startswith("claims of the paper: 1 supported, ")
    assert html.write(page(found)).index("Claims of the paper") < html.write(page(found)).index(
        "Claims of this project"
    )


def test_an_equivalence_shows_the_p_of_equality() -> None:
    found = verdict(CLAIM, table(a=[10.0, 11.0, 12.0], b=[10.1, 11.0, 12.2]))
    assert (found.verdict, found.among_all) == ("equivalent", found.p_equality)
    assert found.p_equality is not None and found.p_equality < 0.05


def test_json_has_every_comparison() -> None:
    record = json.loads(to_json([verdict(CLAIM, table(a=[10.0, 11.0, 12.0], b=[15.0, 16.1, None]))]))
    assert record["counts"] == {name: int(name == "supported") for name in VERDICTS}
    one = record["claims"][0]["evidence"][0]
    place = {"table": "t", "row": "r", "metric": "ap_det", "figure": "AP"}
    assert one["better"] == [{**place, "column": "b"}]
    assert (one["seeds"], one["difference"], one["paper_difference"]) == (2, pytest.approx(5.05), 10.0)


def empty_tables(name: str) -> dict[str, Table]:
    """All tables of the registry under a profile, nothing run."""
    profile = catalog.load("profile", name)
    tables = {name: catalog.load("ablation", name) for name in catalog.ABLATIONS}
    return {name: build_table(a, profile, [a.build(profile)], {}, {}) for name, a in tables.items()}


@pytest.fixture(scope="module")
def papers() -> dict[str, Table]:
    return empty_tables("paper")


def test_every_claim_names_cells_that_exist_and_holds_for_the_papers_own_numbers(papers: dict[str, Table]) -> None:
    scenes = empty_tables("mini")  # there the hidden truth of unlabeled images is known
    every = [*papers.values(), *scenes.values()]
    there = {Place(t.name, c.row, c.column, c.metric, c.figure) for t in every for c in t.cells}
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


def test_every_table_of_the_paper_and_of_our_hypotheses_has_a_claim() -> None:
    terms = itertools.chain.from_iterable((*c.better, *c.worse) for c in CLAIMS)
    named = {place.table for term in terms for place in term.places}
    assert named == {f"table{n}" for n in range(1, 11)} | {
        "rivals",
        "confusable",
        "finetune_length",
        "forgetting",
        "fractions",
        "strength",
    }


def drawn(seed: int, value: float, *draws: float) -> Repetition:
    return Repetition(seed, f"evaluate-{seed}", f"{seed}{value}", "done", value, "", None, "c0ffee", False, draws)


def of_draws(**columns: Sequence[Repetition]) -> Table:
    """Table `t` with one row `r`, its cells made of the given repetitions."""
    made = tabled("t", {("r", n, "ap_det", "AP"): ([r.value for r in rs], 0.0) for n, rs in columns.items()})
    cells = [replace(c, repetitions=tuple(columns[c.column]), key=c.column) for c in made.cells]
    return replace(made, cells=tuple(cells), image_covariance=covariance([c.draws for c in cells]))


def test_images_widen_the_interval_of_a_claim() -> None:
    """Differences of the draws, means over both seeds, are 1, 3 and 5: standard error 2 over images."""
    a = [drawn(0, 10.0, 10, 20, 30), drawn(1, 11.0, 10, 20, 30), drawn(2, 12.0, 10, 20, 30)]
    b = [drawn(0, 20.0, 11, 23, 35), drawn(1, 21.1, 11, 23, 35), drawn(2, 21.9, 11, 23, 35)]
    found = verdict(CLAIM, of_draws(a=a, b=b)).evidence[0].difference
    assert found is not None and found.of_seeds is not None and found.error is not None
    assert found.of_images == pytest.approx(2.0)
    assert found.error == pytest.approx(math.hypot(found.of_seeds, 2.0))


def test_evaluations_without_draws_have_seeds_alone() -> None:
    found = verdict(CLAIM, of_draws(a=[drawn(0, 1.0)], b=[drawn(0, 2.0, 1, 2)])).evidence[0].difference
    assert found is not None and (found.of_images, found.over_images) == (None, None)


def test_a_gain_of_one_seed_has_an_interval_over_images_alone() -> None:
    """Differences of equal draws are 1, 2, 3: deviation 1, so 2 +- 1.96."""
    a, b = [drawn(0, 5.0, 3, 5, 7)], [drawn(0, 3.0, 2, 3, 4)]
    made = replace(of_draws(a=a, b=b), baseline="b")
    (gain,) = gains(made).values()
    assert gained(gain) == "+2.0 (images alone: 0.0 to +4.0), paper 0.0"
    first = json.loads(table_json(made))["cells"][0]
    assert first["gain_images"] == pytest.approx([2 - 1.959964, 2 + 1.959964])
    assert first["gain_interval"] is None


def test_claims_are_judged_from_the_tables_json_as_from_the_store(tmp_path: Path) -> None:
    a = [drawn(n, v, v, v + 2, v - 1, v + 0.5) for n, v in enumerate((10.0, 11.0, 12.0))]
    b = [drawn(n, v, v + 1, v + 2, v - 2, v) for n, v in enumerate((15.0, 16.1, 16.9))]
    made = of_draws(a=a, b=b)
    write_table(made, tmp_path)
    assert to_json(judge([CLAIM], [read_table(tmp_path / "t.json")])) == to_json(judge([CLAIM], [made]))


def other_table(**columns: Sequence[float | None]) -> Table:
    return tabled("u", {("r", name, "ap_det", "AP"): (values, None) for name, values in columns.items()})


def test_each_table_has_a_variance_of_its_own_unless_a_comparison_spans_two() -> None:
    """t: differences 5, 5.1, 4.9; u: 1, 5, 9. Apart, u's noise does not blur t's difference."""
    here, there = (
        table(a=[10.0, 11.0, 12.0], b=[15.0, 16.1, 16.9]),
        other_table(c=[20.0, 22.0, 24.0], d=[21.0, 27.0, 33.0]),
    )
    c, d = (Place("u", "r", column, "ap_det") for column in "cd")
    apart = Claim("both", "both", "Sec. 1", better=(B, d), worse=(A, c))
    found = judge([apart], [here, there])[0].evidence
    assert [e.difference.freedom if e.difference else None for e in found] == [2, 2]
    assert found[0].difference == judge([CLAIM], [here])[0].evidence[0].difference
    across = judge([Claim("d-a", "d beats a", "Sec. 1", better=(d,), worse=(A,))], [here, there])[0].evidence[0]
    assert across.difference is not None
    assert across.difference.value == pytest.approx(16.0)
    assert across.difference.freedom == 4 * 3 - 4 - 3 + 1


def test_cells_that_one_run_measured_count_once() -> None:
    """Their residuals are the same numbers: twice as many would be twice as sure of what is not known better."""
    made = table(a=[10.0, 11.0, 12.0], b=[15.0, 16.4, 16.7], c=[10.0, 11.0, 12.0])
    cells = [replace(cell, key="one") if cell.column in ("a", "c") else cell for cell in made.cells]
    (found,) = judge([CLAIM], [replace(made, cells=tuple(cells))])[0].evidence
    assert found.difference is not None and found.difference.freedom == 2
