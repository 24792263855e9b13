"""The words and numbers that every printed form of a table shares."""

from __future__ import annotations

from collections.abc import Callable

from casl.report.table import Table, TableCell


def number(value: float | None, *, signed: bool = False) -> str:
    """One decimal, as the paper prints; a dash where there is none."""
    if value is None:
        return "–"
    rounded = round(value, 1) + 0.0  # no -0.0
    return f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"


def ours(cell: TableCell, seeds: int) -> str:
    """Our number: "31.2", "31.2 ± 0.4", "31.2 [2/3]" when seeds are missing, "–" when undefined, else the status."""
    if cell.status not in ("done", "partial"):
        return cell.status
    spread = "" if cell.std is None else f" ± {number(cell.std)}"
    missing = f" [{cell.seeds}/{seeds}]" if cell.status == "partial" else ""
    return f"{number(cell.value)}{spread}{missing}"


def best(table: Table) -> tuple[set[int], set[int]]:
    """Positions in table.cells of the highest number of each metric and figure: ours, and the paper's.

    As printed, ties included; none where all numbers are equal.
    """
    return _highest(table, lambda c: c.value), _highest(table, lambda c: c.paper)


def _highest(table: Table, value: Callable[[TableCell], float | None]) -> set[int]:
    groups: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for i, cell in enumerate(table.cells):
        if (v := value(cell)) is not None:
            groups.setdefault((cell.metric, cell.figure), []).append((round(v, 1), i))
    return {i for group in groups.values() for v, i in group if min(group)[0] < v == max(group)[0]}


def quantities(table: Table) -> str:
    """What the numbers are: "ap_det AP", or several in the order of a place's numbers."""
    return " / ".join(dict.fromkeys(f"{c.metric} {c.figure}" for c in table.cells))


def has_paper(table: Table) -> bool:
    """Whether there is a published number to stand beside ours."""
    return any(c.paper is not None for c in table.cells)


def difference_label(table: Table) -> str:
    """Heading of ours minus the paper's, which only a profile at the paper's size may claim."""
    return "Difference, ours − paper" + (" (not a claim)" if table.small else "")


def headline(table: Table) -> list[str]:
    """Sentences above every table: what it is, from which profile and data, how much is measured."""
    seeds = f"{table.seeds} seeds (mean ± sample standard deviation)" if table.seeds > 1 else "1 seed"
    return [
        f"{table.source}." if table.source else "",
        f"Profile {table.profile} ({table.profile_title}), data {table.data}, {seeds}.",
        f"{quantities(table)}, in percent; {table.measured} of {len(table.cells)} cells measured.",
        *table.notes,
    ]


def missing(table: Table) -> list[str]:
    """One line for each cell that needs a word: what is missing and where to look."""
    lines: dict[str, list[str]] = {}
    for cell in table.cells:
        if cell.note and cell.note != "not run":
            lines.setdefault(cell.note, []).append(f"{cell.row}, {cell.column}")
    return [f"{'; '.join(places)}: {note}" for note, places in lines.items()]


def positions(table: Table, row: str, column: str) -> list[int]:
    """Where in table.cells the numbers of one place stand, in printing order."""
    return [i for i, c in enumerate(table.cells) if (c.row, c.column) == (row, column)]


def entry(table: Table, at: list[int], mark: Callable[[int, str], str]) -> str:
    """One place as text: "31.2 (45.3)", several numbers as "31.2 / 52.0 (45.3 / 66.1)", empty where there is none.

    Args:
        at: from `positions`.
        mark: (position in table.cells, our number) -> how it is printed, to set off the best ones.
    """
    cells = [table.cells[i] for i in at]
    text = " / ".join(mark(i, ours(table.cells[i], table.seeds)) for i in at)
    if any(c.paper is not None for c in cells):
        text += f" ({' / '.join(number(c.paper) for c in cells)})"
    return text


def difference(table: Table, at: list[int]) -> str:
    """Ours minus the paper's at one place."""
    return " / ".join(number(table.cells[i].difference, signed=True) for i in at)
