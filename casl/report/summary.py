"""The tables of results in README.md and docs/results.md, written from the shipped JSON reports and from nothing else.

`make docs` puts them between marks, and a test compares: a document cannot say what its reports do not. Claims are
judged and gains tested here anew, by the numbers of the tables' cells.

    python -m casl.report.summary DOCUMENT.md [DOCUMENT.md ...] FOLDER [FOLDER ...]

writes into each document what it has marks for: methods at equal length in every folder side by side, the questions of
the claims with the verdicts of every folder, all of the first folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from casl.errors import DataError, SpecError, unknown
from casl.report import markdown
from casl.report.additive import Estimate
from casl.report.blocks import Block, Bullets, Heading, Marked, Paragraph, Rows, caution
from casl.report.claims import Verdict, judge, registered
from casl.report.claims_page import counted_apart
from casl.report.evidence import Evidence, Trend
from casl.report.labels import FIGURES
from casl.report.layout import Gain, gains, positions
from casl.report.significance import LEVEL, TEST
from casl.report.stored import read_report, read_table, read_tables
from casl.report.table import PUBLISHED, Table, TableCell
from casl.report.wording import legend, number, plus_minus, spread, tested
from casl.spec.claim import MARGIN, Term
from casl.words import noun, number_of

RESULTS, VERDICTS, METHODS = "results", "verdicts", "methods"  # what stands between two marks
BEGIN, END = "<!-- {what}: made by `make docs` from {source} -->", "<!-- end of {what} -->"


def _legend(tables: Sequence[Table]) -> Paragraph:
    return Paragraph(legend(any(table.image_covariance for table in tables)))


def judged(folder: Path) -> list[Verdict]:
    """Every claim of the registry, judged by the tables in a folder of reports.

    Raises:
        DataError: a table cannot be read.
    """
    return judge(registered(), read_tables(folder))


def judged_claim(folder: Path, name: str) -> Verdict:
    """One claim of these; name: its id.

    Raises:
        SpecError: the registry has no such claim.
    """
    return _of({v.claim.id: v for v in judged(folder)}, name)


def _of(found: Mapping[str, Verdict], name: str) -> Verdict:
    if name not in found:
        raise SpecError(unknown("claim", name, found))
    return found[name]


def side_by_side(folders: Sequence[Path]) -> str:
    """The questions that claims answer, with the verdict of each folder of reports in a column of its own.

    Raises:
        DataError: a table cannot be read, or two folders are of one profile and data.
    """
    columns: dict[str, list[str]] = {}
    papers: dict[str, str] = {}
    for folder in folders:
        tables = read_tables(folder)
        verdicts = [v for v in judge(registered(), tables) if v.claim.question]
        of = _setting(tables[0])
        if of in columns:
            raise DataError(f"{folder}: {of} has a column already; name folders of other profiles or data")
        columns[of] = [_short(v) for v in verdicts]
        for v in verdicts:
            if (said := _range(_papers(v))) != "–":
                papers[v.claim.question] = said
    questions = [c.question for c in registered() if c.question]
    lines = zip(questions, *columns.values(), strict=True)
    rows = [[question, papers.get(question, "–"), *found] for question, *found in lines]
    return _prose([Rows(["question", "difference in the paper", *columns], rows)])


def at_equal_length(folders: Sequence[Path], name: str = "rivals") -> str:
    """The methods of a table with their means, one folder a column: those that every folder has, and those that have
    all seeds of the first.

    Raises:
        DataError: a table cannot be read.
    """
    tables = [read_table(folder / f"{name}.json") for folder in folders]
    measured = [{c.row: c for c in t.cells if c.column == t.columns[0] and c.value is not None} for t in tables]
    whole = {row for row, cell in measured[0].items() if cell.seeds == tables[0].seeds}
    rows = [row for row in tables[0].rows if row in whole or all(row in of for of in measured)]
    lines = [[row, *(_with_seeds(of.get(row)) for of in measured)] for row in rows]
    return _prose([Rows([tables[0].columns[0], *map(_setting, tables)], lines)])


def _with_seeds(cell: TableCell | None) -> str:
    """A mean, its deviation and how many seeds it is of: "35.7 ± 1.5 (5)"."""
    return "not run" if cell is None else f"{_value(cell)} ({cell.seeds})"


def _setting(table: Table) -> str:
    """Profile and data of a folder's tables: "mini, scenes", "photos, voc_animals"."""
    return f"{table.profile}, {table.data}"


