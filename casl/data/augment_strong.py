"""Strong augmentation: the student branch of Soft Teacher, with masks, keypoints and semantic maps carried along.

In order: resize to a random size, flip, then in random order one of nine colour operations and one of four geometric
ones, then erase. Choices where the source leaves room or treats pixels and coordinates differently:

- Geometric maps act on continuous coordinates (pixel centres at .5), one bilinear pass for the image and nearest pixels
  for masks and semantic maps. Rotation is about the centre of the image; shear keeps the top left corner.
- Boxes become the hull of their mapped corners, clipped to the image, also when masks exist. Shear x then y is applied
  as one map, so a box is the hull once and not the hull of a hull.
- An instance is dropped when its box has no area left or its mask no pixel, after geometry and after erasing. Without
  masks, erasing drops nothing.
- A keypoint that leaves the image becomes unlabelled (0, 0, 0); one that is erased becomes hidden (visibility 1).
- In the semantic map, what the image does not cover and what is erased becomes VOID: nothing to learn there.

Source: Soft Teacher (ICCV 2021), configs/soft_teacher/base.py and ssod/datasets/pipelines/rand_aug.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from casl.data.affine import Matrix, compose, inverse_of, rotation, shear, translation
from casl.data.augment import Bool, Float32, Sample, Uint8, drop_lost, flip, resize_sample
from casl.data.panoptic import VOID

MAGNITUDES = range(1, 10)
FILL = 125
MAX_TRANSLATION = 0.1  # share of the side
MAX_DEGREES = 30.0  # of rotation, and of the angle whose tanh is the shear
ERASED_PATCHES = (1, 4)
MAX_ERASED_SIDE = 0.2  # share of the side


def solarize_threshold(magnitude: int) -> int:
    """Levels from this one on are inverted; magnitude 1..9 gives 25..230."""
    return min(int(256 * magnitude / 10), 255)


def enhance_factor(magnitude: int) -> float:
    """Factor for Pillow's enhancers, 1 = unchanged; magnitude 1..9 gives 0.28..1.72."""
    return 1.8 * magnitude / 10 + 0.1


def posterize_bits(magnitude: int) -> int:
    """Bits kept a channel; magnitude 1..9 gives 4, 4, 3, 3, 2, 2, 2, 1, 1."""
    return 4 - int(4 * magnitude / 10)


COLOUR_OPS: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "identity": lambda image, magnitude: image,
    "auto_contrast": lambda image, magnitude: ImageOps.autocontrast(image),
    "equalize": lambda image, magnitude: ImageOps.equalize(image),
    "solarize": lambda image, magnitude: ImageOps.solarize(image, solarize_threshold(magnitude)),
    "color": lambda image, magnitude: ImageEnhance.Color(image).enhance(enhance_factor(magnitude)),
    "contrast": lambda image, magnitude: ImageEnhance.Contrast(image).enhance(enhance_factor(magnitude)),
    "brightness": lambda image, magnitude: ImageEnhance.Brightness(image).enhance(enhance_factor(magnitude)),
    "sharpness": lambda image, magnitude: ImageEnhance.Sharpness(image).enhance(enhance_factor(magnitude)),
    "posterize": lambda image, magnitude: ImageOps.posterize(image, posterize_bits(magnitude)),
}


def recolour(sample: Sample, rng: np.random.Generator) -> Sample:
    """Applies one of COLOUR_OPS, each equally likely, with a magnitude of 1..9, each equally likely."""
    name = list(COLOUR_OPS)[rng.integers(len(COLOUR_OPS))]
    magnitude = int(rng.integers(MAGNITUDES.start, MAGNITUDES.stop))
    if name == "identity":
        return sample
    return replace(sample, image=np.array(COLOUR_OPS[name](Image.fromarray(sample.image), magnitude)))


def _spread(rng: np.random.Generator, most: float) -> float:
    return float(rng.uniform(-most, most))


GEOMETRIC_OPS: dict[str, Callable[[np.random.Generator, int, int], Matrix]] = {
    "translate_x": lambda rng, width, height: translation(_spread(rng, MAX_TRANSLATION) * width, 0),
    "translate_y": lambda rng, width, height: translation(0, _spread(rng, MAX_TRANSLATION) * height),
    "rotate": lambda rng, width, height: rotation(_spread(rng, MAX_DEGREES), width, height),
    "shear": lambda rng, width, height: shear(_spread(rng, MAX_DEGREES), _spread(rng, MAX_DEGREES)),
}


def move(sample: Sample, rng: np.random.Generator) -> Sample:
    """Applies one of GEOMETRIC_OPS, each equally likely."""
    height, width = sample.image.shape[:2]
    name = list(GEOMETRIC_OPS)[rng.integers(len(GEOMETRIC_OPS))]
    return warp(sample, GEOMETRIC_OPS[name](rng, width, height))


def warp(sample: Sample, matrix: Matrix) -> Sample:
    """The sample under an affine map, on a canvas of the same size.

    Args:
        sample: what to map.
        matrix: (2, 3), old XY pixel coordinates to new ones.

    Returns:
        New sample: uncovered pixels are FILL, in the semantic map VOID; boxes are the clipped hulls of the mapped
        corners; instances that leave the image are dropped.
    """
    height, width = sample.image.shape[:2]
    boxes = _warp_boxes(sample.boxes, matrix, width, height)
    return drop_lost(replace(warp_pixels(sample, matrix), boxes=boxes, matrix=compose(matrix, sample.matrix)))


