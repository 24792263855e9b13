"""Pictures of a stage's labels, for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from casl.data.coco import CocoSplit
from casl.data.pictures import draw_labels, side_by_side
from casl.data.pseudo import Prediction
from casl.spec.run import PICTURES
from casl.stages.sources import IMAGES

SHOWN = 4  # images a stage, spread evenly over the split
CONFIDENT = 0.3  # predictions below are left out of pictures, or they would hide everything


def chosen(split: CocoSplit) -> list[int]:
    """Indices of the images to show."""
    count = min(SHOWN, len(split))
    return [i * len(split) // count for i in range(count)]


def predicted(split: CocoSplit, index: int, prediction: Prediction, classes: Sequence[str]) -> Image.Image:
    """One image with its confident predictions."""
    keep = prediction.scores > CONFIDENT
    rles = [r for r, k in zip(prediction.rles, keep, strict=True) if k] if prediction.rles is not None else None
    image = IMAGES.read(split.path(index))
    labels = prediction.labels[keep] if len(classes) > 1 else None
    return draw_labels(image, prediction.boxes[keep], labels, prediction.scores[keep], rles, classes)


def true(split: CocoSplit, index: int, *, filled: bool = True) -> Image.Image:
    """One image with its annotations. filled: as of draw_labels."""
    labels = split.labels(index)
    classes = labels.labels if len(split.classes) > 1 else None  # one class: a colour an instance tells more
    image = IMAGES.read(split.path(index))
    return draw_labels(image, labels.boxes, classes, None, labels.rles, split.classes, filled=filled)


def save_grid(folder: Path, name: str, rows: list[list[Image.Image]], headings: list[str]) -> None:
    """Save rows of pictures under headings as pictures/<name>.png."""
    path = folder / PICTURES / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    side_by_side(rows, headings).save(path)
