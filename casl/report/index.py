"""The first page of a report: every table with its picture, state and files, and the paper's claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from casl.report import claims_page, html, labels, markdown
from casl.report.blocks import (
    Block,
    Bullets,
    Group,
    Heading,
    Lines,
    Link,
    Marked,
    Page,
    Paragraph,
    Picture,
    Raised,
    Rows,
    Text,
    Verbatim,
    between,
    caution,
)
from casl.report.claims import Verdict, judge
from casl.report.render import write_files
from casl.report.table import PUBLISHED, Table, TableCell
from casl.report.table_page import MLFLOW, measurements
from casl.report.wording import headline, measured, missing, quoted
from casl.spec.claim import Claim

FORMATS = ("html", "md", "csv", "json", "tex", "png")


def write_index(tables: Sequence[Table], claims: Sequence[Claim], folder: Path, mlflow: str = MLFLOW) -> list[Path]:
    """Write <folder>/index.html and claims.html, .md, .json; each file is whole or as it was.

    Args:
        tables: all of one profile, in the order to show them. Write them before: only files that are there are linked.
        claims: judged by these tables.
        mlflow: address that links to runs start with.

    Raises:
        StoreError: the folder cannot be written.
    """
    verdicts = judge(claims, tables)
    judged = claims_page.page(verdicts)
    return write_files(
        folder,
        {
            "index.html": html.write(page(tables, verdicts, folder, mlflow)),
            "claims.html": html.write(judged),
            "claims.md": markdown.write(judged),
            "claims.json": claims_page.to_json(verdicts),
        },
    )


def page(tables: Sequence[Table], verdicts: Sequence[Verdict], folder: Path, mlflow: str) -> Page:
    """The page; `folder` is looked at only to link files that exist."""
    profiles = list(dict.fromkeys(f"{t.profile} ({t.profile_title}), data {t.data}" for t in tables))
    seeds = max((t.seeds for t in tables), default=0)
    parts = caution(next((t.warning for t in tables if t.warning), ""))
    parts += [Paragraph(f"Profile {words}, {seeds} {'seed' if seeds == 1 else 'seeds'}.") for words in profiles]
    parts.append(_links(tables, folder))
    if verdicts:
        evidence = Paragraph((Link("With the evidence", "claims.html"), f": {claims_page.counted(verdicts)}."))
        every = Group([claims_page.overview(verdicts, "claims.html")], summary=f"{len(verdicts)} claims")
        parts += [Heading(Verbatim("The paper's claims"), "claims"), evidence, every]
    if (folder / f"{labels.NAME}.png").is_file():
        parts.append(Heading(Link("How good the pseudo labels are", "labels.md"), "labels"))
        parts.append(Picture("precision against recall of pseudo labels", "labels.png"))
    if (folder / "reasons.html").is_file():
        words = "Where it differs from the paper, and what was suspected"
        parts.append(Heading(Link(words, "reasons.html"), "reasons"))
    sections = [block for table in tables for block in _section(table, folder, mlflow)]
    return Page("casl: all tables", [*parts, *sections])


def _links(tables: Sequence[Table], folder: Path) -> Rows:
    heads = ("table", "title", "measured", "other cells", "commit", "files")
    lines = [
        (
            Link(t.name, f"#{t.name}"),
            t.title,
            f"{t.measured} of {t.measurable}",
            states(t.cells) or "–",
            _commits(t),
            _files(t, folder),
        )
        for t in tables
    ]
    return Rows(heads, lines)


def states(cells: Sequence[TableCell]) -> str:
    """Cells that are not measured by status: "2 failed, 3 not run, 22 quoted"."""
    found = Counter("quoted" if c.status == PUBLISHED else c.status for c in cells if c.status != "done")
    return ", ".join(f"{n} {status}" for status, n in sorted(found.items()))


def _commits(table: Table) -> Text:
    return between([Marked("code", commit) for commit in table.commits], ", ") or "–"


def _files(table: Table, folder: Path) -> Text:
    names = [(suffix, f"{table.name}.{suffix}") for suffix in FORMATS]
    return between([Link(suffix, n) for suffix, n in names if (folder / n).is_file()], " ") or "not written yet"


def _section(table: Table, folder: Path, mlflow: str) -> list[Block]:
    title, file = f"{table.title} ({table.name})", f"{table.name}.png"
    parts: list[Block] = [
        Heading(Link(title, f"{table.name}.html"), table.name),
        Lines([line for line in headline(table) if line]),
        Paragraph(("Files: ", _files(table, folder), ". Commit: ", _commits(table), ".")),
    ]
    if (folder / file).is_file():
        parts.append(Picture(title, file, link=f"{table.name}.html"))
    parts.append(Group([measurements(table, mlflow)], summary=f"{measured(table)}: runs"))
    if notes := [*missing(table), *quoted(table)]:
        parts.append(Group([Bullets([Raised(line) for line in notes])], summary="Notes", one_line=True))
    return parts
