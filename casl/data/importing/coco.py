"""COCO JSON as Roboflow, CVAT and Label Studio export it: one file, or one for each split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from casl.coco.judge import annotation_problems, category_problems, is_id, mask_problems
from casl.coco.licences import Licence, Licences
from casl.coco.masks import has_mask, to_rle
from casl.coco.reading import read_json, read_object
from casl.coco.records import section
from casl.data.importing.looks import is_beside_coco, is_listing
from casl.data.importing.no_image import image_size
from casl.data.importing.source import Folder, Picture, Points, Shape, Source, box_around, without_short
from casl.data.importing.splits import split_of
from casl.errors import DataError

Json = dict[str, Any]
BESIDE = "COCO files that by their names have keypoints, captions or segments, beside others"


def read_coco(folder: Folder, crowds_are_objects: bool = False) -> Source:
    """Every COCO file of a folder. Its ids mean nothing further on, so they may begin at 0.

    Args:
        folder: the files.
        crowds_are_objects: iscrowd is not read, as CVAT sets it for every mask that was drawn with its brush.
    """
    left_out: Counter[str] = Counter()
    names: dict[str, None] = {}
    pictures: list[Picture] = []
    files: list[Path] = []
    licences: dict[Path, Licence] = {}
    for path, data in _files(folder, left_out, licences):
        files.append(path)
        categories = _categories(data, path, left_out)
        names.update(dict.fromkeys(categories.values()))
        split = split_of(path, folder.root, by_name=True)
        pictures += read_file(data, path, categories, folder, split, crowds_are_objects, left_out)
    shapes = [shape for picture in pictures for shape in picture.shapes]
    if shapes and all(shape.crowd for shape in shapes):
        raise DataError(
            f"{files[0]}: all {len(shapes)} annotations have iscrowd 1, so there is no object to learn. CVAT writes "
            "that for masks drawn with its brush.\n  Add --crowds-are-objects if they are single objects."
        )
    found = folder.with_unlabeled(pictures)
    for picture in found:
        picture.licence = picture.licence or licences.get(picture.path)
    return Source("coco", folder.root, found, list(names), left_out)


def _files(folder: Folder, said: Counter[str], licences: dict[Path, Licence]) -> Iterator[tuple[Path, Json]]:
    """The files with objects. Those named as keypoints, captions or segments are read where there are no others.

    A list of images without annotations says nothing of them but their licences, so they are unlabeled.
    """
    beside = [path for path in folder.ending(".json") if is_beside_coco(path)]
    found = False
    for path in folder.ending(".json"):
        if path in beside:
            continue
        data = read_json(path)
        if is_listing(path) and isinstance(data, dict) and not data.get("annotations"):
            licences.update(_of_listed(data, folder))
            continue
        if isinstance(data, dict) and data.keys() & {"images", "annotations", "categories"}:
            found = True
            yield path, data
        else:
            said["JSON files without COCO annotations"] += 1
    if found:
        said[BESIDE] += len(beside)
    else:
        yield from ((path, read_object(path)) for path in beside)


def _of_listed(data: Json, folder: Folder) -> Iterator[tuple[Path, Licence]]:
    known, images = Licences(data), data.get("images")
    for image in images if known and isinstance(images, list) else ():
        licence = known.of(image) if isinstance(image, dict) else None
        if licence and (path := folder.listed(image.get("file_name"))):
            yield path, licence


def read_file(
    data: Json,
    path: Path,
    categories: Mapping[int, str],
    folder: Folder,
    split: str | None,
    crowds_are_objects: bool,
    left_out: Counter[str],
) -> Iterator[Picture]:
    """The images of one COCO file with their annotations."""
    groups: dict[int, list[Any]] = {}
    images = section(data, "images", path)
    known = {image.get("id") for image in images if isinstance(image, dict) and is_id(image.get("id"))}
    if len(known) < len(images):
        raise DataError(f"{path}: an entry of 'images' has no integer 'id', or two have one; give each its own.")
    for record in section(data, "annotations", path):
        number: Any = record.get("image_id") if isinstance(record, dict) else None
        if not isinstance(number, int) or isinstance(number, bool):
            raise DataError(f"{path}: annotation {_name(record)}: 'image_id' must be an integer, is {number!r:.80}.")
        if not is_id(number) or number not in known:
            raise DataError(f"{path}: annotation {_name(record)}: there is no image {number!r:.80} in this file.")
        groups.setdefault(int(number), []).append(record)
    licences = Licences(data)
    for image in images:
        file = folder.image(image.get("file_name"), path)
        size = _stated(image, path) or image_size(file)
        shapes = [
            _shape(record, path, size, categories, crowds_are_objects, left_out)
            for record in groups.get(image["id"], ())
        ]
        own = split or split_of(file, folder.root)
        yield Picture(file, shapes, path, own, _stated(image, path), licences.of(image))


def _categories(data: Json, path: Path, left_out: Counter[str]) -> dict[int, str]:
    """Class of each category id. Roboflow's first entry is the name of the project and stands for no object."""
    records = section(data, "categories", path)
    for record in records:
        for problem in category_problems(record):
            raise DataError(f"{path}: {problem}.")
    annotations = [record for record in section(data, "annotations", path) if isinstance(record, dict)]
    used = {number for record in annotations if is_id(number := record.get("category_id"))}
    parents = {parent for record in records if isinstance(parent := record.get("supercategory"), str)}
    found: dict[int, str] = {}
    for record in records:
        if record["id"] not in used and record["name"] in parents and record.get("supercategory") == "none":
            left_out["categories that only name the others' group"] += 1
        elif record["id"] in found or record["name"] in found.values():
            raise DataError(f"{path}: two categories have the id {record['id']} or the name {record['name']!r:.80}.")
        else:
            found[record["id"]] = record["name"]
    return found


