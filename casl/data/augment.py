"""A training sample, its resize and flip, and the weak augmentation made of the two.

Coordinates are continuous: pixel (row r, column c) covers [c, c + 1] x [r, r + 1]. All functions are pure and take
their randomness from the generator they are given. Every augmentation has the signature
`(sample, rng, sizes, max_size) -> Sample`, so that a catalog can look it up by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from casl.data.affine import Matrix, compose, mirroring, scaling

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
        matrix: (3, 3) float64, from XY coordinates of the original image to those of this view of it; colour and
            erasing leave it as it is.
        scores: (N,) float32, how sure the labeler was of each instance, or None when the labels have no scores.
        weights: (N,) float32, factor on the losses of each instance, or None for 1 everywhere.

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
    matrix: Matrix = field(default_factory=lambda: np.eye(3))
    scores: Float32 | None = None
    weights: Float32 | None = None

    def __post_init__(self) -> None:
        count = len(self.labels)
        fits = self.image.ndim == 3 and self.image.shape[2] == 3 and self.boxes.shape == (count, 4)
        fits = fits and (self.masks is None or self.masks.shape == (count, *self.image.shape[:2]))
        fits = fits and (self.keypoints is None or self.keypoints.shape[::2] == (count, 3))
        fits = fits and (self.semantic is None or self.semantic.shape == self.image.shape[:2])
        fits = fits and all(values is None or values.shape == (count,) for values in (self.scores, self.weights))
        fits = fits and self.matrix.shape == (3, 3)
        if not fits:
            shapes = {key: np.shape(value) for key, value in vars(self).items() if isinstance(value, np.ndarray)}
            raise ValueError(f"arrays of a sample do not belong together: {shapes}")

    def take(self, chosen: Bool) -> Sample:
        """The sample with only the instances where `chosen`, (N,) bool, is true; order kept."""
        if chosen.all():
            return self
        names = ("boxes", "labels", "masks", "keypoints", "scores", "weights")
        values = {name: getattr(self, name) for name in names}
        return replace(self, **{name: value[chosen] for name, value in values.items() if value is not None})


def drop_lost(sample: Sample) -> Sample:
    """The sample without instances whose box has no width or no height, or whose mask has no pixel.

    An empty mask must not reach the assignment of CondInst: an instance without a centre of mass can take the positives
    of a whole image with it.
    """
    chosen = (sample.boxes[:, 2] > sample.boxes[:, 0]) & (sample.boxes[:, 3] > sample.boxes[:, 1])
    if sample.masks is not None:
        chosen &= np.array([mask.any() for mask in sample.masks], np.bool_)  # a mask at a time stops at its first pixel
    return sample.take(chosen)


def resized_shape(height: int, width: int, short: int, max_size: int) -> tuple[int, int]:
    """Height and width after making the shorter side `short`, or less if the longer would exceed `max_size`.

    The ratio is kept; halves are rounded up, and no side gets smaller than 1.

    Source: detectron2 ResizeShortestEdge (data/transforms/augmentation_impl.py), in whole numbers: its own sums of
    floats round some halves down, as of 149 x 298 at 800 and 1333.
    """
    low, high = min(height, width), max(height, width)
    new, old = (short, low) if short * high <= max_size * low else (max_size, high)
    return max(1, (2 * height * new + old) // (2 * old)), max(1, (2 * width * new + old) // (2 * old))


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


def _to_size(image: Uint8, height: int, width: int, mirror: bool = False) -> Uint8:
    if image.shape[:2] == (height, width) and not mirror:
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else resized)


def resize_sample(sample: Sample, short: int, max_size: int, mirror: bool = False) -> Sample:
    """Resizes image, boxes, masks, keypoints and semantic map; other arguments as in `resize`.

    Masks and map take the nearest pixel, as detectron2 does: their area stays right on average, where a threshold on
    interpolated values would lose everything thinner than half a pixel. An instance that still vanishes is dropped.

    Args:
        mirror: flip the result, as `flip` would, but in the same pass over the pixels.
    """
    height, width = sample.image.shape[:2]
    return reshape_sample(sample, *resized_shape(height, width, short, max_size), mirror)


def reshape_sample(sample: Sample, new_height: int, new_width: int, mirror: bool = False) -> Sample:
    """As `resize_sample`, to a height and a width in px, both at least 1."""
    height, width = sample.image.shape[:2]
    if (new_height, new_width) == (height, width):
        return flip(sample) if mirror else sample
    scale_x, scale_y = new_width / width, new_height / height
    image = _to_size(sample.image, new_height, new_width, mirror)
    keypoints = sample.keypoints
    rows = ((np.arange(new_height) + 0.5) * height / new_height).astype(np.int64)
    columns = ((np.arange(new_width) + 0.5) * width / new_width).astype(np.int64)
    seen = columns[::-1] if mirror else columns
    masks = None if sample.masks is None else _masks_at(sample.masks, rows, seen)
    semantic = None if sample.semantic is None else sample.semantic[rows[:, None], seen]
    if keypoints is not None:
        keypoints = keypoints * np.array([scale_x, scale_y, 1], np.float32)
    boxes = sample.boxes * np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
    matrix = compose(scaling(scale_x, scale_y), sample.matrix)
    resized = replace(
        sample, image=image, boxes=boxes, masks=masks, keypoints=keypoints, semantic=semantic, matrix=matrix
    )
    return _flip_points(drop_lost(resized)) if mirror else drop_lost(resized)


def flip(sample: Sample) -> Sample:
    """Mirrors left and right, exactly: done twice it is the identity."""
    height, width = sample.image.shape[:2]
    return _flip_points(
        replace(
            sample,
            image=_to_size(sample.image, height, width, mirror=True),
            masks=None if sample.masks is None else np.ascontiguousarray(sample.masks[:, :, ::-1]),
            semantic=None if sample.semantic is None else np.ascontiguousarray(sample.semantic[:, ::-1]),
        )
    )


def _flip_points(sample: Sample) -> Sample:
    """Mirrors boxes, keypoints and the matrix of the view."""
    width = np.float32(sample.image.shape[1])
    left, top, right, bottom = sample.boxes.T
    boxes = np.stack([width - right, top, width - left, bottom], axis=1)
    keypoints = sample.keypoints
    if keypoints is not None:
        keypoints = _flip_keypoints(keypoints, width, sample.flip_pairs)
    matrix = compose(mirroring(float(width)), sample.matrix)
    return replace(sample, boxes=boxes, keypoints=keypoints, matrix=matrix)


def _masks_at(masks: Bool, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Bool:
    """masks[:, rows, columns] of every row with every column: eight masks are gathered as the bits of one byte."""
    found = np.empty((len(masks), len(rows), len(columns)), np.bool_)
    for first in range(0, len(masks), 8):
        bits = np.zeros(masks.shape[1:], np.uint8)
        for place, mask in enumerate(masks[first : first + 8]):
            bits |= mask.view(np.uint8) << np.uint8(place)
        gathered = bits.take(columns, axis=1).take(rows, axis=0)
        for place, out in enumerate(found[first : first + 8]):
            np.not_equal(gathered & np.uint8(1 << place), 0, out=out)
    return found


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
    size = sizes[int(rng.integers(len(sizes)))]
    return resize_sample(sample, size, max_size, mirror=bool(rng.random() < 0.5))
