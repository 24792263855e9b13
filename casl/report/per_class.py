"""AP of each class in the cells of a table: a page and a heat map, classes by falling number of objects.

A mean over classes hides which of them a warmup helps. Numbers are counted from the predictions that evaluations kept.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
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
from casl.report.wording import mean_and_spread, profile_and_data, spread_said
from casl.report.written import Contents, write_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# name of an evaluation -> [{"name", "objects", "ap", "ap50"}], or text that says why not
Figures = Callable[[str], Any]
HOW = (
    "AP of each class, percent, mean over IoU .50:.05:.95; a cell's own number is the mean over the classes that have "
    "objects. Objects are those of the split that most cells are measured on, without crowds; classes with most of "
    "them come first. A cell on other images has its own number of objects beside its name."
)


def classes_name(table: Table) -> str:
    """Of the files with AP of each class in a table."""
    return f"classes-{table.name}"


NO_OBJECTS = "none of its classes has objects"
FREQUENT = 100  # objects from which on the AP of a class is a number to go by


@dataclass(frozen=True)
class ClassColumn:
    """One cell of a table. values: class -> percent of each seed, in the order of the seeds, of those with a value.

    loose: the same at IoU .50 alone. notes: why some seed has none. elsewhere: how many objects of its classes there
    are where it is measured on others than the table's, else None.
    """

    row: str
    column: str
    metric: str
    values: Mapping[str, tuple[float, ...]]
    loose: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...]
    elsewhere: int | None = None

    @property
    def place(self) -> str:
        """The cell in words."""
        here = f"{self.row} / {self.column}"
        return here if self.elsewhere is None else f"{here} ({self.elsewhere:,} objects)"

    def mean(self, name: str) -> float | None:
        """Mean over the seeds of a class, None where it is undefined."""
        return statistics.fmean(self.values[name]) if self.values.get(name) else None

    def text(self, name: str) -> str:
        """The same for people, with the spread over seeds."""
        return mean_and_spread(self.values.get(name, ()))

    def over(self, names: Sequence[str], *, loose: bool = False) -> tuple[float, ...]:
        """The mean over classes, a number a seed; none where the cell is not about all of them, on these images.

        loose: at IoU .50 alone.
        """
        values = self.loose if loose else self.values
        if self.elsewhere is not None or not all(name in values for name in names):
            return ()
        return tuple(map(statistics.fmean, zip(*(values[name] for name in names), strict=True)))


@dataclass(frozen=True)
class PerClass:
    """All of a table. objects: class -> how many there are, classes in the order in which they are shown."""

    table: Table
    objects: Mapping[str, int]
    columns: tuple[ClassColumn, ...]

    @property
    def name(self) -> str:
        """Of its files."""
        return classes_name(self.table)

    @property
    def title(self) -> str:
        return f"AP of each class: {self.table.title} ({self.table.name})"

    @property
    def frequent(self) -> list[str]:
        """Classes with objects enough to go by; none where that says nothing of the others, all being so or none."""
        found = [name for name, count in self.objects.items() if count >= FREQUENT]
        return found if len(found) < sum(count > 0 for count in self.objects.values()) else []

    @property
    def counted(self) -> list[ClassColumn]:
        """Columns that have a number; the others stand under what is missing."""
        return [column for column in self.columns if any(column.values.values())]

    @property
    def notes(self) -> list[str]:
        """What is missing, and where."""
        return by_note((c.place, c.notes if c in self.counted else c.notes or (NO_OBJECTS,)) for c in self.columns)


def per_class(table: Table, figures: Figures) -> PerClass | None:
    """Join the cells whose metric has classes with the figures of each; None if there is no such cell."""
    cells = [c for c in table.cells if _has_classes(c)]
    counted = {one.name: figures(one.name) for cell in cells for one in cell.repetitions}
    objects = _objects([[counted[one.name] for one in cell.repetitions] for cell in cells])
    return PerClass(table, objects, tuple(_column(c, counted, objects) for c in cells)) if cells else None


def _objects(figures: Sequence[Sequence[Any]]) -> dict[str, int]:
    """Class -> objects, classes with most of them first.

    They are those of most cells among the cells about most classes; of classes that these lack, those of the next.

    Args:
        figures: of each seed of each cell.
    """
    votes: Counter[tuple[tuple[str, int], ...]] = Counter()
    for seeds in figures:
        votes.update(
            {tuple((c["name"], int(c["objects"])) for c in found) for found in seeds if not isinstance(found, str)}
        )
    known: dict[str, int] = {}
    for counts, _ in sorted(votes.items(), key=lambda vote: (-len(vote[0]), -vote[1])):
        known = {**dict(counts), **known}
    return dict(sorted(known.items(), key=lambda item: (-item[1], item[0])))


def _has_classes(cell: TableCell) -> bool:
    metric = catalog.row("metric", cell.metric)
    return bool(cell.repetitions and metric.by_class and cell.figure == metric.headline)


def _column(cell: TableCell, counted: Mapping[str, Any], objects: Mapping[str, int]) -> ClassColumn:
    values: dict[str, list[float]] = {}
    loose: dict[str, list[float]] = {}
    own: dict[str, int] = {}
    by_seed = {one.seed: counted[one.name] for one in cell.repetitions}
    for found in by_seed.values():
        for entry in () if isinstance(found, str) else found:
            for kept, figure in ((values, "ap"), (loose, "ap50")):
                kept.setdefault(entry["name"], []).extend([entry[figure]] if entry[figure] >= 0 else [])
            own[entry["name"]] = int(entry["objects"])
    known, known_loose = ({name: tuple(v) for name, v in of.items()} for of in (values, loose))
    elsewhere = None if all(objects[name] == n for name, n in own.items()) else sum(own.values())
    return ClassColumn(cell.row, cell.column, quantity(cell), known, known_loose, notes_of_seeds(by_seed), elsewhere)


def write_classes(table: Table, figures: Figures, folder: Path) -> list[Path]:
    """Write <folder>/classes-<table>.md, .html, .json, .png, .svg; nothing for a table without a metric over classes.

    Raises:
        StoreError: the folder cannot be written.
    """
    if (found := per_class(table, figures)) is None:
        return []
    return write_files(folder, contents(found, drawing(found), record=to_json(found)))


def contents(found: PerClass, image: Drawing, older: str = "", record: str = "") -> Contents:
    """The pages and their picture by file name. older: what stands above those of other code than today's. record:
    the JSON, where that is to be written too."""
    return beside.contents(found.name, lambda shown: page(found, shown, older), image, record)


def read_classes(record: Mapping[str, Any], table: Table) -> PerClass:
    """AP of each class from its JSON and the table that it is of. Raises KeyError or TypeError for what is none."""
    columns = []
    for one in record["columns"]:
        values, loose = ({name: tuple(v) for name, v in one[part].items()} for part in ("values", "values_50"))
        head = one["row"], one["column"], one["metric"]
        columns.append(ClassColumn(*head, values, loose, tuple(one["notes"]), one.get("objects")))
    return PerClass(table, record["objects"], tuple(columns))


def to_json(found: PerClass) -> str:
    """One object: classes with their objects, and for every cell and class a number a seed, percent; where only some
    classes are frequent, which these are, and the mean over them of each cell, of AP and of AP50."""
    record: dict[str, Any] = {
        "table": found.table.name,
        "profile": found.table.profile,
        "data": found.table.data,
        "warning": found.table.warning,
        "objects": found.objects,
        "columns": [
            {
                "row": c.row,
                "column": c.column,
                "metric": c.metric,
                "values": c.values,
                "values_50": c.loose,
                "notes": c.notes,
                **({} if c.elsewhere is None else {"objects": c.elsewhere}),
            }
            for c in found.columns
        ],
    }
    if frequent := found.frequent:
        record["frequent"] = {
            "classes": frequent,
            "means": [column.over(frequent) for column in found.columns],
            "means_50": [column.over(frequent, loose=True) for column in found.columns],
        }
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def page(found: PerClass, image: str | bytes, older: str = "") -> blocks.Page:
    """The page: one line a class. image: as in blocks.Picture. older: as of `contents`."""
    table = found.table
    heads: list[blocks.Text] = ["class", "objects", *(blocks.Raised(column.place) for column in found.counted)]
    lines = [[name, f"{n:,}", *(c.text(name) for c in found.counted)] for name, n in found.objects.items()]
    if frequent := found.frequent:
        said = f"mean of the {len(frequent)} with {FREQUENT} objects or more"
        objects = sum(found.objects[name] for name in frequent)
        for loose, name in ((False, said), (True, f"{said}, at IoU .50")):
            means = [column.over(frequent, loose=loose) for column in found.counted]
            if any(means):
                lines.append([name, f"{objects:,}", *map(mean_and_spread, means)])
    parts: list[blocks.Block] = [
        *blocks.caution(table.warning),
        *blocks.caution(older),
        blocks.Paragraph(f"Profile {profile_and_data(table)}."),
        blocks.Paragraph(HOW),
    ]
    if found.counted:
        parts.append(blocks.Rows(heads, lines))
        if said := spread_said(values for column in found.counted for values in column.values.values()):
            parts.append(blocks.Paragraph(said))
        parts.append(blocks.Picture(found.title, image))
    parts += blocks.section("Missing", found.notes)
    return blocks.Page(found.title, parts, above=beside.links_above(table))


def drawing(found: PerClass, older: str = "") -> Drawing:
    """Classes against cells as a picture."""
    wide = 0.085 * max(map(len, found.objects), default=0)
    high = 0.055 * max((len(column.place) for column in found.counted), default=0)
    size = max(5.0, 0.62 * len(found.counted) + wide + 1.6), max(1.7, 0.3 * len(found.objects) + high + 0.9)
    lines = [as_it_is(line) for line in wrapped([HOW], size[0])]
    return drawn(found.title, [found.table.warning, older], lines, size, lambda figure: _paint(figure, found))


def _paint(figure: Figure, found: PerClass) -> None:
    names = [as_it_is(f"{name} ({n:,})") for name, n in found.objects.items()]
    values = [[column.mean(name) for column in found.counted] for name in found.objects]
    paint_grid(figure, names, [in_picture(column.place) for column in found.counted], values, 100.0)
