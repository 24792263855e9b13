"""A trained detector on any images: what it finds, as COCO results and as pictures.

Used by `casl predict`, and by MLflow as the loader of registered models (`_load_pyfunc`): such a model is a folder with
weights and a card that says which detector they belong to, and its code is this module.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from safetensors import SafetensorError

from casl.data.coco import AGNOSTIC, CocoSplit, load_split
from casl.data.image_info import ImageInfo
from casl.data.keypoints import coco_keypoints
from casl.data.layout import find_splits
from casl.data.pictures import colour, draw_labels
from casl.data.pseudo import Prediction
from casl.data.scenes import write_scenes
from casl.errors import DataError, SpecError
from casl.files import read_json
from casl.metrics.panoptic_merge import MergeSettings, merge_panoptic
from casl.spec.context import Context
from casl.spec.data_kinds import Scenes
from casl.spec.freeze import thaw
from casl.spec.kinds import PseudoLabel, Train
from casl.spec.run import CARD, WEIGHTS
from casl.stages.detectors import BATCH, TestSettings, build_detector, coco_results, predict_images, to_prediction
from casl.stages.forms import COCO_PIXELS
from casl.stages.pictures import CONFIDENT
from casl.stages.sources import IMAGES
from casl.train.checkpoint import load_weights

STUFF_OPACITY = 0.35
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Names:
    """What a detector's numbers mean: names and COCO ids of its classes, and of its stuff from 1 on."""

    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    stuff: tuple[str, ...] = ()
    stuff_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Found:
    """What was found in one image. keypoints: COCO's 3K numbers for each object; semantic: (H, W) stuff, 0 is none."""

    prediction: Prediction
    keypoints: list[list[float]] | None = None
    semantic: NDArray[np.uint8] | None = None
    masks: NDArray[np.bool_] | None = None


