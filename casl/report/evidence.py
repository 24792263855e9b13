"""A claim's comparisons as contrasts of the additive model, with what is missing and what the paper's numbers say."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from casl.report.additive import Additive, Estimate, Weights
from casl.report.fitted import combined, fitted
from casl.report.layout import positions
from casl.report.table import PUBLISHED, Table, TableCell
from casl.spec.claim import Claim, Place, Term


@dataclass(frozen=True)
class Evidence:
    """One comparison. better_value, worse_value: means over the seeds that both sides have, in percent.

    difference: better minus worse by the model, None where a side is not measured, and `missing` says why. paper: the
    difference of the published numbers. again: the evaluations are those of an earlier comparison of the claim, as
    where a data set has no entities; it is shown and not counted.
    """

    better: Term
    worse: Term
    better_value: float | None
    worse_value: float | None
    difference: Estimate | None
    paper: float | None
    missing: str
    again: bool = False


@dataclass(frozen=True)
class Trend:
    """A straight line over levels in equal steps. rise: from the first level to the last, None unless all are measured.

    paper: the same of the published numbers.
    """

    levels: tuple[Term, ...]
    rise: Estimate | None
    paper: float | None


@dataclass(frozen=True)
class Examined:
    """A claim with its model. tested: contrasts that the verdict rests on, as far as they are measured; whole: all are.

    terms: of a claim about the best, what may be it.
    """

    claim: Claim
    model: Additive
    evidence: tuple[Evidence, ...]
    trends: tuple[Trend, ...]
    tested: tuple[tuple[Weights, Estimate], ...]
    whole: bool
    terms: Mapping[str, Weights]


@dataclass(frozen=True)
class _Fitted:
    """Tables and the model of those that a claim names. together: whether a comparison of it needs several of them."""

    model: Additive
    tables: Mapping[str, Table]
    together: bool


def examine(claim: Claim, tables: Mapping[str, Table]) -> Examined:
    """All contrasts of a claim; its model has the cells of the tables that the claim names, each with its own variance
    unless one comparison spans several."""
    sides = (*claim.better, *claim.worse)
    named = dict.fromkeys(place.table for term in sides for place in term.places)
    pairs = list(zip(claim.better, claim.worse, strict=True))
    together = any(len({place.table for term in pair for place in term.places}) > 1 for pair in pairs)
    model = fitted([tables[name] for name in named if name in tables], together=together)
    fit = _Fitted(model, tables, together)
    evidence = tuple(_compare(better, worse, fit) for better, worse in pairs)
    trends = tuple(_trend(levels, fit) for levels in claim.ladders) if claim.test == "trend" else ()
    if claim.test == "trend":
        contrasts = [(_slope(t.levels, fit), t.rise) for t in trends]
    else:
        weights = [_weights([(1.0, better), (-1.0, worse)], fit) for better, worse in pairs]
        contrasts = [(w, e.difference) for w, e in zip(weights, evidence, strict=True)]
        evidence = tuple(replace(e, again=_repeats(contrasts, n)) for n, e in enumerate(evidence))
        contrasts = [one for one, e in zip(contrasts, evidence, strict=True) if not e.again]
    tested = tuple((w, e) for w, e in contrasts if w is not None and e is not None)
    every = {str(term): _weights([(1.0, term)], fit) for term in dict.fromkeys(sides)}
    terms = {name: w for name, w in every.items() if w is not None and claim.test == "best"}
    return Examined(claim, model, evidence, trends, tested, len(tested) == len(contrasts), terms)


def _repeats(contrasts: Sequence[tuple[Weights | None, Estimate | None]], place: int) -> bool:
    """Whether a measured contrast is between the evaluations of an earlier one."""
    weights, found = contrasts[place]
    return found is not None and any(earlier == weights for earlier, _ in contrasts[:place])


def trend_weights(levels: int) -> list[float]:
    """Weights of equally spaced levels whose sum is the rise of the least squares line from the first to the last."""
    middle = (levels - 1) / 2
    total = sum((n - middle) ** 2 for n in range(levels))
    return [(n - middle) * (levels - 1) / total for n in range(levels)]


def _trend(levels: tuple[Term, ...], fit: _Fitted) -> Trend:
    weights = _slope(levels, fit)
    published = [_published(term, fit.tables) for term in levels]
    known = [p for p in published if p is not None]
    whole = len(known) == len(levels)
    paper = sum(w * p for w, p in zip(trend_weights(len(levels)), known, strict=True)) if whole else None
    return Trend(levels, fit.model.estimate(weights) if weights else None, paper)


def _slope(levels: Sequence[Term], fit: _Fitted) -> Weights | None:
    return _weights(list(zip(trend_weights(len(levels)), levels, strict=True)), fit)


def _weights(terms: Sequence[tuple[float, Term]], fit: _Fitted) -> dict[Hashable, float] | None:
    """Cells and their weights; None where a cell is not there, or all of it is one run."""
    parts = [
        (-weight if n else weight, "" if fit.together else place.table, _cell(place, fit.tables))
        for weight, term in terms
        for n, place in enumerate(term.places)
    ]
    found = [(weight, home, cell) for weight, home, cell in parts if cell is not None]
    return combined(found) or None if len(found) == len(parts) else None


def _compare(better: Term, worse: Term, fit: _Fitted) -> Evidence:
    tables = fit.tables
    high, low = _by_seed(better, tables), _by_seed(worse, tables)
    seeds = sorted(high.keys() & low.keys())
    published = _published(better, tables), _published(worse, tables)
    paper = None if published[0] is None or published[1] is None else published[0] - published[1]
    missing = _same_run(better, worse, tables) if seeds else _missing((better, worse), tables)
    weights = _weights([(1.0, better), (-1.0, worse)], fit)
    found = None if missing or not weights else fit.model.estimate(weights)
    if found is None:
        return Evidence(better, worse, None, None, None, paper, missing or "numbers of different kinds")
    means = [sum(side[s] for s in seeds) / len(seeds) for side in (high, low)]
    return Evidence(better, worse, means[0], means[1], found, paper, "")


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
