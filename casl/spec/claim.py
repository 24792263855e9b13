"""Claim: a sentence of a paper as comparisons between cells, so that measured numbers can speak for or against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from casl.errors import SpecError


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

    def __str__(self) -> str:
        return f"{self.table}: {self.cell}"


@dataclass(frozen=True)
class Gap:
    """A difference of two numbers: `of` minus `over`, negative where `of` is worse."""

    of: Place
    over: Place

    def __str__(self) -> str:
        return f"{self.of} minus {self.over}"


Term = Place | Gap


@dataclass(frozen=True)
class Claim:
    """What a paper says, in words and as pairs: each of `better` is higher than its partner in `worse`.

    source: where it says so. within: the claim is instead that partners differ by no more than this, in percent.

    Raises:
        SpecError: no pairs, sides of different length, or a `within` that is not positive.
    """

    text: str
    source: str
    better: tuple[Term, ...]
    worse: tuple[Term, ...]
    within: float | None = None

    def __post_init__(self) -> None:
        if not self.better or len(self.better) != len(self.worse):
            raise SpecError(
                f"claim {self.text!r} has {len(self.better)} better and {len(self.worse)} worse places: "
                "each better one needs a partner, and there is at least one pair"
            )
        if self.within is not None and self.within <= 0:
            raise SpecError(f"claim {self.text!r}: within is a positive number of percent, got {self.within}")


def rising(text: str, source: str, steps: Sequence[Term]) -> Claim:
    """The claim that every step is higher than the one before it."""
    return Claim(text, source, better=tuple(steps[1:]), worse=tuple(steps[:-1]))


def highest(text: str, source: str, winner: Term, others: Sequence[Term]) -> Claim:
    """The claim that one number is higher than each of the others."""
    return Claim(text, source, better=(winner,) * len(others), worse=tuple(others))
