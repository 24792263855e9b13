"""Whether the paper's numbers stand beside ours, and a table without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from casl.report.table import Table, build_table
from casl.spec.ablation import Ablation, Cell
from casl.spec.data_sets import FolderData
from casl.spec.profile import Profile
from casl.spec.run import Run


def joined(
    ablation: Ablation,
    profile: Profile,
    seeds: Sequence[tuple[Cell, ...]],
    runs: Mapping[str, Run],
    run_ids: Mapping[str, str],
    paper: bool | None = None,
) -> Table:
    """`build_table`, with the paper's numbers or without.

    Args:
        paper: whether they stand beside ours; by default as `has_paper_beside` says.
    """
    if has_paper_beside(profile) if paper is None else paper:
        return build_table(ablation, profile, seeds, runs, run_ids)
    ablation, cells, notes = without_paper(ablation, profile, seeds)
    found = build_table(ablation, profile, cells, runs, run_ids)
    return replace(found, notes=(*found.notes, *notes))


def has_paper_beside(profile: Profile) -> bool:
    """Whether the paper's numbers stand beside ours unless a command says otherwise.

    They are about COCO at full size; those of a small profile on other images have nothing to do with them.
    """
    return not (profile.small and isinstance(profile.data, FolderData))


def without_paper(
    ablation: Ablation, profile: Profile, seeds: Sequence[tuple[Cell, ...]]
) -> tuple[Ablation, list[tuple[Cell, ...]], list[str]]:
    """A table of what is measured alone, without the paper's numbers.

    Returns:
        The ablation, its cells of each seed, and what the data lack for those that are not measured. A table in which
        nothing is measured stays as it is: it says why, and quotes the paper.
    """
    kept = [tuple(replace(cell, paper=None) for cell in cells if cell.stage) for cells in seeds]
    if not any(kept):
        return ablation, list(seeds), []
    lacking = {c.note for cells in seeds for c in cells if not c.stage and c.note == profile.lacks(c.metric)}
    headings = {heading for cell in kept[0] for heading in (cell.row, cell.column)}
    if ablation.baseline not in headings:
        ablation = replace(ablation, baseline="")
    return ablation, kept, [f"{note[:1].upper()}{note[1:]}." for note in sorted(lacking)]
