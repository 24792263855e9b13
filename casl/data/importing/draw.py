"""Splits drawn by chance from groups of near copies: seeded, stratified by class, and nested.

The groups are put in one order in which every beginning has each class in about its share. A split is a beginning of
the order, so a larger one holds every smaller one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from casl.errors import SpecError

Classes = frozenset[str]


@dataclass(frozen=True)
class Share:
    """A part of a split: "10%" of its images, or a number of them."""

    text: str

    def __post_init__(self) -> None:
        number = self.text.strip().removesuffix("%").strip()
        legal = number.replace(".", "", 1).isdecimal() and float(number) > 0
        if not legal or (not self.is_percent and not number.isdecimal()) or (self.is_percent and float(number) > 100):
            raise SpecError(
                f"{self.text!r} is no share of images: give a percentage such as 10%, or a number such as 50."
            )

    @property
    def is_percent(self) -> bool:
        """Whether it is relative."""
        return self.text.strip().endswith("%")

    def of(self, count: int) -> int:
        """How many of `count` images, at least one."""
        number = self.text.strip().removesuffix("%")
        return max(1, round(count * float(number) / 100)) if self.is_percent else int(number)


@dataclass(frozen=True)
class Group:
    """Near copies, which stay together: their positions and the classes in any of them."""

    members: tuple[int, ...]
    classes: Classes


def ordered(groups: Sequence[Group], draw: Sequence[int]) -> list[Group]:
    """The groups in an order whose beginnings are stratified.

    The stratum of a group is its rarest class. In a shuffled stratum of m, group j gets the place (j + u) / m with one
    random u a stratum, so any beginning has its share of every stratum, rounded up or down. So that rare classes
    are there early, one group for each class comes before all others, those with most new classes first.

    Args:
        groups: to be ordered.
        draw: what the chance depends on: seed, and further numbers.
    """
    chance = np.random.default_rng(np.random.SeedSequence([*draw]))
    shuffled = [groups[i] for i in chance.permutation(len(groups))]
    often = Counter(name for group in groups for name in group.classes)
    strata: dict[str, list[Group]] = {}
    for group in shuffled:
        strata.setdefault(min(group.classes, key=lambda name: (often[name], name), default=""), []).append(group)
    first = _one_of_each(strata, sorted(often, key=lambda name: (often[name], name)))
    head = {group.members for group in first}
    places: list[tuple[float, int, Group]] = []
    for name in sorted(strata):
        members = sorted(strata[name], key=lambda group: group.members not in head)  # the head counts for its stratum
        offset = float(chance.random())
        places += [((j + offset) / len(members), len(places) + j, group) for j, group in enumerate(members)]
    rest = [group for _, _, group in sorted(places, key=lambda place: place[:2]) if group.members not in head]
    return [*first, *rest]


def _one_of_each(strata: Mapping[str, list[Group]], rarest_first: Iterable[str]) -> list[Group]:
    """One group for each class, rare classes served first; then in the order of how many new classes each adds."""
    chosen: list[Group] = []
    covered: set[str] = set()
    for name in rarest_first:
        if name not in covered:
            group = next(g for stratum in strata.values() for g in stratum if name in g.classes)
            chosen.append(group)
            covered |= group.classes
    found: list[Group] = []
    covered = set()
    while chosen:
        best = max(chosen, key=lambda group: len(group.classes - covered))
        chosen.remove(best)
        found.append(best)
        covered |= best.classes
    return found


def beginning(order: Sequence[Group], wanted: int) -> tuple[list[Group], list[Group]]:
    """The beginning of an order that is nearest to a number of images, at least one group; and the rest."""
    sums = np.cumsum([len(group.members) for group in order])
    cut = int(np.abs(sums - wanted).argmin()) + 1 if len(order) else 0
    return list(order[:cut]), list(order[cut:])


def held_out(groups: Sequence[Group], wanted: int, draw: Sequence[int]) -> tuple[list[Group], list[Group]]:
    """Groups for val of about `wanted` images, and the rest.

    Every class keeps at least one group outside val, and of a class with two groups or more one comes into val if the
    number of images allows it.
    """
    left = Counter(name for group in groups for name in group.classes)
    taken: list[Group] = []
    rest: list[Group] = []
    count = 0
    for group in ordered(groups, draw):
        fits = count == 0 or count + len(group.members) <= wanted
        if count < wanted and fits and all(left[name] > 1 for name in group.classes):
            taken.append(group)
            left.subtract(group.classes)
            count += len(group.members)
        else:
            rest.append(group)
    return taken, rest
