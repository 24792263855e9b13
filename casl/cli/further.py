"""Figures that a report shows beside those of an evaluation, counted once from the predictions it kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from casl import catalog
from casl.errors import DataError, StoreError
from casl.files import recalled, write_json
from casl.runner.store import Store
from casl.spec.ablation import Cell
from casl.spec.run import PREDICTIONS, Run

MEMORY = "further"  # folder of the store
GONE = "not counted: the evaluation kept no predictions"
LEFT = "not counted: the predictions are elsewhere, where these numbers were computed"
OF_SOME = "not counted: the cell is about some of the classes, and kinds of errors are about all of them"
RULES = 2  # raise when a further figure is counted in another way


def _has(value: object, words: tuple[str, ...], numbers: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and all(
        [isinstance(value.get(n), str) for n in words] + [isinstance(value.get(n), int | float) for n in numbers]
    )


def _is_numbers(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and _has(value, (), tuple(value))


_SOUND: Mapping[str, Callable[[Any], bool]] = {  # what is remembered, if it is; anything else is counted again
    "recall": lambda value: _has(value, ("metric",), ("AR1", "AR10", "AR100")),
    "errors": lambda value: (
        _has(value, (), ("AP50",)) and all(_is_numbers(value.get(part)) for part in ("counts", "gains"))
    ),
    "classes": lambda value: (
        isinstance(value, list) and all(_has(one, ("name",), ("objects", "ap", "ap50")) for one in value)
    ),
}


class Further:
    """Further figures of the evaluations of a store, remembered in it.

    Args:
        runs: what is known of its stages. roots: digest -> folder of a data set on disk.
    """

    def __init__(self, store: Store, runs: Mapping[str, Run], roots: Mapping[str, Path]) -> None:
        self.store, self.runs, self.roots = store, runs, roots
        self._kept: Any = None  # a KeptPredictions, made when the first is asked for

    def by_class(self, cell: Cell) -> Any:
        """AP of each class that the cell is about, or why there is none as text; see KeptPredictions."""
        found = self._figures(cell, "classes", lambda kept: kept.by_class(cell.evaluation))
        about = cell.evaluation.classes
        return [found[place] for place in about] if about and not isinstance(found, str) else found

    def errors(self, cell: Cell) -> Any:
        """Kinds of errors, or why there are none as text; see KeptPredictions."""
        if cell.evaluation.classes:  # a prediction of another class may be right there, and is no error
            return OF_SOME
        return self._figures(cell, "errors", lambda kept: kept.errors(cell.evaluation))

    def recall(self, cell: Cell) -> Any:
        """Recall of a labeler or warmup, or why there is none as text; None for another model or metric."""
        if not (cell.measurement.trained.is_of_labels and catalog.row("metric", cell.metric).recall):
            return None
        return self._figures(cell, "recall", lambda kept: kept.recall(cell.evaluation))

    def _figures(self, cell: Cell, what: str, count: Callable[[Any], Any]) -> Any:
        name = cell.measurement.name
        run = self.runs.get(name)
        if run is None or run.status != "done":
            return run.status if run else "not run"
        memory = self.store.root / MEMORY / f"{name}.json"
        known = recalled(memory)
        if known.get("rules") != RULES:
            known = {"rules": RULES}
        if not _SOUND[what](known.get(what)):
            known.pop(what, None)
        if what not in known and not (run.folder / PREDICTIONS).exists():
            return LEFT if PREDICTIONS in run.left_out else GONE
        if what not in known:
            try:
                known[what] = count(self._predictions())
            except DataError as error:  # a page names no folder of this machine
                return f"not counted: {str(error).splitlines()[0].replace(f'{self.store.root}/', '')}"
            self._remember(memory, known)
        return known[what]

    def _remember(self, memory: Path, known: Mapping[str, Any]) -> None:
        try:
            memory.parent.mkdir(exist_ok=True)
            write_json(memory, known)
        except (OSError, StoreError):
            return  # a store that can only be read: it is counted again the next time, which is slow and not wrong

    def _predictions(self) -> Any:
        if self._kept is None:
            from casl.stages.kept import KeptPredictions

            self._kept = KeptPredictions(self.store.folder, self.roots, self.store.digests)
        return self._kept
