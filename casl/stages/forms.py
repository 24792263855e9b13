"""What becomes of raw predictions before a metric reads them: COCO results, poses, panoptic images, maps of stuff."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from casl.data.coco import CocoSplit
from casl.data.keypoints import coco_keypoints
from casl.data.pseudo import Prediction
from casl.errors import SpecError, unknown
from casl.files import write_atomic
from casl.metrics.bootstrap import image_weights
from casl.metrics.panoptic_merge import MergeSettings, merge_panoptic
from casl.rows import Metric
from casl.spec.run import PREDICTIONS
from casl.stages.detectors import coco_results, to_prediction
from casl.stages.sources import categories_at

COCO_PIXELS = 640 * 480  # of the images that PanopticFPN's smallest stuff region is meant for
Figures = Callable[..., dict[str, float]]  # a metric
Interval = Callable[..., Any]  # its headline on every draw of the bootstrap over images


class Boxes:
    """COCO results with boxes and, if the detector gives them, masks.

    Predictions of a split are added in its order; they become results once, when the first of them is asked for.
    classes: positions of those whose objects are to be found, for a metric that can be told; () for all.
    """

    def __init__(self, split: CocoSplit, classes: tuple[int, ...] = ()) -> None:
        self.split = split
        self.chosen: dict[str, Any] = {"classes": categories_at(split, classes)} if classes else {}
        self.found: list[Prediction] = []

    def add(self, index: int, found: dict[str, torch.Tensor]) -> None:
        """Take the raw predictions of image number `index`."""
        self.found.append(to_prediction(found))

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        """COCO results of all images."""
        return coco_results(self.split, self.found)

    def inputs(self) -> tuple[Any, ...]:
        """What a metric reads: ground truth and predictions."""
        return self.split.coco(), self.results

    def judge(self, metric: Figures) -> dict[str, float]:
        """All figures of a metric, percent."""
        return metric(*self.inputs(), **self.chosen)

    def draws(self, interval: Interval) -> list[float]:
        """The headline of a metric on each draw of the bootstrap over images; percent."""
        return [float(value) for value in interval(*self.inputs(), image_weights(len(self.split)), **self.chosen)]

    def keep(self, folder: Path) -> int:
        """Write the results beside the figures; their number."""
        write_atomic(folder / PREDICTIONS, json.dumps(self.results).encode())
        return len(self.results)


class Masks(Boxes):
    """The same, judged by masks alone: with a box COCO would take a mask's area from it; detectron2 does so too."""

    def inputs(self) -> tuple[Any, ...]:
        alone = [{name: value for name, value in r.items() if name != "bbox"} for r in self.results]
        return self.split.coco(), alone


class Poses(Boxes):
    """COCO keypoint results: boxes with [x, y, score] of every point."""

    def __init__(self, split: CocoSplit, classes: tuple[int, ...] = ()) -> None:
        super().__init__(split, classes)
        self.points: list[list[float]] = []

    def add(self, index: int, found: dict[str, torch.Tensor]) -> None:
        super().add(index, found)
        self.points += coco_keypoints(found["keypoints"].cpu().numpy())

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        results = coco_results(self.split, self.found)
        return [r | {"keypoints": p} for r, p in zip(results, self.points, strict=True)]


class Panoptic(Boxes):
    """Panoptic images, merged from instances and the map of stuff."""

    def __init__(self, split: CocoSplit, classes: tuple[int, ...] = ()) -> None:
        super().__init__(split, classes)
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

    def inputs(self) -> tuple[Any, ...]:
        truth = self.split.panoptic()
        segments = {a["image_id"]: a["segments_info"] for a in truth["annotations"]}
        pairs = (
            (self.split.panoptic_png(i), segments[image.id], ids, found)
            for i, (image, (ids, found)) in enumerate(zip(self.split.images, self.merged, strict=True))
        )
        return pairs, truth["categories"]


class Semantic(Boxes):
    """Maps of stuff beside the true ones: 0 for any thing, k for the k-th kind of stuff."""

    def __init__(self, split: CocoSplit, classes: tuple[int, ...] = ()) -> None:
        super().__init__(split, classes)
        self.maps: list[NDArray[np.uint8]] = []

    def add(self, index: int, found: dict[str, torch.Tensor]) -> None:
        super().add(index, found)
        self.maps.append(found["semantic"].cpu().numpy().astype(np.uint8))

    def inputs(self) -> tuple[Any, ...]:
        pairs = ((self.split.semantic(i), found) for i, found in enumerate(self.maps))
        return pairs, 1 + len(self.split.stuff_classes)


FORMS: dict[str, type[Boxes]] = {
    "boxes": Boxes,
    "masks": Masks,
    "keypoints": Poses,
    "panoptic": Panoptic,
    "semantic": Semantic,
}


def form_of(metric: Metric, split: CocoSplit, classes: tuple[int, ...] = ()) -> Boxes:
    """What a metric reads, to be filled with the predictions of a split; classes: as of Boxes.

    Raises:
        SpecError: the catalog's row of the metric names a form that does not exist.
    """
    if metric.form not in FORMS:
        raise SpecError(unknown("form of predictions", metric.form, FORMS))
    return FORMS[metric.form](split, classes)
