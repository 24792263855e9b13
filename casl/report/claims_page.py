"""Verdicts on a paper's claims as one page, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from casl.report import markdown
from casl.report.claims import VERDICTS, Evidence, Verdict
from casl.report.heading import tagged
from casl.report.page import page, rows_of, warned
from casl.report.paired import TEST
from casl.report.table import SMALL
from casl.report.wording import chance, number
from casl.spec.claim import Gap, Place, Term

_HEADS = ("ours", "difference", "p", "95 % over images", "paper's difference")


def to_json(verdicts: Sequence[Verdict]) -> str:
    """One object: the test, counts of verdicts and a list `claims`; differences in percent, null without one."""
    small = not all(v.tests_paper for v in verdicts)
    head = {"test": TEST, "warning": SMALL if small else "", "counts": counts(verdicts)}
    return json.dumps({**head, "claims": [_record(v) for v in verdicts]}, indent=1, allow_nan=False) + "\n"


def to_markdown(verdicts: Sequence[Verdict]) -> str:
    """One section a claim: the sentence, the verdict, the comparisons."""
    parts = ["# The paper's claims"]
    parts += [f"> **{line}**" for line in _caution(verdicts)]
    parts += [markdown.plain(line) for line in _preface(verdicts)]
    for v in verdicts:
        words = markdown.plain(f"{verdict_words(v)}: {v.reason}")
        parts += [f"## {markdown.plain(v.claim.text)}", f"{markdown.plain(v.claim.source)}. **{words}**"]
        parts.append(markdown.rows_of([_heads(v), *(_line(e, markdown.heading) for e in v.evidence)], words=2))
    return "\n\n".join(parts) + "\n"


def to_html(verdicts: Sequence[Verdict]) -> str:
    """The page: an overview, then each claim with its comparisons."""
    parts = ['<p><a href="index.html">All tables</a></p>', *map(warned, _caution(verdicts))]
    parts += [f"<p>{escape(line)}</p>" for line in _preface(verdicts)]
    parts.append(overview(verdicts))
    for n, v in enumerate(verdicts, start=1):
        parts += [f'<h2 id="claim{n}">{n}. {escape(v.claim.text)}</h2>']
        parts += [f"<p>{badge(v)} {escape(v.reason)}. <small>{escape(v.claim.source)}.</small></p>"]
        parts.append(rows_of(_heads(v), [_line(e, tagged, links=True) for e in v.evidence], "list words"))
    return page("The paper's claims", parts)


def overview(verdicts: Sequence[Verdict], page_name: str = "") -> str:
    """One line a claim with its verdict; page_name: the page that holds the sections linked to."""
    lines = [
        [str(n), f'<a href="{page_name}#claim{n}">{escape(v.claim.text)}</a>', badge(v), escape(v.claim.source)]
        for n, v in enumerate(verdicts, start=1)
    ]
    return rows_of(("", "claim", "verdict", "source"), lines, "list words")


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many of each verdict."""
    found = Counter(v.verdict for v in verdicts)
    return {name: found[name] for name in VERDICTS}


def verdict_words(verdict: Verdict) -> str:
    """The verdict, held to the profile it is about where that is a small one."""
    return (
        verdict.verdict
        if verdict.tests_paper or verdict.verdict == "not run"
        else f"{verdict.verdict} in {verdict.profile}"
    )


def badge(verdict: Verdict) -> str:
    """The verdict in its colour."""
    style = verdict.verdict.replace(" ", "-")
    return f'<span class="verdict v-{style}">{escape(verdict_words(verdict))}</span>'


def _caution(verdicts: Sequence[Verdict]) -> list[str]:
    if all(v.tests_paper for v in verdicts):
        return []
    return [f"{SMALL}. Verdicts below are about this profile only."]


def _preface(verdicts: Sequence[Verdict]) -> list[str]:
    found = ", ".join(f"{n} {name}" for name, n in counts(verdicts).items())
    return [
        f"{len(verdicts)} claims: {found}.",
        f"Test: {TEST}. Supported: every comparison of a claim is significant its way. Not supported: one is "
        "significant against it, at the level divided by the number of comparisons. With one seed nothing can be "
        "tested: undecided. Equality within a margin: two one-sided tests. Over images: paired bootstrap, the same "
        "draws of the val images for both sides; it takes no part in the verdict.",
    ]


def _heads(verdict: Verdict) -> tuple[str, ...]:
    within = verdict.claim.within
    return ("said to be higher", "than", *_HEADS) if within is None else (f"said to be within {within}", "of", *_HEADS)


def _line(evidence: Evidence, text: Any, *, links: bool = False) -> list[str]:
    better, worse = (_term(term, text, links=links) for term in (evidence.better, evidence.worse))
    paper = number(evidence.paper, signed=True)
    if evidence.difference is None:
        return [better, worse, text(f"– ({evidence.missing})"), "–", "–", "–", paper]
    values = f"{number(evidence.better_value)} against {number(evidence.worse_value)}"
    d = evidence.difference
    spread = f"{number(d.mean, signed=True)}" + (
        f" ± {number(d.std)}, {d.n} seeds" if d.std is not None else ", 1 seed"
    )
    untested = "no spread" if d.n > 1 else "–"
    p = untested if evidence.p is None else chance(evidence.p).removeprefix("p ")
    images = "–" if evidence.images is None else " to ".join(number(v, signed=True) for v in evidence.images)
    return [better, worse, *(text(t).replace(" ", "\N{NO-BREAK SPACE}") for t in (values, spread, p, images)), paper]


def _term(term: Term, text: Any, *, links: bool) -> str:
    if isinstance(term, Gap):
        return f"{_place(term.of, text, links=links)} <i>minus</i> {_place(term.over, text, links=links)}"
    return _place(term, text, links=links)


def _place(place: Place, text: Any, *, links: bool) -> str:
    name = f'<a href="{escape(place.table, quote=True)}.html">{text(place.table)}</a>' if links else text(place.table)
    return f"{name}: {text(str(place).removeprefix(f'{place.table}: '))}"


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
        "better": _places(evidence.better),
        "worse": _places(evidence.worse),
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


def _places(term: Term) -> list[dict[str, str]]:
    """One place, or of a gap the first minus the second."""
    return [asdict(place) for place in ((term.of, term.over) if isinstance(term, Gap) else (term,))]
