"""The first page of a report: its story, then every table with its picture, state and files, and claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from casl.report import blocks, claims_page, html, labels, latex, markdown
from casl.report.claims import Verdict, judge, tables_of
from casl.report.curves import curves_name
from casl.report.error_kinds import errors_name
from casl.report.per_class import classes_name
from casl.report.setting import PLAIN, Setting
from casl.report.stored import CLAIMS, fingerprint
from casl.report.story import Story, read_story
from casl.report.story_page import opening
from casl.report.table import PUBLISHED, Table, TableCell
from casl.report.table_page import FILES, folded, measurements
from casl.report.wording import REASONS, headline, measured, missing, profile_and_data, quoted, stood_in, untold, warned
from casl.report.written import Contents, Write, anew
from casl.spec.claim import Claim
from casl.words import number_of

INDEX = "index.html"
CLAIM_PAGES = ("claims.html", "claims.md", CLAIMS)
FORMATS = ("html", *FILES)


def write_index(
    tables: Sequence[Table],
    claims: Sequence[Claim],
    folder: Path,
    write: Write = anew,
    setting: Setting = PLAIN,
    apart: Sequence[Table] = (),
) -> list[Path]:
    """Write <folder>/index.html, tables.tex, and of claims claims.html, .md, .json; each file is whole or as it was.

    Args:
        tables: all of one profile, in the order to show them. Write them before, and the story: only files that are
            there are linked and shown.
        claims: judged by these tables.
        write: whether always, or only where a page is another.
        setting: of the folder; what the code asks for now names what has other results.
        apart: tables of the folder that have no section here, and may be named all the same.

    Raises:
        StoreError: the folder cannot be written.
        DataError: the story there cannot be read.
    """
    story = read_story(folder)

    def make() -> Contents:
        verdicts, older = judge(claims, tables), setting.today.over([*tables, *apart], folder)
        contents = {INDEX: html.write(page(tables, verdicts, folder, setting, story, older))}
        contents[latex.DOCUMENT] = latex.document(t.name for t in tables if (folder / f"{t.name}.tex").is_file())
        if verdicts:
            there = [t.name for t in tables if (folder / f"{t.name}.html").is_file()]
            stands = [f"{t.name}: {said}" for t in tables for said in (stood_in(t), untold(t)) if said]
            judged = claims_page.page(verdicts, older, there, stands)
            contents |= {"claims.html": html.write(judged), "claims.md": markdown.write(judged)}
            contents[CLAIMS] = claims_page.to_json(verdicts)
        return contents

    linked = sorted(
        path.name for path in folder.glob("[!.]*") if path.name not in (INDEX, latex.DOCUMENT, *CLAIM_PAGES)
    )
    inputs = tables, claims, linked, story, setting, apart, fingerprint(folder)
    return write(folder, INDEX, inputs, make)


def refresh_index(
    claims: Sequence[Claim],
    folder: Path,
    read: Callable[[], Sequence[Table]],
    write: Write = anew,
    tell: Callable[[Sequence[Table]], list[Path]] = lambda tables: [],
    setting: Setting = PLAIN,
) -> list[Path]:
    """Write the same files from the tables that are in the folder now, claims if one of them has to do with one.

    Another command may write a table meanwhile: then they are written again, so that the last to end leaves them right.

    Args:
        read: gives the tables of the folder.
        write: whether always, or only where a page is another.
        tell: writes the story of the tables into the folder; by default the one that is there stays.
        setting: as of `write_index`.

    Raises:
        StoreError: the folder cannot be written.
        DataError: the story there cannot be read.
    """
    while True:
        seen = fingerprint(folder)
        every = read()
        tables = [table for table in every if table.name != REASONS]  # those have a heading of their own
        apart = [table for table in every if table.name == REASONS]
        judged = claims if {t.name for t in tables} & tables_of(claims) else ()
        written = [*tell(tables), *write_index(tables, judged, folder, write, setting, apart)]
        if fingerprint(folder) == seen:
            return written


def page(
    tables: Sequence[Table],
    verdicts: Sequence[Verdict],
    folder: Path,
    setting: Setting = PLAIN,
    story: Story | None = None,
    older: str = "",
) -> blocks.Page:
    """The page; `folder` is looked at only to link files that exist. older: sentences over what is of other code."""
    profiles = list(dict.fromkeys(map(profile_and_data, tables)))
    parts = blocks.caution(next((t.warning for t in tables if t.warning), ""))
    parts += blocks.caution(older)
    parts += [blocks.Paragraph(f"Profile {words}, {_seeds(tables)}.") for words in profiles]
    parts += opening(story, tables, verdicts, setting.where)
    parts += [blocks.Heading("All tables", "tables"), _links(tables, folder), blocks.Paragraph(_further(folder))]
    if verdicts:
        evidence = (blocks.Link("With the evidence", "claims.html"), f": {claims_page.counted_apart(verdicts)}.")
        summary = number_of(len(verdicts), "claim")
        every = blocks.Group(claims_page.overview(verdicts, "claims.html"), summary=summary)
        parts += [blocks.Heading("Claims", "claims"), blocks.Paragraph(evidence), every]
    if (folder / f"{labels.NAME}.png").is_file():
        parts.append(blocks.Heading(blocks.Link("How good the pseudo labels are", "labels.md"), "labels"))
        parts.append(blocks.Picture("precision, recall and F1 of pseudo labels", "labels.png"))
    if (folder / "reasons.html").is_file():
        words = "Where it differs from the paper, and what was suspected"
        parts.append(blocks.Heading(blocks.Link(words, "reasons.html"), "reasons"))
    sections = [block for table in tables for block in _section(table, folder, setting.mlflow)]
    return blocks.Page("casl: results", [*parts, *sections])


def _further(folder: Path) -> blocks.Text:
    """Links to what is about all tables, or about none."""
    searches = [
        blocks.Link(f"search over {path.stem.removeprefix('search-')}", path.name)
        for path in sorted(folder.glob("search-*.html"))
    ]
    document = blocks.Link("one LaTeX document", latex.DOCUMENT)
    return ("Also here: all tables as ", document, *(part for link in searches for part in (", ", link)), ".")


def _seeds(tables: Sequence[Table]) -> str:
    """ "3 seeds"; "1 to 3 seeds" where tables differ."""
    low, high = min(t.seeds for t in tables), max(t.seeds for t in tables)
    return f"{low} to {high} seeds" if low < high else number_of(high, "seed")


def _links(tables: Sequence[Table], folder: Path) -> blocks.Rows:
    heads = ("table", "title", "seeds", "measured", "other cells", "commit", "files")
    lines = [
        (
            blocks.Link(t.name, f"#{t.name}"),
            t.title,
            str(t.seeds),
            f"{t.with_a_number} of {t.measurable}",
            states(t.cells) or "–",
            _commits(t),
            _files(t, folder),
        )
        for t in tables
    ]
    return blocks.Rows(heads, lines, breaks=True)


def states(cells: Sequence[TableCell]) -> str:
    """Cells that are not measured by status: "2 failed, 3 not run, 22 quoted"."""
    found = Counter("quoted" if c.status == PUBLISHED else c.status for c in cells if c.status != "done")
    return ", ".join(f"{n} {status}" for status, n in sorted(found.items()))


def _commits(table: Table) -> blocks.Text:
    return blocks.between([blocks.Marked("code", commit) for commit in table.commits], ", ") or "–"


def _files(table: Table, folder: Path) -> blocks.Text:
    there = [suffix for suffix in FORMATS if (folder / f"{table.name}.{suffix}").is_file()]
    links = [blocks.Link(suffix, f"{table.name}.{suffix}") for suffix in there]
    named = {"classes": classes_name(table), "errors": errors_name(table), "curves": curves_name(table)}
    further = {word: f"{name}.html" for word, name in named.items()}
    links += [blocks.Link(word, page) for word, page in further.items() if (folder / page).is_file()]
    return blocks.between(links, "\N{NO-BREAK SPACE}") or "not written yet"


def _section(table: Table, folder: Path, mlflow: str) -> list[blocks.Block]:
    title, file = f"{table.title} ({table.name})", f"{table.name}.svg"
    parts: list[blocks.Block] = [
        blocks.Heading(blocks.Link(title, f"{table.name}.html"), table.name),
        blocks.Lines([line for line in headline(table) if line]),
        *folded(warned(table)),
        blocks.Paragraph(("Files: ", _files(table, folder), ". Commit: ", _commits(table), ".")),
    ]
    if (folder / file).is_file():
        parts.append(blocks.Picture(title, file, link=f"{table.name}.html"))
    parts.append(blocks.Group([measurements(table, mlflow)], summary=f"{measured(table)}: runs"))
    if notes := [blocks.Raised(line) for line in (*missing(table), *quoted(table))]:
        parts.append(blocks.Group([blocks.Bullets(notes)], summary="Notes", one_line=True))
    return parts
