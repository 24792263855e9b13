"""Boxes of one view of an image in the pixels of another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from casl.train.views import between, inside, moved, moved_masks, of_view

TWICE = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 1]], dtype=torch.float64)
MIRRORED = torch.tensor([[-1.0, 0, 100], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)


def test_a_box_of_an_enlarged_view_lies_mirrored_in_a_mirrored_one() -> None:
    matrix = between(TWICE, MIRRORED)
    expected = torch.tensor([[-0.5, 0, 100], [0, 0.5, 0], [0, 0, 1]], dtype=torch.float64)
    assert torch.equal(matrix, expected)
    # corners (20, 40) and (60, 80) go to (90, 20) and (70, 40)
    assert moved(torch.tensor([[20.0, 40, 60, 80]]), matrix).tolist() == [[70, 20, 90, 40]]


@pytest.mark.parametrize("seed", range(5))
def test_the_map_between_views_is_the_second_after_the_inverse_of_the_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (np.vstack([rng.normal(0, 1, (2, 2)), [0, 0]]) for _ in range(2))
    first, second = (np.column_stack([m, [*rng.normal(0, 50, 2), 1]]) for m in (first, second))
    found = between(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    np.testing.assert_allclose(found, second @ np.linalg.inv(first), rtol=1e-9, atol=1e-9)
    back = between(torch.from_numpy(second), torch.from_numpy(first)).numpy()
    np.testing.assert_allclose(back @ found, np.eye(3), rtol=0, atol=1e-8)


def test_a_turned_box_becomes_the_hull_of_its_corners() -> None:
    quarter = torch.tensor([[0.0, -1, 50], [1, 0, 0], [0, 0, 1]])
    assert moved(torch.tensor([[10.0, 20, 30, 25], [0, 0, 4, 8]]), quarter).tolist() == [
        [25, 10, 30, 30],
        [42, 0, 50, 4],
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_boxes_stay_no_boxes_and_precision_stays(dtype: torch.dtype) -> None:
    boxes = moved(torch.zeros((0, 4), dtype=dtype), TWICE)
    clipped, useful = inside(boxes, 10, 20)
    assert clipped.shape == (0, 4) and clipped.dtype == dtype and useful.tolist() == []


def test_boxes_are_clipped_to_the_image_and_those_outside_are_told() -> None:
    boxes = torch.tensor([[-5.0, 2, 30, 8], [20, 0, 25, 5], [3, 9, 4, 15], [1, 1, 2, 2], [5, -4, 9, 0]])
    clipped, useful = inside(boxes, height=10, width=20)
    assert useful.tolist() == [True, False, True, True, False]
    assert clipped[useful].tolist() == [[0, 2, 20, 8], [3, 9, 4, 10], [1, 1, 2, 2]]


def test_views_of_a_source_keep_the_order_of_the_batch() -> None:
    tags = [(0, 0), (1, 0), (1, 1), (1, 0), (1, 1), (0, 0)]
    images = [torch.full((3, 1, 1), i) for i in range(6)]
    targets = [{"source": torch.tensor(source), "view": torch.tensor(view)} for source, view in tags]
    chosen = {place: [int(i[0]) for i in of_view(images, targets, *place)[0]] for place in tags}
    assert chosen == {(0, 0): [0, 5], (1, 0): [1, 3], (1, 1): [2, 4]}
    assert of_view(images, targets, 1, 1)[1] == [targets[2], targets[4]]


def test_s7_corners_go_from_the_teachers_to_the_students_view_and_are_sorted_there() -> None:
    corners = torch.tensor([[20.0, 40, 20, 40], [60, 80, 60, 80]])
    assert moved(corners, between(TWICE, MIRRORED))[:, :2].tolist() == [[90, 20], [70, 40]]
    assert moved(torch.tensor([[20.0, 40, 60, 80]]), between(TWICE, MIRRORED)).tolist() == [[70, 20, 90, 40]]


def test_masks_take_every_pixel_from_where_its_centre_came_from() -> None:
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[0, 1, 2] = True
    mask[1, 3, :] = True
    half = torch.tensor([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]], dtype=torch.float64)  # the second view is twice as large
    large = moved_masks(mask, half, 8, 12)
    assert torch.equal(large, mask.repeat_interleave(2, 1).repeat_interleave(2, 2))
    mirror = torch.tensor([[-1.0, 0, 6], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    assert torch.equal(moved_masks(mask, mirror, 4, 6), mask.flip(2))
    away = torch.tensor([[1.0, 0, 6], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    assert not moved_masks(mask, away, 4, 6).any(), "the first view shows nothing there"
    assert moved_masks(mask[:0], half, 8, 12).shape == (0, 8, 12)
