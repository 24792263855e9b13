"""STAC's view of unlabeled images: which displacements there are, what one inside of a box takes along, Cutout."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from casl.data import augment_stac as ops
from casl.data.affine import compose, slant, translation
from casl.data.augment import Sample, resize_sample
from casl.data.augment_stac import cut_out, displace, displacement, move_in_box, stac
from casl.data.augment_strong import FILL

BOX = (20, 16, 60, 46)
INSIDE = (slice(16, 46), slice(20, 60))


def sample_of(boxes: tuple[tuple[int, int, int, int], ...] = (BOX,), height: int = 64, width: int = 80) -> Sample:
    """Instance k covers its box; the first one has keypoints in and out of BOX; the map numbers every fourth column."""
    image = np.random.default_rng(0).integers(0, 100, (height, width, 3), dtype=np.uint8)
    masks = np.zeros((len(boxes), height, width), np.bool_)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    keypoints = np.array([[[40, 30, 2], [25, 20, 1], [70, 60, 2], [0, 0, 0]]] * len(boxes), np.float32).reshape(
        -1, 4, 3
    )
    semantic = np.broadcast_to(np.arange(width, dtype=np.uint8) // 4, (height, width)).copy()
    return Sample(
        image, np.array(boxes, np.float32).reshape(-1, 4), np.arange(len(boxes)), masks, keypoints, semantic=semantic
    )


@pytest.mark.parametrize(("share", "degrees"), [ops.GLOBAL, ops.IN_BOX])
def test_four_displacements_are_equally_likely_and_within_their_limits(share: float, degrees: float) -> None:
    rng, width, height = np.random.default_rng(1), 200, 100
    seen: Counter[str] = Counter()
    most = dict.fromkeys(("x", "y", "rotate", "shear"), 0.0)
    for _ in range(2000):
        matrix = displacement(rng, width, height, share, degrees)
        linear, centre = matrix[:, :2], matrix @ [width / 2, height / 2, 1]
        if np.array_equal(linear, np.eye(2)):
            kind = "x" if matrix[0, 2] else "y"
            amount = abs(matrix[0, 2]) / width + abs(matrix[1, 2]) / height
            assert matrix[0, 2] == 0 or matrix[1, 2] == 0
        else:
            kind = "rotate" if np.allclose(linear @ linear.T, np.eye(2)) else "shear"
            np.testing.assert_allclose(centre, [width / 2, height / 2], atol=1e-9)
            assert np.linalg.det(linear) == pytest.approx(1)
            slope = linear[1, 0] / linear[0, 0]
            amount = abs(np.rad2deg(np.arctan(slope)))
        seen[kind] += 1
        most[kind] = max(most[kind], amount)
    assert all(count / 2000 == pytest.approx(1 / 4, abs=0.04) for count in seen.values()) and len(seen) == 4
    for kind, limit in (("x", share), ("y", share), ("rotate", degrees), ("shear", degrees)):
        assert 0.95 * limit < most[kind] <= limit + 1e-9


def test_a_slant_is_a_shear_of_x_and_then_of_y_about_the_centre() -> None:
    slope = np.tan(np.deg2rad(25))
    to_centre, back = np.array([[1, 0, -30], [0, 1, -20], [0, 0, 1]]), np.array([[1, 0, 30], [0, 1, 20], [0, 0, 1]])
    along, down = np.array([[1, -slope, 0], [0, 1, 0], [0, 0, 1]]), np.array([[1, 0, 0], [slope, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(slant(25, 60, 40), (back @ down @ along @ to_centre)[:2], atol=1e-12)


def test_the_inside_of_a_box_moves_with_all_that_lies_on_it_and_nothing_else_does() -> None:
    """Against scipy's nearest and linear interpolation of the cut-out rectangle, under the map that was drawn."""
    sample = replace(sample_of(), matrix=compose(translation(3, 4), np.eye(3)))
    assert sample.masks is not None and sample.semantic is not None and sample.keypoints is not None
    for seed in range(40):
        moved = move_in_box(sample, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        rng.integers(1)
        matrix = displacement(rng, 40, 30, *ops.IN_BOX)
        np.testing.assert_array_equal(moved.boxes, sample.boxes)
        np.testing.assert_array_equal(moved.matrix, sample.matrix)
        outside = np.ones((64, 80), bool)
        outside[INSIDE] = False
        assert moved.masks is not None and moved.semantic is not None and moved.keypoints is not None
        for now, before in (
            (moved.image, sample.image),
            (moved.semantic, sample.semantic),
            (moved.masks[0], sample.masks[0]),
        ):
            np.testing.assert_array_equal(now[outside], before[outside])
        level, weight = (
            mapped(sample.image[INSIDE][..., 0].astype(float), matrix, 1, 0.0),
            mapped(np.ones((30, 40)), matrix, 1, 0.0),
        )
        whole = weight > 0.999
        np.testing.assert_allclose(moved.image[INSIDE][..., 0][whole], level[whole], atol=2)
        covered = mapped(np.ones((30, 40)), matrix, 0, 0.0) > 0
        assert (moved.masks[0][INSIDE] != covered).sum() <= 4, "give or take rounding"
        assert ((moved.semantic[INSIDE] == 255) != ~covered).sum() <= 4
        x, y = matrix @ [20, 14, 1]
        np.testing.assert_allclose(moved.keypoints[0, 0], [20 + x, 16 + y, 2], atol=1e-4)
        np.testing.assert_array_equal(moved.keypoints[0, 2:], sample.keypoints[0, 2:])
        assert (moved.image[INSIDE][~covered] == FILL).mean() > 0.6 if (~covered).sum() > 20 else True


def mapped(values: NDArray[np.float64], matrix: NDArray[np.float64], order: int, outside: float) -> NDArray[np.float64]:
    """A picture under an affine map of XY pixel coordinates, centres at .5, as scipy computes it."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    swapped, shift = inverse[:2, :2][::-1, ::-1], inverse[:2, 2][::-1]
    offset = swapped @ [0.5, 0.5] + shift - 0.5
    found: NDArray[np.float64] = ndimage.affine_transform(
        values, swapped, offset, order=order, cval=outside, mode="grid-constant"
    )
    return found


def test_a_keypoint_that_leaves_its_box_becomes_unlabelled() -> None:
    keypoints = np.array([[[20.2, 16.2, 2], [59.8, 45.8, 2]]], np.float32)
    sample = replace(sample_of(), keypoints=keypoints)
    lost = 0
    for seed in range(60):
        moved = move_in_box(sample, np.random.default_rng(seed)).keypoints
        assert moved is not None
        for point in moved[0]:
            assert (point == 0).all() or (point[2] == 2 and 20 <= point[0] < 60 and 16 <= point[1] < 46)
            lost += int(point[2] == 0)
    assert lost > 20


def test_an_image_without_boxes_has_no_inside_to_move() -> None:
    empty = sample_of(())
    assert move_in_box(empty, np.random.default_rng(0)) is empty
    thin = replace(sample_of(), boxes=np.array([[20.1, 10, 20.9, 30]], np.float32))
    assert move_in_box(thin, np.random.default_rng(0)) is thin


def test_whole_image_and_inside_of_a_box_are_equally_likely_and_so_are_boxes() -> None:
    sample = sample_of((BOX, (2, 2, 18, 14)))
    rng = np.random.default_rng(3)
    seen: Counter[str] = Counter()
    for _ in range(1200):
        moved = displace(sample, rng)
        if not np.array_equal(moved.matrix, np.eye(3)):
            seen["all"] += 1
        else:
            _, columns = np.nonzero((moved.image != sample.image).any(axis=2))
            seen["first" if columns.max() >= 20 else "second"] += 1
    assert seen["all"] / 1200 == pytest.approx(1 / 2, abs=0.05)
    assert seen["first"] / 1200 == pytest.approx(1 / 4, abs=0.04)


def test_cutout_paints_one_to_five_squares_of_up_to_a_fifth_of_the_height() -> None:
    black = replace(sample_of(((0, 0, 80, 64),)), image=np.zeros((64, 80, 3), np.uint8))
    rng = np.random.default_rng(4)
    shares, single = [], []
    for _ in range(1500):
        result = cut_out(black, rng)
        erased = (result.image == 128).all(axis=2)
        assert set(np.unique(result.image)) <= {0, 128}
        assert result.masks is not None and result.semantic is not None
        np.testing.assert_array_equal(result.masks[0], ~erased)
        np.testing.assert_array_equal(result.semantic == 255, erased)
        np.testing.assert_array_equal(result.boxes, black.boxes)
        shares.append(erased.sum())
        patches, count = ndimage.label(erased)
        assert count <= 5
        for rows, columns in ndimage.find_objects(patches) if count == 1 else []:
            single.append((rows.stop - rows.start, columns.stop - columns.start))
    assert max(shares) <= 5 * 13 * 13 and max(shares) > 2 * 13 * 13
    # 3 squares of E[side^2] = (.2 x 64)^2 / 3 on average, less for overlap, rounding down and what lies outside
    assert np.mean(shares) == pytest.approx(3 * 12.8**2 / 3 * 0.87, rel=0.1)
    inner = [(tall, wide) for tall, wide in single if abs(tall - wide) <= 1]
    assert len(inner) > 0.6 * len(single), "squares, but where they overlap or are cut at an edge"


def test_stac_resizes_within_the_range_and_never_flips() -> None:
    """A left half that is dark stays left whatever is done to colours and places."""
    image = np.full((60, 80, 3), 200, np.uint8)
    image[:, :40] = 20
    sample = replace(sample_of(((0, 0, 80, 60),), 60, 80), image=image)
    rng, sides = np.random.default_rng(5), set()
    for _ in range(300):
        view = stac(sample, rng, (50, 58), 76)
        sides.add(view.image.shape[0])
        assert view.matrix[0, 0] > 0
    assert sides == {50, 51, 52, 53, 54, 55, 56, 57}, "58 is held back by the longest side"


def test_the_resized_image_is_taken_where_no_instance_is_left() -> None:
    sample = sample_of(((0, 0, 3, 3),))
    plain = resize_sample(sample, 64, 80)
    fallen = 0
    for seed in range(300):
        view = stac(sample, np.random.default_rng(seed), (64,), 80)
        assert len(view.labels) == 1
        if np.array_equal(view.image, plain.image):
            fallen += 1
            np.testing.assert_array_equal(view.matrix, plain.matrix)
    assert 15 < fallen < 150
