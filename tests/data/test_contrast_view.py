"""The views of contrastive pre-training."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from casl.data.colours import jitter
from casl.data.contrast_view import AREA, RATIO, contrast_view, crop_box
from casl.data.stream import generator_at

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 96, 3), dtype=np.uint8)


def boxes(width: int, height: int, count: int = 3000) -> np.ndarray:
    return np.array([crop_box(generator_at(n, 3), width, height) for n in range(count)])


def test_a_crop_has_a_fifth_of_the_image_or_more_as_torchvisions_has() -> None:
    found = boxes(200, 160)
    assert (found[:, :2] >= 0).all() and (found[:, 2] <= 200).all() and (found[:, 3] <= 160).all()
    wide, tall = found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]
    shares, ratios = wide * tall / (200 * 160), wide / tall
    assert shares.min() > AREA[0] - 0.01 and ratios.min() > RATIO[0] - 0.02 and ratios.max() < RATIO[1] + 0.02

    torch.manual_seed(0)
    blank = torch.zeros(3, 160, 200)
    theirs = np.array([RandomResizedCrop.get_params(blank, list(AREA), list(RATIO)) for _ in range(3000)])
    area, ratio = theirs[:, 2] * theirs[:, 3] / (200 * 160), theirs[:, 3] / theirs[:, 2]
    for mine, other in ((shares, area), (ratios, ratio), (found[:, 0], theirs[:, 1]), (found[:, 1], theirs[:, 0])):
        spread = math.sqrt(2 * other.var() / 3000)
        assert abs(mine.mean() - other.mean()) < 4 * spread
        assert np.abs(np.quantile(mine, (0.1, 0.5, 0.9)) - np.quantile(other, (0.1, 0.5, 0.9))).max() < 12 * spread


def test_of_an_image_too_long_for_any_draw_the_middle_is_taken() -> None:
    assert crop_box(generator_at(0, 0), 1000, 12) == (492, 0, 508, 12)
    assert crop_box(generator_at(0, 0), 12, 1000) == (0, 492, 12, 508)


def test_a_view_is_a_function_of_its_generator_and_leaves_the_image() -> None:
    before = IMAGE.copy()
    first, again = (contrast_view(IMAGE, generator_at(4, 0, 1), 32) for _ in range(2))
    assert first.shape == (32, 32, 3) and first.dtype == np.uint8 and np.array_equal(first, again)
    assert not np.array_equal(first, contrast_view(IMAGE, generator_at(4, 0, 0), 32))
    assert np.array_equal(IMAGE, before)


def test_as_many_views_are_grey_flipped_and_jittered_as_published() -> None:
    ramp = np.zeros((40, 40, 3), np.uint8)
    ramp[:, :, 0], ramp[:, :, 1] = np.linspace(40, 90, 40)[None].astype(np.uint8), 200
    views = [contrast_view(ramp, generator_at(n, 1), 32).astype(int) for n in range(600)]
    grey = np.mean([np.abs(v[:, :, 0] - v[:, :, 1]).max() == 0 for v in views])
    coloured = [v for v in views if np.abs(v[:, :, 0] - v[:, :, 1]).max() > 0]
    flipped = np.mean([v[:, -4:, 0].mean() < v[:, :4, 0].mean() for v in views])
    plain = np.mean([abs(v[:, :, 1].mean() - 200) < 1 for v in coloured])  # green as it was: not jittered
    assert abs(grey - 0.2) < 0.05 and abs(flipped - 0.5) < 0.07 and abs(plain - 0.2) < 0.07


def test_jitter_takes_each_colour_operation_in_any_order() -> None:
    image = Image.fromarray(IMAGE)
    seen = {jitter(image, generator_at(n, 0)).tobytes() for n in range(6)}
    assert len(seen) == 6
    means = [np.asarray(jitter(image, generator_at(n, 0))).mean() for n in range(60)]
    assert 0.55 * IMAGE.mean() < min(means) < 0.85 * IMAGE.mean() and 1.15 * IMAGE.mean() < max(means)
