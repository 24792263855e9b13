"""Samples under resize, flip and the weak augmentation, and the strong ones built of colour, geometry and erasing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from casl.data import augment_strong as strong_ops
from casl.data.affine import rotation, shear, translation
from casl.data.augment import Sample, flip, resize, resize_sample, resized_shape, weak
from casl.data.augment_stac import stac
from casl.data.augment_strong import strong, strong_labeled, warp
from casl.data.augment_ut import ut, ut_blur, ut_colour
from casl.data.large_jitter import lsj

Augmentation = Callable[[Sample, np.random.Generator, Sequence[int], int], Sample]
EVERY: list[Augmentation] = [weak, strong, strong_labeled, stac, ut, ut_blur, ut_colour, lsj]
RECTANGLES = np.array([[20, 22, 44, 40], [30, 26, 36, 38], [24, 28, 40, 42]])


def filled(boxes: NDArray[np.int_], height: int, width: int) -> NDArray[np.bool_]:
    masks = np.zeros((len(boxes), height, width), np.bool_)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def sample_of(boxes: NDArray[np.int_] = RECTANGLES, height: int = 64, width: int = 64, seed: int = 0) -> Sample:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = np.arange(len(boxes))
    return Sample(image, boxes.astype(np.float32).reshape(-1, 4), labels, filled(boxes, height, width))


def hulls(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """XYXY of every mask, by looking for the first and last pixel."""
    found = []
    for mask in masks:
        y, x = np.nonzero(mask)
        found.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
    return np.array(found, dtype=np.float64)


def same(first: Sample, second: Sample) -> bool:
    names = ("image", "boxes", "labels", "masks", "keypoints")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def test_randaug_tables_are_those_of_soft_teacher() -> None:
    magnitudes = strong_ops.MAGNITUDES
    assert list(magnitudes) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    thresholds = [strong_ops.solarize_threshold(m) for m in magnitudes]
    assert thresholds == [25, 51, 76, 102, 128, 153, 179, 204, 230]
    assert [strong_ops.posterize_bits(m) for m in magnitudes] == [4, 4, 3, 3, 2, 2, 2, 1, 1]
    factors = [strong_ops.enhance_factor(m) for m in magnitudes]
    np.testing.assert_allclose(factors, [0.28, 0.46, 0.64, 0.82, 1.0, 1.18, 1.36, 1.54, 1.72])


@pytest.mark.parametrize(
    ("name", "magnitude", "by_pillow"),
    [
        ("identity", 5, lambda image: image),
        ("auto_contrast", 5, ImageOps.autocontrast),
        ("equalize", 5, ImageOps.equalize),
        ("solarize", 3, lambda image: ImageOps.solarize(image, 76)),
        ("color", 1, lambda image: ImageEnhance.Color(image).enhance(0.28)),
        ("contrast", 9, lambda image: ImageEnhance.Contrast(image).enhance(1.72)),
        ("brightness", 2, lambda image: ImageEnhance.Brightness(image).enhance(0.46)),
        ("sharpness", 8, lambda image: ImageEnhance.Sharpness(image).enhance(1.54)),
        ("posterize", 9, lambda image: ImageOps.posterize(image, 1)),
    ],
)
def test_colour_operations_are_pillows(
    name: str, magnitude: int, by_pillow: Callable[[Image.Image], Image.Image]
) -> None:
    image = Image.fromarray(sample_of().image)
    ours = np.asarray(strong_ops.COLOUR_OPS[name](image, magnitude))
    np.testing.assert_array_equal(ours, np.asarray(by_pillow(image)))


def test_nine_colour_operations_are_equally_likely() -> None:
    # With levels of 50..241 each operation leaves its own picture, so counting pictures counts draws.
    image = (50 + 0.75 * sample_of().image).astype(np.uint8)
    sample = replace(sample_of(), image=image)
    signature: dict[bytes, str] = {}
    for name, operation in strong_ops.COLOUR_OPS.items():
        for magnitude in strong_ops.MAGNITUDES:
            signature.setdefault(np.asarray(operation(Image.fromarray(image), magnitude)).tobytes(), name)
    rng = np.random.default_rng(1)
    seen = Counter(signature[strong_ops.recolour(sample, rng).image.tobytes()] for _ in range(4500))
    neutral = seen.pop("identity")  # also takes the enhancers of factor 1, four operations at one magnitude of nine
    assert neutral / 4500 == pytest.approx(1 / 9 + 4 / 81, abs=0.025)
    for name in ("auto_contrast", "equalize", "posterize", "solarize"):
        assert seen[name] / 4500 == pytest.approx(1 / 9, abs=0.02)
    for name in ("color", "contrast", "brightness", "sharpness"):
        assert seen[name] / 4500 == pytest.approx(8 / 81, abs=0.02)


def test_four_geometric_operations_are_equally_likely_and_within_their_limits() -> None:
    point = Sample(
        np.zeros((100, 100, 3), np.uint8),
        np.array([[30, 40, 70, 60]], np.float32),
        np.zeros(1, np.int64),
        keypoints=np.array([[[50, 50, 2], [60, 50, 2], [50, 60, 2]]], np.float32),
    )
    rng = np.random.default_rng(2)
    seen: Counter[str] = Counter()
    for _ in range(2000):
        keypoints = strong_ops.move(point, rng).keypoints
        assert keypoints is not None
        centre, right, below = keypoints[0, :, :2].astype(np.float64)
        along, down = (right - centre) / 10, (below - centre) / 10
        if np.allclose([along, down], np.eye(2), atol=1e-4):
            x, y = centre - [50, 50]
            seen["x" if x else "y"] += 1
            assert abs(x) <= 10 and abs(y) <= 10 and (x == 0 or y == 0)
        elif np.allclose(centre, [50, 50], atol=1e-3):
            seen["rotate"] += 1
            assert abs(np.rad2deg(np.arctan2(along[1], along[0]))) <= 30.01
        else:
            seen["shear"] += 1
            limit = np.tanh(np.deg2rad(30)) + 1e-4
            assert abs(down[0]) <= limit and abs(along[1]) <= limit
    assert all(count / 2000 == pytest.approx(1 / 4, abs=0.04) for count in seen.values()) and len(seen) == 4


# --- geometry


TRANSLATIONS = [translation(5.3, 0), translation(0, -6.0)]
ROTATIONS = [rotation(degrees, 64, 64) for degrees in (30, -17)]
SHEARS = [shear(20, 0), shear(0, -20), shear(-12, 9)]


@pytest.mark.parametrize("matrix", TRANSLATIONS + ROTATIONS + SHEARS)
def test_boxes_and_masks_of_rectangles_move_together(matrix: NDArray[np.float64]) -> None:
    moved = warp(sample_of(), matrix)
    assert moved.masks is not None and len(moved.labels) == 3
    # The hull of pixel centres is at most one pixel from the hull of corners, and a sharp corner may hold no centre.
    np.testing.assert_allclose(hulls(moved.masks), moved.boxes, atol=1.5)
    areas = sample_of().masks.sum(axis=(1, 2))  # type: ignore[union-attr]
    np.testing.assert_allclose(moved.masks.sum(axis=(1, 2)), areas * np.linalg.det(matrix[:, :2]), rtol=0.06)


def test_image_and_mask_move_together() -> None:
    sample = sample_of(RECTANGLES[:1])
    assert sample.masks is not None
    sample = replace(sample, image=np.where(sample.masks[0][..., None], 255, np.zeros((1, 1, 3))).astype(np.uint8))
    moved = warp(sample, rotation(25, 64, 64))
    assert moved.masks is not None
    inside_frame = (moved.image != strong_ops.FILL).any(axis=2)
    disagree = ((moved.image[..., 0] > 127) != moved.masks[0]) & inside_frame
    assert disagree.sum() <= 4  # only pixels whose centre lies on the edge, give or take rounding


def test_a_turn_of_a_quarter_is_exact() -> None:
    moved = warp(sample_of(), rotation(90, 64, 64))
    assert moved.masks is not None
    clockwise = np.rot90(sample_of().image, -1).astype(int)
    np.testing.assert_allclose(moved.image, clockwise, atol=1)  # Pillow rounds when it interpolates
    np.testing.assert_array_equal(hulls(moved.masks), moved.boxes)


def test_uncovered_pixels_are_filled_and_boxes_clipped() -> None:
    moved = warp(sample_of(np.array([[0, 10, 20, 30], [0, 10, 4, 30]])), translation(-6, 0))
    np.testing.assert_array_equal(moved.image[:, -6:], 125)
    np.testing.assert_array_equal(moved.image[:, :-6], sample_of().image[:, 6:])
    np.testing.assert_array_equal(moved.boxes, [[0, 10, 14, 30]])
    assert moved.labels.tolist() == [0]  # the second left the image


def test_a_keypoint_that_leaves_the_image_becomes_unlabelled() -> None:
    keypoints = np.array([[[25, 30, 2], [40, 30, 1], [0, 0, 0]]], np.float32)
    sample = replace(sample_of(RECTANGLES[:1]), keypoints=keypoints)
    moved = warp(sample, translation(-30, 2))
    assert moved.keypoints is not None
    np.testing.assert_allclose(moved.keypoints, [[[0, 0, 0], [10, 32, 1], [0, 0, 0]]])


@pytest.mark.parametrize(("masked", "kept"), [(True, [1]), (False, [0, 1])])
def test_erasing_keeps_boxes_but_drops_instances_without_mask(masked: bool, kept: list[int]) -> None:
    whole = sample_of(np.array([[30, 30, 31, 31], [0, 0, 64, 64]]))
    sample = whole if masked else replace(whole, masks=None)
    draws = (strong_ops.erase(sample, np.random.default_rng(seed)) for seed in range(300))
    hit = next(result for result in draws if (result.image[30, 30] == 125).all())
    assert hit.labels.tolist() == kept
    np.testing.assert_array_equal(hit.boxes, sample.boxes[kept])
    if hit.masks is not None:
        np.testing.assert_array_equal(hit.masks[0], (hit.image != 125).any(axis=2))


def test_an_erased_keypoint_becomes_hidden() -> None:
    keypoints = np.array([[[30.5, 30.5, 2], [0, 0, 0]]], np.float32)
    sample = replace(sample_of(np.array([[0, 0, 64, 64]])), keypoints=keypoints)
    for seed in range(100):
        result = strong_ops.erase(sample, np.random.default_rng(seed))
        hit = (result.image[30, 30] == 125).all()
        np.testing.assert_array_equal(result.keypoints, [[[30.5, 30.5, 1 if hit else 2], [0, 0, 0]]])


def test_erased_area_stays_within_four_patches_of_a_fifth_of_each_side() -> None:
    sample = replace(sample_of(height=60, width=90), image=np.zeros((60, 90, 3), np.uint8))
    rng = np.random.default_rng(3)
    shares = np.array([(strong_ops.erase(sample, rng).image[..., 0] == 125).mean() for _ in range(1000)])
    assert shares.max() <= 4 * 0.2 * 0.2
    assert shares.max() > 0.04  # more than one patch can hold
    # 2.5 patches of E[ratio^2] = 0.04 / 3 each, less for overlap and for rounding down
    assert shares.mean() == pytest.approx(2.5 * 0.04 / 3, rel=0.15)


# --- resize and flip


@pytest.mark.parametrize(
    ("shape", "short", "max_size", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),
        ((640, 480), 800, 1333, (1067, 800)),
        ((427, 640), 800, 1333, (800, 1199)),
        ((300, 1000), 800, 1333, (400, 1333)),
        ((64, 64), 64, 64, (64, 64)),
        ((3, 1000), 2, 100, (1, 100)),
    ],
)
def test_shorter_side_is_met_unless_the_longer_gets_too_long(
    shape: tuple[int, int], short: int, max_size: int, expected: tuple[int, int]
) -> None:
    assert resized_shape(*shape, short, max_size) == expected


@pytest.mark.parametrize(("short", "max_size"), [(800, 1333), (640, 1333), (128, 192), (131, 196)])
def test_resized_sides_are_the_nearest_whole_numbers_and_halves_go_up(short: int, max_size: int) -> None:
    for height in range(1, 400, 7):
        for width in [*range(1, 400, 11), 2 * height, height]:
            scale = min(Fraction(short, min(height, width)), Fraction(max_size, max(height, width)))
            exact = tuple(max(1, math.floor(side * scale + Fraction(1, 2))) for side in (height, width))
            assert resized_shape(height, width, short, max_size) == exact
    assert resized_shape(149, 298, 800, 1333) == (667, 1333)


def test_scale_of_a_test_image_maps_its_corner_to_the_corner() -> None:
    image = sample_of(height=48, width=77).image
    resized, (scale_x, scale_y) = resize(image, 30, 45)
    assert resized.shape == (28, 45, 3)
    assert (77 * scale_x, 48 * scale_y) == (45, 28)
    by_pillow = Image.fromarray(image).resize((45, 28), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resized, np.asarray(by_pillow))


@pytest.mark.parametrize("short", [32, 40, 97, 128])
def test_boxes_and_masks_of_rectangles_are_resized_together(short: int) -> None:
    resized = resize_sample(sample_of(height=50, width=64), short, 1000)
    assert resized.masks is not None
    assert resized.masks.shape[1:] == resized.image.shape[:2]
    np.testing.assert_allclose(hulls(resized.masks), resized.boxes, atol=0.51)


def test_an_instance_too_thin_for_the_new_size_is_dropped() -> None:
    thin = np.array([[11, 10, 12, 60], [30, 30, 50, 50]])
    assert resize_sample(sample_of(thin), 16, 16).labels.tolist() == [1]


def test_flipping_mirrors_and_flipping_twice_changes_nothing() -> None:
    keypoints = np.array([[[25.5, 30, 2], [40, 31, 1], [0, 0, 0]]] * 3, np.float32)
    sample = replace(sample_of(width=70), keypoints=keypoints, flip_pairs=((0, 1),))
    mirrored = flip(sample)
    assert mirrored.masks is not None
    np.testing.assert_array_equal(mirrored.image, sample.image[:, ::-1])
    np.testing.assert_array_equal(hulls(mirrored.masks), mirrored.boxes)
    np.testing.assert_array_equal(mirrored.keypoints[0], [[30, 31, 1], [44.5, 30, 2], [0, 0, 0]])  # type: ignore[index]
    assert same(flip(mirrored), sample)


def test_weak_uses_every_size_alike_and_flips_half_of_the_time() -> None:
    sample = sample_of(height=64, width=80)
    rng = np.random.default_rng(4)
    results = [weak(sample, rng, (48, 64, 72), 1000) for _ in range(1500)]
    sizes = Counter(result.image.shape[:2] for result in results)
    assert set(sizes) == {(48, 60), (64, 80), (72, 90)}
    assert all(count / 1500 == pytest.approx(1 / 3, abs=0.05) for count in sizes.values())
    flipped = sum(not np.array_equal(r.image, sample.image) for r in results if r.image.shape == sample.image.shape)
    assert flipped / sizes[64, 80] == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("augmentation", [strong, strong_labeled])
def test_strong_sizes_are_every_whole_number_of_the_range(augmentation: Augmentation) -> None:
    rng = np.random.default_rng(5)
    sides = {augmentation(sample_of(), rng, (60, 68), 66).image.shape[0] for _ in range(300)}
    assert sides == {60, 61, 62, 63, 64, 65, 66}  # 67 and 68 are held back by max_size


# --- all augmentations


@pytest.mark.parametrize("augmentation", EVERY)
def test_the_generator_decides_everything_and_the_input_is_left_alone(augmentation: Augmentation) -> None:
    sample, untouched = sample_of(), sample_of()
    for seed in range(20):
        first = augmentation(sample, np.random.default_rng(seed), (56, 64, 72), 80)
        again = augmentation(sample, np.random.default_rng(seed), (56, 64, 72), 80)
        assert same(first, again)
    assert same(sample, untouched)


@pytest.mark.parametrize("augmentation", EVERY)
@pytest.mark.parametrize("masked", [True, False])
def test_results_are_well_formed_whatever_is_drawn(augmentation: Augmentation, masked: bool) -> None:
    boxes = np.array([[0, 0, 64, 64], [0, 0, 3, 3], [60, 20, 64, 24], [20, 20, 22, 50]])
    sample = sample_of(boxes) if masked else replace(sample_of(boxes), masks=None)
    rng = np.random.default_rng(6)
    for _ in range(200):
        result = augmentation(sample, rng, (40, 64, 80), 80)
        height, width = result.image.shape[:2]
        assert result.image.dtype == np.uint8 and result.boxes.dtype == np.float32 and result.labels.dtype == np.int64
        assert result.image.flags.c_contiguous and result.image.flags.writeable
        assert (result.boxes[:, :2] >= 0).all() and (result.boxes[:, 2:] <= [width, height]).all()
        assert (result.boxes[:, 2:] > result.boxes[:, :2]).all()
        if masked:
            assert result.masks is not None and result.masks.dtype == np.bool_ and result.masks.any(axis=(1, 2)).all()


@pytest.mark.parametrize("augmentation", EVERY)
def test_an_image_without_instances_is_augmented_all_the_same(augmentation: Augmentation) -> None:
    empty = sample_of(np.zeros((0, 4), int))
    for seed in range(20):
        result = augmentation(empty, np.random.default_rng(seed), (48, 64), 64)
        assert result.boxes.shape == (0, 4) and result.masks is not None and len(result.masks) == 0


def test_labeled_strong_changes_colours_but_never_geometry() -> None:
    flat = replace(sample_of(), image=np.full((64, 64, 3), 90, np.uint8))
    rng = np.random.default_rng(7)
    for _ in range(100):
        result = strong_labeled(flat, rng, (64, 64), 64)
        assert len(np.unique(result.image)) == 1  # neither filled corners nor erased patches
        straight = np.array_equal(result.boxes, flat.boxes)
        assert straight or np.array_equal(result.boxes, flip(flat).boxes)


def test_strong_erases_moves_and_recolours_in_either_order() -> None:
    # On black no colour operation shows, but one that comes after the geometry changes the grey it has filled in.
    black = replace(sample_of(), image=np.zeros((64, 64, 3), np.uint8))
    rng = np.random.default_rng(8)
    results = [strong(black, rng, (64, 64), 64) for _ in range(600)]
    erased = [(result.image == 125).all(axis=2).any() for result in results]
    still = [np.array_equal(r.boxes, black.boxes) or np.array_equal(r.boxes, flip(black).boxes) for r in results]
    recoloured = [np.setdiff1d(result.image, [0, 125]).size > 0 for result in results]
    assert np.mean(erased) > 0.9
    assert np.mean(still) < 0.05
    assert 0.2 < np.mean(recoloured) < 0.48  # half of the draws, and two of three operations change the grey


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    sample = sample_of()
    for wrong in ({"labels": sample.labels[:2]}, {"masks": np.zeros((3, 32, 64), np.bool_)}):
        with pytest.raises(ValueError, match="do not belong together"):
            replace(sample, **wrong)


@pytest.mark.parametrize("count", [0, 1, 8, 19])
@pytest.mark.parametrize("short", [33, 48, 90])
def test_resizing_and_mirroring_in_one_pass_is_one_after_the_other(count: int, short: int) -> None:
    """Pixel by pixel as written out: masks and map from the nearest pixel, then every row backwards."""
    rng = np.random.default_rng(count + short)
    before = Sample(
        rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
        np.array([[3.0, 5, 20, 30]] * count, np.float32).reshape(-1, 4),
        np.zeros(count, np.int64),
        rng.random((count, 48, 64)) < 0.3,
        keypoints=rng.random((count, 2, 3)).astype(np.float32) * 30,
        flip_pairs=((0, 1),),
        semantic=rng.integers(0, 5, (48, 64), dtype=np.uint8),
    )
    once = resize_sample(before, short, 200, mirror=True)
    twice = flip(resize_sample(before, short, 200))
    height, width = once.image.shape[:2]
    rows = [int((r + 0.5) * 48 / height) for r in range(height)]
    columns = [int((c + 0.5) * 64 / width) for c in range(width)][::-1]
    assert once.masks is not None and before.masks is not None
    np.testing.assert_array_equal(once.masks, before.masks[:, rows][:, :, columns])
    for name in ("image", "boxes", "masks", "keypoints", "semantic"):
        np.testing.assert_array_equal(getattr(once, name), getattr(twice, name))
