"""Locations and assignment against figures produced by AdelaiDet (adet/modeling/fcos/fcos_outputs.py)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from casl.models.locations import Assignment, assign, locations, make_grid, mask_centers, stack_assignments
from casl.models.losses import centerness

STRIDES = (8, 16, 32, 64, 128)
RANGES = (64, 128, 256, 512)
BOXES = torch.tensor([[16.0, 16, 80, 80], [0, 0, 256, 256], [100, 100, 108, 116], [40, 60, 200, 180]])
LABELS = torch.tensor([3, 7, 1, 5])


def grid_of(side: int) -> list[Tensor]:
    return [locations(side // stride, side // stride, stride) for stride in STRIDES]


def assigned(boxes: Tensor, labels: Tensor, centers: Tensor | None = None, side: int = 256) -> Assignment:
    return assign(grid_of(side), STRIDES, RANGES, boxes, labels, centers, num_classes=80)


def per_level(assignment: Assignment, side: int = 256) -> list[list[tuple[int, int]]]:
    """(index in its level, label) of every positive."""
    sizes = [(side // stride) ** 2 for stride in STRIDES]
    levels = zip(torch.split(assignment.positive, sizes), torch.split(assignment.labels, sizes), strict=True)
    return [[(i, int(labels[i])) for i in positive.nonzero().flatten().tolist()] for positive, labels in levels]


def test_locations_are_centres_of_cells_row_by_row() -> None:
    assert locations(2, 3, 8).tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert locations(1, 2, 128).tolist() == [[64, 64], [192, 64]]


def test_boxes_are_assigned_as_in_the_reference() -> None:
    result = assigned(BOXES, LABELS)
    found = per_level(result)
    assert found[0] == [(165, 3), (166, 3), (197, 3), (198, 3)]
    assert found[1] == [(i, 5) for i in (102, 103, 104, 118, 119, 120, 134, 135, 136)]
    assert found[2] == [(i, 7) for i in (27, 28, 35, 36)]
    assert found[3:] == [[], []]
    torch.testing.assert_close(result.ltrb[165], torch.tensor([3.5, 3.5, 4.5, 4.5]))
    sums = [centerness(result.ltrb[result.labels == label]).sum().item() for label in (3, 5, 7)]
    assert sums == pytest.approx([3.111111, 6.639808, 3.111111], abs=1e-5)


def test_a_small_box_between_the_grid_points_gets_no_location() -> None:
    assert 1 not in assigned(BOXES, LABELS).labels


def test_masks_move_the_positives_to_their_centroids() -> None:
    masks = torch.zeros(4, 256, 256, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, BOXES.int().tolist(), strict=True):
        mask[y1 : (y1 + y2) // 2, x1 : (x1 + x2) // 2] = True  # the upper left quarter
    result = assigned(BOXES, LABELS, mask_centers(masks))
    found = per_level(result)
    assert found[0] == [(i, 3) for i in (66, 67, 68, 98, 99, 100, 130, 131, 132)]
    assert found[1] == [(i, 5) for i in (68, 69, 84, 85, 100, 101)]
    assert found[2] == [(i, 5 if i in (17, 25) else 7) for i in (0, 1, 2, 8, 9, 10, 16, 17, 18, 25)]
    level = result.ltrb[1024 + 256 : 1024 + 256 + 64]
    assert centerness(level[[i for i, _ in found[2]]]).sum().item() == pytest.approx(1.975297, abs=1e-5)


def test_the_limit_between_two_levels_belongs_to_both() -> None:
    result = assigned(torch.tensor([[4.0, 4, 116, 116]]), torch.tensor([0]))
    assert [len(level) for level in per_level(result)] == [9, 8, 0, 0, 0]
    p3, p4 = result.ltrb[:1024][result.positive[:1024]], result.ltrb[1024:][result.positive[1024:]]
    assert centerness(p3).sum().item() == pytest.approx(7.464102, abs=1e-5)
    assert centerness(p4).sum().item() == pytest.approx(5.007152, abs=1e-5)


def test_the_edge_of_the_centre_region_is_outside() -> None:
    # centre 64, reach 1.5 * 8 = 12: the points 52 and 76 lie exactly on the edge
    result = assigned(torch.tensor([[24.0, 24, 104, 104]]), torch.tensor([0]))
    points = make_grid(grid_of(256), STRIDES, RANGES).points[:1024][result.positive[:1024]]
    assert set(points.flatten().tolist()) == {60, 68}


def test_of_overlapping_objects_the_smaller_box_wins_and_the_first_of_equals() -> None:
    boxes = torch.tensor([[8.0, 8, 56, 56], [16, 16, 48, 48], [16, 16, 48, 48]])
    result = assigned(boxes, torch.tensor([0, 1, 2]))
    assert set(result.gt_index[result.positive].tolist()) == {1}


def test_background_is_marked_in_every_field() -> None:
    result = assigned(BOXES, LABELS)
    background = ~result.positive
    assert set(result.labels[background].tolist()) == {80}
    assert set(result.gt_index[background].tolist()) == {-1}
    assert result.ltrb[background].abs().sum() == 0
    assert (LABELS[result.gt_index[result.positive]] == result.labels[result.positive]).all()


def test_an_image_without_objects_is_all_background() -> None:
    result = assigned(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2))
    assert not result.positive.any()
    assert set(result.labels.tolist()) == {80}
    assert result.ltrb.shape == (1364, 4)


def test_an_object_whose_centre_is_at_x_zero_does_not_hide_the_others() -> None:
    boxes = torch.tensor([[0.0, 0, 1, 30], [16, 16, 80, 80]])
    result = assigned(boxes, torch.tensor([0, 1]), torch.tensor([[0.0, 15], [48, 48]]))
    assert (result.labels == 1).sum() == 4


def test_more_padding_changes_no_assignment() -> None:
    def positives(side: int) -> set[tuple[float, ...]]:
        result = assigned(BOXES, LABELS, side=side)
        grid = make_grid(grid_of(side), STRIDES, RANGES)
        rows = torch.cat([grid.points, grid.strides[:, None], result.labels[:, None], result.ltrb], 1)
        return {tuple(row) for row in rows[result.positive].tolist()}

    assert positives(256) == positives(512)


def test_assignments_stack_to_a_batch() -> None:
    batch = stack_assignments([assigned(BOXES, LABELS), assigned(BOXES[:0], LABELS[:0])])
    assert batch.labels.shape == (2, 1364)
    assert batch.positive.sum(1).tolist() == [17, 0]


def test_the_centre_of_a_mask_is_the_mean_of_its_pixel_indices() -> None:
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[0, 1, 2] = masks[0, 1, 5] = masks[0, 3, 5] = True
    masks[1] = True
    torch.testing.assert_close(mask_centers(masks), torch.tensor([[4.0, 5 / 3], [2.5, 1.5]]))
    assert mask_centers(masks[:0]).shape == (0, 2)


def test_an_empty_mask_is_refused() -> None:
    masks = torch.ones(3, 4, 4, dtype=torch.bool)
    masks[1] = False
    with pytest.raises(ValueError, match="mask 1 of 3 is empty"):
        mask_centers(masks)


def test_numbers_of_boxes_and_labels_must_agree() -> None:
    with pytest.raises(ValueError, match="4 boxes, 3 labels"):
        assigned(BOXES, LABELS[:3])
    with pytest.raises(ValueError, match="4 boxes, 4 labels, 1 centres"):
        assigned(BOXES, LABELS, torch.zeros(1, 2))
    with pytest.raises(ValueError, match="need n, n, n - 1"):
        make_grid(grid_of(256), STRIDES, (64, 128))
