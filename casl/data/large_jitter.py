"""Large-scale jitter: images a tenth to twice as large as fits, on a canvas of one size.

Source: Simple Copy-Paste (CVPR 2021) sec. 3 and its large-scale jittering of .1 to 2; torchvision's ScaleJitter and the
FixedSizeCrop of its detection references for what these do. Places that the image does not reach are FILL, as in
`casl.data.augment_strong`, and void in the semantic map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from casl.data.affine import compose, translation
from casl.data.augment import Sample, drop_lost, reshape_sample
from casl.data.augment_strong import FILL
from casl.data.panoptic import VOID

SCALES = (0.1, 2.0)


def jittered_shape(height: int, width: int, scale: float, side: int) -> tuple[int, int]:
    """Height and width of an image at a scale of 1 of which it just fits into a square.

    Args:
        height, width: of the image, px.
        scale: above 0.
        side: of the square, px.

    Returns:
        Both rounded down, and at least 1.
    """
    ratio = min(side / height, side / width) * scale
    return max(1, int(height * ratio)), max(1, int(width * ratio))


def window(sample: Sample, left: int, top: int, height: int, width: int) -> Sample:
    """The sample as seen through a window.

    Args:
        sample: what to look at.
        left, top: of the window in the sample, px, at least 0.
        height, width: of the window, px; where it reaches beyond the sample, the image is FILL.

    Returns:
        The part of the sample in the window, (height, width) large. Boxes are clipped, instances outside of it are
        dropped, and keypoints outside of it become unlabelled.
    """
    canvas = np.full((height, width, 3), FILL, np.uint8)
    shown = sample.image[top : top + height, left : left + width]
    rows, columns = shown.shape[:2]
    canvas[:rows, :columns] = shown
    masks, semantic, keypoints = sample.masks, sample.semantic, sample.keypoints
    if masks is not None:
        there = masks[:, top : top + height, left : left + width]
        masks = np.zeros((len(masks), height, width), np.bool_)
        masks[:, :rows, :columns] = there
    if semantic is not None:
        part = semantic[top : top + height, left : left + width]
        semantic = np.full((height, width), VOID, np.uint8)
        semantic[:rows, :columns] = part
    if keypoints is not None:
        moved = keypoints - np.array([left, top, 0], np.float32)
        inside = ((moved[:, :, :2] >= 0) & (moved[:, :, :2] < [width, height])).all(axis=2) & (keypoints[:, :, 2] > 0)
        keypoints = np.where(inside[..., None], moved, np.float32(0))
    corner = np.array([left, top, left, top], np.float32)
    boxes = np.clip(sample.boxes - corner, 0, np.array([width, height, width, height], np.float32))
    matrix = compose(translation(-left, -top), sample.matrix)
    seen = replace(
        sample, image=canvas, boxes=boxes, masks=masks, keypoints=keypoints, semantic=semantic, matrix=matrix
    )
    return drop_lost(seen)


def lsj(sample: Sample, rng: np.random.Generator, sizes: Sequence[int], max_size: int) -> Sample:
    """Augments with large-scale jitter: resize, flip with probability one half, a part of it on a square canvas.

    Args:
        sample: what to augment; its arrays are not changed, but may be part of the result.
        rng: source of all randomness.
        sizes: not used.
        max_size: side of the canvas, px; the source's is 1024. At a scale of 1 the image just fits.

    Returns:
        A sample of (max_size, max_size): of an image larger than the canvas a part at a random place, a smaller one at
        the top left. It may have fewer instances, or none.
    """
    del sizes
    height, width = sample.image.shape[:2]
    height, width = jittered_shape(height, width, float(rng.uniform(*SCALES)), max_size)
    resized = reshape_sample(sample, height, width, mirror=bool(rng.random() < 0.5))
    top, left = (int(rng.integers(max(side - max_size, 0) + 1)) for side in (height, width))
    return window(resized, left, top, max_size, max_size)
