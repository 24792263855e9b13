"""Verdicts on a paper's claims as one page, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from casl.report.blocks import (
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
from casl.report.claims import VERDICTS, Evidence, Verdict
from casl.report.significance import TEST
from casl.report.table import SMALL
from casl.report.wording import chance, low_to_high, number, plus_minus
from casl.spec.claim import Place, Term

_HEADS = ("ours", "difference", "p", "95 % over images", "paper's difference")


def to_json(verdicts: Sequence[Verdict]) -> str:
    """One object: the test, counts of verdicts and a list `claims`; differences in percent, null without one."""
    head = {"test": TEST, "warning": "" if _of_the_papers_size(verdicts) else SMALL, "counts": counts(verdicts)}
    return json.dumps({**head, "claims": [_record(v) for v in verdicts]}, indent=1, allow_nan=False) + "\n"


def page(verdicts: Sequence[Verdict]) -> Page:
    """Counts and the test, an overview, then each claim with its comparisons."""
    warning = "" if _of_the_papers_size(verdicts) else f"{SMALL}. Verdicts below are about this profile only."
    top = Group([Paragraph(Link("All tables", "index.html"))], "html")
    sections = [block for n, v in enumerate(verdicts, start=1) for block in _section(n, v)]
    overviewed = Group([overview(verdicts)], "html")
    return Page("The paper's claims", [top, *caution(warning), *_preface(verdicts), overviewed, *sections])


def overview(verdicts: Sequence[Verdict], file: str = "") -> Rows:
    """One line a claim with its verdict; file: of the page that holds the sections linked to."""
    lines = [
        (str(n), Link(v.claim.text, f"{file}#claim{n}"), _badge(v), v.claim.source)
        for n, v in enumerate(verdicts, start=1)
    ]
    return Rows(("", "claim", "verdict", "source"), lines, breaks=True)


def _section(n: int, v: Verdict) -> list[Block]:
    """A claim: the sentence, the verdict, the comparisons."""
    source: Text = Marked("small", f"{v.claim.source}.")
    found = Marked("strong", f"{verdict_words(v)}: {v.reason}")
    within = v.claim.within
    sides = ("said to be higher", "than") if within is None else (f"said to be within {within}", "of")
    return [
        Group([Heading(f"{n}. {v.claim.text}", f"claim{n}"), Paragraph((_badge(v), f" {v.reason}. ", source))], "html"),
        Group([Heading(v.claim.text), Paragraph((f"{v.claim.source}. ", found))], "markdown"),
        Rows((*sides, *_HEADS), [_line(e) for e in v.evidence], words=2, breaks=True),
    ]


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Number of claims by verdict."""
    found = Counter(v.verdict for v in verdicts)
    return {name: found[name] for name in VERDICTS}


def counted(verdicts: Sequence[Verdict]) -> str:
    """The same in words: "1 supported, 2 not supported, ..."."""
    return ", ".join(f"{n} {name}" for name, n in counts(verdicts).items())


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
    return [
        Paragraph(f"{len(verdicts)} claims: {counted(verdicts)}."),
        Paragraph(
            f"Test: {TEST}. Supported: every comparison of a claim is significant its way. Not supported: one is "
            "significant against it, at the level divided by the number of comparisons. With one seed nothing can be "
            "tested: undecided. Equality within a margin: two one-sided tests. Over images: paired bootstrap, the same "
            "draws of the val images for both sides; it takes no part in the verdict."
        ),
    ]


def _line(evidence: Evidence) -> list[Text]:
    d, paper = evidence.difference, number(evidence.paper, signed=True)
    sides = [_term(evidence.better), _term(evidence.worse)]
    if d is None:
        return [*sides, Raised(f"– ({evidence.missing})"), "–", "–", "–", paper]
    values = f"{number(evidence.better_value)} against {number(evidence.worse_value)}"
    seeds = f", {d.n} seeds" if d.n > 1 else ", 1 seed"
    untested = "no spread" if d.n > 1 else "–"
    p = untested if evidence.p is None else chance(evidence.p).removeprefix("p ")
    images = low_to_high(evidence.images) if evidence.images else "–"
    numbers = (values, number(d.mean, signed=True) + plus_minus(d.std) + seeds, p, images)
    return [*sides, *(Marked("unbroken", text) for text in numbers), paper]


def _term(term: Term) -> Text:
    minus = (" ", Marked("word", "minus"), " ")
    return between([_place(place) for place in term.places], minus)


def _place(place: Place) -> Text:
    return (Link(Raised(place.table), f"{place.table}.html"), ": ", Raised(place.cell))


def _record(verdict: Verdict) -> dict[str, Any]:
    claim = verdict.claim
    return {
        "text": claim.text,
        "source": claim.source,
        "within": claim.within,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "profile": verdict.profile,
        "tests_paper_claim": verdict.tests_paper,
        "evidence": [_evidence(e) for e in verdict.evidence],
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    d = evidence.difference
    return {
        "better": [asdict(place) for place in evidence.better.places],
        "worse": [asdict(place) for place in evidence.worse.places],
        "better_value": evidence.better_value,
        "worse_value": evidence.worse_value,
        "difference": d.mean if d else None,
        "std": d.std if d else None,
        "seeds": d.n if d else 0,
        "p": evidence.p,
        "images": evidence.images,
        "paper_difference": evidence.paper,
        "missing": evidence.missing,
    }
