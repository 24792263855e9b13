"""What becomes of a detector's raw predictions before a metric reads them: COCO results, poses, or panoptic images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from casl.data.coco import CocoSplit
from casl.data.keypoints import coco_keypoints
from casl.data.pseudo import Prediction
from casl.files import write_atomic
from casl.metrics.bootstrap import ap_of_draws, image_weights, pq_of_draws
from casl.metrics.panoptic_merge import MergeSettings, merge_panoptic
from casl.stages.detectors import coco_results, to_prediction

PREDICTIONS = "predictions.json"
COCO_PIXELS = 640 * 480  # of the images that PanopticFPN's smallest stuff region is meant for
Metric = Callable[..., dict[str, float]]


class Form(Protocol):
    """Collects the predictions of a split in order, then judges and keeps them."""

    def add(self, index: int, found: dict[str, torch.Tensor]) -> None: ...

    def judge(self, metric: Metric) -> dict[str, float]: ...

    def draws(self, metric: str) -> list[float]: ...

    def keep(self, folder: Path) -> int: ...


class Boxes:
    """COCO results with boxes and, if the detector gives them, masks.

    masks_alone: leave boxes out, or COCO would take a mask's area from its box; detectron2 does so too.
    """

    def __init__(self, split: CocoSplit, masks_alone: bool) -> None:
        self.split, self.masks_alone = split, masks_alone
        self.found: list[Prediction] = []

    def add(self, index: int, found: dict[str, torch.Tensor]) -> None:
        self.found.append(to_prediction(found))

    def results(self) -> list[dict[str, Any]]:
        return coco_results(self.split, self.found)

    def judge(self, metric: Metric) -> dict[str, float]:
        return metric(self.split.coco(), self._compared())

    def draws(self, metric: str) -> list[float]:
        """The headline figure of a metric, by its name, on each draw of the bootstrap over images; percent."""
        values = ap_of_draws(metric, self.split.coco(), self._compared(), image_weights(len(self.split)))
        return [float(value) for value in values]

    def _compared(self) -> list[dict[str, Any]]:
        results = self.results()
        if self.masks_alone:
            return [{name: value for name, value in r.items() if name != "bbox"} for r in results]
        return results

    def keep(self, folder: Path) -> int:
        results = self.results()
        write_atomic(folder / PREDICTIONS, json.dumps(results).encode())
        return len(results)


class Poses(Boxes):
    """COCO keypoint results: the same with [x, y, score] of every point."""

    def __init__(self, split: CocoSplit) -> None:
        super().__init__(split, masks_alone=False)
        self.points: list[list[float]] = []

    def add(self, index: int, found: dict[str, torch.Tensor]) -> None:
        super().add(index, found)
        self.points += coco_keypoints(found["keypoints"].cpu().numpy())

    def results(self) -> list[dict[str, Any]]:
        return [r | {"keypoints": p} for r, p in zip(super().results(), self.points, strict=True)]


class Panoptic(Boxes):
    """Panoptic images, merged from instances and the map of stuff."""

    def __init__(self, split: CocoSplit) -> None:
        super().__init__(split, masks_alone=False)
        self.merged: list[tuple[NDArray[np.int32], list[dict[str, Any]]]] = []

    def add(self, index: int, found: dict[str, torch.Tensor]) -> None:
        super().add(index, found)
        semantic = found["semantic"].cpu().numpy()
        self.merged.append(
            merge_panoptic(
                found["masks"].cpu().numpy(),
                found["scores"].cpu().numpy(),
                [self.split.category_ids[label] for label in found["labels"].tolist()],
                semantic,
                self.split.stuff_category_ids,
                MergeSettings(stuff_area_limit=4096 * semantic.size / COCO_PIXELS),
            )
        )

    def judge(self, metric: Metric) -> dict[str, float]:
        return metric(*self._pairs())

    def draws(self, metric: str) -> list[float]:
        return [float(value) for value in pq_of_draws(*self._pairs(), image_weights(len(self.split)))]

    def _pairs(self) -> tuple[Iterator[tuple[Any, Any, Any, Any]], list[dict[str, Any]]]:
        truth = self.split.panoptic()
        segments = {a["image_id"]: a["segments_info"] for a in truth["annotations"]}
        pairs = (
            (self.split.panoptic_png(i), segments[image.id], ids, found)
            for i, (image, (ids, found)) in enumerate(zip(self.split.images, self.merged, strict=True))
        )
        return pairs, truth["categories"]


def form_for(metric: str, split: CocoSplit) -> Form:
    """The form that a metric reads."""
    if metric == "pq":
        return Panoptic(split)
    if metric == "ap_point":
        return Poses(split)
    return Boxes(split, masks_alone=metric.startswith("ap_seg"))
