"""A Table as Markdown, and as one self-contained page: coloured grid, picture, and where every number comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from casl.report import blocks, html, markdown
from casl.report.effect import effect
from casl.report.layout import Gain, column_groups, comparable, gains, positions, quantity
from casl.report.recall import RecallLine, section
from casl.report.setting import PLAIN, Setting, again
from casl.report.table import PUBLISHED, Repetition, Table, TableCell
from casl.report.wording import (
    UNMEANT,
    best,
    compared_rows,
    difference_label,
    gain_label,
    gained,
    has_paper,
    headline,
    missing,
    number,
    ours,
    quoted,
    tested,
    together,
    warned,
)
from casl.words import number_of

PALE, DEEP = (237, 244, 252), (24, 91, 158)  # ends of the colour scale
FILES = ("csv", "json", "tex", "md", "png", "svg")  # of a table, beside its page


def to_markdown(table: Table, recall: Sequence[RecallLine] = (), setting: Setting = PLAIN) -> str:
    """Grids: ours with the paper's number in brackets, the gains over the baseline, the difference to the paper; then
    the recall of labelers and warmups."""
    found = gains(table)
    return markdown.write(_page(table, found, [*_plain_grids(table, found), *section(table, recall)], [], setting))


def to_html(
    table: Table,
    picture: bytes,
    recall: Sequence[RecallLine] = (),
    others: Sequence[blocks.Link] = (),
    setting: Setting = PLAIN,
) -> str:
    """The page of a table, in one file.

    Args:
        picture: of the table, PNG or SVG, embedded.
        recall: of its labelers and warmups.
        others: further pages about the table, to be linked beside its files.
    """
    view = _View(table, best(table)[0], comparable(table), gains(table), setting.mlflow)
    grid: list[blocks.Block] = [_grid(view), blocks.Paragraph(blocks.Marked("small", _legend(table)))]
    grid += [blocks.Paragraph(downloads(table, others)), *section(table, recall)]
    image = blocks.Picture(f"{_title(table)} as a picture", picture, link=f"{table.name}.svg")
    shown = blocks.Group([blocks.Heading("Picture"), image], one_line=True)
    origin = [blocks.Heading("Where each number comes from"), measurements(table, setting.mlflow)]
    return html.write(_page(table, view.gains, grid, [shown, *origin], setting))


def _page(
    table: Table,
    found: Mapping[int, Gain],
    grids: Sequence[blocks.Block],
    end: Sequence[blocks.Block],
    setting: Setting,
) -> blocks.Page:
    """Headline, the numbers, what is missing, what is only quoted, how to make the table again, and the end."""
    unmeasured, data = quoted(table), warned(table)
    return blocks.Page(
        _title(table),
        [
            *blocks.caution(table.warning),
            *blocks.caution(setting.today.of_table(table)),
            blocks.Lines([line for line in headline(table) if line]),
            *folded(data),
            *grids,
            *blocks.section("Is what was published seen here", effect(table, found)),
            *blocks.section("Missing or to be noted", missing(table)),
            *blocks.section("What the check of the data warned of", data, "markdown"),
            *blocks.section("Quoted, not measured (in italics)", unmeasured, "markdown"),
            *blocks.section("Quoted, not measured", unmeasured, "html"),
            blocks.Heading("Again"),
            blocks.Lines(again(table, setting), bullets=True),
            *end,
        ],
        above=(blocks.ALL_TABLES,),
    )


def folded(data: Sequence[str]) -> list[blocks.Block]:
    """Warnings about the data behind a click, for HTML."""
    summary = f"{number_of(len(data), 'warning')} about the data"
    listed = blocks.Group([blocks.Bullets(data)], summary=summary)
    return [blocks.Group([listed], "html")] if data else []


def downloads(table: Table, others: Sequence[blocks.Link]) -> blocks.Text:
    """Links to a table's other files, which lie beside its page, and to further pages about it."""
    files = [blocks.Link(suffix.upper(), f"{table.name}.{suffix}") for suffix in FILES]
    also = (". Also: ", *blocks.between(others, ", ")) if others else ()
    return ("Download: ", *blocks.between(files, " "), *also, ".")


def measurements(table: Table, mlflow: str) -> blocks.Block:
    """One line for each seed of each measured cell: value, status, stage, run where any has one, commit."""
    links = is_linked(table)
    heads = ("row", "column", "metric", "seed", "value", "status", "stage", *["MLflow"] * links, "commit", "note")
    lines = [_measurement(cell, one, mlflow, links=links) for cell in table.cells for one in cell.repetitions]
    return blocks.Rows(heads, lines) if lines else blocks.Paragraph("Nothing here is measured.")


def is_linked(table: Table) -> bool:
    """Whether some number leads to its run in MLflow; those of a published page lead to none."""
    return any(one.mlflow_run_id for cell in table.cells for one in cell.repetitions)


def run_link(mlflow: str, run_id: str | None) -> blocks.Text:
    """A link to a run, or a dash."""
    return blocks.Link("run", _address(mlflow, run_id)) if run_id else "–"


