"""Shapes moved onto upright images, cut to them, and judged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from casl.coco.judge import EDGE_TOLERANCE_PX, annotation_problems, clipped, is_empty, mask_problems
from casl.coco.masks import LEAST_NUMBERS, has_mask, to_rle
from casl.data.image import ORIENTATION_TAG
from casl.data.importing.near import Seen
from casl.data.importing.source import Picture, Points, Shape, box_around, other_size
from casl.errors import DataError

ROUNDING_PX = 0.01  # less is how a tool rounded, and not worth a word
NO_AREA = "objects without area (fewer than three points, or no pixel inside)"
CUT = "objects cut at the edge of their image, which they left by a pixel or less"
OUTSIDE = "polygons with points more than a pixel outside their image; they stay, and what is inside counts"
TURNED = "images whose labels were turned with them, since the tool had ignored their EXIF rotation"


@dataclass(frozen=True)
class Item:
    """An image with its file's content and its objects in upright pixels."""

    picture: Picture
    seen: Seen
    shapes: tuple[Shape, ...]

    @property
    def labeled(self) -> bool:
        """Whether an annotation file describes it, be it with no object."""
        return self.picture.annotation is not None

    @property
    def classes(self) -> set[str]:
        """Of its objects, crowds aside."""
        return {shape.name for shape in self.shapes if not shape.crowd}


def fitted(picture: Picture, seen: Seen, said: Counter[str]) -> Item:
    """An image with the shapes that can be learned from.

    Args:
        picture: as read.
        seen: what its file holds.
        said: counts what is left out or changed.

    Raises:
        DataError: the labels are for an image of another size, or a shape lies outside by more than a pixel.
    """
    size = (seen.width, seen.height)
    turn = _turn(picture, size)
    if turn != 1:
        said[TURNED] += 1
    shapes = []
    for shape in picture.shapes:
        upright = shape if turn == 1 else _turned(shape, turn, size)
        inside = _inside(upright, size, said)
        if inside is not None:
            shapes.append(inside)
    return Item(picture, seen, tuple(shapes))


def _turn(picture: Picture, size: tuple[int, int]) -> int:
    """The EXIF orientation that the labels lack; 1 where they fit the upright image.

    Where width and height say nothing (180 degrees, squares, formats without sizes) labels are taken as upright, as
    every current tool shows images.
    """
    if picture.stated is None or picture.stated == size:
        return 1
    with Image.open(picture.path) as image:
        turn = image.getexif().get(ORIENTATION_TAG, 1)
    if turn in (5, 6, 7, 8) and picture.stated == size[::-1]:
        return int(turn)
    raise other_size(picture.annotation, picture.path, picture.stated, size)


def _turned(shape: Shape, turn: int, size: tuple[int, int]) -> Shape:
    """A shape in stored pixels as a shape in upright ones. size: of the upright image."""
    if shape.rle is not None:
        raise DataError(f"{shape.where}: a mask of an image with EXIF rotation, drawn without it; export polygons.")
    x, y, w, h = shape.box
    polygons = tuple(_moved(polygon, turn, size) for polygon in shape.polygons)
    return replace(shape, box=box_around(_moved((x, y, x + w, y + h), turn, size)), polygons=polygons)


def _moved(points: Points, turn: int, size: tuple[int, int]) -> Points:
    right, bottom = size
    moved: list[float] = []
    for x, y in zip(points[::2], points[1::2], strict=True):
        moved += {5: (y, x), 6: (right - y, x), 7: (right - y, bottom - x), 8: (y, bottom - x)}[turn]
    return tuple(moved)


def _inside(shape: Shape, size: tuple[int, int], said: Counter[str]) -> Shape | None:
    """A shape cut to its image; None if nothing with an area is left."""
    width, height = size
    x, y, w, h = shape.box
    over = max(-x, -y, x + w - width, y + h - height)
    if over > EDGE_TOLERANCE_PX:
        raise DataError(
            f"{shape.where}: {shape.name!r} at x {x:g}, y {y:g}, width {w:g}, height {h:g} reaches {over:g} px outside "
            f"its image of {_text(size)}; correct it."
        )
    x1, y1, x2, y2 = clipped(shape.box, (height, width))
    polygons = tuple(_cut(polygon, size, said) for polygon in shape.polygons if len(polygon) >= LEAST_NUMBERS)
    if shape.polygons and not polygons:
        said[NO_AREA] += 1
        return None
    said[CUT] += over > ROUNDING_PX
    if over > 0:
        shape = replace(shape, box=(x1, y1, x2 - x1, y2 - y1))
    fit = replace(shape, polygons=polygons)
    record: dict[str, Any] = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": list(fit.box),
        "segmentation": segmentation(fit),
    }
    sizes = {1: (height, width)}
    for problem in [*annotation_problems(record, sizes, {1}), *mask_problems(record, sizes[1])]:
        raise DataError(f"{shape.where}: {problem}")
    rle = to_rle(record["segmentation"], height, width) if has_mask(record) else None
    if is_empty(record, sizes[1], rle):
        said[NO_AREA] += 1
        return None
    return fit


def segmentation(shape: Shape) -> object:
    """The mask of a shape as COCO writes it; [] for a box."""
    if shape.rle is not None:
        return {"size": list(shape.rle["size"]), "counts": shape.rle["counts"].decode("ascii")}
    return [list(polygon) for polygon in shape.polygons]


def _cut(points: Points, size: tuple[int, int], said: Counter[str]) -> Points:
    """A polygon whose points that are outside by a pixel or less are moved to the edge; one further out stays."""
    moved = tuple(min(max(value, 0.0), float(size[i % 2])) for i, value in enumerate(points))
    if max(abs(a - b) for a, b in zip(moved, points, strict=True)) > EDGE_TOLERANCE_PX:
        said[OUTSIDE] += 1
        return points
    return moved


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