def _short(verdict: Verdict) -> str:
    """A verdict with the smallest and the largest difference that it rests on, and how many seeds they have."""
    if not (found := verdict.rests_on):
        return verdict.verdict
    way = f"{_way(verdict, found)}; " if len(found) > 1 else ""
    return f"{verdict.verdict}: {_differences(found)}; {way}{_seeds(found)}"


def _seeds(found: Sequence[Estimate]) -> str:
    """Of comparisons: "3 seeds"; "1 to 3 seeds" where they differ."""
    return f"{_span(found)} {noun(max(e.seeds for e in found), 'seed')}"


def _span(found: Sequence[Estimate]) -> str:
    """How many seeds comparisons have: "3"; "1 to 3" where they differ, "–" without any."""
    counts = sorted({e.seeds for e in found})
    return " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "–"


def long(folder: Path, beside: Sequence[Path] = ()) -> str:
    """All claims with every comparison, then the quality of pseudo labels, for a document of its own.

    beside: folders with a column of verdicts; of all others next to `folder` the tables follow at the end.
    """
    verdicts, tables = judged(folder), read_tables(folder)
    warning = next((t.warning for t in tables if t.warning), "")
    parts = [*caution(warning), Paragraph(f"{number_of(len(verdicts), 'claim')}; {counted_apart(verdicts)}.")]
    parts.append(Paragraph(f"Test: {TEST}; equality within {MARGIN:g}, or the claim's own margin."))
    parts += [_claims(verdicts), _legend(tables)]
    for v in verdicts:
        said = f" ({v.claim.source}) {v.verdict.capitalize()}: {v.reason}."
        parts.append(Paragraph((Marked("strong", v.claim.text), said)))
        lines = [*map(_trend, v.trends), *map(_evidence, v.evidence)]
        lines += [f"may be the best: {'; '.join(v.best)}"] if v.best else []
        if lines := [line for line in lines if line]:
            parts.append(Bullets(lines))
    if (reasons := folder / "reasons.json").is_file():
        suspects = read_table(reasons)
        parts += [Heading("Suspects, taken away one at a time"), _pairs(suspects), _legend([suspects])]
    if (labels := folder / "labels.json").is_file():
        parts += [Heading("Quality of pseudo labels"), _labels(read_report(labels)["labels"])]
    others = {path.parent for path in folder.parent.glob("*/*.json")} - {folder, *beside}
    for other in sorted(others):
        tables = read_tables(other)
        parts += [Heading(f"Real images: {_setting(tables[0])}"), *(part for table in tables for part in _gains(table))]
        parts.append(_legend(tables))
    return _prose(parts)


def _prose(parts: Sequence[Block]) -> str:
    return markdown.write_blocks(parts, markdown.PROSE)


def placed(document: str, what: str, source: str, text: str) -> str:
    """A document with the text between its marks.

    Args:
        what: RESULTS, VERDICTS or METHODS.
        source: where the text comes from, as the first mark says it.

    Raises:
        DataError: the document lacks the marks.
    """
    begin, end = BEGIN.format(what=what, source=source), END.format(what=what)
    before, opened, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise DataError(f"the document has no lines {begin!r} and {end!r} to write {what} between")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def _claims(verdicts: Sequence[Verdict]) -> Rows:
    lines = []
    for v in verdicts:
        found = v.rests_on
        lines.append([v.claim.text, v.verdict, _span(found), _way(v, found), _differences(found), _range(_papers(v))])
    heads = ["claim", "here", "seeds", "comparisons that agree", "differences", "in the paper"]
    return Rows(heads, lines)


def _papers(verdict: Verdict) -> list[float]:
    """The differences that are published."""
    return [e.paper for e in (verdict.trends or verdict.evidence) if e.paper is not None]


def _way(verdict: Verdict, found: Sequence[Estimate]) -> str:
    """How many comparisons point the claim's way, and how many of these are significant: "6 of 7, 4 significant"."""
    if verdict.claim.within or not found:
        return "–"
    pointing = [e for e in found if e.value > 0]
    sure = sum(e.p is not None and e.p < LEVEL for e in pointing)
    words = f"{len(pointing)} of {len(found)}" + (" trends" if verdict.trends else "")
    return words + (f", {sure} significant" if any(e.p is not None for e in found) else "")


def _differences(found: Sequence[Estimate]) -> str:
    """One with its interval, "+8.4 ± 1.3"; of several the smallest and the largest."""
    return spread(found[0]) if len(found) == 1 else _range([e.value for e in found])


