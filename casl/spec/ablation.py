"""Cell and Ablation: one number of a table, and one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from casl.catalog import row
from casl.errors import SpecError, unknown
from casl.spec.kinds import Evaluate
from casl.spec.profile import Profile
from casl.spec.starts import Probe

FIGURES = ("bars", "curves", "heat map", "scatter")


@dataclass(frozen=True)
class Cell:
    """One number of a table. Two numbers in one printed cell are two Cells.

    row, column: headings as in the paper. metric: name of the metric; figure: which of its figures ("AP", "AP50", ...),
    by default its headline.
    stage: the evaluation or probe that measures it; None for a figure that is only quoted, with `note` saying why.
    paper: the published number, in percent, None where there is none.
    """

    row: str
    column: str
    metric: str
    stage: Evaluate | Probe | None
    paper: float | None = None
    figure: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.figure:
            object.__setattr__(self, "figure", row("metric", self.metric).headline)

    @property
    def is_headline(self) -> bool:
        """Whether it is the figure that its metric's bootstrap over images is about."""
        return bool(self.figure == row("metric", self.metric).headline)

    @property
    def measurement(self) -> Evaluate | Probe:
        """The stage of a cell that is measured.

        Raises:
            SpecError: it is only quoted.
        """
        if self.stage is None:
            raise SpecError(f"the cell {self.row} / {self.column} is only quoted: {self.note}")
        return self.stage

    @property
    def evaluation(self) -> Evaluate:
        """The stage of a cell that a detector's predictions give.

        Raises:
            SpecError: it is only quoted, or a probe of a backbone.
        """
        if isinstance(found := self.measurement, Evaluate):
            return found
        raise SpecError(f"the cell {self.row} / {self.column} is a probe of a backbone: no detector predicts there")


def quoted(row: str, column: str, metric: str, paper: float, *, figure: str = "", note: str) -> Cell:
    """A number that is only quoted from the paper, and why it is not measured."""
    return Cell(row=row, column=column, metric=metric, stage=None, paper=paper, figure=figure, note=note)


@dataclass(frozen=True)
class Origin:
    """Where an ablation comes from that is not one of casl's own.

    typed: what names it on a command line, "./mine.py:NAME" or a name. sha256: of its file. package: distribution and
    version that offers it, where it is no file.
    """

    typed: str
    sha256: str = ""
    package: str = ""

    @property
    def note(self) -> str:
        """The same as a sentence of a report."""
        return f"From package {self.package}." if self.package else f"From {self.typed}, sha256 {self.sha256}."


@dataclass(frozen=True)
class Ablation:
    """One table of the paper, or one of your own. `cells` turns a profile into the table's cells; no layout here.

    rows, columns: what the headings mean, for the axes of pictures. High figures are good.
    unit: what a study without any sharing would run as one experiment, "cell", "row" or "column"; for counting only.
    figure: which picture suits it: "heat map", "curves" (over the rows, one a column), "scatter" (two rows or two
    columns against each other) or "bars". baseline: the column or row that the others' gains are measured against;
    "" for none. apart: rows that are no step of the others' order, such as an upper end: curves do not lead to them.
    origin: set by the command line for a table that is not one of casl's own.
    """

    name: str
    title: str
    source: str
    cells: Callable[[Profile], Iterable[Cell]]
    rows: str = "row"
    columns: str = "column"
    unit: str = "cell"
    figure: str = "heat map"
    baseline: str = ""
    apart: tuple[str, ...] = ()
    origin: Origin | None = None

    def __post_init__(self) -> None:
        if self.figure not in FIGURES:
            raise SpecError(unknown("picture of a table", self.figure, FIGURES))

    def build(self, profile: Profile) -> tuple[Cell, ...]:
        """All cells under a profile, checked.

        Raises:
            SpecError: the ablation is empty, or two cells have the same place.
        """
        cells = tuple(self.cells(profile))
        if not cells:
            raise SpecError(f"ablation {self.name!r} has no cells under profile {profile.name!r}")
        places = Counter((c.row, c.column, c.metric, c.figure) for c in cells)
        if twice := [place for place, n in places.items() if n > 1]:
            raise SpecError(
                f"ablation {self.name!r}: two cells at {twice[0]}; row, column, metric, figure must be unique"
            )
        return cells
