"""Stages carried out without the runner, by one process or by several real ones that talk over gloo."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from casl.catalog import load
from casl.spec.context import Context, Outcome
from casl.spec.stage import Stage

WAIT_S = 120.0  # for ranks that should have ended long ago


def context(stage: Stage, root: Path, folder: Path, **changes: Any) -> Context:
    """To do a stage in `folder`, with its inputs under their names in `root`."""
    needed = [*stage.inputs(), *(s for parent in stage.inputs() for s in parent.inputs())]
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "folder": folder,
        "inputs": {s.name: root / s.name for s in needed},
        "roots": {},
        "device": "cpu",
        "progress": lambda done, total, figures: None,
        "say": lambda text: None,
    }
    return Context(**given | changes)


def carry_out(stage: Stage, root: Path, folder: Path | None = None, **changes: Any) -> Outcome:
    """Do a stage in `folder`, by default `root`/<its name>, where its inputs must be."""
    ctx = context(stage, root, folder or root / stage.name, **changes)
    outcome: Outcome = load("stage", stage.kind)(stage, ctx)
    return outcome


def with_inputs(stage: Stage, root: Path) -> Stage:
    """The stage itself, after everything it reads has been made in `root`."""
    for needed in stage.inputs():
        with_inputs(needed, root)
        if not (root / needed.name).exists():
            carry_out(needed, root)
    return stage


def start_ranks(world: int, work: Callable[..., None], *arguments: Any) -> list[BaseProcess]:
    """Processes that call work(rank, world, *arguments)."""
    context = multiprocessing.get_context("forkserver")  # imports torch once, and forks before anything has run
    context.set_forkserver_preload(["casl.stages.training", "casl.stages.pseudolabel", "casl.models.condinst"])
    ranks: list[BaseProcess] = []
    for rank in range(world):
        ranks.append(context.Process(target=_rank, args=(work, rank, world, *arguments), daemon=True))
        ranks[-1].start()
    return ranks


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def meet_at(port: int) -> None:
    """What torchrun does to tell a rank where to meet the others. A port serves once."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def join(ranks: list[BaseProcess]) -> list[int | None]:
    """Their exit codes; None for one that had to be killed because it hung."""
    codes = []
    for process in ranks:
        process.join(WAIT_S)
        codes.append(process.exitcode)
        process.kill()
    return codes


def _rank(work: Callable[..., None], rank: int, world: int, *arguments: Any) -> None:
    torch.set_num_threads(1)
    work(rank, world, *arguments)