class Detector:
    """A trained detector, ready for images.

    Args:
        stage: the training its weights come from. weights: model.safetensors. names: from `names_of`.
        size, max_size: short and long side of the image it sees, in pixels; 0 for the largest it was trained at.

    Raises:
        DataError: the weights are damaged, or are not those of the stage.
    """

    def __init__(
        self, stage: Train, weights: Path, names: Names, device: str = "cpu", size: int = 0, max_size: int = 0
    ) -> None:
        self.stage, self.names, self.device = stage, names, device
        recipe = stage.recipe
        long = max_size or max(recipe.max_size, size)
        self.settings = TestSettings(size or max(recipe.sizes), long)
        context = Context(Path(), {}, {}, device, progress=_unheard, say=_silent)
        alone = _one_entity_a_pixel(stage)
        self.module = build_detector(stage.model, context, pretrained=False, non_overlap=alone, boxes=stage.boxes)
        try:
            self.module.load_state_dict(load_weights(weights))
        except (RuntimeError, OSError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{weights} does not hold the weights of {stage.name}: {reason}") from error
        self.module.eval()

    @property
    def about(self) -> str:
        """What it is and what it learned from, for people."""
        model, learned = self.stage.model, taught_by(self.stage)[0]
        classes = f"{len(self.names.classes)} classes" if len(self.names.classes) > 1 else "one class"
        source = "labels by a labeler of " * isinstance(self.stage.data, PseudoLabel)
        return f"{self.stage.name}: {model.detector} on {model.backbone}, {classes}, from {source}{learned.title}"

    @property
    def keypoints(self) -> int:
        """How many each object has; 0 for a detector of none."""
        return int(getattr(self.module.settings, "keypoints", 0))

    def unlike(self, sides: Iterable[tuple[int, ...]]) -> str:
        """A sentence if images of these heights and widths cannot be what it learned from; "" if they may be."""
        learned = taught_by(self.stage)[0]
        others = {s for s in sides if s != (learned.size, learned.size)} if isinstance(learned, Scenes) else set()
        if not others:
            return ""
        height, width = min(others)
        return (
            f"{self.stage.name} learned from drawn scenes of {learned.size} px and is shown an image of {width} x "
            f"{height}: on photographs it finds little, and names it after drawn shapes."
        )

    def find(self, images: Sequence[Path], threshold: float) -> Iterator[tuple[ImageInfo, Found]]:
        """What is in each image, in order; only what scores above the threshold. File names in full.

        Raises:
            DataError: an image cannot be read.
        """
        for first in range(0, len(images), BATCH):
            paths = images[first : first + BATCH]
            pixels = [IMAGES.read(path) for path in paths]
            for number, (path, found) in enumerate(zip(paths, self.find_in(pixels, threshold), strict=True), first + 1):
                height, width, _ = IMAGES.read(path).shape
                yield ImageInfo(number, str(path), width, height), found

    def find_in(self, images: Sequence[Pixels], threshold: float) -> Iterator[Found]:
        """What is in each of some decoded images, in order; only what scores above the threshold.

        Args:
            images: (H, W, 3) uint8 RGB each.
        """
        for first in range(0, len(images), BATCH):
            batch = images[first : first + BATCH]
            for raw in predict_images(self.module, batch, self.settings, self.device):
                yield _confident(raw, threshold)

    def results(self, info: ImageInfo, found: Found) -> list[dict[str, Any]]:
        """COCO results of one image."""
        split = self._coco((info,))
        results = coco_results(split, [found.prediction])
        for result, points in zip(results, found.keypoints or (), strict=False):
            result["keypoints"] = points
        return results

    def panoptic(self, found: Found) -> tuple[NDArray[np.int32], list[dict[str, Any]]] | None:
        """(H, W) segment ids and COCO's segments_info; None where the detector knows no stuff."""
        if found.semantic is None or found.masks is None:
            return None
        labels, semantic = found.prediction.labels, found.semantic
        things = [self.names.category_ids[label] for label in labels]
        limit = MergeSettings(stuff_area_limit=4096 * semantic.size / COCO_PIXELS)
        return merge_panoptic(found.masks, found.prediction.scores, things, semantic, self.names.stuff_ids, limit)

    def picture(self, image: Pixels, found: Found) -> Image.Image:
        """The image with boxes, masks, names and scores; stuff tinted, keypoints dotted."""
        labels = found.prediction.labels if len(self.names.classes) > 1 else None
        canvas = image if found.semantic is None else _tinted(image, found.semantic, len(self.names.classes))
        p = found.prediction
        drawn = draw_labels(canvas, p.boxes, labels, p.scores, p.rles, self.names.classes)
        if found.keypoints:
            _dot(drawn, found.keypoints, drawn.width / image.shape[1])
        return drawn

    def _coco(self, infos: Sequence[ImageInfo]) -> CocoSplit:
        names = self.names
        return CocoSplit("images", Path(), tuple(infos), names.classes, names.category_ids, (), {}, has_masks=False)


def names_of(stage: Train, facts: Mapping[str, Any]) -> Names:
    """Names of a detector's classes.

    Args:
        stage: a training.
        facts: what the store knows of the data it learned from (`taught_by`); a folder's names its classes.
    """
    data, labels = taught_by(stage)
    known = _scene_names(data, labels) if isinstance(data, Scenes) else _folder_names(facts)
    count = stage.model.classes
    if len(known.classes) == count:
        return known
    if count == 1:
        return replace(known, classes=(AGNOSTIC,), category_ids=(1,))
    numbers = range(1, count + 1)
    return Names(tuple(f"class {n}" for n in numbers), tuple(numbers))


def taught_by(stage: Train) -> tuple[Any, str]:
    """The data stage whose classes a training knows, and its kind of labels; a warmup's are its labeler's."""
    if isinstance(stage.data, PseudoLabel):
        return taught_by(stage.data.labeler)
    return stage.data, stage.labels


def open_folder(folder: Path, device: str = "cpu") -> Detector:
    """The detector of a folder with a card and weights, such as a registered model's.

    Raises:
        DataError: there is no such thing, or a newer version of casl wrote it.
    """
    card = folder / CARD
    if not card.exists():
        raise DataError(f"{folder} holds no {CARD}, so nothing says what its weights are.")
    written = read_json(card)
    return open_record(written["stage"], folder / WEIGHTS, written["data"], device)


def open_record(
    frozen: Mapping[str, Any], weights: Path, facts: Mapping[str, Any], device: str, size: tuple[int, int] = (0, 0)
) -> Detector:
    """The detector of a frozen training stage.

    Args:
        facts: data stage -> what the store knows of it; a folder's names its classes.
        size: short and long side, as in Detector.

    Raises:
        DataError: it is no training, a newer version of casl wrote it, or the weights are others.
    """
    try:
        stage = thaw(dict(frozen))
    except SpecError as error:
        raise DataError(f"{weights.parent}: {error}") from error
    if not isinstance(stage, Train):
        raise DataError(f"{weights.parent} holds {stage.kind}, which is no training.")
    return Detector(stage, weights, names_of(stage, facts.get(taught_by(stage)[0].name, {})), device, *size)


def _one_entity_a_pixel(stage: Train) -> bool:
    """As in the method: entity labelers, and what learned from them, predict without overlap."""
    return stage.model.predicts("entities") and taught_by(stage)[1] == "entities" and stage.model.classes == 1


def _scene_names(data: Scenes, labels: str) -> Names:
    """The generator's own names, from one tiny scene."""
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder), "val", 1, 64, 0, shapes=data.shapes)
        split = load_split(find_splits(Path(folder))["val"], labels)
    return Names(split.classes, split.category_ids, split.stuff_classes, split.stuff_category_ids)