def _range(values: Sequence[float]) -> str:
    """The smallest and the largest value: "-1.0 to +2.3"."""
    if not values:
        return "–"
    low, high = (number(v, signed=True) for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _trend(trend: Trend) -> str:
    """ "" where it is not measured."""
    if trend.rise is None:
        return ""
    words = f"straight line from {_term(trend.levels[0])} to {_term(trend.levels[-1])}"
    return f"{words}: {_measured(trend.rise)}; paper {number(trend.paper, signed=True)}"


def _evidence(evidence: Evidence) -> str:
    if evidence.difference is None:
        return ""
    sides = f"{_term(evidence.better)} over {_term(evidence.worse)}"
    again = "; the same evaluations as above" if evidence.again else ""
    return f"{sides}: {_measured(evidence.difference)}{again}; paper {number(evidence.paper, signed=True)}"


def _measured(found: Estimate) -> str:
    p = "" if found.p is None else f", p {found.p:.2g}"
    return f"{spread(found)} ({number_of(found.seeds, 'seed')}{p})"


def _term(term: Term) -> str:
    names = [f"{p.table} {p.row}, {p.column} ({p.metric})" for p in term.places]
    return f"[{' minus '.join(names)}]"


def _pairs(table: Table) -> Rows:
    """A table of two columns, the second the baseline, by their differences."""
    first, second = table.columns
    found = gains(table)
    lines = []
    for row in table.rows:
        at, base = positions(table, row, first)[0], positions(table, row, second)[0]
        lines.append([row, _value(table.cells[at]), _value(table.cells[base]), _gain(found.get(at))])
    return Rows([table.title, first, second, "difference"], lines)


def _gains(table: Table) -> list[Block]:
    """A table's measured cells, one line each, with their gains over the baseline where it has one."""
    seeds = number_of(table.seeds, "seed")
    quoted = any(cell.paper is not None for cell in table.cells)
    heads = ["ours", f"gain over {table.baseline}"] if table.baseline else ["ours"]
    heads += ["paper's gain" if table.baseline else "paper"] * quoted
    lines, found = [], gains(table)
    for i, cell in enumerate(table.cells):
        if cell.value is not None:
            gain = found.get(i)
            paper = number(gain.paper if gain else None, signed=True) if table.baseline else number(cell.paper)
            measured = [_value(cell), *([_gain(gain)] if table.baseline else [])]
            lines.append([cell.row, cell.column, *measured, *[paper] * quoted])
    asked = [cell for cell in table.cells if cell.status != PUBLISHED]
    done = f"{sum(cell.value is not None for cell in asked)} of {number_of(len(asked), 'cell')} measured"
    said = "; ".join([f"{table.title}, {seeds}, {done}", *table.notes])
    return [Paragraph(f"{said}."), Rows([table.name, "", *heads], lines)]


def _value(cell: TableCell) -> str:
    return "–" if cell.value is None else number(cell.value) + plus_minus(cell.std)


def _gain(gain: Gain | None) -> str:
    return tested(gain.ours) if gain and gain.ours else "–"


def _labels(labels: Sequence[Mapping[str, Any]]) -> Rows:
    places = [(figure, delta) for figure in FIGURES for delta in labels[0][figure]]
    lines = []
    for label in labels:
        values = [label[figure][delta] for figure, delta in places]
        lines.append([label["labeler"], f"{label['images']:,}", *(number(sum(v) / len(v)) for v in values)])
    return Rows(["labeler", "images", *(f"{figure} at {delta}" for figure, delta in places)], lines)


def written(text: str, folders: Sequence[Path]) -> str:
    """A document with everything anew that it has marks for.

    Raises:
        DataError: it has none, or a table cannot be read.
    """
    all_of, first = " and ".join(map(str, folders)), str(folders[0])
    parts: dict[str, tuple[str, Callable[[], str]]] = {
        METHODS: (all_of, lambda: at_equal_length(folders)),
        VERDICTS: (all_of, lambda: side_by_side(folders)),
        RESULTS: (first, lambda: long(folders[0], folders)),
    }
    there = [what for what, (source, _) in parts.items() if BEGIN.format(what=what, source=source) in text]
    if not there:
        raise DataError(
            f"the document has no line such as {BEGIN.format(what=METHODS, source=all_of)!r} to write behind"
        )
    for what in there:
        source, made = parts[what]
        text = placed(text, what, source, made())
    return text


def main() -> None:
    """Write documents anew."""
    given = [Path(word) for word in sys.argv[1:]]
    folders = [path for path in given if path.suffix != ".md"]
    for document in given:
        if document.suffix == ".md":
            document.write_text(written(document.read_text(), folders))


if __name__ == "__main__":
    main()
