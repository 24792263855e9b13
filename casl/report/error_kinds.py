"""What kinds of errors cost the cells of a table their AP: a page and a heat map, one line a cell.

AP says how much is wrong, and not what: a warmup on labels without classes can find more objects and name them no
better. Numbers are counted from the predictions that evaluations kept, by casl/metrics/error_types.py.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casl import catalog
from casl.report import beside, blocks
from casl.report.canvas import Drawing, as_it_is, drawn, in_picture, wrapped
from casl.report.figure_grid import paint_grid
from casl.report.layout import quantity
from casl.report.recall import by_note, notes_of_seeds
from casl.report.table import Table, TableCell
from casl.report.wording import mean_and_spread, number, profile_and_data, spread_said
from casl.report.written import Contents, write_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Figures = Callable[[str], Any]  # name of an evaluation -> {"AP50", "counts", "gains"}, or text that says why not
MEANING = {  # of the kinds in casl.metrics.error_types, in its order
    "classification": "in the right place, of another class",
    "localisation": "of the right class, at an IoU from .1 to .5",
    "both": "of the wrong class and in the wrong place",
    "duplicate": "on an object that a prediction of higher score has found",
    "background": "on nothing",
    "missed": "objects that no prediction found, nor would find with its class or place mended",
}
KINDS = tuple(MEANING)
OF_CLASSES = ("classification", "both")  # none of these where a metric knows no classes
HOW = (
    "By how many points AP at IoU .5 would rise if all errors of one kind were mended and the others stayed; the gains "
    "do not add up. Every prediction counts, whatever its score, so many errors can cost little."
)
AGNOSTIC = "Where a cell is about boxes or masks without classes, none can be of the wrong class: no number there."


def errors_name(table: Table) -> str:
    """Of the files with the kinds of errors of a table."""
    return f"errors-{table.name}"


@dataclass(frozen=True)
class ErrorLine:
    """One cell of a table; every tuple has a number a seed that has one, in the order of the seeds.

    ap: AP50 in percent. gains: kind -> points of AP50. counts: kind -> errors. Both have the kinds that its metric
    can see. notes: why some seed has none.
    """

    row: str
    column: str
    metric: str
    ap: tuple[float, ...]
    gains: Mapping[str, tuple[float, ...]]
    counts: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.row} / {self.column}"


@dataclass(frozen=True)
class ErrorKinds:
    """All of a table."""

    table: Table
    lines: tuple[ErrorLine, ...]

    @property
    def title(self) -> str:
        return f"Kinds of errors: {self.table.title} ({self.table.name})"

    @property
    def counted(self) -> list[ErrorLine]:
        """Those that have a number; the others stand under what is missing."""
        return [line for line in self.lines if line.ap]

    @property
    def notes(self) -> list[str]:
        """What is missing, and where."""
        return by_note((line.place, line.notes) for line in self.lines)


def error_kinds(table: Table, figures: Figures) -> ErrorKinds | None:
    """Join the cells about AP of boxes or masks with the figures of each; None if there is no such cell."""
    lines = tuple(_line(cell, {one.seed: figures(one.name) for one in cell.repetitions}) for cell in _cells(table))
    return ErrorKinds(table, lines) if lines else None


def _cells(table: Table) -> list[TableCell]:
    """Those about the AP of boxes or masks, each metric of an evaluation once."""
    found: dict[tuple[str, ...], TableCell] = {}
    for cell in table.cells:
        metric = catalog.row("metric", cell.metric)
        if cell.repetitions and metric.headline == "AP" and metric.recall:
            found.setdefault((cell.row, *(one.name for one in cell.repetitions)), cell)
    return list(found.values())


def _line(cell: TableCell, counted: Mapping[int, Any]) -> ErrorLine:
    known = [found for found in counted.values() if not isinstance(found, str)]
    classes = catalog.row("metric", cell.metric).by_class
    kinds = [kind for kind in KINDS if classes or kind not in OF_CLASSES]
    return ErrorLine(
        row=cell.row,
        column=cell.column,
        metric=quantity(cell),
        ap=tuple(found["AP50"] for found in known),
        gains={kind: tuple(found["gains"][kind] for found in known) for kind in kinds},
        counts={kind: tuple(found["counts"][kind] for found in known) for kind in kinds},
        notes=notes_of_seeds(counted),
    )


def write_errors(table: Table, figures: Figures, folder: Path) -> list[Path]:
    """Write <folder>/errors-<table>.md, .html, .json, .png, .svg; nothing for a table without AP of boxes or masks.

    Raises:
        StoreError: the folder cannot be written.
    """
    if (found := error_kinds(table, figures)) is None:
        return []
    return write_files(folder, contents(found, drawing(found), record=to_json(found)))


def contents(found: ErrorKinds, image: Drawing, older: str = "", record: str = "") -> Contents:
    """The pages and their picture by file name. older: what stands above those of other code than today's. record:
    the JSON, where that is to be written too."""
    return beside.contents(errors_name(found.table), lambda shown: page(found, shown, older), image, record)


def read_errors(record: Mapping[str, Any], table: Table) -> ErrorKinds:
    """Kinds of errors from their JSON and the table that they are of. Raises KeyError or TypeError for what is none."""
    lines = []
    for one in record["lines"]:
        gains, counts = ({kind: tuple(v) for kind, v in one[part].items()} for part in ("gains", "counts"))
        more = {"gains": gains, "counts": counts, "ap": tuple(one["ap"]), "notes": tuple(one["notes"])}
        lines.append(ErrorLine(**{**one, **more}))
    return ErrorKinds(table, tuple(lines))


def to_json(found: ErrorKinds) -> str:
    """One object: `lines`, for every cell AP50, gains and counts of each kind that it can have, a number a seed."""
    table = found.table
    about = {"table": table.name, "profile": table.profile, "data": table.data, "warning": table.warning}
    return json.dumps(about | {"lines": [vars(line) for line in found.lines]}, indent=1, allow_nan=False) + "\n"


def page(found: ErrorKinds, image: str | bytes, older: str = "") -> blocks.Page:
    """The page: one line a cell. image: as in blocks.Picture. older: as of `contents`."""
    table = found.table
    parts: list[blocks.Block] = [
        *blocks.caution(table.warning),
        *blocks.caution(older),
        blocks.Paragraph(f"Profile {profile_and_data(table)}."),
    ]
    if found.counted:
        spread = spread_said(line.ap for line in found.counted)
        parts += [
            blocks.Paragraph(f"{HOW} {spread}".rstrip()),
            _grid(found, "AP50", lambda line: line.ap, lambda line: line.gains, mean_and_spread),
            blocks.Paragraph(AGNOSTIC),
            blocks.Picture(found.title, image),
            blocks.Heading("How many", "counts"),
            blocks.Paragraph(f"Errors of each kind{', the mean over seeds' if spread else ''}."),
            _grid(found, "", lambda line: (), lambda line: line.counts, _whole),
            blocks.Heading("What each kind is", "kinds"),
            blocks.Bullets([f"{kind}: {meaning}" for kind, meaning in MEANING.items()]),
        ]
    parts += blocks.section("Missing", found.notes)
    return blocks.Page(found.title, parts, above=beside.links_above(table))


def _grid(
    found: ErrorKinds,
    first: str,
    of_first: Callable[[ErrorLine], Sequence[float]],
    of_kinds: Callable[[ErrorLine], Mapping[str, Sequence[float]]],
    write: Callable[[Sequence[float]], str],
) -> blocks.Rows:
    table = found.table
    lines: list[list[blocks.Text]] = [
        [
            blocks.Raised(line.row),
            blocks.Raised(line.column),
            *([write(of_first(line))] if first else []),
            *(write(of_kinds(line).get(kind, ())) for kind in KINDS),
        ]
        for line in found.counted
    ]
    return blocks.Rows([table.row_axis, table.column_axis, *([first] if first else []), *KINDS], lines, words=2)


def _whole(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):,.0f}" if values else number(None)


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def drawing(found: ErrorKinds, older: str = "") -> Drawing:
    """Cells against kinds as a picture."""
    wide = 0.085 * max((len(line.place) for line in found.counted), default=0)
    size = 0.62 * len(KINDS) + wide + 1.6, max(1.7, 0.3 * len(found.counted) + 1.9)
    said = [as_it_is(line) for line in wrapped([HOW], size[0])]
    return drawn(found.title, [found.table.warning, older], said, size, lambda figure: _paint(figure, found))


def _paint(figure: Figure, found: ErrorKinds) -> None:
    values = [[_mean(line.gains.get(kind, ())) for kind in KINDS] for line in found.counted]
    most = max((value for line in values for value in line if value is not None), default=0.0)
    paint_grid(figure, [in_picture(line.place) for line in found.counted], KINDS, values, max(most, 1.0))
