"""Verdicts on a paper's claims as one page, as Markdown and as JSON."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from casl.report.additive import Estimate
from casl.report.blocks import (
    ALL_TABLES,
    Block,
    Group,
    Heading,
    Link,
    Marked,
    Page,
    Paragraph,
    Raised,
    Rows,
    Text,
    between,
    caution,
)
from casl.report.claims import VERDICTS, Verdict
from casl.report.evidence import Evidence
from casl.report.significance import TEST
from casl.report.table import SMALL
from casl.report.wording import chance, intervals_said, number, sentence, spread
from casl.spec.claim import MARGIN, Place, Term
from casl.words import number_of

PAPERS, OURS = "Claims of the paper", "Claims of this project"
_HEADS = ("ours", "difference", "p", "paper's difference")


def to_json(verdicts: Sequence[Verdict]) -> str:
    """One object: test, margin, counts of verdicts and a list `claims`; differences in percent, null without one."""
    head = {
        "test": TEST,
        "margin": MARGIN,
        "warning": "" if _of_the_papers_size(verdicts) else SMALL,
        "counts": counts(verdicts),
    }
    return json.dumps({**head, "claims": [record(v) for v in verdicts]}, indent=1, allow_nan=False) + "\n"


def page(verdicts: Sequence[Verdict], older: str = "", there: Collection[str] = (), stands: Sequence[str] = ()) -> Page:
    """Counts and the test, an overview, then each claim with its comparisons.

    Args:
        older: as of the index's page.
        there: names of tables that have a page beside this one, to be linked.
        stands: of tables in which another model is in the place of the one that claims name, a sentence each.
    """
    warning = "" if _of_the_papers_size(verdicts) else f"{SMALL}. Verdicts below are about this profile only."
    named = [Paragraph(said) for said in stands]
    parts = [*caution(warning), *caution(older), *_preface(verdicts), *named, Group(overview(verdicts), "html")]
    for whose, found in by_source(verdicts).items():
        parts += [Group([Heading(whose), Paragraph(f"{_said(found)}.")], "markdown")]
        parts += [block for n, v in found for block in _section(n, v, there)]
    return Page("Claims", parts, above=(ALL_TABLES,))


def by_source(verdicts: Sequence[Verdict]) -> dict[str, list[tuple[int, Verdict]]]:
    """Whose claims these are -> (number on the page, verdict); the paper's come first, no group is empty."""
    apart = {PAPERS: [v for v in verdicts if not v.own], OURS: [v for v in verdicts if v.own]}
    count = itertools.count(1)
    return {whose: [(next(count), v) for v in found] for whose, found in apart.items() if found}


def overview(verdicts: Sequence[Verdict], file: str = "") -> list[Block]:
    """The paper's claims and this project's, each with counts and a line a claim.

    Args:
        file: of the page that holds the sections linked to, where that is another one; what is there has no headings.
    """
    parts: list[Block] = []
    for whose, found in by_source(verdicts).items():
        lines = [
            (str(n), Link(v.claim.text, f"{file}#claim{n}"), _badge(v), Marked("unbroken", _among(v)), v.claim.source)
            for n, v in found
        ]
        heads = ("", "claim", "verdict", "p among all", "source")
        head = [Paragraph(Marked("strong", whose))] if file else [Heading(whose)]
        parts += [*head, Paragraph(f"{_said(found)}."), Rows(heads, lines, words=3, breaks=True)]
    return parts


def _said(found: Sequence[tuple[int, Verdict]]) -> str:
    return f"{number_of(len(found), 'claim')}: {counted([v for _, v in found])}"


def _among(v: Verdict) -> str:
    """The p that a verdict rests on, a dash where nothing could be tested."""
    return "–" if v.among_all is None else chance(v.among_all)


def _reason(v: Verdict) -> str:
    """Why, with the p that decided it, which is not the one beside a comparison."""
    return v.reason if v.among_all is None else f"{v.reason}; {chance(v.among_all)} among all claims"


