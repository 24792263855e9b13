"""A training sample, and what turns it into another one: resize, flip, and the weak augmentation made of the two.

Coordinates are continuous: pixel (row r, column c) covers [c, c + 1] x [r, r + 1]. All functions are pure and take
their randomness from the generator they are given. Every augmentation has the signature
`(sample, rng, sizes, max_size) -> Sample`, so that a catalog can look it up by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Uint8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and its instances.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        boxes: (N, 4) float32, XYXY in pixels. N = 0 is legal.
        labels: (N,) int64.
        masks: (N, H, W) bool, or None when the data has no masks.
        keypoints: (N, K, 3) float32, x, y in pixels and COCO visibility (0 not labelled, 1 hidden, 2 visible), or None.
        flip_pairs: keypoint indices that trade places in a mirror image, such as left and right hand.
        semantic: (H, W) uint8, stuff index 1.., 0 for things, 255 for void and for what is outside of the image
            or erased; or None when the data has no stuff.

    Raises:
        ValueError: shapes that do not belong together.
    """

    image: Uint8
    boxes: Float32
    labels: NDArray[np.int64]
    masks: Bool | None = None
    keypoints: Float32 | None = None
    flip_pairs: tuple[tuple[int, int], ...] = ()
    semantic: Uint8 | None = None

    def __post_init__(self) -> None:
        count = len(self.labels)
        fits = self.image.ndim == 3 and self.image.shape[2] == 3 and self.boxes.shape == (count, 4)
        fits = fits and (self.masks is None or self.masks.shape == (count, *self.image.shape[:2]))
        fits = fits and (self.keypoints is None or self.keypoints.shape[::2] == (count, 3))
        fits = fits and (self.semantic is None or self.semantic.shape == self.image.shape[:2])
        if not fits:
            shapes = {key: np.shape(value) for key, value in vars(self).items() if isinstance(value, np.ndarray)}
            raise ValueError(f"arrays of a sample do not belong together: {shapes}")

    def take(self, chosen: Bool) -> Sample:
        """The sample with only the instances where `chosen`, (N,) bool, is true; order kept."""
        if chosen.all():
            return self
        masks = None if self.masks is None else self.masks[chosen]
        keypoints = None if self.keypoints is None else self.keypoints[chosen]
        return replace(self, boxes=self.boxes[chosen], labels=self.labels[chosen], masks=masks, keypoints=keypoints)


def drop_lost(sample: Sample) -> Sample:
    """Leaves out instances whose box has no width or no height, or whose mask has no pixel.

    An empty mask must not reach the assignment of CondInst: an instance without a centre of mass can take the positives
    of a whole image with it.
    """
    chosen = (sample.boxes[:, 2] > sample.boxes[:, 0]) & (sample.boxes[:, 3] > sample.boxes[:, 1])
    if sample.masks is not None:
        chosen &= sample.masks.any(axis=(1, 2))
    return sample.take(chosen)


def resized_shape(height: int, width: int, short: int, max_size: int) -> tuple[int, int]:
    """Height and width after making the shorter side `short`, or less if the longer would exceed `max_size`.

    The ratio is kept; halves are rounded up, and no side gets smaller than 1.

    Source: detectron2 ResizeShortestEdge (data/transforms/augmentation_impl.py).
    """
    scale = min(short / min(height, width), max_size / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize(image: Uint8, short: int, max_size: int) -> tuple[Uint8, tuple[float, float]]:
    """Resizes an image as at test time: bilinear, antialiased when it shrinks.

    Args:
        image: (H, W, 3) uint8.
        short: wanted length of the shorter side, px.
        max_size: largest allowed length of the longer side, px.

    Returns:
        the image, (H', W', 3) uint8, and (scale_x, scale_y): multiply coordinates of the original by them to get
        coordinates of the result. They differ by rounding only.
    """
    height, width = image.shape[:2]
    new_height, new_width = resized_shape(height, width, short, max_size)
    return _to_size(image, new_height, new_width), (new_width / width, new_height / height)


def _to_size(image: Uint8, height: int, width: int) -> Uint8:
    if image.shape[:2] == (height, width):
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def resize_sample(sample: Sample, short: int, max_size: int) -> Sample:
    """Resizes image, boxes, masks, keypoints and semantic map; arguments as in `resize`.

    Masks and map take the nearest pixel, as detectron2 does: their area stays right on average, where a threshold on
    interpolated values would lose everything thinner than half a pixel. An instance that still vanishes is dropped.
    """
    height, width = sample.image.shape[:2]
    image, (scale_x, scale_y) = resize(sample.image, short, max_size)
    if image is sample.image:
        return sample
    masks, keypoints, semantic = sample.masks, sample.keypoints, sample.semantic
    rows = ((np.arange(image.shape[0]) + 0.5) * height / image.shape[0]).astype(np.int64)[:, None]
    columns = ((np.arange(image.shape[1]) + 0.5) * width / image.shape[1]).astype(np.int64)
    if masks is not None:
        masks = masks[:, rows, columns]
    if semantic is not None:
        semantic = semantic[rows, columns]
    if keypoints is not None:
        keypoints = keypoints * np.array([scale_x, scale_y, 1], np.float32)
    boxes = sample.boxes * np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
    return drop_lost(replace(sample, image=image, boxes=boxes, masks=masks, keypoints=keypoints, semantic=semantic))


def flip(sample: Sample) -> Sample:
    """Mirrors left and right, exactly: done twice it is the identity."""
    width = np.float32(sample.image.shape[1])
    left, top, right, bottom = sample.boxes.T
    masks = None if sample.masks is None else np.ascontiguousarray(sample.masks[:, :, ::-1])
    return replace(
        sample,
        image=np.ascontiguousarray(sample.image[:, ::-1]),
        boxes=np.stack([width - right, top, width - left, bottom], axis=1),
        masks=masks,
        keypoints=None if sample.keypoints is None else _flip_keypoints(sample.keypoints, width, sample.flip_pairs),
        semantic=None if sample.semantic is None else np.ascontiguousarray(sample.semantic[:, ::-1]),
    )


def _flip_keypoints(keypoints: Float32, width: np.float32, pairs: tuple[tuple[int, int], ...]) -> Float32:
    order = np.arange(keypoints.shape[1])
    for left, right in pairs:
        order[[left, right]] = right, left
    flipped = keypoints[:, order]
    labelled = flipped[:, :, 2] > 0  # the others stay at (0, 0, 0), as COCO writes them
    flipped[:, :, 0] = np.where(labelled, width - flipped[:, :, 0], flipped[:, :, 0])
    return flipped


def weak(sample: Sample, rng: np.random.Generator, sizes: Sequence[int], max_size: int) -> Sample:
    """Multi-scale and flip, the default augmentation of the paper.

    Args:
        sample: what to augment; its arrays are not changed, but may be part of the result.
        rng: source of all randomness.
        sizes: one of these lengths, all equally likely, becomes the shorter side, px.
        max_size: largest length of the longer side, px.

    Returns:
        The resized sample, mirrored with probability one half.

    Source: detectron2 ResizeShortestEdge(choice) and RandomFlip; CA-SSL takes Entity's configuration of them.
    """
    resized = resize_sample(sample, sizes[int(rng.integers(len(sizes)))], max_size)
    return flip(resized) if rng.random() < 0.5 else resized