def _stated(image: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    """Width and height; None where the file has none."""
    sides: tuple[Any, Any] = image.get("width"), image.get("height")
    if sides == (None, None):
        return None
    if not all(is_id(side) and 0 < side <= 1_000_000 for side in sides):
        raise DataError(f"{path}: image {image['id']}: width and height must be positive integers, are {sides!s:.80}.")
    return int(sides[0]), int(sides[1])


def _shape(
    record: Json,
    path: Path,
    size: tuple[int, int],
    categories: Mapping[int, str],
    crowds_are_objects: bool,
    left_out: Counter[str],
) -> Shape:
    """One annotation, judged as `casl data check` judges it."""
    where, (width, height) = f"{path}: annotation {_name(record)}", size
    judged: Json = {**record, "id": 1, "image_id": 1, "bbox": record.get("bbox") or _bbox(record, size)}
    if crowds_are_objects:
        judged["iscrowd"] = 0
    judged.pop("area", None)  # is computed anew
    problems = mask_problems(judged, (height, width)) or annotation_problems(judged, {1: (height, width)}, categories)
    if problems:
        said = problems[0].replace(" image 1 ", " the image ")
        raise DataError(f"{where}: {said}{'.' * (not said.endswith('?'))}")
    if record.get("keypoints"):
        left_out["keypoints of objects (the boxes stay)"] += 1
    shape = _as_shape(judged, categories[judged["category_id"]], where, size)
    return without_short(shape, left_out) if record.get("bbox") else shape


def _as_shape(record: Json, name: str, where: str, size: tuple[int, int]) -> Shape:
    """A legal annotation. Polygons of too few points stay, so that the mask is found to have no area."""
    mask, crowd = record.get("segmentation"), bool(record.get("iscrowd", 0))
    x, y, w, h = (float(side) for side in record["bbox"])
    if isinstance(mask, dict) and has_mask(record):
        return Shape(name, (x, y, w, h), where, rle=to_rle(mask, size[1], size[0]), crowd=crowd)
    polygons = tuple(tuple(float(value) for value in polygon) for polygon in mask or () if len(polygon))
    return Shape(name, (x, y, w, h), where, polygons, crowd=crowd)


def _bbox(record: Json, size: tuple[int, int]) -> Sequence[float] | None:
    """The box around the polygons of an annotation that has none, as Label Studio leaves it out of some."""
    mask = record.get("segmentation")
    if not isinstance(mask, list) or mask_problems(record, size[::-1]):
        return None
    points: Points = tuple(value for polygon in mask for value in polygon)
    return box_around(points) if points else None


def _name(record: Any) -> str:
    return f"{record.get('id', 'without id')!s:.80}" if isinstance(record, dict) else f"{record!r:.40}"
