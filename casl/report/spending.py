"""Looking at claims again with every further seed, without finding more than chance allows.

Each look has a level of its own: what an O'Brien-Fleming-like spending function lets it spend of the level of all
looks. Every number of seeds from 2 on counts as a look, also one at which the command was not called, so that it does
not matter when and how often it was. Levels of looks add up to the whole level at the most seeds planned. A claim is
decided at the first look whose test does, and stays so; boundaries ignore that looks are correlated, which costs a
little power and no validity.

Source: Lan and DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70 (1983).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from casl.report.claims import Verdict, judge
from casl.report.significance import LEVEL
from casl.report.table import Table
from casl.spec.claim import Claim

FIRST = 2  # seeds at the first look; one seed has no spread
OPEN = "too imprecise"


def spent(share: float, level: float = LEVEL) -> float:
    """What may be spent, two-sided, up to a share of the planned seeds in (0, 1]; `level` at 1."""
    normal = NormalDist()
    return 4 * (1 - normal.cdf(normal.inv_cdf(1 - level / 4) / math.sqrt(share)))


def level_of(seeds: int, most: int) -> float:
    """Level of the look at a number of seeds, from 2 to `most`."""
    before = spent((seeds - 1) / most) if seeds > FIRST else 0.0
    return spent(seeds / most) - before


@dataclass(frozen=True)
class Decision:
    """A claim after some looks. seeds: at the look that decided it, 0 while it is open or cannot be run."""

    verdict: Verdict
    seeds: int

    @property
    def is_open(self) -> bool:
        """Whether more seeds could decide it."""
        return self.verdict.verdict == OPEN


def look(claims: Sequence[Claim], tables: Callable[[int], Sequence[Table]], seeds: int, most: int) -> list[Decision]:
    """All looks up to a number of seeds; one decision a claim, in order.

    Args:
        tables: number of seeds -> the tables with so many seeds, or all that one has if it has fewer.
    """
    found: list[Decision] = []
    for count in range(FIRST, seeds + 1):
        judged = judge(claims, tables(count), level_of(count, most))
        now = [Decision(v, 0 if v.verdict in (OPEN, "not run") else count) for v in judged]
        found = [old if old.seeds else new for old, new in zip(found, now, strict=True)] if found else now
    return found
