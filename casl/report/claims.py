"""Judging a paper's claims by measured cells.

Test: paired t-test over seeds, two-sided, level 0.05, for each comparison of a claim.

- supported: every comparison is significant the claim's way (each has to hold, so no correction is due);
- not supported: at least one is significant against it, at the level divided by the number of comparisons (Bonferroni);
- undecided: anything between, and always with one seed; not run: no comparison has both sides measured.

A claim that two sides are equal within a margin uses two one-sided tests in the same way. Verdicts are about the
profile at hand; a small one does not test the paper's claim, and every form of the verdicts says so.

Beside each difference stands its paired bootstrap over the val images. It takes no part in the verdict: it says what
other images would have changed, the test what other seeds would have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from casl.report.layout import positions
from casl.report.significance import LEVEL, Paired, interval, paired
from casl.report.table import PUBLISHED, Table, TableCell
from casl.spec.claim import Claim, Place, Term, by_id

VERDICTS = ("supported", "not supported", "undecided", "not run")


@dataclass(frozen=True)
class Evidence:
    """One comparison. better_value, worse_value: means over the seeds that both sides have, in percent.

    difference: better minus worse, None where a side is not measured, and `missing` says why; p: of the test for the
    claim, None below two seeds. images: the middle 95 % of the difference over draws of the val images, None where an
    evaluation left no draws. paper: the difference of the published numbers.
    """

    better: Term
    worse: Term
    better_value: float | None
    worse_value: float | None
    difference: Paired | None
    p: float | None
    against: float | None
    paper: float | None
    missing: str
    images: tuple[float, float] | None = None

    @property
    def agrees(self) -> bool:
        """Whether the difference points the claim's way, significant or not; only for claims of "higher"."""
        return self.difference is not None and self.difference.mean > 0


@dataclass(frozen=True)
class Verdict:
    """A claim with its evidence. verdict: one of VERDICTS; reason: why, in words.

    tests_paper: whether the profile has the paper's size; if not, the verdict says nothing about the paper.
    """

    claim: Claim
    verdict: str
    reason: str
    evidence: tuple[Evidence, ...]
    profile: str
    tests_paper: bool


def judge(claims: Sequence[Claim], tables: Sequence[Table]) -> list[Verdict]:
    """One verdict a claim, in order.

    Args:
        tables: those of the report, all of one profile; comparisons with cells of other tables count as not run.

    Raises:
        SpecError: two claims have one id.
    """
    by_name = {table.name: table for table in tables}
    return [_judge(claim, by_name) for claim in by_id(claims).values()]


def _judge(claim: Claim, tables: Mapping[str, Table]) -> Verdict:
    pairs = zip(claim.better, claim.worse, strict=True)
    evidence = tuple(_compare(better, worse, claim.within, tables) for better, worse in pairs)
    verdict, reason = _decide(claim, evidence)
    profile = next(iter(tables.values())).profile if tables else ""
    return Verdict(
        claim, verdict, reason, evidence, profile, bool(tables) and not any(t.small for t in tables.values())
    )


def _decide(claim: Claim, evidence: Sequence[Evidence]) -> tuple[str, str]:
    measured = [e for e in evidence if e.difference]
    if not measured:
        return "not run", _first([e.missing for e in evidence])
    counts = f"{len(measured)} of {len(evidence)} comparisons measured" if len(measured) < len(evidence) else ""
    if any(e.against is not None and e.against < LEVEL / len(measured) for e in measured):
        return "not supported", _joined(counts, "a difference against the claim is significant")
    way = (
        ""
        if claim.within
        else f"{sum(e.agrees for e in measured)} of {len(measured)} differences point the claim's way"
    )
    if all(e.difference and e.difference.n < 2 for e in measured):
        return "undecided", _joined("one seed", counts, way)
    if len(measured) == len(evidence) and all(e.p is not None and e.p < LEVEL and _right(claim, e) for e in measured):
        return "supported", "every difference is significant"
    sure = sum(e.p is not None and e.p < LEVEL and _right(claim, e) for e in measured)
    return "undecided", _joined(counts, f"{sure} of {len(measured)} differences are significant", way)


