"""A study as a Python object: tables under a profile, planned, run, and read as frames of pandas."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from casl.api.options import StudyOptions
from casl.cli import parser
from casl.cli.parser import RENAMED, Parser
from casl.cli.run import run_study
from casl.cli.study import counter, request_of, warn
from casl.cli.workers import words_of
from casl.errors import SpecError, StageError, unknown
from casl.report.layout import quantity
from casl.report.paper import joined
from casl.report.table import Table
from casl.runner.plan import outcomes
from casl.study.basis import basis_of
from casl.study.opened import Study as Opened
from casl.study.request import STORE, StudyRequest
from casl.words import number_of

if TYPE_CHECKING:
    import pandas

_TIDY = ("row", "column", "metric", "value", "std", "seeds", "paper", "status", "note", "stage")


class Study:
    """Tables under a profile. Finished stages are in its store, so that any call goes on where another one ended.

    Args:
        tables: names of ablations, "all" for the paper's ten, or files with one ("mine.py").
        profile, data, seeds, store: as of `casl run`.
        options: every other option of `casl run`, as StudyOptions has them: rule="A", size=96, jobs=2, device="cpu",
            launcher="slurm", cell=("F 2x", "W 3x"), row=("CA-SSL", "STAC").

    Raises:
        SpecError: a table, profile or option does not exist; the message suggests the near miss.
        DataError: the data set cannot be read.
    """

    def __init__(
        self,
        *tables: str | Path,
        profile: str = StudyRequest.profile,
        data: str | Path = "",
        seeds: int = StudyRequest.seeds,
        store: str | Path = STORE,
        **options: Unpack[StudyOptions],
    ) -> None:
        if not tables:
            raise SpecError('a study needs a table: casl.Study("table4").')
        words: dict[str, object] = {"profile": profile, "seeds": seeds, "store": store, **options}
        if data:
            words["data"] = data
        self._options = _parsed(["run", *map(str, tables), *_words(words)])
        self._opened()  # what is wrong is said here

    def __repr__(self) -> str:
        given = self._options
        return f"<casl.Study {' '.join(given.tables)}, profile {given.profile}, seeds {given.seeds}, in {given.store}>"

    def plan(self) -> pandas.DataFrame:
        """Every stage of the tables, inputs before users: stage, kind, title, iterations to train, done, to_run.

        Runs nothing. What is neither done nor to be run led only to numbers that were taken over without it.

        `attrs` of the frame has stages and iterations done naively, each stage once, and each iteration once.
        """
        import pandas

        plan = self._opened().plan()
        columns, todo = ["stage", "kind", "title", "iterations", "done", "to_run"], set(plan.todo)
        rows = [(name, n.stage.kind, n.stage.title, n.iters, n.done, name in todo) for name, n in plan.nodes.items()]
        frame = pandas.DataFrame(rows, columns=columns).set_index("stage")
        counts = plan.counts
        frame.attrs |= {
            "cells": counts.cells,
            "naive_iterations": counts.naive_iters,
            "unique_iterations": counts.unique_iters,
            "shared_iterations": counts.shared_iters,
        }
        return frame

    def run(self) -> Study:
        """Run what is missing, as `casl run` does: workers are processes, results go to the store and to MLflow.

        Returns:
            The study itself, for `Study(...).run().table()`.

        Raises:
            StageError: stages failed; what does not need them is done and kept.
            KeyboardInterrupt: it was stopped; stages saved what they had.
        """
        ended = run_study(self._options)
        if ended["stopped"]:
            raise KeyboardInterrupt
        if failed := ended["failed"]:
            why = self._opened().store.run(failed[0]).error
            raise StageError(f"{number_of(len(failed), 'stage')} failed, {failed[0]} first: {why}")
        return self

    def table(self, name: str = "", tidy: bool = False) -> pandas.DataFrame:
        """A table as it is in the store.

        Args:
            name: which of the study's tables; may be left out where there is one.
            tidy: one line a cell, with value, sample standard deviation over seeds, seeds, the paper's number, status,
                note and stage; otherwise rows and columns as printed, and means in percent, NaN where none is measured.
                Where a place holds several numbers, as in Table 6, a column is a pair: its heading and the number,
                such as "ap_e AP".
        """
        import pandas

        cells = self._joined(name).cells
        if tidy:
            lines = [[getattr(c, "name" if field == "stage" else field) for field in _TIDY] for c in cells]
            return pandas.DataFrame(lines, columns=list(_TIDY))
        alone = len({(cell.row, cell.column) for cell in cells}) == len(cells)
        means: dict[Any, dict[str, float]] = {}
        for cell in cells:
            column = means.setdefault(cell.column if alone else (cell.column, quantity(cell)), {})
            column[cell.row] = math.nan if cell.value is None else cell.value
        return pandas.DataFrame(means, index=list(dict.fromkeys(cell.row for cell in cells)), dtype=float)

    def _joined(self, name: str) -> Table:
        study = self._opened()
        if not name and len(study.tables) > 1:
            raise SpecError(f"the study has several tables: {', '.join(study.tables)}; name one.")
        name = name or next(iter(study.tables))
        if name not in study.tables:
            raise SpecError(unknown("table of this study", name, study.tables))
        return joined(study.tables[name], study.profile, study.cells[name], outcomes(study.plan(), study.store), {})

    def _opened(self) -> Opened:
        """The study on its store as it is now."""
        with contextlib.redirect_stdout(io.StringIO()):  # of a file with a table, which every call would print again
            basis = basis_of(request_of(self._options), counter("checking images"), make=False)
            warn(basis.warnings)
            return basis.study()


def _words(options: Mapping[str, object]) -> list[str]:
    """Options as the words of a command line.

    None leaves one out, and False too unless it has a --no- form; True gives it alone.

    Raises:
        SpecError: `casl run` has no such option.
    """
    run = parser().verbs["run"]
    assert isinstance(run, Parser)
    known = {_keyword(w) for w in run.options if w.startswith("--") and not w.startswith("--no-")} - {"help", "json"}
    found: list[str] = []
    for name, value in options.items():
        if name not in known:
            if now := RENAMED.get(("run", f"--{name.replace('_', '-')}")):
                raise SpecError(f"unknown option of casl.Study {name!r}.\n  it is called {_keyword(now)!r} now.")
            raise SpecError(unknown("option of casl.Study", name, known))
        word = name.replace("_", "-")
        if value is False and f"--no-{word}" in run.options:
            found.append(f"--no-{word}")
        if value is None or value is False:
            continue
        found += words_of(next(a for a in run._actions if f"--{word}" in a.option_strings), value)
    return found


def _keyword(word: str) -> str:
    return word.removeprefix("--").replace("-", "_")


def _parsed(words: list[str]) -> Any:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parser().parse_args(words)
    except SystemExit as error:
        raise SpecError(said.getvalue().strip()) from error
