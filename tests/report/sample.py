"""A two by two table with made-up runs, and tables of any form, for the tests of this folder."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from casl.report.table import Table, build_table
from casl.spec import (
    Ablation,
    Cell,
    Evaluate,
    Finetune,
    Labeler,
    Model,
    PlannedData,
    Profile,
    Recipe,
    Scenes,
)
from casl.spec.run import Run
from casl.spec.schedule import MOST_ITERS
from casl.spec.stage import Stage

AGNOSTIC = Model(detector="fcos", backbone="resnet_micro", classes=1)
MAPPING = replace(AGNOSTIC, detector="panoptic_fpn")
RECIPE = Recipe(lr=1e-3, batch=4, sizes=(64,), max_size=96)
LABELED = Scenes("labeled", 10, 64)
PROFILE = Profile(
    name="mini",
    title="a <small> one & 100 % made up",
    data=PlannedData(name="my_set", counts={}, classes=3, stuff=2, keypoints=4),
    iters_1x=10,
    backbones={},
    shape=AGNOSTIC,
    warmup_recipe=RECIPE,
    finetune_recipe=RECIPE,
    test_size=(64, 96),
)
PAPER = {("F 1x", "W 1x"): 45.3, ("F 1x", "W 2x"): 46.3, ("F 2x", "W 1x"): 47.0, ("F 2x", "W 2x"): None}


def judged_by(metric: str) -> Model:
    """A detector that gives what a metric judges."""
    return MAPPING if metric == "pq" else AGNOSTIC


def evaluation(row: str, column: str, seed: int, metric: str = "ap_det") -> Evaluate:
    """A stage of its own for each place and seed."""
    start = Labeler(AGNOSTIC, LABELED, "objects", RECIPE, ((len(column) + ord(column[2]), 1.0),), seed=seed)
    model = Finetune(judged_by(metric), LABELED, "objects", RECIPE, ((10 * ord(row[2]), 1.0),), seed=seed, init=start)
    return Evaluate(model, Scenes("val", 5, 64), "objects", metric, 64, 96)


def cells(seed: int = 0, metrics: Sequence[str] = ("ap_det",), figures: Sequence[str] = ("AP",)) -> tuple[Cell, ...]:
    return tuple(
        Cell(row, column, metric, evaluation(row, column, seed, metric), paper, figure)
        for (row, column), paper in PAPER.items()
        for metric in metrics
        for figure in figures
    )


def stage_of(cell: Cell) -> Evaluate:
    """The stage of a cell that is measured."""
    return cell.evaluation


def done(stage: Stage, **metrics: float) -> Run:
    folder = Path("/store/stages") / stage.name
    return Run(stage.name, stage.key, stage.kind, "done", folder, metrics=metrics, commit="c0ffee")


def failed(stage: Stage, error: str) -> Run:
    return Run(stage.name, stage.key, stage.kind, "failed", Path("/store/work") / stage.name, error=error)


def ablation(title: str = "Schedules") -> Ablation:
    return Ablation("table4", title, "Paper, Table 4", lambda _: cells(), rows="finetune", columns="warmup")


def table(
    seeds: Sequence[tuple[Cell, ...]],
    runs: Sequence[Run],
    run_ids: Mapping[str, str] | None = None,
    *,
    small: bool = True,
    title: str = "Schedules",
) -> Table:
    by_name = {run.name: run for run in runs}
    return build_table(ablation(title), replace(PROFILE, small=small), seeds, by_name, run_ids or {})


Spot = tuple[str, str, str, str]  # row, column, metric, figure
Numbers = tuple[Sequence[float | None] | None, float | None]  # one a seed (None: not run), or None: quoted; the paper's


def tabled(
    name: str,
    spots: Mapping[Spot, Numbers],
    *,
    figure: str = "heat map",
    baseline: str = "",
    small: bool = True,
    note: str = "",
) -> Table:
    """A table of literal numbers; `note` is given to cells that only quote the paper."""
    count = max((len(values) for values, _ in spots.values() if values is not None), default=1)
    seeds: list[list[Cell]] = [[] for _ in range(count)]
    runs: list[Run] = []
    for i, ((row, column, metric, which), (values, paper)) in enumerate(spots.items()):
        for seed in range(count):
            stage = None if values is None else numbered(f"{name}{i}", metric, seed)
            words = note if values is None else ""
            seeds[seed].append(Cell(row, column, metric, stage, paper, which, words))
            if stage is not None and values is not None and (value := values[seed]) is not None:
                runs.append(done(stage, **{which: value}))
    one = Ablation(name, f"Title of {name}", "Paper", lambda _: [], figure=figure, baseline=baseline)
    profile = replace(PROFILE, small=small)
    return build_table(one, profile, [tuple(s) for s in seeds], {r.name: r for r in runs}, {})


def numbered(text: str, metric: str, seed: int) -> Evaluate:
    """A stage of its own for each text and seed."""
    length = 1 + zlib.crc32(text.encode()) % MOST_ITERS
    model = Labeler(judged_by(metric), LABELED, "objects", RECIPE, ((length, 1.0),), seed=seed)
    return Evaluate(model, Scenes("val", 5, 64), "objects", metric, 64, 96)


def full(*, small: bool = True, title: str = "Schedules") -> Table:
    """Every cell measured with one seed: 20, 21.5, 30.04 and 25."""
    one = cells()
    runs = [done(stage_of(c), AP=ap) for c, ap in zip(one, (20.0, 21.5, 30.04, 25.0), strict=True)]
    return table([one], runs, {stage_of(one[2]).name: "abc123"}, small=small, title=title)


def gappy() -> Table:
    """One done, one failed with an error to escape, one blocked by its start, one not run."""
    one = cells()
    start = stage_of(one[2]).model.init
    assert start is not None
    runs = [
        done(stage_of(one[0]), AP=20.0),
        failed(stage_of(one[1]), "bad & <b>worse</b> 5%_x\nmore"),
        failed(start, "no disk"),
    ]
    return table([one], runs)


def inked(picture: bytes) -> tuple[int, int]:
    """The last column of pixels that is not background, and how many columns there are."""
    found = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    return int(np.flatnonzero((found < 200).any(axis=0))[-1]), found.shape[1]
