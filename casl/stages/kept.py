"""Further figures of evaluations that are done, counted from the predictions they kept: without torch or training.

An evaluation stores the figures of its metric. What else its predictions say is counted when it is asked for, so that
it can be asked of results of every age.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from casl.catalog import load, load_place, row
from casl.metrics.error_types import error_types
from casl.metrics.results import GroundTruth, Result, read_results
from casl.rows import Metric
from casl.spec.context import Context
from casl.spec.kinds import Evaluate
from casl.spec.run import PREDICTIONS
from casl.spec.stage import Stage
from casl.stages.sources import open_split


class Finished:
    """Reads what finished evaluations were judged against; remembers each split.

    Args:
        folder_of: stage name -> folder of its result. roots: digest -> folder of a data set on disk. digests: file that
            remembers content hashes of such sets.
    """

    def __init__(self, folder_of: Callable[[str], Path], roots: Mapping[str, Path], digests: Path) -> None:
        self.folder_of, self.roots, self.digests = folder_of, roots, digests
        self._truths: dict[tuple[str, str], GroundTruth] = {}

    def truth(self, done: Evaluate) -> GroundTruth:
        """The labels of its split.

        Raises:
            DataError: the split is not there any more, or changed.
        """
        known = (done.data.name, done.labels)
        if known not in self._truths:
            self._truths[known] = open_split(done.data, done.labels, self.context(done.data)).coco()
        return self._truths[known]

    def context(self, data: Stage) -> Context:
        """What stages get to read a data stage with."""
        folder = self.folder_of(data.name)
        inputs = {data.name: folder}
        return Context(folder, inputs, self.roots, "cpu", lambda *_: None, lambda _: None, digests=self.digests)


class KeptPredictions(Finished):
    """Counts from the predictions of finished evaluations; arguments as of Finished."""

    def by_class(self, done: Evaluate) -> list[dict[str, Any]]:
        """AP of each class as {"name", "objects", "ap", "ap50"} by rising category id; the metric's row must say how.

        Raises:
            DataError: predictions or split are not there any more, or damaged.
        """
        metric: Metric = row("metric", done.metric)
        return [asdict(found) for found in load_place(metric.by_class)(*self._sides(done))]

    def recall(self, done: Evaluate) -> dict[str, Any]:
        """The recall that belongs to its metric, "metric": its name, and all figures in percent; errors as by_class."""
        name = row("metric", done.metric).recall
        return {"metric": name, **load("metric", name)(*self._sides(done))}

    def errors(self, done: Evaluate) -> dict[str, Any]:
        """What is wrong, as {"AP50", "counts", "gains"} of casl.metrics.error_types; errors as by_class.

        Of masks where its metric needs them, else of boxes; without classes where the metric has none.
        """
        metric: Metric = row("metric", done.metric)
        found = error_types(*self._sides(done), masks="masks" in metric.needs, agnostic=not metric.by_class)
        return {"AP50": found.ap, "counts": found.counts, "gains": found.gains}

    def _sides(self, done: Evaluate) -> tuple[GroundTruth, list[Result]]:
        found = read_results(self.folder_of(done.name) / PREDICTIONS)
        return self.truth(done), found