def _first(reasons: Sequence[str], at_most: int = 3) -> str:
    """The first few reasons, and how many more there are. A reason may be several, joined by semicolons."""
    single = list(dict.fromkeys(one for reason in reasons for one in reason.split("; ")))
    more = [f"{len(single) - at_most} more"] if len(single) > at_most else []
    return "; ".join([*single[:at_most], *more])


def _joined(*words: str) -> str:
    return "; ".join(w for w in words if w)


def _right(claim: Claim, evidence: Evidence) -> bool:
    return claim.within is not None or evidence.agrees


def _compare(better: Term, worse: Term, within: float | None, tables: Mapping[str, Table]) -> Evidence:
    high, low = _by_seed(better, tables), _by_seed(worse, tables)
    seeds = sorted(high.keys() & low.keys())
    published = _published(better, tables), _published(worse, tables)
    paper = None if published[0] is None or published[1] is None else published[0] - published[1]
    missing = _same_run(better, worse, tables) if seeds else _missing((better, worse), tables)
    if missing:
        return Evidence(better, worse, None, None, None, None, None, paper, missing)
    difference = paired([high[s] - low[s] for s in seeds])
    means = [sum(side[s] for s in seeds) / len(seeds) for side in (high, low)]
    if within is None:
        p, against = difference.p, difference.p if difference.mean < 0 else None
    else:
        p, against = difference.p_within(within), difference.p_beyond(within)
    over_images = interval([*_draws(better, 1.0, tables), *_draws(worse, -1.0, tables)])
    return Evidence(better, worse, means[0], means[1], difference, p, against, paper, "", over_images)


def _cell(place: Place, tables: Mapping[str, Table]) -> TableCell | None:
    if (table := tables.get(place.table)) is None:
        return None
    found = [table.cells[i] for i in positions(table, place.row, place.column)]
    return next((c for c in found if (c.metric, c.figure) == (place.metric, place.figure)), None)


def _by_seed(term: Term, tables: Mapping[str, Table]) -> dict[int, float]:
    """Value of each seed that all of the term's cells have."""
    sides = [cell.by_seed if (cell := _cell(place, tables)) else {} for place in term.places]
    if len(sides) == 1:
        return sides[0]
    return {seed: value - sides[1][seed] for seed, value in sides[0].items() if seed in sides[1]}


def _draws(term: Term, sign: float, tables: Mapping[str, Table]) -> list[tuple[float, dict[int, tuple[float, ...]]]]:
    """The draws of each of the term's cells by seed, with the sign that the cell has in the difference."""
    cells = [(n, cell) for n, place in enumerate(term.places) if (cell := _cell(place, tables))]
    return [(-sign if n else sign, cell.draws) for n, cell in cells]


def _published(term: Term, tables: Mapping[str, Table]) -> float | None:
    numbers = [cell.paper if (cell := _cell(place, tables)) else None for place in term.places]
    known = [n for n in numbers if n is not None]
    return None if len(known) < len(numbers) else known[0] - sum(known[1:])


def _same_run(better: Term, worse: Term, tables: Mapping[str, Table]) -> str:
    """The reason not to compare where a small profile uses one run for two of the paper's models; "" otherwise."""
    high, low = ([cell.key for p in t.places if (cell := _cell(p, tables))] for t in (better, worse))
    return f"{better} and {worse} are the same run in this profile" if high == low else ""


def _missing(terms: Sequence[Term], tables: Mapping[str, Table]) -> str:
    """Why the terms have no seed in common, each reason once."""
    words: dict[str, None] = {}
    for place in (p for term in terms for p in term.places):
        cell = _cell(place, tables)
        if place.table not in tables:
            words[f"{place.table} is not in this report"] = None
        elif cell is None:
            words[f"{place.table} has no cell {place.row}, {place.column} here"] = None
        elif cell.status == PUBLISHED:
            words[f"{place.row}: {cell.note or 'only quoted from the paper'}"] = None
        elif not cell.values:
            words[f"{place.table}: {place.row}, {place.column} is {_state(cell)}"] = None
    return "; ".join(words) or "no seed has both sides"


def _state(cell: TableCell) -> str:
    return "undefined" if cell.status in ("done", "partial") else cell.status