def _address(mlflow: str, run_id: str) -> str:
    return f"{mlflow.rstrip('/')}/#/runs/{run_id}"


def _title(table: Table) -> str:
    return f"{table.title} ({table.name})"


def _together(texts: Sequence[blocks.Text]) -> blocks.Text:
    """Numbers of one place as `wording.together` writes them."""
    return ("(", *blocks.between(texts, ", "), ")") if len(texts) > 1 else tuple(texts)


def _plain_grids(table: Table, found: Mapping[int, Gain]) -> list[blocks.Block]:
    top = best(table)[0]

    def grid(rows: Sequence[str], columns: Sequence[str], text: Callable[[list[int]], blocks.Text]) -> blocks.Rows:
        """text: what stands at a place, given the positions of its numbers in table.cells."""
        lines = [[blocks.Raised(row), *(text(positions(table, row, column)) for column in columns)] for row in rows]
        return blocks.Rows([blocks.Raised(h) for h in (f"{table.row_axis} / {table.column_axis}", *columns)], lines)

    def apart(at: list[int]) -> str:
        return together([number(table.cells[i].difference, signed=True) for i in at])

    beside = {} if has_paper(table) else found
    brackets = " (paper)" if has_paper(table) else f" (gain over {table.baseline})" if beside else ""
    parts: list[blocks.Block] = [blocks.Heading(f"Ours{brackets}")]
    parts.append(grid(table.rows, table.columns, lambda at: _entry(table, at, top, beside)))
    if found:
        columns = [c for c in table.columns if any(table.cells[i].column == c for i in found)]
        rows = [r for r in table.rows if any(table.cells[i].row == r for i in found)]
        parts.append(blocks.Heading(gain_label(table) + (": ours (paper)" if has_paper(table) else "")))
        parts.append(grid(rows, columns, lambda at: _gains(table, at, found)))
    if has_paper(table) and (compared := compared_rows(table)):
        parts += [blocks.Heading(difference_label(table)), grid(compared, table.columns, apart)]
    return parts


def _entry(table: Table, at: list[int], top: set[int], gained: Mapping[int, Gain]) -> blocks.Text:
    """One place: "31.2 (45.3)", several numbers as "(31.2, 52.0), paper (45.3, 66.1)", empty without any.

    gained: where the paper has no numbers, the gains that stand in their place.
    """

    def mark(i: int) -> blocks.Text:
        text = blocks.Verbatim(ours(table.cells[i], table.seeds))
        if table.cells[i].status == PUBLISHED:
            return blocks.Marked("quoted", text)
        return blocks.Marked("best", text) if i in top else text

    cells = [table.cells[i] for i in at]
    text = _together([mark(i) for i in at])
    if gains_here := [gained[i].ours for i in at if i in gained]:
        return (text, f" ({', '.join(number(g.value if g else None, signed=True) for g in gains_here)})")
    if all(c.paper is None or c.status == PUBLISHED for c in cells):
        return text
    paper = together([number(c.paper) for c in cells])
    return (text, f", paper {paper}" if len(at) > 1 else f" ({paper})")


def _gains(table: Table, at: list[int], found: Mapping[int, Gain]) -> blocks.Text:
    """The gains of one place over the baseline."""

    def text(i: int) -> blocks.Text:
        if table.cells[i].status == PUBLISHED:
            return blocks.Marked("quoted", f"{number(found[i].paper, signed=True)} ({PUBLISHED})")
        return blocks.Verbatim(gained(found[i]))

    return _together([text(i) for i in at if i in found])


@dataclass(frozen=True)
class _View:
    """A table with what depends on several cells. top: best cells; groups: comparable ones."""

    table: Table
    top: set[int]
    groups: list[int]
    gains: dict[int, Gain]
    mlflow: str


def _legend(table: Table) -> str:
    linked = " and leads to its run in MLflow (start the pages with: make ui)" if is_linked(table) else ""
    words = [f"The large number of a cell is measured here{linked}."]
    among = " of those with the most seeds" if len({cell.seeds for cell in table.cells if cell.seeds}) > 1 else ""
    words += [] if table.profile in UNMEANT else [f"A frame marks the best{among}."]
    if has_paper(table):
        words.append(f"In brackets after the paper's number: {difference_label(table).lower()}.")
    if table.baseline:
        words.append(f"Gain: over {table.baseline}{', paired by seed' if table.seeds > 1 else ''}.")
    if table.measurable < len(table.cells):
        words.append("Grey italics on stripes: published figures that are only quoted, not measured here.")
    if any(not positions(table, row, column) for row in table.rows for column in table.columns):
        words.append("Empty: no number in this table.")
    return " ".join(words)


def _grid(view: _View) -> blocks.Grid:
    table = view.table
    lines = [
        [_head(blocks.Raised(row)), *(_place(view, positions(table, row, column)) for column in table.columns)]
        for row in table.rows
    ]
    return blocks.Grid(_heads(table), lines)


