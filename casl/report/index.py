"""The first page of a report: every table with its picture, state and files, and the paper's claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

from casl.files import write_atomic
from casl.report import claims_page, labels
from casl.report.claims import Verdict, judge
from casl.report.heading import tagged
from casl.report.html import sources
from casl.report.page import MLFLOW_PAGE, page, rows_of, warned
from casl.report.table import PUBLISHED, Table, TableCell
from casl.report.wording import headline, measured, missing, quoted
from casl.spec.claim import Claim

FORMATS = ("html", "md", "csv", "json", "tex", "png")


def write_index(
    tables: Sequence[Table], claims: Sequence[Claim], folder: Path, mlflow_page: str = MLFLOW_PAGE
) -> list[Path]:
    """Write <folder>/index.html and claims.html, .md, .json; each file is whole or as it was.

    Args:
        tables: all of one profile, in the order to show them. Write them before: only files that are there are linked.
        claims: judged by these tables.
        mlflow_page: address that links to runs start with.

    Raises:
        StoreError: the folder cannot be written.
    """
    verdicts = judge(claims, tables)
    contents = {
        "index.html": to_html(tables, verdicts, folder, mlflow_page),
        "claims.html": claims_page.to_html(verdicts),
        "claims.md": claims_page.to_markdown(verdicts),
        "claims.json": claims_page.to_json(verdicts),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content.encode())
    return [folder / name for name in contents]


def to_html(tables: Sequence[Table], verdicts: Sequence[Verdict], folder: Path, mlflow_page: str) -> str:
    """The page; `folder` is looked at only to link files that exist."""
    profiles = list(dict.fromkeys(f"{t.profile} ({t.profile_title}), data {t.data}" for t in tables))
    seeds = max((t.seeds for t in tables), default=0)
    parts = [warned(next((t.warning for t in tables if t.warning), ""))]
    parts += [f"<p>Profile {escape(words)}, {seeds} {'seed' if seeds == 1 else 'seeds'}.</p>" for words in profiles]
    parts += [_links(tables, folder)]
    if verdicts:
        found = ", ".join(f"{n} {name}" for name, n in claims_page.counts(verdicts).items())
        parts += [
            '<h2 id="claims">The paper\'s claims</h2>',
            f'<p><a href="claims.html">With the evidence</a>: {found}.</p>',
        ]
        parts += [f"<details><summary>{len(verdicts)} claims</summary>", claims_page.overview(verdicts, "claims.html")]
        parts += ["</details>"]
    if (folder / f"{labels.NAME}.png").is_file():
        heading = '<h2 id="labels"><a href="labels.md">How good the pseudo labels are</a></h2>'
        parts += [heading, '<img alt="precision against recall of pseudo labels" src="labels.png" loading="lazy">']
    if (folder / "reasons.html").is_file():
        parts.append(
            '<h2 id="reasons"><a href="reasons.html">Where it differs from the paper, and what was suspected</a></h2>'
        )
    for table in tables:
        parts += _section(table, folder, mlflow_page)
    return page("casl: all tables", parts)


def _links(tables: Sequence[Table], folder: Path) -> str:
    heads = ("table", "title", "measured", "other cells", "commit", "files")
    lines = [
        [
            f'<a href="#{escape(t.name, quote=True)}">{escape(t.name)}</a>',
            escape(t.title),
            f"{t.measured} of {t.measurable}",
            escape(states(t.cells)) or "–",
            _commits(t),
            _files(t, folder),
        ]
        for t in tables
    ]
    return rows_of(heads, lines)


def states(cells: Sequence[TableCell]) -> str:
    """Cells that are not measured by status: "2 failed, 3 not run, 22 quoted"."""
    found = Counter("quoted" if c.status == PUBLISHED else c.status for c in cells if c.status != "done")
    return ", ".join(f"{n} {status}" for status, n in sorted(found.items()))


def _commits(table: Table) -> str:
    return ", ".join(f"<code>{escape(commit)}</code>" for commit in table.commits) or "–"


def _files(table: Table, folder: Path) -> str:
    names = [(suffix, f"{table.name}.{suffix}") for suffix in FORMATS]
    there = [f'<a href="{escape(n, quote=True)}">{suffix}</a>' for suffix, n in names if (folder / n).is_file()]
    return " ".join(there) or "not written yet"


def _section(table: Table, folder: Path, mlflow_page: str) -> list[str]:
    name, title = escape(table.name, quote=True), escape(f"{table.title} ({table.name})")
    picture = f'<a href="{name}.html"><img alt="{title}" src="{name}.png" loading="lazy"></a>'
    notes = "".join(f"<li>{tagged(line)}</li>" for line in [*missing(table), *quoted(table)])
    return [
        f'<h2 id="{name}"><a href="{name}.html">{title}</a></h2>',
        *(f"<p>{escape(line)}</p>" for line in headline(table) if line),
        f"<p>Files: {_files(table, folder)}. Commit: {_commits(table)}.</p>",
        picture if (folder / f"{table.name}.png").is_file() else "",
        f"<details><summary>{escape(measured(table))}: runs</summary>",
        sources(table, mlflow_page),
        "</details>",
        f"<details><summary>Notes</summary><ul>{notes}</ul></details>" if notes else "",
    ]
