"""The last lines of `casl run`: the best cell of each table, and the command to type next."""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean

from casl.cli.colour import coloured
from casl.cli.workers import next_command
from casl.report.wording import UNMEANT
from casl.runner.schedule import Summary
from casl.runner.store import Store
from casl.spec.ablation import Cell
from casl.study.opened import Study
from casl.tracking.text import UNDEFINED
from casl.words import number_of

MOST = 5  # tables whose best cells are printed


def print_ending(study: Study, options: argparse.Namespace, summary: Summary) -> None:
    """Print what came out best, and what to do now.

    Args:
        options: of the command, whose other words the next one repeats.
    """
    meant = study.profile.name not in UNMEANT
    said = [line for name, seeds in study.cells.items() if meant and (line := best_cell(name, seeds, study.store))]
    for line in said[:MOST]:
        print(f"best     {coloured(line, 'green')}")
    if more := said[MOST:]:
        print(f"         and of {number_of(len(more), 'table')} more, as reports show")
    again = summary.failed or summary.blocked or summary.stopped
    print(f"next     {coloured(next_command('run' if again else 'report', options), 'bold')}")


def best_cell(table: str, seeds: Sequence[Sequence[Cell]], store: Store) -> str:
    """The highest cell among those with the metric that most cells of a table have, in words; "" if none is measured.

    Args:
        seeds: the cells of every repetition, in the same order; a cell counts once all of them are measured.
    """
    found: dict[str, list[tuple[float, Cell]]] = defaultdict(list)
    for same in zip(*seeds, strict=True):
        values = [value for cell in same if (value := _value(cell, store)) is not None]
        if len(values) == len(same):
            found[f"{same[0].metric} {same[0].figure}"].append((fmean(values), same[0]))
    if not found:
        return ""
    figures = Counter({figure: len(cells) for figure, cells in found.items()})
    figure = max(sorted(figures), key=figures.__getitem__)
    value, cell = max(found[figure], key=lambda pair: pair[0])
    of = f", mean of {len(seeds)} seeds" if len(seeds) > 1 else ""
    return f"{table}: {cell.row} / {cell.column}, {figure} {value:.1f}{of}"


def _value(cell: Cell, store: Store) -> float | None:
    run = store.run(cell.stage.name) if cell.stage else None
    value = run.metrics.get(cell.figure) if run and run.status == "done" else None
    return None if value is None or value == UNDEFINED or not math.isfinite(value) else float(value)
