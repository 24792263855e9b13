"""Objects of one image on top of another: what is pasted, what is covered, what is left."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.ops import masks_to_boxes

from casl.data.augment import Sample
from casl.data.copy_paste import copy_paste, hulls, paste

SIDE = 40


def sample_of(*boxes: tuple[int, int, int, int], first: int = 0, level: int = 10, side: int = SIDE) -> Sample:
    """Rectangles numbered from `first` on, scored by their number, on an image of one level."""
    masks = np.zeros((len(boxes), side, side), np.bool_)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    labels = np.arange(first, first + len(boxes))
    centres = [[[(left + right) / 2, (top + bottom) / 2, 2]] for left, top, right, bottom in boxes]
    return Sample(
        np.full((side, side, 3), level, np.uint8),
        np.array(boxes, np.float32).reshape(-1, 4),
        labels,
        masks,
        np.array(centres, np.float32).reshape(-1, 1, 3),
        semantic=np.full((side, side), level, np.uint8),
        scores=(labels / 10).astype(np.float32),
        weights=labels.astype(np.float32) + 1,
    )


UNDER = sample_of((2, 2, 12, 12), (20, 20, 30, 30), (5, 25, 15, 35))
OVER = sample_of((8, 4, 14, 10), (18, 18, 32, 33), first=10, level=200)


def test_covered_objects_lose_pixels_or_are_dropped_and_the_others_stay() -> None:
    result = paste(UNDER, OVER)
    assert result.labels.tolist() == [0, 2, 10, 11], "1 lies under 11 with all of it"
    assert result.masks is not None and UNDER.masks is not None and OVER.masks is not None
    assert UNDER.semantic is not None and OVER.semantic is not None
    covered: NDArray[np.bool_] = np.any(OVER.masks, axis=0)
    np.testing.assert_array_equal(result.masks[:2], UNDER.masks[[0, 2]] & ~covered)
    np.testing.assert_array_equal(result.masks[2:], OVER.masks)
    np.testing.assert_array_equal(result.image, np.where(covered[..., None], OVER.image, UNDER.image))
    np.testing.assert_array_equal(result.semantic, np.where(covered, OVER.semantic, UNDER.semantic))
    np.testing.assert_array_equal(result.boxes, [(2, 2, 12, 12), (5, 25, 15, 35), *OVER.boxes])
    assert result.scores is not None and result.weights is not None
    np.testing.assert_array_equal(result.scores, (result.labels / 10).astype(np.float32))
    np.testing.assert_array_equal(result.weights, result.labels + 1)
    np.testing.assert_array_equal(result.matrix, UNDER.matrix)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_and_masks_of_random_objects_are_those_of_a_pixel_by_pixel_painting(seed: int) -> None:
    """The topmost object of every pixel, and torchvision's boxes of what each object has."""
    rng = np.random.default_rng(seed)

    def drawn(count: int) -> Sample:
        corners = rng.integers(0, 30, (count, 2))
        boxes = np.concatenate([corners, corners + rng.integers(2, 11, (count, 2))], axis=1)
        return sample_of(*((int(a), int(b), int(c), int(d)) for a, b, c, d in boxes))

    under, over = drawn(5), replace(drawn(4), labels=np.arange(10, 14))
    result = paste(under, over)
    assert under.masks is not None and over.masks is not None and result.masks is not None
    top = over.masks.any(axis=0)
    expected = {int(n): mask & ~top for n, mask in zip(under.labels, under.masks, strict=True) if (mask & ~top).any()}
    expected |= {int(n): mask for n, mask in zip(over.labels, over.masks, strict=True)}
    assert result.labels.tolist() == list(expected)
    np.testing.assert_array_equal(result.masks, list(expected.values()))
    boxes = masks_to_boxes(torch.from_numpy(result.masks)).numpy() + np.array([0, 0, 1, 1])
    np.testing.assert_array_equal(result.boxes, boxes)
    np.testing.assert_array_equal(hulls(result.masks), boxes)


def test_the_box_of_an_object_that_loses_nothing_stays_as_annotated() -> None:
    loose = replace(UNDER, boxes=UNDER.boxes - np.array([0.3, 0.2, -0.4, -0.1], np.float32))
    result = paste(loose, OVER)
    np.testing.assert_array_equal(result.boxes[1], loose.boxes[2])
    np.testing.assert_array_equal(result.boxes[0], [2, 2, 12, 12])


def test_a_covered_keypoint_is_hidden() -> None:
    keypoints = np.array([[[9.5, 6, 2]], [[25, 25, 2]], [[10, 30, 2]]], np.float32)
    result = paste(replace(UNDER, keypoints=keypoints), OVER).keypoints
    np.testing.assert_array_equal(result, [[[9.5, 6, 1]], [[10, 30, 2]], [[11, 7, 2]], [[25, 25.5, 2]]])


def test_an_image_of_another_size_is_cut_at_the_edges() -> None:
    result = paste(UNDER, sample_of((30, 30, 60, 55), (50, 5, 60, 9), first=10, side=64))
    assert result.labels.tolist() == [0, 1, 2, 10]
    assert result.image.shape == (SIDE, SIDE, 3)
    np.testing.assert_array_equal(result.boxes[3], [30, 30, 40, 40])
    smaller = paste(UNDER, sample_of((1, 1, 9, 9), first=10, side=16))
    assert smaller.masks is not None and smaller.masks.shape[1:] == (SIDE, SIDE)


def test_every_subset_of_objects_is_equally_likely_and_the_inputs_are_left_alone() -> None:
    before, rng = paste(UNDER, OVER), np.random.default_rng(0)
    seen = Counter(tuple(n for n in copy_paste(UNDER, OVER, rng).labels.tolist() if n >= 10) for _ in range(1200))
    assert set(seen) == {(), (10,), (11,), (10, 11)}
    assert all(count / 1200 == pytest.approx(1 / 4, abs=0.05) for count in seen.values())
    np.testing.assert_array_equal(paste(UNDER, OVER).image, before.image)


def test_nothing_is_pasted_from_an_image_without_objects_and_onto_one_without_all_is() -> None:
    empty, rng = sample_of(), np.random.default_rng(1)
    assert copy_paste(UNDER, empty, rng) is UNDER
    assert paste(empty, OVER).labels.tolist() == [10, 11]


def test_objects_without_masks_cannot_be_pasted() -> None:
    with pytest.raises(ValueError, match="by their masks"):
        paste(UNDER, replace(OVER, masks=None))
