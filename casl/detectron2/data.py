"""Our data sets in detectron2's catalogs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from casl.data.check import check
from casl.data.coco import CocoSplit, load_split
from casl.data.layout import SplitFiles, find_splits
from casl.errors import DataError, SpecError, need_detectron2

KINDS = {"objects": "", "entities": "_entities", "keypoints": "_keypoints"}  # kind -> end of the name in the catalog


def register_data(name: str, root: str | Path) -> list[str]:
    """Put every split of a data set on disk into DatasetCatalog and MetadataCatalog.

    Names are `<name>_<split>` for objects, or for the bare images of an unlabeled split, and `<name>_<split>_entities`
    and `_keypoints` where the set has such annotations. Boxes, masks and classes are those casl trains on: clipped,
    classes in the order of the file, entities derived from panoptic files where there are no others. Masks are RLE, so
    a configuration needs INPUT.MASK_FORMAT "bitmask".

    Args:
        name: what the names begin with.
        root: the set, in any layout of `casl data check`; its annotations and the headers of its images are checked.

    Returns:
        The new names, sorted.

    Raises:
        MissingPackageError: detectron2 is not installed.
        DataError: there is no data set, or something in it is wrong; the message lists what.
        SpecError: a name is taken.
    """
    need_detectron2("casl.detectron2.register_data()")
    from detectron2.data import DatasetCatalog, MetadataCatalog

    folder = Path(root)
    check(folder, decode=False).raise_if_bad()
    found = {}
    for split, files in find_splits(folder).items():
        for kind, end in _kinds(files).items():
            found[f"{name}_{split}{end}"] = (files, kind)
    if taken := [entry for entry in found if entry in DatasetCatalog.list()]:
        raise SpecError(f"detectron2's catalog has a data set {taken[0]!r} already; choose another name than {name!r}")
    for entry, (files, kind) in found.items():
        DatasetCatalog.register(entry, _reader(files, kind))
        MetadataCatalog.get(entry).set(**_metadata(files, kind))
    return sorted(found)


def _kinds(files: SplitFiles) -> dict[str, str]:
    """Kinds of annotations a split has -> end of their name."""
    kinds = {}
    for kind, end in KINDS.items():
        try:
            files.source(kind)
        except DataError:
            continue
        kinds[kind] = end
    return kinds if "objects" in kinds else {"images": "", **kinds}


def _reader(files: SplitFiles, kind: str) -> Callable[[], list[dict[str, Any]]]:
    return partial(_records_of, files, kind)


def _records_of(files: SplitFiles, kind: str) -> list[dict[str, Any]]:
    split = load_split(files, kind)
    return [_record(split, index, kind) for index in range(len(split))]


def _record(split: CocoSplit, index: int, kind: str) -> dict[str, Any]:
    """One image in detectron2's standard form."""
    image = split.images[index]
    record: dict[str, Any] = {
        "file_name": str(split.path(index)),
        "height": image.height,
        "width": image.width,
        "image_id": image.id,
    }
    return record if kind == "images" else record | {"annotations": _objects(split, index)}


def _objects(split: CocoSplit, index: int) -> list[dict[str, Any]]:
    from detectron2.structures import BoxMode

    labels = split.labels(index)
    objects = []
    for n, box in enumerate(labels.boxes.tolist()):
        found: dict[str, Any] = {
            "bbox": box,
            "bbox_mode": BoxMode.XYXY_ABS,
            "category_id": int(labels.labels[n]),
            "iscrowd": int(labels.crowd[n]),
        }
        if labels.rles is not None:
            found["segmentation"] = labels.rles[n]
        if labels.keypoints is not None:
            found["keypoints"] = labels.keypoints[n].flatten().tolist()
        objects.append(found)
    return objects


def _metadata(files: SplitFiles, kind: str) -> dict[str, Any]:
    split = load_split(files, kind if kind != "entities" or files.entity else "images")
    values: dict[str, Any] = {"image_root": str(files.images)}
    if kind == "images":
        return values
    if kind == "entities":
        return values | {"thing_classes": ["entity"]}
    values |= {
        "thing_classes": list(split.classes),
        "thing_dataset_id_to_contiguous_id": {number: label for label, number in enumerate(split.category_ids)},
        "json_file": str(files.source(kind)),
        "evaluator_type": "coco",
    }
    if split.points is not None:
        names = split.keypoint_names
        flips = [(names[a], names[b]) for a, b in split.flip_pairs]
        values |= {"keypoint_names": list(names), "keypoint_flip_map": flips}
    return values
