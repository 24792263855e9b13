"""A made-up store with curves: two warmup lengths, two finetunes of each, an evaluation of every finetune."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from casl.report.table import Table, build_table
from casl.spec import Cell, Evaluate, Finetune, Labeler, PseudoLabel, Scenes, Warmup
from casl.spec.run import Run
from casl.spec.schedule import Schedule
from casl.spec.stage import Stage, ancestors
from tests.report.sample import AGNOSTIC, LABELED, PROFILE, RECIPE, ablation

LENGTHS = (60, 150)  # of warmups and of finetunes: the longer one parts from the shorter where that one's rate drops
DROPS = (40, 100)


def schedule(long: bool) -> Schedule:
    return (DROPS[long], 1.0), (LENGTHS[long], 0.1)


def cells(
    rows: Sequence[str] = ("F 1x", "F 2x"), columns: Sequence[str] = ("W 1x", "W 2x"), seed: int = 0
) -> tuple[Cell, ...]:
    """Row r and column c: the r-th length of a finetune, after the c-th of a warmup."""
    labeler = Labeler(AGNOSTIC, LABELED, "objects", RECIPE, ((60, 1.0),), seed=seed)
    pseudo = PseudoLabel(labeler, Scenes("unlabeled", 20, 64), 64, 96)
    found = []
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            warm = Warmup(AGNOSTIC, pseudo, "pseudo", RECIPE, schedule(bool(c)), seed=seed, threshold=0.3)
            model = Finetune(AGNOSTIC, LABELED, "objects", RECIPE, schedule(bool(r)), seed=seed, init=warm)
            stage = Evaluate(model, Scenes("val", 5, 64), "objects", "ap_det", 64, 96)
            found.append(Cell(row, column, "ap_det", stage))
    return tuple(found)


def loss(family: str, factor: float, iteration: int) -> float:
    """The same for all trainings of a family until their rates part."""
    return round(
        3.0 * math.exp(-iteration / 30) + 0.5 * factor + 0.05 * math.sin(iteration * (1 + int(family[:2], 16))), 5
    )


class Made:
    """Results in a folder, each training with its curve, and the table of all seeds."""

    def __init__(self, folder: Path, seeds: Sequence[tuple[Cell, ...]]) -> None:
        self.seeds = seeds
        self.stages: dict[str, Stage] = {c.measurement.name: c.measurement for same in seeds for c in same}
        every = {s.name: s for end in self.stages.values() for s in ancestors(end)}
        self.runs = {name: _done(folder / "stages" / name, stage) for name, stage in every.items()}
        self.trained = {name: stage for name, stage in every.items() if isinstance(stage, Finetune | Warmup | Labeler)}
        for name, stage in self.trained.items():
            lines = ["iteration,loss,loss_box,lr"]
            for i in range(stage.iters):
                value = loss(stage.family, stage.factor_at(i), i)
                lines.append(f"{i},{value},{value / 4:.6g},{1e-3 * stage.factor_at(i):g}")
            (self.runs[name].folder / "curves.csv").write_text("\n".join(lines) + "\n")

    @property
    def table(self) -> Table:
        return build_table(ablation(), replace(PROFILE, small=True), self.seeds, self.runs, {})

    def named(self, kind: str, **lengths: int) -> list[str]:
        """Trainings of a kind, by the lengths of themselves and of what they start from."""
        return [
            name
            for name, stage in self.trained.items()
            if stage.kind == kind
            and stage.iters == lengths.get("iters", stage.iters)
            and (stage.init is None or stage.init.iters == lengths.get("init", stage.init.iters))
        ]

    def curve(self, name: str) -> Path:
        return self.runs[name].folder / "curves.csv"


def _done(folder: Path, stage: Stage) -> Run:
    folder.mkdir(parents=True)
    figures: Mapping[str, float] = {"AP": 30.0} if isinstance(stage, Evaluate) else {}
    return Run(stage.name, stage.key, stage.kind, "done", folder, metrics=figures, commit="c0ffee")
