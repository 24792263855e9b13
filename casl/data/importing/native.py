"""A set of casl's own as a source: its labels drawn anew."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from casl.coco.judge import mask_problems
from casl.coco.masks import has_mask, to_rle
from casl.data.coco import CocoSplit, load_split
from casl.data.importing.source import Picture, Shape, Source
from casl.data.layout import SplitFiles, find_splits
from casl.errors import DataError

LABELED = {"labeled": "train", "unlabeled_gt": "train", "val": "val"}


def read_set(root: Path, crowds_are_objects: bool = False) -> Source:
    """The labels of `labeled`, `unlabeled_gt` and `val`; images of `unlabeled` beside them stay unlabeled.

    Entities, panoptic annotations, keypoints and unlabeled splits of other names are not taken over.

    Raises:
        DataError: no set, no labels in it, or classes that differ between splits.
    """
    splits = find_splits(root, crowds_are_objects)
    loaded = {name: load_split(splits[name]) for name in LABELED if name in splits and splits[name].instances}
    if "labeled" not in loaded:
        raise DataError(f"{root}: has no labeled split, so there are no labels to draw from.")
    classes = loaded["labeled"].classes
    pictures: dict[Path, Picture] = {}
    for name, split in loaded.items():
        if split.classes != classes:
            raise DataError(f"{root}: the classes of '{name}' are not those of 'labeled'. Run: casl data check {root}")
        pictures.update({p.path: p for p in _pictures(split, LABELED[name])})
    if "unlabeled" in splits:
        images = load_split(splits["unlabeled"], "images")
        for i in range(len(images)):
            pictures.setdefault(images.path(i), Picture(images.path(i), split="train"))
    return Source("casl", root, list(pictures.values()), list(classes), _left_out(splits))


def _pictures(split: CocoSplit, word: str) -> list[Picture]:
    found = []
    for i, image in enumerate(split.images):
        shapes = []
        for record in split.annotations[i]:
            where = f"{split.source}: annotation {record['id']}"
            for problem in mask_problems(record, (image.height, image.width)):
                raise DataError(f"{where}: {problem}")
            x, y, w, h = (float(side) for side in record["bbox"])
            mask = record["segmentation"] if has_mask(record) else None
            rle = to_rle(mask, image.height, image.width) if isinstance(mask, dict) else None
            polygons = tuple(tuple(map(float, p)) for p in mask if len(p) >= 6) if isinstance(mask, list) else ()
            name = split.classes[split.label_of[record["category_id"]]]
            shapes.append(Shape(name, (x, y, w, h), where, polygons, rle, bool(record.get("iscrowd", 0))))
        found.append(Picture(split.path(i), shapes, Path(split.source), word, (image.width, image.height)))
    return found


def _left_out(splits: dict[str, SplitFiles]) -> Counter[str]:
    found: Counter[str] = Counter()
    for files in splits.values():
        for kind in ("entity", "panoptic", "keypoints"):
            path = getattr(files, kind)
            if path is not None:
                found[f"files of {kind} annotations"] += 1
    return found
