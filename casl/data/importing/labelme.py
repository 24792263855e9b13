"""LabelMe: one JSON file an image with named shapes."""

from __future__ import annotations

import base64
import binascii
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as rle_tools

from casl.coco.pngs import UNREADABLE
from casl.data.importing.no_image import image_size
from casl.data.importing.outlines import ellipse
from casl.data.importing.source import (
    Folder,
    Picture,
    Points,
    Shape,
    Source,
    box_around,
    numbers,
    objects_in,
    other_size,
    read_text,
)
from casl.data.importing.splits import split_of
from casl.errors import DataError, unknown

WITHOUT_AREA = ("point", "points", "line", "linestrip")
OUTLINED = ("polygon", "rotation", "quadrilateral")


def read_labelme(folder: Folder) -> Source:
    """Every JSON file with "shapes". Shapes of one label and one group_id are the parts of one object.

    Class names are those of labels.txt where there is one, without the lines that begin with "__".
    """
    left_out: Counter[str] = Counter()
    files = objects_in(folder, lambda data: bool(data.keys() & {"shapes", "imagePath"}), "LabelMe", left_out)
    pictures = [_picture(path, data, folder, left_out) for path, data in files]
    used = {shape.name: shape.where for picture in pictures for shape in picture.shapes}
    names = _listed(folder) or sorted(used)
    for name, where in used.items():
        if name not in names:
            raise DataError(f"{where}: {unknown('class', name, names, 'labels.txt lists the classes.')}")
    return Source("labelme", folder.root, folder.with_unlabeled(pictures), names, left_out)


def _listed(folder: Folder) -> list[str]:
    files = [path for path in folder.files if path.name == "labels.txt"]
    lines = [line.strip() for line in read_text(files[0]).splitlines()] if files else []
    return [line for line in lines if line and not line.startswith("__")]


def _picture(path: Path, data: dict[str, Any], folder: Folder, left_out: Counter[str]) -> Picture:
    shapes = data.get("shapes")
    if not isinstance(shapes, list):
        raise DataError(f"{path}: 'shapes' is not a list.")
    image = folder.image(data.get("imagePath"), path)
    sides = data.get("imageWidth"), data.get("imageHeight")
    stated = (sides[0], sides[1]) if type(sides[0]) is int and type(sides[1]) is int else None
    size = image_size(image)
    if stated and stated not in (size, size[::-1]):  # now, before masks are drawn on what is stated
        raise other_size(path, image, stated, size)
    found: list[Shape] = []
    groups: dict[tuple[str, Any], int] = {}
    for n, record in enumerate(shapes, start=1):
        shape = _shape(record, f"{path}: shape {n}", stated, left_out)
        if shape is None:
            continue
        group = (shape.name, str(record["group_id"]))
        if record.get("group_id") is not None and group in groups and shape.polygons:
            found[groups[group]] = _joined(found[groups[group]], shape)
            continue
        if record.get("group_id") is not None and shape.polygons:
            groups[group] = len(found)
        found.append(shape)
    split = split_of(path, folder.root) or split_of(image, folder.root)
    return Picture(image, found, path, split, stated)


def _joined(first: Shape, more: Shape) -> Shape:
    polygons = first.polygons + more.polygons
    return Shape(first.name, box_around(tuple(v for p in polygons for v in p)), first.where, polygons)


def _shape(record: Any, where: str, stated: tuple[int, int] | None, left_out: Counter[str]) -> Shape | None:
    """One shape; None for one without area, which is counted."""
    if not isinstance(record, dict):
        raise DataError(f"{where}: not an object.")
    name, kind = record.get("label"), record.get("shape_type") or "polygon"
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where}: 'label', its class, is {name!r:.60}.")
    record.setdefault("group_id", None)
    if kind in WITHOUT_AREA:
        left_out[f"shapes of kind {kind}, which have no area"] += 1
        return None
    points = _points(record.get("points"), where)
    if kind in OUTLINED:
        return Shape(name.strip(), box_around(points), where, (points,)) if points else None
    if len(points) != 4:
        raise DataError(f"{where}: a {kind} has two points, this has {len(points) // 2}.")
    if kind == "rectangle":
        return Shape(name.strip(), box_around(points), where)
    if kind == "circle":
        x, y, on_x, on_y = points
        radius = float(np.hypot(on_x - x, on_y - y))
        outline = ellipse(x, y, radius, radius)
        return Shape(name.strip(), box_around(outline), where, (outline,))
    if kind == "mask":
        return _mask(name.strip(), points, record.get("mask"), where, stated)
    known = [*OUTLINED, *WITHOUT_AREA, "rectangle", "circle", "mask"]
    raise DataError(f"{where}: {unknown('kind of shape', str(kind), known)}")


def _points(value: Any, where: str) -> Points:
    if not isinstance(value, list) or not all(isinstance(point, list) and len(point) == 2 for point in value):
        raise DataError(f"{where}: 'points' is not a list of [x, y].")
    return numbers((side for point in value for side in point), where)


def _mask(name: str, points: Points, text: Any, where: str, stated: tuple[int, int] | None) -> Shape:
    """A mask: a PNG in base64 whose upper left pixel is the first point."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            part = np.asarray(image.convert("L")) > 0
    except (*UNREADABLE, binascii.Error, TypeError) as error:
        why = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # which only shows how it was opened
        raise DataError(f"{where}: its mask is no PNG in base64{why}.") from error
    left, top = (round(value) for value in points[:2])
    if stated is None or left < 0 or top < 0 or left + part.shape[1] > stated[0] or top + part.shape[0] > stated[1]:
        raise DataError(f"{where}: its mask of {part.shape[1]}x{part.shape[0]} px does not lie in the image {stated}.")
    whole = np.zeros((stated[1], stated[0]), np.uint8, order="F")
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    rle = rle_tools.encode(whole)
    x, y, width, height = rle_tools.toBbox(rle).tolist()
    return Shape(name, (x, y, width, height), where, rle={"size": list(whole.shape), "counts": rle["counts"]})
