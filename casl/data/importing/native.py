"""A set of casl's own as a source: its labels drawn anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from casl.coco.judge import mask_problems
from casl.coco.licences import Licence, Licences
from casl.coco.masks import has_mask, to_rle
from casl.coco.reading import read_object
from casl.data.coco import CocoSplit, load_split
from casl.data.importing.source import Picture, Shape, Source
from casl.data.layout import MANIFEST, SplitFiles, find_splits
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
        pictures.update({p.path: p for p in _pictures(split, LABELED[name], _licences(splits[name], "objects"))})
    if "unlabeled" in splits:
        images, licences = load_split(splits["unlabeled"], "images"), _licences(splits["unlabeled"], "images")
        for i in range(len(images)):
            picture = pictures.setdefault(images.path(i), Picture(images.path(i), split="train"))
            picture.licence = picture.licence or licences.get(images.images[i].file_name)
    return Source("casl", root, list(pictures.values()), list(classes), _left_out(splits))


def _licences(files: SplitFiles, kind: str) -> dict[str, Licence]:
    """Licences by name of the image. A file without any is not read once more."""
    path = files.source(kind)
    if path.suffix == MANIFEST or b'"licenses"' not in path.read_bytes():
        return {}
    data = read_object(path)
    known = Licences(data)
    return {image["file_name"]: licence for image in data["images"] if (licence := known.of(image))}


def _pictures(split: CocoSplit, word: str, licences: Mapping[str, Licence]) -> list[Picture]:
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
        size, licence = (image.width, image.height), licences.get(image.file_name)
        found.append(Picture(split.path(i), shapes, Path(split.source), word, size, licence))
    return found


def _left_out(splits: dict[str, SplitFiles]) -> Counter[str]:
    found: Counter[str] = Counter()
    for files in splits.values():
        for kind in ("entity", "panoptic", "keypoints"):
            path = getattr(files, kind)
            if path is not None:
                found[f"files of {kind} annotations"] += 1
    return found
