"""Labels drawn on images, and grids of such pictures."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as coco_mask

Rgb = tuple[int, int, int]
Rect = tuple[float, float, float, float]
Floats = np.ndarray[Any, np.dtype[Any]]

READABLE_SIDE = 256  # pixels; a picture whose short side is less is enlarged by a whole number
MASK_OPACITY = 0.4
FONT_SIZE = 12
GAP = 8
INK, PAPER = (25, 25, 25), (255, 255, 255)

# far apart in hue and lightness, so that neighbours in a class list do not look alike
PALETTE: tuple[Rgb, ...] = (
    (230, 25, 75),
    (60, 180, 75),
    (255, 215, 25),
    (40, 110, 230),
    (245, 130, 48),
    (145, 30, 180),
    (70, 220, 240),
    (240, 50, 230),
    (175, 230, 60),
    (0, 128, 128),
    (250, 150, 180),
    (154, 99, 36),
)


def colour(index: int) -> Rgb:
    """The colour of a class (or instance) number, the same in every picture; no two of the first hundred are equal."""
    if 0 <= index < len(PALETTE):
        return PALETTE[index]
    hue = index * 0.618034 % 1.0  # the golden section never comes back to the same hue
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.9, 0.55)[index % 2], (0.95, 0.7)[index // 2 % 2])
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_labels(
    image: np.ndarray[Any, np.dtype[np.uint8]],
    boxes: Floats,
    labels: Sequence[int] | Floats | None = None,
    scores: Sequence[float] | Floats | None = None,
    rles: Sequence[Any] | None = None,
    classes: Sequence[str] = (),
    *,
    filled: bool = True,
    named: int | None = None,
) -> Image.Image:
    """An image with its labels: boxes, translucent masks with an outline, class name and score.

    Args:
        image: (H, W, 3) uint8, RGB.
        boxes: (N, 4), XYXY in pixels of the image. Parts outside the image are cut off. N = 0 is legal.
        labels: (N,) class numbers, which give name and colour; None: class-agnostic, every instance has its own colour.
        scores: (N,) in [0, 1], written behind the name; None for ground truth.
        rles: N COCO run-length encodings of (H, W) masks, compressed or not, or None where an instance has no mask.
        classes: name of each class number; a number beyond it is written as such.
        filled: whether masks have a colour inside their outline, under which those of the image are not seen.
        named: at most so many have name and score written, those of the highest scores, or the first without scores.

    Returns:
        RGB picture; enlarged by a whole number if the image's short side is below READABLE_SIDE.

    Raises:
        ValueError: an image of another shape or type, lists of different lengths, or a mask of another size.
    """
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    _check(image, len(boxes), labels, scores, rles)
    scale = max(1, math.ceil(READABLE_SIDE / min(image.shape[:2])))
    size = (image.shape[1] * scale, image.shape[0] * scale)
    picture = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) if scale > 1 else Image.fromarray(image)
    colours = [colour(i if labels is None else int(labels[i])) for i in range(len(boxes))]
    largest_first = np.argsort(-_areas(boxes), kind="stable")
    if rles is not None:
        masks = [(rles[i], colours[i]) for i in largest_first if rles[i] is not None]
        picture = _with_masks(picture, masks, filled=filled)
    pen = ImageDraw.Draw(picture)
    corners = [_inside(box * scale, size) for box in boxes]
    for i in largest_first:
        if corners[i] is not None:
            pen.rectangle(corners[i], outline=colours[i], width=2)
    written = [i for i in largest_first[::-1] if i in _best(len(boxes), scores, named)]
    _write_texts(pen, size, [(corners[i], _text(i, labels, scores, classes), colours[i]) for i in written])
    return picture


def _best(count: int, scores: Sequence[float] | Floats | None, most: int | None) -> set[int]:
    """Of so many labels at most those with the highest scores."""
    every = sorted(range(count), key=lambda i: 0.0 if scores is None else -float(scores[i]))
    return set(every[:most])


def side_by_side(rows: Sequence[Sequence[Image.Image]], headings: Sequence[str]) -> Image.Image:
    """A grid of pictures with one heading over each column, as "prediction" | "ground truth".

    Args:
        rows: R rows of C pictures, of any sizes; a column is as wide as its widest, a row as high as its highest.
        headings: C texts.

    Raises:
        ValueError: no rows, or a row that has not one picture for each heading.
    """
    if not rows or not headings or any(len(row) != len(headings) for row in rows):
        raise ValueError(
            f"{len(headings)} headings need rows of as many pictures, got rows of {[len(r) for r in rows]}"
        )
    font = ImageFont.load_default(size=FONT_SIZE + 4)
    widths = [max(*(row[c].width for row in rows), math.ceil(font.getlength(h))) for c, h in enumerate(headings)]
    heights = [max(picture.height for picture in row) for row in rows]
    top = FONT_SIZE + 4 + 2 * GAP
    grid = Image.new("RGB", (sum(widths) + GAP * (len(widths) + 1), top + sum(heights) + GAP * len(heights)), PAPER)
    pen = ImageDraw.Draw(grid)
    left = GAP
    for column, (heading, width) in enumerate(zip(headings, widths, strict=True)):
        pen.text((left + width / 2, top / 2), heading, fill=INK, font=font, anchor="mm")
        upper = top
        for row, height in zip(rows, heights, strict=True):
            picture = row[column]
            grid.paste(picture, (left + (width - picture.width) // 2, upper + (height - picture.height) // 2))
            upper += height + GAP
        left += width + GAP
    return grid


def _check(image: Floats, num_boxes: int, labels: Any, scores: Any, rles: Any) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"an image is (H, W, 3) uint8 with at least one pixel, got {image.shape} {image.dtype}")
    for name, values in (("labels", labels), ("scores", scores), ("rles", rles)):
        if values is not None and len(values) != num_boxes:
            raise ValueError(f"{num_boxes} boxes but {len(values)} {name}")
    for rle in rles or ():
        if rle is not None and tuple(rle["size"]) != image.shape[:2]:
            raise ValueError(f"a mask of {tuple(rle['size'])} does not fit an image of {image.shape[:2]}")


def _areas(boxes: Floats) -> Floats:
    areas: Floats = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    return areas


def _inside(box: Floats, size: tuple[int, int]) -> Rect | None:
    """The box cut to the picture, both corners on pixels; None if nothing of it is there."""
    if not np.isfinite(box).all() or (box[2:] <= 0).any() or (box[:2] >= size).any() or (box[2:] < box[:2]).any():
        return None
    x1, y1 = np.floor(np.maximum(box[:2], 0))
    x2, y2 = np.maximum(np.minimum(np.ceil(box[2:]) - 1, np.array(size) - 1), (x1, y1))
    return float(x1), float(y1), float(x2), float(y2)


def _with_masks(picture: Image.Image, masks: Sequence[tuple[Any, Rgb]], *, filled: bool) -> Image.Image:
    pixels = np.array(picture, dtype=np.float32)
    for rle, paint in masks:
        height, width = rle["size"]
        if isinstance(rle["counts"], list):
            rle = coco_mask.frPyObjects(rle, height, width)
        small = Image.fromarray(coco_mask.decode(rle))
        mask = np.asarray(small.resize(picture.size, Image.Resampling.NEAREST)).astype(bool)
        if filled:
            pixels[mask] = pixels[mask] * (1 - MASK_OPACITY) + np.array(paint, dtype=np.float32) * MASK_OPACITY
        edge = mask & ~_eroded(mask)
        pixels[edge] = paint
    return Image.fromarray(pixels.round().astype(np.uint8))


def _eroded(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    padded = np.pad(mask, 1)
    inner: np.ndarray[Any, np.dtype[np.bool_]] = (
        padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    )
    return inner


def _text(i: int, labels: Any, scores: Any, classes: Sequence[str]) -> str:
    words = []
    if labels is not None:
        number = int(labels[i])
        words.append(classes[number] if 0 <= number < len(classes) else str(number))
    if scores is not None:
        words.append(f"{float(scores[i]):.2f}")
    return " ".join(words)


def _write_texts(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], notes: Sequence[tuple[Rect | None, str, Rgb]]
) -> None:
    """Every text on a plate of its colour at a corner of its box, where it hides the least of the texts before it."""
    font = ImageFont.load_default(size=FONT_SIZE)
    taken: list[Rect] = []
    for corners, text, paint in notes:
        if corners is None or not text:
            continue
        width, height = font.getlength(text) + 4, FONT_SIZE + 3
        plate = min(_places(corners, width, height, size), key=lambda place: sum(_overlap(place, t) for t in taken))
        taken.append(plate)
        pen.rectangle(plate, fill=paint)
        bright = 0.299 * paint[0] + 0.587 * paint[1] + 0.114 * paint[2] > 140
        pen.text((plate[0] + 2, (plate[1] + plate[3]) / 2), text, fill=INK if bright else PAPER, font=font, anchor="lm")


def _places(corners: Rect, width: float, height: float, size: tuple[int, int]) -> list[Rect]:
    """Where a plate may go, best first: above, inside the top, inside the bottom, below; moved into the picture."""
    x1, y1, x2, y2 = corners
    places = []
    for x in (x1, x2 - width + 1):
        for y in (y1 - height, y1, y2 - height + 1, y2 + 1):
            left = max(0.0, min(x, size[0] - 1 - width))
            upper = max(0.0, min(y, size[1] - 1 - height))
            places.append((left, upper, left + width, upper + height))
    return places


def _overlap(a: Rect, b: Rect) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
