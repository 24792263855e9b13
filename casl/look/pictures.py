"""Images with labels drawn on them: the truth, detections, pseudo labels, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casl.data.coco import CocoSplit, subset
from casl.data.pictures import draw_labels, side_by_side
from casl.data.pseudo import read_pseudo_labels
from casl.errors import SpecError, unknown
from casl.files import read_json
from casl.look.results import Markdown, Results
from casl.metrics.error_types import KINDS, Errors, Mistake
from casl.spec.freeze import freeze
from casl.spec.kinds import Evaluate, PseudoLabel, Train
from casl.spec.run import PICTURES, PREDICTIONS, WEIGHTS
from casl.spec.stage import Stage
from casl.stages.pictures import CONFIDENT, true
from casl.stages.predict import Detector, open_record, taught_by
from casl.stages.sources import IMAGES, LABELS

SHOWN = 4


def truth(results: Results, data: Stage, labels: str = "objects", count: int = SHOWN) -> Image.Image:
    """The first images of a split with their annotations. labels: "objects", "entities", "images" for none ..."""
    split = results.split(data, labels)
    return side_by_side([[true(split, i) for i in range(min(count, len(split)))]], _names(split, count))


def detector(results: Results, trained: Train, device: str = "cpu") -> Detector:
    """A trained detector, for images of your own: `detector(...).find([path], threshold)`."""
    data = taught_by(trained)[0]
    facts = {data.name: dict(results.run(data).facts)}
    return open_record(freeze(trained), results.folder(trained) / WEIGHTS, facts, device)


def detections(
    results: Results, trained: Train, data: Stage, threshold: float = CONFIDENT, count: int = SHOWN, device: str = "cpu"
) -> Image.Image:
    """Detections of a trained detector in the first images of a split, above a score."""
    split = subset(results.split(data, "images"), count)
    finder = detector(results, trained, device)
    paths = [split.path(i) for i in range(len(split))]
    row = [
        finder.picture(IMAGES.read(p), found)
        for p, (_, found) in zip(paths, finder.find(paths, threshold), strict=True)
    ]
    return side_by_side([row], _names(split, count))


def pseudo_labels(
    results: Results, labelled: PseudoLabel, thresholds: Sequence[float], count: int = SHOWN
) -> Image.Image:
    """Pseudo labels of the first images at several values of delta, one column each.

    Raises:
        SpecError: no thresholds.
    """
    if not thresholds:
        raise SpecError("name at least one threshold, a score in [0, 1]")
    images = results.split(labelled.data, "images")
    folder = results.folder(labelled) / LABELS
    left = [read_pseudo_labels(folder, images.folder, threshold) for threshold in thresholds]
    rows = [[_at(split, images, i) for split in left] for i in range(min(count, len(images)))]
    return side_by_side(rows, [f"delta {threshold:g}" for threshold in thresholds])


def kept(results: Results, stage: Stage) -> Image.Image:
    """The picture that a stage left with its result: predictions beside the truth, or pseudo labels.

    Raises:
        SpecError: it left none.
    """
    pictures = sorted((results.folder(stage) / PICTURES).glob("*.png"))
    if not pictures:
        raise SpecError(f"{stage.name} left no picture; evaluations of boxes and pseudo labels do.")
    with Image.open(pictures[0]) as picture:
        return picture.copy()


def mistakes(
    results: Results, scored: Evaluate, errors: Errors, kind: str, count: int = SHOWN
) -> Image.Image | Markdown:
    """A detector's errors of one kind with the highest scores, each above the truth of its image; a sentence for none.

    Raises:
        SpecError: no such kind.
    """
    if kind not in KINDS:
        raise SpecError(unknown("kind of error", kind, KINDS))
    chosen = [m for m in errors.mistakes if m.kind == kind][:count]
    if not chosen:
        return Markdown(f"{scored.model.name}: no errors of kind {kind}.")
    split = results.split(scored.data, scored.labels)
    rows = [_mistake(split, mistake) for mistake in chosen]
    return side_by_side([list(pair) for pair in zip(*rows, strict=True)], [f"{m.kind} {m.score:.2f}" for m in chosen])


def predictions(results: Results, scored: Evaluate) -> list[dict[str, Any]]:
    """The COCO results that an evaluation judged.

    Raises:
        SpecError: it judged no boxes (panoptic quality).
    """
    path: Path = results.folder(scored) / PREDICTIONS
    if not path.exists():
        if PREDICTIONS in results.store.run(scored.name).left_out:
            raise SpecError(f"{scored.name} was taken over without its {PREDICTIONS}; they are where it was computed.")
        raise SpecError(f"{scored.name} measured {scored.metric} and kept no {PREDICTIONS}; evaluate ap_det for boxes.")
    found: list[dict[str, Any]] = read_json(path)
    return found


def _names(split: CocoSplit, count: int) -> list[str]:
    return [Path(image.file_name).stem for image in split.images[:count]]


def _at(split: CocoSplit, images: CocoSplit, i: int) -> Image.Image:
    """An image with its labels. The split lacks an image that has no label left."""
    position: Mapping[int, int] = {image.id: n for n, image in enumerate(split.images)}
    if (n := position.get(images.images[i].id)) is None:
        return draw_labels(IMAGES.read(images.path(i)), np.zeros((0, 4)))
    found = split.labels(n)
    names = found.labels if len(split.classes) > 1 else None
    return draw_labels(IMAGES.read(images.path(i)), found.boxes, names, found.scores, found.rles, split.classes)


def _mistake(split: CocoSplit, mistake: Mistake) -> tuple[Image.Image, Image.Image]:
    i = next(n for n, image in enumerate(split.images) if image.id == mistake.image_id)
    label = split.category_ids.index(mistake.category_id)
    box, image = np.array([mistake.box]), IMAGES.read(split.path(i))
    return draw_labels(image, box, [label], [mistake.score], None, split.classes), true(split, i)
