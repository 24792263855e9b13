"""Unbiased Teacher's view, against torchvision's operations on pictures and its RandomErasing."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, stats
from torchvision.transforms import RandomErasing
from torchvision.transforms import functional as vision

from casl.data import colours as ops
from casl.data.augment import Sample, weak
from casl.data.augment_ut import ERASINGS, Erasing, erase, rectangle, ut
from casl.data.colours import jitter


def sample_of(height: int = 60, width: int = 80) -> Sample:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    masks = np.ones((1, height, width), np.bool_)
    return Sample(image, np.array([[0, 0, width, height]], np.float32), np.zeros(1, np.int64), masks)


def by_torchvision(image: Image.Image, factors: list[float], hue: float, order: tuple[int, ...]) -> NDArray[np.uint8]:
    steps = [
        lambda x: vision.adjust_brightness(x, factors[0]),
        lambda x: vision.adjust_contrast(x, factors[1]),
        lambda x: vision.adjust_saturation(x, factors[2]),
        lambda x: vision.adjust_hue(x, hue),
    ]
    for kind in order:
        image = steps[kind](image)
    return np.array(image)


def test_colours_are_jittered_as_torchvision_does_in_every_order() -> None:
    """The same factors, drawn from the same generator, in one of the 24 orders; each order is met."""
    image = Image.fromarray(sample_of(12, 16).image)
    met = set()
    for seed in range(150):
        rng = np.random.default_rng(seed)
        factors, hue = rng.uniform(0.6, 1.4, 3).tolist(), float(rng.uniform(-0.1, 0.1))
        ours = np.array(jitter(image, np.random.default_rng(seed)))
        orders = [o for o in permutations(range(4)) if np.array_equal(ours, by_torchvision(image, factors, hue, o))]
        assert orders
        met |= {orders[0]}
    assert len(met) >= 20


def test_grey_and_blur_are_those_of_pillow_and_torchvision() -> None:
    """With no jitter and no noise what is left is one of four pictures, in the published proportions."""
    sample, seen = sample_of(16, 16), {"plain": 0, "grey": 0, "blur": 0, "both": 0}
    for seed in range(600):
        rng = np.random.default_rng(seed)
        if rng.random() < ops.JITTER:
            continue
        view = np.array(ops.recolour(Image.fromarray(sample.image), np.random.default_rng(seed)))
        grey = np.array(vision.rgb_to_grayscale(Image.fromarray(sample.image), 3))
        if np.array_equal(view, sample.image):
            seen["plain"] += 1
        elif np.array_equal(view, grey):
            seen["grey"] += 1
        else:
            seen["both" if (view == view[..., :1]).all() else "blur"] += 1
            source = grey if (view == view[..., :1]).all() else sample.image
            assert view.astype(float).std() < source.astype(float).std()
    count = sum(seen.values())
    assert count / 600 == pytest.approx(0.2, abs=0.05)
    for name, share in (("plain", 0.4), ("grey", 0.1), ("blur", 0.4), ("both", 0.1)):
        assert seen[name] / count == pytest.approx(share, abs=0.12)


@pytest.mark.parametrize("erasing", ERASINGS)
def test_rectangles_are_distributed_as_torchvisions(erasing: Erasing) -> None:
    rng, picture = np.random.default_rng(7), torch.zeros(3, 90, 130)
    torch.manual_seed(7)
    draws = [RandomErasing.get_params(picture, erasing.areas, erasing.ratios, [0.0]) for _ in range(1500)]
    theirs = np.array([draw[:4] for draw in draws], float)
    drawn = [rectangle(rng, 90, 130, erasing) for _ in range(1500)]
    ours = np.array(
        [(0, 0, 90, 130) if place is None else place for place in drawn], float
    )  # the whole: none was found
    for axis in range(4):
        assert stats.ks_2samp(ours[:, axis], theirs[:, axis]).pvalue > 0.01
    assert (ours[:, 0] + ours[:, 2] <= 90).all() and (ours[:, 1] + ours[:, 3] <= 130).all()


def test_noise_is_what_torchvision_makes_of_its_own() -> None:
    """Normal values of deviation 1 as bytes modulo 256, against uniform bytes; all levels but 0 are alike."""
    torch.manual_seed(0)
    values = torch.empty(3, 256, 256).normal_()
    theirs = np.bincount(np.array(vision.to_pil_image(values)).ravel(), minlength=256)
    assert stats.chisquare(theirs[1:]).pvalue > 0.01
    assert theirs[0] / theirs.sum() == pytest.approx(1.4 / 256, rel=0.1)
    black = replace(sample_of(), image=np.zeros((60, 80, 3), np.uint8))
    rng = np.random.default_rng(1)
    noise = [erase(black, rng) for _ in range(60)]
    levels = np.concatenate([view.image[~view.masks[0]] for view in noise if view.masks is not None]).ravel()
    assert stats.chisquare(np.bincount(levels, minlength=256)).pvalue > 0.01


def test_rectangles_are_as_likely_as_published_and_masks_lose_what_lies_under_them() -> None:
    """Rectangles that do not touch are counted; how many a view has is a sum of three chances."""
    black = replace(sample_of(150, 150), image=np.zeros((150, 150, 3), np.uint8))
    rng, counts = np.random.default_rng(2), []
    for _ in range(500):
        view = erase(black, rng)
        assert view.masks is not None
        np.testing.assert_array_equal(view.boxes, black.boxes)
        noisy = ndimage.binary_closing(view.image.any(axis=2))
        assert (view.masks[0] & view.image.any(axis=2)).sum() == 0
        counts.append(ndimage.label(noisy)[1])
    assert np.mean(np.array(counts) == 0) == pytest.approx(0.3 * 0.5 * 0.7, abs=0.035)
    assert max(counts) == 3


def test_boxes_and_matrix_are_those_of_the_weak_view() -> None:
    boxes = np.array([[3, 4, 50, 30], [0, 0, 80, 60]], np.float32)
    sample = replace(sample_of(), boxes=boxes, labels=np.arange(2), masks=None)
    for seed in range(40):
        view = ut(sample, np.random.default_rng(seed), (48, 56), 90)
        plain = weak(sample, np.random.default_rng(seed), (48, 56), 90)
        np.testing.assert_array_equal(view.boxes, plain.boxes)
        np.testing.assert_array_equal(view.matrix, plain.matrix)
        assert view.image.shape == plain.image.shape and view.image.dtype == np.uint8
