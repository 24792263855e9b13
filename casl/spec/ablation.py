"""Cell and Ablation: one number of a table, and one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from casl.errors import SpecError
from casl.spec.kinds import Evaluate
from casl.spec.profile import Profile


@dataclass(frozen=True)
class Cell:
    """One number of a table. Two numbers in one printed cell are two Cells.

    row, column: headings as in the paper. metric: name of the metric; figure: which of its figures ("AP", "AP50", ...).
    stage: the evaluation that measures it; paper: the published number, in percent, None where there is none.
    """

    row: str
    column: str
    metric: str
    stage: Evaluate
    paper: float | None = None
    figure: str = "AP"


@dataclass(frozen=True)
class Ablation:
    """One table of the paper, or one of your own. `cells` turns a profile into the table's cells; no layout here.

    rows, columns: what the headings mean, for the axes of pictures. High figures are good.
    """

    name: str
    title: str
    source: str
    cells: Callable[[Profile], Iterable[Cell]]
    rows: str = "row"
    columns: str = "column"

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
