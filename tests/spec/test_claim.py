"""Claims as pairs of places."""

from __future__ import annotations

import pytest

from casl.errors import SpecError
from casl.spec.claim import MARGIN, Claim, Gap, Place, by_id, highest, rising

A, B, C = (Place("table7", row, "AP^det", "ap_det") for row in ("Tiny", "Small", "Base"))


def test_rising_pairs_each_step_with_the_one_before() -> None:
    found = rising("more", "more is better", "Sec. 4", [A, B, C])
    assert list(zip(found.better, found.worse, strict=True)) == [(B, A), (C, B)]


def test_highest_pairs_the_winner_with_each_other() -> None:
    found = highest("best", "C is best", "Sec. 4", C, [A, B])
    assert list(zip(found.better, found.worse, strict=True)) == [(C, A), (C, B)]


def test_rising_numbers_are_ladders_and_the_highest_is_the_best() -> None:
    assert rising("more", "more is better", "Sec. 4", [A, B, C]).ladders == ((A, B, C),)
    both = Claim("both", "both rise", "Sec. 4", better=(B, C, B), worse=(A, B, C), test="trend")
    assert both.ladders == ((A, B, C, B),)
    assert Claim("apart", "two", "Sec. 4", (B, A), (A, C), test="trend").ladders == ((A, B), (C, A))
    assert [c.test for c in (rising("r", "r", "s", [A, B]), highest("h", "h", "s", A, [B]))] == ["trend", "best"]


def test_tests_that_cannot_be_are_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'trend'"):
        Claim("odd", "odd", "Sec. 4", (A,), (B,), test="trends")
    with pytest.raises(SpecError, match="has no margin"):
        Claim("odd", "odd", "Sec. 4", (A,), (B,), within=0.2, test="best")
    with pytest.raises(SpecError, match="2 different numbers that each is the best"):
        Claim("odd", "odd", "Sec. 4", (A, B), (C, C), test="best")


def test_a_margin_is_the_claims_own_or_half_a_point() -> None:
    claims = Claim("own", "own", "Sec. 4", (A,), (B,), within=0.2), Claim("none", "none", "Sec. 4", (A,), (B,))
    assert [claim.margin for claim in claims] == [0.2, MARGIN] == [0.2, 0.5]


@pytest.mark.parametrize(("better", "worse"), [((), ()), ((A,), ()), ((A, B), (C,))])
def test_sides_of_different_length_are_refused(better: tuple[Place, ...], worse: tuple[Place, ...]) -> None:
    with pytest.raises(SpecError, match=rf"{len(better)} better and {len(worse)} worse"):
        Claim("odd", "odd", "Sec. 4", better, worse)


def test_a_margin_is_positive() -> None:
    with pytest.raises(SpecError, match=r"got -0\.2"):
        Claim("same", "same", "Sec. 4", (A,), (B,), within=-0.2)


def test_places_and_gaps_read_as_words() -> None:
    pq = Place("table2", "ImageNet", "PQ", "pq", "PQ")
    assert str(Gap(A, pq)) == "table7: Tiny, AP^det (ap_det) minus table2: ImageNet, PQ (pq PQ)"


@pytest.mark.parametrize("name", ["", "Warmup helps", "warmup_helps", "-warmup", "warmup-"])
def test_an_id_is_words_joined_by_hyphens(name: str) -> None:
    with pytest.raises(SpecError, match="small letters and digits, joined by hyphens"):
        Claim(name, "text", "Sec. 4", (A,), (B,))


def test_claims_are_found_by_ids_that_are_unique() -> None:
    one, two = (Claim(name, f"text of {name}", "Sec. 4", (A,), (B,)) for name in ("one", "two"))
    assert by_id([one, two]) == {"one": one, "two": two}
    with pytest.raises(SpecError, match=r"'one' is the id of several claims: 'text of one'; 'text of one'"):
        by_id([one, two, one])