def warp_pixels(sample: Sample, matrix: Matrix) -> Sample:
    """What `warp` does to image, masks, keypoints and semantic map alone; boxes and the matrix of the view stay."""
    height, width = sample.image.shape[:2]
    back = inverse_of(matrix[:, :2])
    inverse = np.concatenate([back, -back @ matrix[:, 2:]], axis=1)
    image = Image.fromarray(sample.image).transform(
        (width, height),
        Image.Transform.AFFINE,
        data=inverse.ravel().tolist(),
        resample=Image.Resampling.BILINEAR,
        fillcolor=(FILL, FILL, FILL),
    )
    masks, semantic = _warp_maps(sample, inverse)
    keypoints = None if sample.keypoints is None else _warp_keypoints(sample.keypoints, matrix, width, height)
    return replace(sample, image=np.array(image), masks=masks, keypoints=keypoints, semantic=semantic)


def _warp_boxes(boxes: Float32, matrix: Matrix, width: int, height: int) -> Float32:
    corners = boxes[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2) @ matrix[:, :2].T + matrix[:, 2]
    hull = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    clipped: Float32 = np.clip(hull, 0, [width, height, width, height]).astype(np.float32)
    return clipped


def _warp_maps(sample: Sample, inverse: Matrix) -> tuple[Bool | None, Uint8 | None]:
    """Masks and semantic map: every pixel from where its centre came from, one table of positions for all."""
    masks, semantic = sample.masks, sample.semantic
    if masks is None and semantic is None:
        return None, None
    height, width = sample.image.shape[:2]
    x, y = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    columns, rows = (np.floor(a * x + b * y + c).astype(np.int64) for a, b, c in inverse)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    positions = np.where(inside, rows * width + columns, 0)
    if masks is not None:
        masks = masks.reshape(len(masks), height * width)[:, positions] & inside
    if semantic is not None:
        semantic = np.where(inside, semantic.ravel()[positions], np.uint8(VOID))
    return masks, semantic


def _warp_keypoints(keypoints: Float32, matrix: Matrix, width: int, height: int) -> Float32:
    moved = keypoints[:, :, :2] @ matrix[:, :2].T + matrix[:, 2]
    inside = ((moved >= 0) & (moved < [width, height])).all(axis=2) & (keypoints[:, :, 2] > 0)
    return np.where(inside[..., None], np.dstack([moved, keypoints[:, :, 2]]), 0).astype(np.float32)


def erase(sample: Sample, rng: np.random.Generator) -> Sample:
    """Paints 1 to 4 patches with FILL. A patch has the shape of the image, sides of 0 to 20 % of the image's.

    Boxes stay, masks are zeroed and the semantic map is VOID under the patches, instances with nothing left of their
    mask are dropped.
    """
    height, width = sample.image.shape[:2]
    erased = np.zeros((height, width), np.bool_)
    for _ in range(rng.integers(ERASED_PATCHES[0], ERASED_PATCHES[1] + 1)):
        ratio = rng.uniform(0, MAX_ERASED_SIDE)
        tall, wide = int(ratio * height), int(ratio * width)
        left, top = rng.integers(0, width - wide), rng.integers(0, height - tall)
        erased[top : top + tall, left : left + wide] = True
    return paint(sample, erased, np.uint8(FILL))


def paint(sample: Sample, erased: Bool, pixels: Uint8 | np.uint8) -> Sample:
    """Paints over a part of the image and what lies there, as `erase` does.

    Args:
        sample: what to paint on.
        erased: (H, W) bool, where.
        pixels: (H, W, 3) uint8, or one level for all.
    """
    image = np.where(erased[..., None], pixels, sample.image)
    masks = None if sample.masks is None else sample.masks & ~erased
    keypoints = None if sample.keypoints is None else _hide_keypoints(sample.keypoints, erased)
    semantic = None if sample.semantic is None else np.where(erased, np.uint8(VOID), sample.semantic)
    return drop_lost(replace(sample, image=image, masks=masks, keypoints=keypoints, semantic=semantic))


def _hide_keypoints(keypoints: Float32, erased: Bool) -> Float32:
    x, y = np.floor(keypoints[:, :, 0]).astype(np.int64), np.floor(keypoints[:, :, 1]).astype(np.int64)
    hidden = erased[np.clip(y, 0, erased.shape[0] - 1), np.clip(x, 0, erased.shape[1] - 1)]
    result = keypoints.copy()
    result[:, :, 2] = np.where(hidden, np.minimum(keypoints[:, :, 2], 1), keypoints[:, :, 2])
    return result


def _resize_and_flip(sample: Sample, rng: np.random.Generator, sizes: Sequence[int], max_size: int) -> Sample:
    resized = resize_sample(sample, int(rng.integers(min(sizes), max(sizes) + 1)), max_size)
    return flip(resized) if rng.random() < 0.5 else resized


def strong(sample: Sample, rng: np.random.Generator, sizes: Sequence[int], max_size: int) -> Sample:
    """Augments as Soft Teacher augments unlabeled images for the student.

    Args:
        sample: what to augment; its arrays are not changed, but may be part of the result.
        rng: source of all randomness.
        sizes: the shorter side becomes a whole number from min(sizes) to max(sizes), both included, px.
        max_size: largest length of the longer side, px.

    Returns:
        The augmented sample; it may have fewer instances, or none.
    """
    result = _resize_and_flip(sample, rng, sizes, max_size)
    steps = (recolour, move) if rng.random() < 0.5 else (move, recolour)
    for step in steps:
        result = step(result, rng)
    return erase(result, rng)


def strong_labeled(sample: Sample, rng: np.random.Generator, sizes: Sequence[int], max_size: int) -> Sample:
    """Augments as Soft Teacher does labeled images: resize, flip, one colour operation; arguments as in `strong`."""
    return recolour(_resize_and_flip(sample, rng, sizes, max_size), rng)
