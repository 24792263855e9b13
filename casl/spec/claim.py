"""Claim: a sentence of a paper as comparisons between cells, so that measured numbers can speak for or against it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from casl.errors import SpecError, unknown

MARGIN = 0.5  # percent: differences within it make no difference; set before any result was judged by it
TESTS = ("each", "trend", "best")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Place:
    """Where one number stands: the table's name, and its cell's row, column, metric and figure."""

    table: str
    row: str
    column: str
    metric: str
    figure: str = "AP"

    @property
    def cell(self) -> str:
        """The place within its table, in words."""
        what = self.metric if self.figure == "AP" else f"{self.metric} {self.figure}"
        return f"{self.row}, {self.column} ({what})"

    @property
    def places(self) -> tuple[Place, ...]:
        """Itself, as a Gap has two."""
        return (self,)

    def __str__(self) -> str:
        return f"{self.table}: {self.cell}"


@dataclass(frozen=True)
class Gap:
    """A difference of two numbers: `of` minus `over`, negative where `of` is worse."""

    of: Place
    over: Place

    @property
    def places(self) -> tuple[Place, ...]:
        """Both numbers, the first minus the second."""
        return self.of, self.over

    def __str__(self) -> str:
        return f"{self.of} minus {self.over}"


Term = Place | Gap


@dataclass(frozen=True)
class Claim:
    """What a paper says, in words and as pairs: each of `better` is higher than its partner in `worse`.

    id: what code, tests and documents call it by, as "warmup-helps"; it stays when the words change. source: where the
    paper says so. within: the claim is instead that partners differ by no more than this, in percent.

    question: what the claim answers, as a reader asks it; "" keeps it out of the short list of verdicts.

    test: what has to hold. "each": every pair. "trend": pairs are steps of ladders, and the straight line over the
    equally spaced steps of each ladder rises. "best": the one better number is above all others.

    Raises:
        SpecError: an id that is not of small letters, digits and hyphens, no pairs, sides of different length, a
            `within` that is not positive or stands beside a trend or a best, an unknown test, or several best numbers.
    """

    id: str
    text: str
    source: str
    better: tuple[Term, ...]
    worse: tuple[Term, ...]
    within: float | None = None
    test: str = "each"
    question: str = ""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise SpecError(
                f"claim {self.text!r} has the id {self.id!r}: an id is words of small letters and digits, joined by "
                "hyphens, as 'warmup-helps'"
            )
        if not self.better or len(self.better) != len(self.worse):
            raise SpecError(
                f"claim {self.id} has {len(self.better)} better and {len(self.worse)} worse places: "
                "each better one needs a partner, and there is at least one pair"
            )
        if self.within is not None and self.within <= 0:
            raise SpecError(f"claim {self.id}: within is a positive number of percent, got {self.within}")
        if self.test not in TESTS:
            raise SpecError(unknown(f"test of claim {self.id}", self.test, TESTS))
        if self.within is not None and self.test != "each":
            raise SpecError(f"claim {self.id}: within is about each pair; the test {self.test!r} has no margin")
        if self.test == "best" and len(set(self.better)) > 1:
            raise SpecError(f"claim {self.id} says of {len(set(self.better))} different numbers that each is the best")

    @property
    def ladders(self) -> tuple[tuple[Term, ...], ...]:
        """The pairs as sequences: a pair whose worse term is the better one of the pair before goes on with it."""
        found: list[list[Term]] = []
        for better, worse in zip(self.better, self.worse, strict=True):
            if found and found[-1][-1] == worse:
                found[-1].append(better)
            else:
                found.append([worse, better])
        return tuple(map(tuple, found))

    @property
    def margin(self) -> float:
        """Percent within which a difference makes no difference: the claim's own, else MARGIN."""
        return MARGIN if self.within is None else self.within


def by_id(claims: Iterable[Claim]) -> dict[str, Claim]:
    """Claims by their ids, in order.

    Raises:
        SpecError: two claims have one id.
    """
    claims = tuple(claims)
    if twice := [name for name, count in Counter(claim.id for claim in claims).items() if count > 1]:
        texts = "; ".join(repr(claim.text) for claim in claims if claim.id == twice[0])
        raise SpecError(f"{twice[0]!r} is the id of several claims: {texts}. Give each one of its own.")
    return {claim.id: claim for claim in claims}


def rising(name: str, text: str, source: str, steps: Sequence[Term], question: str = "") -> Claim:
    """The claim that numbers rise over ordered levels, tested as one trend. name: its id."""
    steps = tuple(steps)
    return Claim(name, text, source, better=steps[1:], worse=steps[:-1], test="trend", question=question)


def highest(name: str, text: str, source: str, winner: Term, others: Sequence[Term]) -> Claim:
    """The claim that one number is higher than each of the others. name: its id."""
    return Claim(name, text, source, better=(winner,) * len(others), worse=tuple(others), test="best")
