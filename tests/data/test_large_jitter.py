"""Large-scale jitter against torchvision's ScaleJitter, crop and pad."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision import tv_tensors
from torchvision.transforms import v2

from casl.data.augment import Sample, reshape_sample
from casl.data.augment_strong import FILL
from casl.data.large_jitter import jittered_shape, lsj, window

BOXES = ((10, 12, 40, 31), (0, 0, 90, 60), (70, 20, 75, 59), (82, 2, 90, 14))


def sample_of(height: int = 60, width: int = 90) -> Sample:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    masks = np.zeros((len(BOXES), height, width), np.bool_)
    for mask, (left, top, right, bottom) in zip(masks, BOXES, strict=True):
        mask[top:bottom, left:right] = True
    keypoints = np.array([[[20, 20, 2], [0, 0, 0]]] * len(BOXES), np.float32)
    semantic = masks[0].astype(np.uint8)
    return Sample(image, np.array(BOXES, np.float32), np.arange(len(BOXES)), masks, keypoints, semantic=semantic)


@pytest.mark.parametrize("scale", [0.1, 0.37, 0.9999, 1.0, 1.414, 2.0])
@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (64, 64), (17, 123)])
def test_an_image_is_resized_as_scale_jitter_does(shape: tuple[int, int], scale: float) -> None:
    sample = (
        sample_of(*shape)
        if shape == (60, 90)
        else Sample(
            np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8),
            np.array([[2, 3, 15, 14]], np.float32),
            np.zeros(1, np.int64),
        )
    )
    jitter = v2.ScaleJitter((96, 96), (scale, scale), antialias=True)
    boxes = tv_tensors.BoundingBoxes(torch.from_numpy(sample.boxes), format="XYXY", canvas_size=shape)
    image, moved = jitter(Image.fromarray(sample.image), boxes)
    height, width = jittered_shape(*shape, scale, 96)
    ours = reshape_sample(sample, height, width)
    assert (width, height) == image.size
    np.testing.assert_array_equal(ours.image, np.asarray(image))
    kept = moved.numpy()[ours.labels] if sample.masks is not None else moved.numpy()
    np.testing.assert_allclose(ours.boxes, kept, rtol=1e-5)


@pytest.mark.parametrize("place", [(0, 0, 96, 96), (13, 5, 40, 40), (0, 7, 53, 80), (50, 0, 60, 30)])
def test_a_window_is_torchvisions_crop_and_pad(place: tuple[int, int, int, int]) -> None:
    left, top, height, width = place
    sample = sample_of()
    boxes = tv_tensors.BoundingBoxes(torch.from_numpy(sample.boxes), format="XYXY", canvas_size=(60, 90))
    tall, wide = min(height, 60 - top), min(width, 90 - left)

    def seen(value: object, fill: int) -> np.ndarray:
        cropped = v2.functional.crop(value, top, left, tall, wide)
        padded = v2.functional.pad(cropped, [0, 0, width - wide, height - tall], fill=fill)
        return np.asarray(padded)

    expected = v2.ClampBoundingBoxes()(v2.functional.crop(boxes, top, left, tall, wide)).numpy()
    kept = (expected[:, 2] > expected[:, 0]) & (expected[:, 3] > expected[:, 1])
    view = window(sample, left, top, height, width)
    assert sample.masks is not None and sample.semantic is not None
    np.testing.assert_array_equal(view.labels, np.flatnonzero(kept))
    np.testing.assert_array_equal(view.boxes, expected[kept])
    np.testing.assert_array_equal(view.image, seen(Image.fromarray(sample.image), FILL))
    masks = seen(tv_tensors.Mask(torch.from_numpy(sample.masks)), 0)
    np.testing.assert_array_equal(view.masks, masks[kept].astype(bool))
    semantic = seen(tv_tensors.Mask(torch.from_numpy(sample.semantic[None])), 255)
    np.testing.assert_array_equal(view.semantic, semantic[0])
    np.testing.assert_array_equal(view.matrix, [[1, 0, -left], [0, 1, -top], [0, 0, 1]])


def test_a_keypoint_outside_of_the_window_becomes_unlabelled() -> None:
    view = window(sample_of(), 5, 5, 40, 40)
    assert view.keypoints is not None
    np.testing.assert_array_equal(view.keypoints[0], [[15, 15, 2], [0, 0, 0]])
    view = window(sample_of(), 21, 5, 40, 40)
    assert view.keypoints is not None
    np.testing.assert_array_equal(view.keypoints[0], [[0, 0, 0], [0, 0, 0]])


def test_every_view_has_one_size_and_its_scale_is_uniform_from_a_tenth_to_twice() -> None:
    sample, rng = sample_of(), np.random.default_rng(3)
    scales, corners, mirrored = [], [], 0
    for _ in range(600):
        view = lsj(sample, rng, (32,), 48)
        assert view.image.shape == (48, 48, 3)
        a, _, x = view.matrix[0]
        scales.append(abs(a) / (48 / 90))
        mirrored += a < 0
        width = round(abs(a) * 90)
        corners.append((-x if a > 0 else width - x, max(width - 48, 0)))
    assert stats.kstest(scales, stats.uniform(0.1, 1.9).cdf).pvalue > 0.01
    assert mirrored / 600 == pytest.approx(0.5, abs=0.06)
    shares = [corner / most for corner, most in corners if most > 5]
    assert all(corner == pytest.approx(0, abs=1e-6) for corner, most in corners if most == 0)
    assert min(shares) >= -1e-9 and max(shares) <= 1 + 1e-9 and np.mean(shares) == pytest.approx(0.5, abs=0.05)


def test_boxes_follow_the_matrix_and_what_leaves_the_canvas_is_dropped() -> None:
    sample, rng, lost = replace(sample_of(), masks=None), np.random.default_rng(4), 0
    for _ in range(200):
        view = lsj(sample, rng, (32,), 48)
        corners = sample.boxes[:, [0, 1, 2, 3]].reshape(-1, 2, 2) @ view.matrix[:2, :2].T + view.matrix[:2, 2]
        hull = np.clip(np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1), 0, 48)
        np.testing.assert_allclose(view.boxes, hull[view.labels], atol=1e-3)
        lost += len(BOXES) - len(view.labels)
    assert lost > 0
