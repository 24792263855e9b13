"""Claim: a sentence of a paper as comparisons between cells, so that measured numbers can speak for or against it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from casl.errors import SpecError

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

    Raises:
        SpecError: an id that is not of small letters, digits and hyphens, no pairs, sides of different length, or a
            `within` that is not positive.
    """

    id: str
    text: str
    source: str
    better: tuple[Term, ...]
    worse: tuple[Term, ...]
    within: float | None = None

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


def rising(name: str, text: str, source: str, steps: Sequence[Term]) -> Claim:
    """The claim that every step is higher than the one before it. name: its id."""
    return Claim(name, text, source, better=tuple(steps[1:]), worse=tuple(steps[:-1]))


def highest(name: str, text: str, source: str, winner: Term, others: Sequence[Term]) -> Claim:
    """The claim that one number is higher than each of the others. name: its id."""
    return Claim(name, text, source, better=(winner,) * len(others), worse=tuple(others))
