"""The first page of a report: every table with its picture, state and files, and the paper's claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from casl.report import blocks, claims_page, html, labels, markdown
from casl.report.claims import Verdict, judge
from casl.report.per_class import classes_name
from casl.report.stored import CLAIMS, fingerprint
from casl.report.table import PUBLISHED, Table, TableCell
from casl.report.table_page import MLFLOW, measurements
from casl.report.wording import REASONS, headline, measured, missing, quoted
from casl.report.written import Contents, Write, anew
from casl.spec.claim import Claim

INDEX = "index.html"
CLAIM_PAGES = ("claims.html", "claims.md", CLAIMS)
FORMATS = ("html", "md", "csv", "json", "tex", "png")


def write_index(
    tables: Sequence[Table], claims: Sequence[Claim], folder: Path, mlflow: str = MLFLOW, write: Write = anew
) -> list[Path]:
    """Write <folder>/index.html, and of claims claims.html, .md, .json; each file is whole or as it was.

    Args:
        tables: all of one profile, in the order to show them. Write them before: only files that are there are linked.
        claims: judged by these tables.
        mlflow: address that links to runs start with.
        write: whether always, or only where a page is another.

    Raises:
        StoreError: the folder cannot be written.
    """

    def make() -> Contents:
        verdicts = judge(claims, tables)
        contents = {INDEX: html.write(page(tables, verdicts, folder, mlflow))}
        if verdicts:
            judged = claims_page.page(verdicts)
            contents |= {"claims.html": html.write(judged), "claims.md": markdown.write(judged)}
            contents[CLAIMS] = claims_page.to_json(verdicts)
        return contents

    linked = sorted(path.name for path in folder.glob("[!.]*") if path.name not in (INDEX, *CLAIM_PAGES))
    return write(folder, INDEX, (tables, claims, mlflow, linked), make)


def refresh_index(
    claims: Sequence[Claim],
    folder: Path,
    read: Callable[[], Sequence[Table]],
    mlflow: str,
    write: Write = anew,
) -> list[Path]:
    """Write the same files from the tables that are in the folder now, claims if one of them has to do with one.

    Another command may write a table meanwhile: then they are written again, so that the last to end leaves them right.

    Args:
        read: gives the tables of the folder.
        write: whether always, or only where a page is another.

    Raises:
        StoreError: the folder cannot be written.
    """
    while True:
        seen = fingerprint(folder)
        tables = [table for table in read() if table.name != REASONS]  # those have a heading of their own
        judged = claims if {t.name for t in tables} & _judged_by(claims) else ()
        written = write_index(tables, judged, folder, mlflow, write)
        if fingerprint(folder) == seen:
            return written


def _judged_by(claims: Sequence[Claim]) -> set[str]:
    """Names of the tables that claims are about."""
    return {place.table for c in claims for term in (*c.better, *c.worse) for place in term.places}


def page(tables: Sequence[Table], verdicts: Sequence[Verdict], folder: Path, mlflow: str) -> blocks.Page:
    """The page; `folder` is looked at only to link files that exist."""
    profiles = list(dict.fromkeys(f"{t.profile} ({t.profile_title}), data {t.data}" for t in tables))
    parts = blocks.caution(next((t.warning for t in tables if t.warning), ""))
    parts += [blocks.Paragraph(f"Profile {words}, {_seeds(tables)}.") for words in profiles]
    parts.append(_links(tables, folder))
    if verdicts:
        evidence = (blocks.Link("With the evidence", "claims.html"), f": {claims_page.counted(verdicts)}.")
        every = blocks.Group([claims_page.overview(verdicts, "claims.html")], summary=f"{len(verdicts)} claims")
        parts += [blocks.Heading(blocks.Verbatim("The paper's claims"), "claims"), blocks.Paragraph(evidence), every]
    if (folder / f"{labels.NAME}.png").is_file():
        parts.append(blocks.Heading(blocks.Link("How good the pseudo labels are", "labels.md"), "labels"))
        parts.append(blocks.Picture("precision against recall of pseudo labels", "labels.png"))
    if (folder / "reasons.html").is_file():
        words = "Where it differs from the paper, and what was suspected"
        parts.append(blocks.Heading(blocks.Link(words, "reasons.html"), "reasons"))
    sections = [block for table in tables for block in _section(table, folder, mlflow)]
    return blocks.Page("casl: all tables", [*parts, *sections])


def _seeds(tables: Sequence[Table]) -> str:
    """ "3 seeds"; "1 to 3 seeds" where tables differ."""
    low, high = min(t.seeds for t in tables), max(t.seeds for t in tables)
    return f"{low} to {high} seeds" if low < high else f"{high} {'seed' if high == 1 else 'seeds'}"


def _links(tables: Sequence[Table], folder: Path) -> blocks.Rows:
    heads = ("table", "title", "seeds", "measured", "other cells", "commit", "files")
    lines = [
        (
            blocks.Link(t.name, f"#{t.name}"),
            t.title,
            str(t.seeds),
            f"{t.measured} of {t.measurable}",
            states(t.cells) or "–",
            _commits(t),
            _files(t, folder),
        )
        for t in tables
    ]
    return blocks.Rows(heads, lines)


def states(cells: Sequence[TableCell]) -> str:
    """Cells that are not measured by status: "2 failed, 3 not run, 22 quoted"."""
    found = Counter("quoted" if c.status == PUBLISHED else c.status for c in cells if c.status != "done")
    return ", ".join(f"{n} {status}" for status, n in sorted(found.items()))


def _commits(table: Table) -> blocks.Text:
    return blocks.between([blocks.Marked("code", commit) for commit in table.commits], ", ") or "–"


def _files(table: Table, folder: Path) -> blocks.Text:
    there = [suffix for suffix in FORMATS if (folder / f"{table.name}.{suffix}").is_file()]
    links = [blocks.Link(suffix, f"{table.name}.{suffix}") for suffix in there]
    if (folder / f"{classes_name(table)}.html").is_file():
        links.append(blocks.Link("classes", f"{classes_name(table)}.html"))
    return blocks.between(links, " ") or "not written yet"


def _section(table: Table, folder: Path, mlflow: str) -> list[blocks.Block]:
    title, file = f"{table.title} ({table.name})", f"{table.name}.png"
    parts: list[blocks.Block] = [
        blocks.Heading(blocks.Link(title, f"{table.name}.html"), table.name),
        blocks.Lines([line for line in headline(table) if line]),
        blocks.Paragraph(("Files: ", _files(table, folder), ". Commit: ", _commits(table), ".")),
    ]
    if (folder / file).is_file():
        parts.append(blocks.Picture(title, file, link=f"{table.name}.html"))
    parts.append(blocks.Group([measurements(table, mlflow)], summary=f"{measured(table)}: runs"))
    if notes := [blocks.Raised(line) for line in (*missing(table), *quoted(table))]:
        parts.append(blocks.Group([blocks.Bullets(notes)], summary="Notes", one_line=True))
    return parts
