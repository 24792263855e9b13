"""What a stage is given to work with and what it gives back. Nothing here can reach a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casl.spec.kinds import Train

Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Context:
    """Placement of one stage.

    folder: the work folder; every file left in it is committed with the result. inputs: stage name -> committed folder.
    roots: digest -> folder of a data set on disk. digests: file that remembers content hashes of such sets.
    resume: earlier state of the same training to continue from. device: "cpu", "cuda", "cuda:1". loaders: threads that
    prepare batches ahead; 0 prepares them in line. checkpoint_s: seconds between checkpoints. weights: folder with
    files of pretrained backbone weights. rank, world: which of how many processes that do this stage together this one
    is; only rank 0 writes results. micro_batches: pieces to cut a batch into where memory does not hold all of it.
    stopping(): whether to save a checkpoint and raise StoppedError at the next chance.
    progress(done, total, figures): called often; total in iterations or images. say(text): one line for the log.
    """

    folder: Path
    inputs: Mapping[str, Path]
    roots: Mapping[str, Path]
    device: str
    progress: Progress
    say: Callable[[str], None]
    resume: Train | None = None
    loaders: int = 0
    checkpoint_s: float = 30.0
    weights: Path | None = None
    digests: Path | None = None
    rank: int = 0
    world: int = 1
    micro_batches: int = 1
    stopping: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Outcome:
    """Result of a stage beside its files. metrics: figure -> value; facts: other JSON values worth keeping."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