def _folder_names(facts: Mapping[str, Any]) -> Names:
    classes = tuple(map(str, facts.get("classes") or ()))
    stuff = tuple(map(str, facts.get("stuff_classes") or ()))
    ids = tuple(facts.get("category_ids") or range(1, len(classes) + 1))
    return Names(classes, ids, stuff, tuple(facts.get("stuff_category_ids") or range(1001, 1001 + len(stuff))))


def _confident(raw: dict[str, torch.Tensor], threshold: float) -> Found:
    keep = raw["scores"] > threshold
    kept = {n: v[keep.to(v.device)] if n != "semantic" else v for n, v in raw.items()}
    points = coco_keypoints(kept["keypoints"].cpu().numpy()) if "keypoints" in kept else None
    semantic = kept["semantic"].cpu().numpy().astype(np.uint8) if "semantic" in kept else None
    masks = kept["masks"].cpu().numpy().astype(bool) if semantic is not None else None
    return Found(to_prediction(kept), points, semantic, masks)


def _tinted(image: Pixels, semantic: NDArray[np.uint8], first: int) -> Pixels:
    """Stuff under the objects: each class in a colour that no object class has."""
    pixels = image.astype(np.float32)
    for number in np.unique(semantic[semantic > 0]):
        inside = semantic == number
        paint = np.array(colour(first + int(number) - 1), np.float32)
        pixels[inside] = pixels[inside] * (1 - STUFF_OPACITY) + paint * STUFF_OPACITY
    return pixels.round().astype(np.uint8)


def _dot(picture: Image.Image, objects: Sequence[Sequence[float]], scale: float) -> None:
    pen = ImageDraw.Draw(picture)
    for points in objects:
        for k in range(0, len(points), 3):
            x, y = (points[k] + 0.5) * scale, (points[k + 1] + 0.5) * scale
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour(k // 3), outline=(255, 255, 255))


def _unheard(done: int, total: int, figures: Mapping[str, float]) -> None:
    """Progress that is shown nowhere."""


def _silent(text: str) -> None:
    """Sentences that are shown nowhere."""


class _Served:
    """What MLflow calls. Takes (N, H, W, 3) uint8 images, gives one row an object."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def predict(self, images: Any, params: Mapping[str, Any] | None = None) -> Any:
        """A table with image (position), category, score, x1, y1, x2, y2 in pixels, segmentation (COCO RLE or "").

        params: threshold, 0.3 if not given.
        """
        import pandas

        threshold = float((params or {}).get("threshold", CONFIDENT))
        arrays = [np.asarray(image, np.uint8) for image in images]
        rows = [
            row
            for number, found in enumerate(self.detector.find_in(arrays, threshold))
            for row in self._rows(ImageInfo(number, "", *arrays[number].shape[1::-1]), found)
        ]
        columns = ["image", "category", "score", "x1", "y1", "x2", "y2", "segmentation"]
        return pandas.DataFrame(rows, columns=columns)

    def _rows(self, info: ImageInfo, found: Found) -> list[tuple[Any, ...]]:
        names, p = self.detector.names, found.prediction
        masks = [r.get("segmentation") for r in self.detector.results(info, found)]
        return [
            (info.id, names.classes[label], float(score), *map(float, box), json.dumps(mask) if mask else "")
            for box, score, label, mask in zip(p.boxes, p.scores, p.labels, masks, strict=True)
        ]


def _load_pyfunc(path: str) -> _Served:
    """MLflow's entry point for models whose loader_module is this one."""
    return _Served(open_folder(Path(path)))