def _head(text: blocks.Text, **attributes: object) -> blocks.Cell:
    return blocks.Cell(text, "th", {name.rstrip("_"): str(value) for name, value in attributes.items()})


def _heads(table: Table) -> list[list[blocks.Cell]]:
    """One line of column headings, or two where columns share their first word."""
    corner, groups = f"{table.row_axis} / {table.column_axis}", column_groups(table)
    if not any(word for word, _ in groups):
        return [[_head(corner), *(_head(blocks.Raised(column)) for column in table.columns)]]
    upper, lower = [_head(corner, rowspan=2)], []
    for word, columns in groups:
        if word:
            upper.append(_head(word, class_="group", colspan=len(columns)))
            lower += [_head(blocks.Raised(column.removeprefix(word).strip())) for column in columns]
        else:
            upper += [_head(blocks.Raised(column), rowspan=2) for column in columns]
    return [upper, lower]


def _place(view: _View, at: list[int]) -> blocks.Cell:
    """All numbers of one place, then the paper's and the gains; under the pointer everything about them."""
    if not at:
        return blocks.Cell("")
    cells = [view.table.cells[i] for i in at]
    small = tuple(blocks.Marked("small", line) for line in (_paper(cells), _gain(view, at)) if line)
    hover = "\n".join(_hover(view.table, cell) for cell in cells)
    text = (_together([_number(view, i) for i in at]), *small)
    return blocks.Cell(text, attributes={"title": hover, **_look(view, at[0])})


def _number(view: _View, i: int) -> blocks.Text:
    cell = view.table.cells[i]
    text: blocks.Text = ours(cell, view.table.seeds)
    if cell.mlflow_run_id:
        text = blocks.Link(text, _address(view.mlflow, cell.mlflow_run_id))
    return blocks.Marked("best" if i in view.top else "strong", text)


def _paper(cells: list[TableCell]) -> str:
    cells = [c for c in cells if c.status != PUBLISHED]
    if all(c.paper is None for c in cells):
        return ""
    apart = [number(c.difference, signed=True) for c in cells]
    known = any(c.difference is not None for c in cells)
    words = together([number(c.paper) for c in cells])
    return f"paper {words}" + (f" ({', '.join(apart)})" if known else "")


def _gain(view: _View, at: list[int]) -> blocks.Text:
    found = [view.gains[i] for i in at if i in view.gains]
    if not found or all(g.ours is None and g.paper is None for g in found):
        return ""
    paper = together([number(g.paper, signed=True) for g in found])
    if all(g.ours is None for g in found):
        return blocks.Verbatim(f"paper's gain {paper}")
    text = together([tested(g.ours) if g.ours else "–" for g in found])
    return f"gain {text}" + (f", paper {paper}" if any(g.paper is not None for g in found) else "")


def _hover(table: Table, cell: TableCell) -> str:
    parts = [f"{quantity(cell)}: {ours(cell, table.seeds)}"]
    if cell.paper is not None and cell.status != PUBLISHED:
        parts.append(f"paper {number(cell.paper)}")
    if cell.difference is not None:
        parts.append(f"{difference_label(table).lower()}: {number(cell.difference, signed=True)}")
    if cell.name:
        parts += [f"seeds {cell.seeds}", cell.name]
    return ", ".join([*parts, *([cell.note] if cell.note else [])])


def _look(view: _View, i: int) -> dict[str, str]:
    """Light to dark blue over comparable numbers; a class for what has none."""
    cell = view.table.cells[i]
    if cell.status == PUBLISHED or cell.value is None:
        return {"class": "quoted" if cell.status == PUBLISHED else "gap"}
    pairs = zip(view.table.cells, view.groups, strict=True)
    same = [c.value for c, group in pairs if group == view.groups[i] and c.value is not None]
    low, high = min(same), max(same)
    share = (cell.value - low) / (high - low) if high > low else 0.5
    shade = [round(a + (b - a) * share) for a, b in zip(PALE, DEEP, strict=True)]
    return {"style": f"background: rgb({', '.join(map(str, shade))}); color: {readable(shade)}"}


def readable(ground: Sequence[int]) -> str:
    """Black or white letters, whichever contrast more with a ground of red, green and blue from 0 to 255.

    The contrast is at least 4.58, where success criterion 1.4.3 asks for 4.5. Source: WCAG 2.2, relative luminance.
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in ground)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#fff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000"


def _measurement(cell: TableCell, one: Repetition, mlflow: str, *, links: bool) -> tuple[blocks.Text, ...]:
    commit = one.commit[:10] + (" + changes" if one.dirty else "")
    value = "–" if one.value is None else f"{one.value:.2f}"
    place = (blocks.Raised(cell.row), blocks.Raised(cell.column), quantity(cell))
    name, run = blocks.Marked("code", one.name), [run_link(mlflow, one.mlflow_run_id)] * links
    return (*place, str(one.seed), value, one.status, name, *run, blocks.Marked("code", commit), one.note)
