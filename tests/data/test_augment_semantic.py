"""The semantic map stays on its image and its masks, whatever happens to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from casl.data import augment_strong as strong_ops
from casl.data.affine import rotation, shear, translation
from casl.data.augment import Sample, flip, resize_sample, weak
from casl.data.augment_stac import stac
from casl.data.augment_strong import strong, strong_labeled, warp
from casl.data.augment_ut import ut
from casl.data.large_jitter import lsj

Augmentation = Callable[[Sample, np.random.Generator, Sequence[int], int], Sample]
EVERY: list[Augmentation] = [weak, strong, strong_labeled, stac, ut, lsj]
AREAS = ((2, 3, 30, 20), (30, 3, 60, 25), (10, 30, 64, 50), (0, 52, 20, 64))  # XYXY, apart from each other


def sample_of(height: int = 64, width: int = 64) -> Sample:
    """Area k is instance k and has the number k + 1 in the map; the last instance is the whole image."""
    boxes = np.array([*AREAS, (0, 0, width, height)])
    masks = np.zeros((len(boxes), height, width), np.bool_)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    semantic = (masks[:-1] * np.arange(1, len(boxes))[:, None, None]).sum(axis=0).astype(np.uint8)
    image = np.random.default_rng(0).integers(0, 100, (height, width, 3), dtype=np.uint8)
    return Sample(image, boxes.astype(np.float32), np.arange(len(boxes)), masks, semantic=semantic)


def map_of(sample: Sample) -> NDArray[np.uint8]:
    assert sample.semantic is not None
    return sample.semantic


def assert_aligned(sample: Sample) -> None:
    """Every mask is its number in the map, and void is all that the mask of the whole image has lost."""
    semantic = map_of(sample)
    assert sample.masks is not None and sample.labels[-1] == len(AREAS)
    assert semantic.dtype == np.uint8 and semantic.shape == sample.image.shape[:2]
    for label, mask in zip(sample.labels[:-1].tolist(), sample.masks[:-1], strict=True):
        np.testing.assert_array_equal(semantic == label + 1, mask)
    np.testing.assert_array_equal(semantic == 255, ~sample.masks[-1])
    assert set(np.unique(semantic).tolist()) <= {0, 255, *(sample.labels[:-1] + 1).tolist()}


MATRICES = [
    translation(5.3, 0),
    translation(0, -6.0),
    rotation(30, 64, 64),
    rotation(-17, 64, 64),
    shear(20, 0),
    shear(-12, 9),
]


@pytest.mark.parametrize("matrix", MATRICES)
def test_it_moves_with_the_masks_and_is_void_where_the_image_does_not_reach(matrix: NDArray[np.float64]) -> None:
    moved = warp(sample_of(), matrix)
    assert_aligned(moved)
    assert (map_of(moved) == 255).any()
    boxes_only = warp(replace(sample_of(), masks=None), matrix)
    np.testing.assert_array_equal(map_of(boxes_only), map_of(moved))


def test_whole_pixels_and_quarter_turns_are_exact() -> None:
    sample = sample_of()
    shifted = map_of(warp(sample, translation(-6, 4)))
    np.testing.assert_array_equal(shifted[4:, :-6], map_of(sample)[:-4, 6:])
    assert (shifted[:4] == 255).all() and (shifted[:, -6:] == 255).all()
    turned = map_of(warp(sample, rotation(90, 64, 64)))
    np.testing.assert_array_equal(turned, np.rot90(map_of(sample), -1))
    np.testing.assert_array_equal(map_of(flip(sample)), map_of(sample)[:, ::-1])
    np.testing.assert_array_equal(map_of(flip(flip(sample))), map_of(sample))


@pytest.mark.parametrize("short", [32, 47, 64, 97, 128])
def test_it_is_resized_to_the_nearest_pixel(short: int) -> None:
    sample = sample_of(64, 80)
    resized = resize_sample(sample, short, 1000)
    height, width = resized.image.shape[:2]
    by_pillow = Image.fromarray(map_of(sample)).resize((width, height), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(map_of(resized), np.asarray(by_pillow))
    assert_aligned(resized)


def test_erased_patches_are_void() -> None:
    for seed in range(50):
        erased = strong_ops.erase(sample_of(), np.random.default_rng(seed))
        np.testing.assert_array_equal(map_of(erased) == 255, (erased.image == strong_ops.FILL).all(axis=2))
        assert_aligned(erased)


@pytest.mark.parametrize("augmentation", EVERY)
def test_it_is_aligned_after_every_augmentation(augmentation: Augmentation) -> None:
    sample, untouched = sample_of(), sample_of()
    for seed in range(60):
        result = augmentation(sample, np.random.default_rng(seed), (40, 64, 90), 96)
        assert_aligned(result)
        assert map_of(result).flags.c_contiguous and map_of(result).flags.writeable
        without = augmentation(replace(sample, semantic=None), np.random.default_rng(seed), (40, 64, 90), 96)
        assert without.semantic is None
        np.testing.assert_array_equal(without.image, result.image)
        np.testing.assert_array_equal(without.masks, result.masks)
    np.testing.assert_array_equal(map_of(sample), map_of(untouched))


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"do not belong together.*'semantic': \(64, 32\)"):
        replace(sample_of(), semantic=np.zeros((64, 32), np.uint8))
