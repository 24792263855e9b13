"""Judging a paper's claims by measured cells.

Every comparison is a contrast of the additive model of its table (casl.report.additive), so comparisons of one claim
that share a baseline are tested with their joint covariance, and an interval holds seeds and images. What is tested:

- each: every pair's difference; trend: the rise of a straight line over each ladder, from its first level to its last;
  best: the winner's differences to all others;
- a claim that two sides are equal within a margin: their difference, by two one-sided tests.

A claim has two p values. Of difference: for it, the largest of its comparisons' (each has to hold: an
intersection-union test, which needs no correction); against it, that of the largest joint t statistic the other way.
Of equality: the largest of two one-sided tests, the margin being the claim's own or casl.spec.claim.MARGIN; for the
best, that no other is better by more. Each kind of p is adjusted by Holm across the claims of the report. Verdicts, in
order:

- supported, contradicted: the adjusted p of difference is below the level, and which way it points;
- equivalent: the adjusted p of equality is, so that a difference that matters is ruled out; a claim of equality is
  then supported;
- too imprecise: anything else, and always where no spread of seeds is known. Not run: no comparison is measured.

Verdicts are about the profile at hand; a small one does not test the paper's claim, and every form of the verdicts says
so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from casl import catalog
from casl.report.additive import Estimate
from casl.report.evidence import Evidence, Examined, Trend, examine
from casl.report.multiple import best_set, holm, p_of_all
from casl.report.significance import LEVEL
from casl.report.table import Table
from casl.spec.claim import Claim, by_id

OWN = "not in the paper"  # how the source of such a claim begins
VERDICTS = ("supported", "contradicted", "equivalent", "too imprecise", "not run")


@dataclass(frozen=True)
class Verdict:
    """A claim with its evidence. verdict: one of VERDICTS; reason: why, in words.

    p_difference, p_equality: adjusted across the claims of the report, None where nothing can be tested. best: of a
    claim about the best, the terms that may be it. tests_paper: whether the profile has the paper's size; if not, the
    verdict says nothing about the paper.
    """

    claim: Claim
    verdict: str
    reason: str
    evidence: tuple[Evidence, ...]
    trends: tuple[Trend, ...]
    best: tuple[str, ...]
    p_difference: float | None
    p_equality: float | None
    profile: str
    tests_paper: bool

    @property
    def own(self) -> bool:
        """Whether the claim is this project's and no paper's; its source says so."""
        return self.claim.source.startswith(OWN)

    @property
    def among_all(self) -> float | None:
        """The p among all claims that the verdict rests on: of equality where that is what is found."""
        of_equality = self.verdict == "equivalent" or (self.verdict == "supported" and self.claim.within is not None)
        return self.p_equality if of_equality else self.p_difference

    @property
    def rests_on(self) -> list[Estimate]:
        """What is measured of its trends, or else of its comparisons, each once."""
        found = [t.rise for t in self.trends] or [e.difference for e in self.evidence if not e.again]
        return [e for e in found if e is not None]


@dataclass(frozen=True)
class _Tests:
    """p values of one claim, unadjusted; None where it cannot be tested."""

    favour: float | None
    against: float | None
    equal: float | None

    @property
    def difference(self) -> float | None:
        return min((p for p in (self.favour, self.against) if p is not None), default=None)

    @property
    def points_against(self) -> bool:
        return self.against is not None and (self.favour is None or self.against < self.favour)


def registered() -> list[Claim]:
    """Every claim of the catalog, in its order."""
    return [claim for name in catalog.CLAIMS for claim in catalog.load("claims", name)]


def tables_of(claims: Sequence[Claim]) -> set[str]:
    """Names of the tables whose cells claims compare."""
    return {place.table for c in claims for term in (*c.better, *c.worse) for place in term.places}


def judge(claims: Sequence[Claim], tables: Sequence[Table], level: float = LEVEL) -> list[Verdict]:
    """One verdict a claim, in order.

    Args:
        tables: those of the report, all of one profile; comparisons with cells of other tables count as not run.
        level: of the tests; less at one of several looks (casl.report.spending).

    Raises:
        SpecError: two claims have one id.
    """
    by_name = {table.name: table for table in tables}
    found = [examine(claim, by_name) for claim in by_id(claims).values()]
    tests = [_tests(one) for one in found]
    differences = _adjusted([t.difference for t in tests])
    equalities = _adjusted([t.equal for t in tests])
    whole = bool(tables) and not any(t.small for t in tables)
    profile = tables[0].profile if tables else ""
    return [
        Verdict(one.claim, *_decide(one, test, p, q, level), one.evidence, one.trends, _best(one), p, q, profile, whole)
        for one, test, p, q in zip(found, tests, differences, equalities, strict=True)
    ]


def _adjusted(p: Sequence[float | None]) -> list[float | None]:
    known = iter(holm([value for value in p if value is not None]))
    return [None if value is None else next(known) for value in p]


def _tests(one: Examined) -> _Tests:
    found, claim = one.tested, one.claim
    estimates = [estimate for _, estimate in found]
    if not found or any(e.p is None for e in estimates):
        return _Tests(None, None, None)
    if claim.within is not None:
        beyond = min(1.0, len(found) * _least(lambda e: e.beyond(claim.margin), estimates))
        return _Tests(None, beyond, _most(lambda e: e.within(claim.margin), estimates) if one.whole else None)
    other_way = p_of_all(one.model, [weights for weights, _ in found], sign=-1.0)
    against = None if other_way is None else min(1.0, 2 * other_way)
    if not one.whole:
        return _Tests(None, against, None)
    favour = _most(lambda e: e.p if e.value > 0 else 1.0, estimates)
    equal: Callable[[Estimate], float | None] = (
        (lambda e: e.above(-claim.margin)) if claim.test == "best" else (lambda e: e.within(claim.margin))
    )
    return _Tests(favour, against, _most(equal, estimates))


def _most(p: Callable[[Estimate], float | None], estimates: Sequence[Estimate]) -> float:
    return max(value for e in estimates if (value := p(e)) is not None)


def _least(p: Callable[[Estimate], float | None], estimates: Sequence[Estimate]) -> float:
    return min(value for e in estimates if (value := p(e)) is not None)


def _best(one: Examined) -> tuple[str, ...]:
    """The best set; no test of it where nothing has a spread."""
    if one.claim.test != "best" or not one.tested or any(e.p is None for _, e in one.tested):
        return ()
    return best_set(one.model, one.terms)


def _decide(
    one: Examined, tests: _Tests, difference: float | None, equality: float | None, level: float
) -> tuple[str, str]:
    claim, found = one.claim, [estimate for _, estimate in one.tested]
    asked = len(one.trends) if claim.test == "trend" else sum(not e.again for e in one.evidence)
    if not found:
        return "not run", _first([e.missing for e in one.evidence if e.missing])
    part = f"{len(found)} of {asked} {_noun(claim)} measured" if len(found) < asked else ""
    if difference is not None and difference < level:
        if tests.points_against:
            return "contradicted", _joined(part, _AGAINST[_form(claim)])
        return "supported", _FOR[_form(claim)]
    if equality is not None and equality < level:
        word = "equivalent" if claim.within is None else "supported"
        return word, f"{_EQUAL[_form(claim)]} {claim.margin:g}"
    if any(e.p is None for e in found):
        single = any(e.seeds < 2 for e in found)
        return "too imprecise", _joined(
            "one seed" if single else "no spread to test with", part, _way(one, tested=False)
        )
    alone = "alone it would be significant, among all claims it is not" if _alone(tests, level) else ""
    return "too imprecise", _joined(part, _way(one), alone)


_FOR = {
    "each": "every difference is significant",
    "trend": "the rise is significant",
    "best": "it is above every other",
}
_AGAINST = {
    "each": "a difference against the claim is significant",
    "within": "a difference beyond the margin is significant",
    "trend": "a fall is significant",
    "best": "another one is significantly better",
}
_EQUAL = {
    "each": "no difference is beyond",
    "within": "no difference is beyond",
    "trend": "no rise or fall is beyond",
    "best": "no other is better by more than",
}


def _form(claim: Claim) -> str:
    return claim.test if claim.within is None else "within"


def _noun(claim: Claim) -> str:
    return "trends" if claim.test == "trend" else "comparisons"


def _alone(tests: _Tests, level: float) -> bool:
    return any(p is not None and p < level for p in (tests.difference, tests.equal))


def _way(one: Examined, *, tested: bool = True) -> str:
    """How many of what is tested points the claim's way, and how many of these are significant by themselves."""
    if one.claim.within is not None and not tested:
        return ""
    if one.claim.within is not None:
        return f"the interval reaches beyond {one.claim.margin:g}"
    found = [estimate for _, estimate in one.tested]
    pointing = [e for e in found if e.value > 0]
    sure = sum(e.p is not None and e.p < LEVEL for e in pointing)
    alone = f", {sure} significant alone" if tested else ""
    return f"{len(pointing)} of {len(found)} {_noun(one.claim)} point the claim's way{alone}"


def _first(reasons: Sequence[str], at_most: int = 3) -> str:
    """The first few reasons, and how many more there are. A reason may be several, joined by semicolons."""
    single = list(dict.fromkeys(one for reason in reasons for one in reason.split("; ")))
    more = [f"{len(single) - at_most} more"] if len(single) > at_most else []
    return "; ".join([*single[:at_most], *more])


def _joined(*words: str) -> str:
    return "; ".join(w for w in words if w)
