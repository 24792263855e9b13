"""How good would labels above a threshold be? Told from scored predictions on disk, without torch and without training.

Quality is measured on the held-out val split, which the labeler never saw; the truth of the unlabeled split, which the
built-in scenes know, is not looked at. Val is also what models are judged on, so a threshold chosen by it is judged a
little too well; that is as true of choosing by AP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from casl.data.exporting.writer import useful
from casl.data.pseudo import count_pseudo_labels
from casl.files import read_json
from casl.metrics.counts import label_quality
from casl.metrics.results import Result
from casl.spec.kinds import Evaluate, PseudoLabel
from casl.spec.run import PREDICTIONS
from casl.stages.kept import Finished
from casl.stages.sources import LABELS


class ScoredLabels(Finished):
    """Reads finished stages; remembers the predictions it read last for each. Arguments as of Finished."""

    def __init__(self, folder_of: Callable[[str], Path], roots: Mapping[str, Path], digests: Path) -> None:
        super().__init__(folder_of, roots, digests)
        self._found: dict[str, list[Result]] = {}
        self._quality: dict[tuple[str, float], Mapping[str, float]] = {}

    def quality(self, scoring: Evaluate, threshold: float) -> Mapping[str, float]:
        """Class-agnostic precision, recall and F1 of a labeler's predictions on its evaluation's split.

        Args:
            scoring: a finished evaluation of the labeler.
            threshold: delta; a score must exceed it, compared as float32 like the labels a warmup reads.

        Returns:
            As casl.metrics.counts.label_quality, in percent; a rate without a divisor counts as 0.
        """
        known = (scoring.name, threshold)
        if known not in self._quality:
            exact = float(np.float32(threshold))
            rates = label_quality(self.truth(scoring), self._predictions(scoring), exact)
            self._quality[known] = {name: max(0.0, rate) for name, rate in rates.items()}
        return self._quality[known]

    def counts(self, scored: PseudoLabel, threshold: float) -> tuple[int, int]:
        """Images with a label above the threshold, and such labels, of finished pseudo labels."""
        return count_pseudo_labels(self.folder_of(scored.name) / LABELS, threshold)

    def _predictions(self, scoring: Evaluate) -> list[Result]:
        """Without what no pseudo label can be: boxes without area and empty masks."""
        if scoring.name not in self._found:
            read: list[dict[str, Any]] = read_json(self.folder_of(scoring.name) / PREDICTIONS)
            self._found[scoring.name] = useful(read)
        return self._found[scoring.name]
