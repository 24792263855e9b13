"""The additive model fitted to tables, and contrasts of their cells."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from casl.report.additive import Additive, Estimate, Numbers
from casl.report.table import Table, TableCell


def fitted(tables: Sequence[Table], *, together: bool = False) -> Additive:
    """One model over the cells of tables of one profile.

    Args:
        together: numbers of a kind have one variance and seed effects over all tables, so that cells of several can be
            compared; by default each table has its own.

    Cells that one run measured, where a small profile has one model for two of the paper's, are one cell of the model.
    Images are not known to err together across tables, so their errors add up there, which widens an interval.
    """
    cells: dict[Hashable, Numbers] = {}
    images: dict[tuple[Hashable, Hashable], float] = {}
    for table in tables:
        home = "" if together else table.name
        for i, cell in enumerate(table.cells):
            cells[unit(home, cell)] = Numbers((home, cell.metric, cell.figure), cell.by_seed, cell.shares)
            for j, known in enumerate(table.image_covariance[i] if table.image_covariance else ()):
                if known is not None:
                    images[unit(home, cell), unit(home, table.cells[j])] = known
    if together:
        alone = [a for a, b in images if a == b]
        images = {(a, b): images.get((a, b), 0.0) for a in alone for b in alone}
    return Additive(cells, images)


def unit(home: str, cell: TableCell) -> Hashable:
    """The name of a cell in the model: its table, "" for all together, the run, and which of its figures."""
    return home, cell.key, cell.figure


def combined(parts: Iterable[tuple[float, str, TableCell]]) -> dict[Hashable, float]:
    """Weights of cells, each (weight, table as in `unit`, cell), by their names in the model.

    Those of one run are added up, and left out where they cancel.
    """
    weights: dict[Hashable, float] = {}
    for weight, home, cell in parts:
        weights[unit(home, cell)] = weights.get(unit(home, cell), 0.0) + weight
    return {name: weight for name, weight in weights.items() if weight}


def difference(model: Additive, home: str, cell: TableCell, base: TableCell) -> Estimate | None:
    """A cell of a table minus another of it, None where they cannot be compared or are the same run."""
    weights = combined([(1.0, home, cell), (-1.0, home, base)])
    return model.estimate(weights) if weights else None
