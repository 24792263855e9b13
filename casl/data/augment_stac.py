"""The strong augmentation of STAC: its student's view of unlabeled images.

In order: resize to a random size, without a flip; in random order one of nine colour operations and one of two
displacements, each equally likely, of the whole image or inside of one box; then Cutout. Where the source leaves room
or treats pixels and coordinates differently:

- The colour operations are those of `casl.data.augment_strong`; STAC counts solarize's nine thresholds from the other
  end, so each magnitude has that of another, within one level.
- A displacement is a translation along x or y, a rotation about the centre, or a shear of both axes by one angle about
  the centre, each equally likely. The source interpolates or takes the nearest pixel by chance; here always bilinear.
- A displacement inside a box moves the pixels within that box, with all masks, keypoints and the semantic map on
  them. The box stays, as published, and so does the matrix of the view: it is exact outside of the box, and
  inside it maps to where a pixel was before this displacement, at most a twentieth of a side or ten degrees away.
- An image without boxes has no such displacement and stays as it is.
- Squares of Cutout have any side up to a fifth of the height, and a centre anywhere in the image, so they are cut at
  its edges. The source draws a side of 0 or of a fifth only, since its library reads a list as a choice.
- Where nothing is left of any instance, the resized image is taken instead, as published.

Source: STAC (2020), google-research/ssl_detection, detection/utils/augmentation.py and detection/data.py; imgaug 0.4
for what its operations do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from casl.data.affine import Matrix, rotation, slant, translation
from casl.data.augment import Float32, Sample, drop_lost, resize_sample
from casl.data.augment_strong import paint, recolour, warp, warp_pixels

GLOBAL = (0.1, 30.0)  # most that the whole image is translated by, share of the side, and most degrees
IN_BOX = (0.05, 10.0)  # the same inside of a box
SQUARES = (1, 5)
MAX_SQUARE = 0.2  # share of the height
GREY = 128  # of the squares


def displacement(rng: np.random.Generator, width: int, height: int, share: float, degrees: float) -> Matrix:
    """One of four maps, each equally likely.

    Args:
        rng: source of all randomness.
        width, height: of the pixels that are moved.
        share: most of a side that a translation moves by.
        degrees: most that a rotation or a shear turns by.

    Returns:
        (2, 3), old XY pixel coordinates to new ones.
    """
    kind, amount = int(rng.integers(4)), float(rng.uniform(-1, 1))
    if kind < 2:
        return translation(*((amount * share * width, 0.0) if kind == 0 else (0.0, amount * share * height)))
    return (rotation if kind == 2 else slant)(amount * degrees, width, height)


def move_all(sample: Sample, rng: np.random.Generator) -> Sample:
    """Moves the whole image, with all that lies on it."""
    height, width = sample.image.shape[:2]
    return warp(sample, displacement(rng, width, height, *GLOBAL))


def move_in_box(sample: Sample, rng: np.random.Generator) -> Sample:
    """Moves the pixels inside of one box, each box equally likely; boxes and the matrix of the view stay.

    A keypoint in the box that its pixel takes out of the box becomes unlabelled.
    """
    if not len(sample.boxes):
        return sample
    left, top, right, bottom = sample.boxes[int(rng.integers(len(sample.boxes)))].astype(np.int64).tolist()
    if right <= left or bottom <= top:
        return sample
    rows, columns = slice(top, bottom), slice(left, right)
    inside = replace(
        sample,
        image=np.ascontiguousarray(sample.image[rows, columns]),
        masks=None if sample.masks is None else sample.masks[:, rows, columns],
        keypoints=None if sample.keypoints is None else sample.keypoints - _shift(left, top),
        semantic=None if sample.semantic is None else sample.semantic[rows, columns],
    )
    moved = warp_pixels(inside, displacement(rng, right - left, bottom - top, *IN_BOX))
    return drop_lost(_put(sample, moved, left, top))


def _put(sample: Sample, moved: Sample, left: int, top: int) -> Sample:
    """The sample with a rectangle of it exchanged for what became of it."""
    height, width = moved.image.shape[:2]
    there = (..., slice(top, top + height), slice(left, left + width))
    image, masks, semantic, keypoints = sample.image.copy(), sample.masks, sample.semantic, sample.keypoints
    image[there[1:]] = moved.image
    if masks is not None and moved.masks is not None:
        masks = masks.copy()
        masks[there] = moved.masks
    if semantic is not None and moved.semantic is not None:
        semantic = semantic.copy()
        semantic[there] = moved.semantic
    if keypoints is not None and moved.keypoints is not None:
        place = keypoints[:, :, :2] - _shift(left, top)[:2]
        within = ((place >= 0) & (place < [width, height])).all(axis=2) & (keypoints[:, :, 2] > 0)
        back = np.where(moved.keypoints[:, :, 2:] > 0, moved.keypoints + _shift(left, top), np.float32(0))
        keypoints = np.where(within[..., None], back, keypoints)
    return replace(sample, image=image, masks=masks, semantic=semantic, keypoints=keypoints)


def _shift(left: int, top: int) -> Float32:
    return np.array([left, top, 0], np.float32)


def displace(sample: Sample, rng: np.random.Generator) -> Sample:
    """Moves the whole image or the inside of one box, both equally likely."""
    return (move_in_box if rng.random() < 0.5 else move_all)(sample, rng)


def cut_out(sample: Sample, rng: np.random.Generator) -> Sample:
    """Paints 1 to 5 squares with GREY; what lies under them is treated as `casl.data.augment_strong.erase` does."""
    height, width = sample.image.shape[:2]
    erased = np.zeros((height, width), np.bool_)
    for _ in range(rng.integers(SQUARES[0], SQUARES[1] + 1)):
        half = rng.uniform(0, MAX_SQUARE) * height / 2
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        left, top, right, bottom = (max(int(v), 0) for v in (x - half, y - half, x + half, y + half))
        erased[top:bottom, left:right] = True
    return paint(sample, erased, np.uint8(GREY))


def stac(sample: Sample, rng: np.random.Generator, sizes: Sequence[int], max_size: int) -> Sample:
    """Augments as STAC augments unlabeled images for the student.

    Args:
        sample: what to augment; its arrays are not changed, but may be part of the result.
        rng: source of all randomness.
        sizes: the shorter side becomes a whole number from min(sizes) to max(sizes), both included, px; STAC's are
            500 and 800.
        max_size: largest length of the longer side, px.

    Returns:
        The augmented sample; it may have fewer instances, but none only where the resized image has none.
    """
    resized = resize_sample(sample, int(rng.integers(min(sizes), max(sizes) + 1)), max_size)
    result = resized
    for step in (recolour, displace) if rng.random() < 0.5 else (displace, recolour):
        result = step(result, rng)
    result = cut_out(result, rng)
    return resized if len(resized.labels) and not len(result.labels) else result
