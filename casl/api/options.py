"""The keywords of `casl.Study` beside those in its signature, as editors and type checkers see them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict

Several = str | Sequence[str]  # one value, or one of each of several options


class StudyOptions(TypedDict, total=False):
    """Every further option of `casl run`, with underscores; `casl run --help` says what each does.

    What is not said is as of the command line, and so is None. Sizes are in px, lengths in iterations.
    """

    # what differs from the profile
    rule: str
    provider: str
    size: int | None
    batch_size: int | None
    iters_1x: int | None
    set: Several  # PATH=VALUE
    crowds_are_objects: bool
    # which part of the tables
    cell: tuple[str, str] | None  # row, column
    row: Several
    only_seed: int | None
    # where and how stages run
    launcher: str
    jobs: int
    device: str
    loaders: int
    weights: str | PathLike[str]
    bits: Literal["portable", "native"] | None
    gpus: str
    per_gpu: int
    gpus_per_stage: int
    nodes: int
    option: Several  # NAME=VALUE of the launcher
    time_limit: str  # 30m, 2h
    mlflow: str
    # what a run does
    detach: bool
    keep_going: bool
    dry_run: bool
    rerun_moved: bool
    # of the word `claims` for a table
    until: Literal["decided"] | None
    budget: str
    most: int