def _section(n: int, v: Verdict, there: Collection[str]) -> list[Block]:
    """A claim: the sentence, the verdict, the comparisons."""
    source: Text = Marked("small", sentence(v.claim.source))
    found = Marked("strong", f"{verdict_words(v)}: {_reason(v)}")
    return [
        Group(
            [Heading(f"{n}. {v.claim.text}", f"claim{n}"), Paragraph((_badge(v), f" {_reason(v)}. ", source))], "html"
        ),
        Group([Heading(v.claim.text), Paragraph((f"{sentence(v.claim.source)} ", found))], "markdown"),
        *_trends(v, there),
        *_set(v),
        *_comparisons(v, there),
    ]


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Number of claims by verdict."""
    found = Counter(v.verdict for v in verdicts)
    return {name: found[name] for name in VERDICTS}


def counted(verdicts: Sequence[Verdict]) -> str:
    """The same in words: "1 supported, 2 contradicted, ..."."""
    return ", ".join(f"{n} {name}" for name, n in counts(verdicts).items())


def counted_apart(verdicts: Sequence[Verdict]) -> str:
    """The same, the paper's claims and this project's apart: "claims of the paper: 1 supported, ...; claims of ..."."""
    found = by_source(verdicts).items()
    return "; ".join(f"{whose[:1].lower()}{whose[1:]}: {counted([v for _, v in some])}" for whose, some in found)


def verdict_words(verdict: Verdict) -> str:
    """The verdict, with the name of a small profile, as "supported in mini"."""
    return (
        verdict.verdict
        if verdict.tests_paper or verdict.verdict == "not run"
        else f"{verdict.verdict} in {verdict.profile}"
    )


def _badge(verdict: Verdict) -> Text:
    """The verdict in its colour."""
    return Marked(verdict.verdict, verdict_words(verdict))


def _of_the_papers_size(verdicts: Sequence[Verdict]) -> bool:
    return all(v.tests_paper for v in verdicts)


def _preface(verdicts: Sequence[Verdict]) -> list[Block]:
    judged = sum(v.p_difference is not None or v.p_equality is not None for v in verdicts)
    return [
        Paragraph(
            f"Test: {TEST}. {_intervals(verdicts)}Supported: every comparison of a claim is significant its "
            "way (each has to hold: an intersection-union test), for rising numbers the straight line over their "
            "levels. Contradicted: the largest difference the other way is, by the joint covariance of all that the "
            "claim compares, so that a shared baseline does not count as several. Equivalent: every difference is "
            f"within {MARGIN:g}, or the claim's own margin, by two one-sided tests; of a best number, that no other is "
            "better by more. Too imprecise: none of these. "
            f"Each verdict holds among all {judged} claims that could be tested, whosever they are, by the p beside it "
            "(Holm); p beside a comparison is its own."
        ),
    ]


def _intervals(verdicts: Sequence[Verdict]) -> str:
    """What the intervals hold, and a space behind it; "" where nothing has one."""
    found = [e for v in verdicts for e in (*(t.rise for t in v.trends), *(x.difference for x in v.evidence)) if e]
    return f"{said} " if (said := intervals_said(found)) else ""


def _comparisons(v: Verdict, there: Collection[str]) -> list[Block]:
    within = v.claim.within
    sides = ("said to be higher", "than") if within is None else (f"said to be within {within}", "of")
    return [Rows((*sides, *_HEADS), [_line(e, there) for e in v.evidence], words=2, breaks=True)]


def _trends(v: Verdict, there: Collection[str]) -> list[Block]:
    """The trends that a verdict rests on."""
    lines = [
        [_span(t.levels, there), *(Marked("unbroken", text) for text in measured(t.rise)), number(t.paper, signed=True)]
        for t in v.trends
    ]
    heads = ("straight line over", "rise from first to last", "p", "paper's rise")
    return [Rows(heads, lines, words=1, breaks=True)] if lines else []


def _span(levels: Sequence[Term], there: Collection[str]) -> Text:
    first, last = _term(levels[0], there), _term(levels[-1], there)
    return (first, " ", Marked("word", "to"), " ", last, f", {len(levels)} levels")


def _set(v: Verdict) -> list[Block]:
    words = (f"May be the best, with 95 % confidence ({len(v.best)} of {len(v.evidence) + 1}): ",)
    return [Paragraph((*words, *between([Raised(name) for name in v.best], "; "), "."))] if v.best else []


def measured(found: Estimate | None) -> tuple[str, str]:
    """A difference with its interval and seeds, and its p: ("+5.0 ± 1.2, 3 seeds", "0.003")."""
    if found is None:
        return "–", "–"
    p = chance(found.p).removeprefix("p ") if found.p is not None else "no spread" if found.seeds > 1 else "–"
    return f"{spread(found)}, {number_of(found.seeds, 'seed')}", p


def _line(evidence: Evidence, there: Collection[str]) -> list[Text]:
    paper = number(evidence.paper, signed=True)
    sides = [_term(evidence.better, there), _term(evidence.worse, there)]
    if evidence.difference is None:
        return [*sides, Raised(f"– ({evidence.missing})"), "–", "–", paper]
    values = f"{number(evidence.better_value)} against {number(evidence.worse_value)}"
    shown: list[Text] = [Marked("unbroken", text) for text in (values, *measured(evidence.difference))]
    if evidence.again:
        shown[0] = (shown[0], ", the same evaluations as above")
    return [*sides, *shown, paper]


def _term(term: Term, there: Collection[str]) -> Text:
    minus = (" ", Marked("word", "minus"), " ")
    return between([_place(place, there) for place in term.places], minus)


def _place(place: Place, there: Collection[str]) -> Text:
    table = Raised(place.table)
    return (Link(table, f"{place.table}.html") if place.table in there else table, ": ", Raised(place.cell))


def record(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON has it."""
    claim = verdict.claim
    return {
        "id": claim.id,
        "text": claim.text,
        "source": claim.source,
        "test": claim.test,
        "within": claim.within,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "p_difference": verdict.p_difference,
        "p_equality": verdict.p_equality,
        "profile": verdict.profile,
        "tests_paper_claim": verdict.tests_paper,
        "best_set": verdict.best,
        "trends": [
            {"levels": [_sides(term) for term in t.levels], **_numbers(t.rise), "paper_difference": t.paper}
            for t in verdict.trends
        ],
        "evidence": [_evidence(e) for e in verdict.evidence],
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "better": _sides(evidence.better),
        "worse": _sides(evidence.worse),
        "better_value": evidence.better_value,
        "worse_value": evidence.worse_value,
        **_numbers(evidence.difference),
        "paper_difference": evidence.paper,
        "missing": evidence.missing,
        **({"again": True} if evidence.again else {}),
    }


def _sides(term: Term) -> list[dict[str, Any]]:
    return [asdict(place) for place in term.places]


def _numbers(found: Estimate | None) -> dict[str, Any]:
    """difference: percent; interval: 95 %, over seeds and images; error_seeds, error_images: its standard errors."""
    return {
        "difference": found.value if found else None,
        "interval": found.interval if found else None,
        "error_seeds": found.of_seeds if found else None,
        "error_images": found.of_images if found else None,
        "freedom": found.freedom if found else 0,
        "seeds": found.seeds if found else 0,
        "p": found.p if found else None,
    }
