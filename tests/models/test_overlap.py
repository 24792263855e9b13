"""Non-overlapping entities on masks drawn by hand, and against painting from back to front."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from casl.models.overlap import inclusive_boxes, mask_confidence, resolve_overlaps


def draw(*pictures: str) -> Tensor:
    """Masks from rows of '.' and '#', rows separated by spaces."""
    return torch.tensor([[[c == "#" for c in row] for row in picture.split()] for picture in pictures])


def test_the_better_score_keeps_the_shared_pixels() -> None:
    masks = draw("###. ###. .... ....", ".### .### .### ....")
    keep, cut = resolve_overlaps(masks, torch.tensor([0.3, 0.9]))
    assert keep.tolist() == [1]  # two pixels are left of the other, one column wide
    assert torch.equal(cut, masks[[1]])
    assert inclusive_boxes(cut).tolist() == [[1, 0, 3, 2]]


def test_what_is_left_of_a_mask_gives_its_inclusive_box() -> None:
    keep, cut = resolve_overlaps(draw("##.. ##.. .... ....", "#### #### #### ####"), torch.tensor([0.9, 0.8]))
    assert keep.tolist() == [0, 1]
    assert torch.equal(cut, draw("##.. ##.. .... ....", "..## ..## #### ####"))
    assert inclusive_boxes(cut).tolist() == [[0, 0, 1, 1], [0, 0, 3, 3]]


@pytest.mark.parametrize(
    ("picture", "survives"),
    [("#### .... ....", False), ("#... #... #...", False), ("#... .... ....", False), ("#... .#.. ....", True)],
)
def test_lines_and_points_are_dropped(picture: str, survives: bool) -> None:
    assert len(resolve_overlaps(draw(picture), torch.ones(1))[0]) == survives


def test_a_dropped_line_still_covers_what_lies_below() -> None:
    keep, cut = resolve_overlaps(draw("#### .... ....", "#### #### ####"), torch.tensor([0.9, 0.8]))
    assert keep.tolist() == [1]
    assert torch.equal(cut, draw(".... #### ####"))


def test_hidden_and_empty_masks_are_dropped() -> None:
    masks = draw("#### #### ####", ".##. .##. ....", ".... .... ....")
    assert resolve_overlaps(masks, torch.tensor([0.9, 0.8, 0.7]))[0].tolist() == [0]


def test_equal_scores_favour_the_earlier_instance() -> None:
    masks = draw("### ### ...", "... ### ###")
    assert resolve_overlaps(masks, torch.tensor([0.5, 0.5]))[0].tolist() == [0]


def test_random_masks_equal_painting_from_back_to_front() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(40, 12, 15, generator=generator) > 0.9
    scores = torch.rand(40, generator=generator)
    canvas = torch.full((12, 15), -1)
    for instance in scores.argsort().tolist():
        canvas[masks[instance]] = instance
    expected = []
    for instance in scores.argsort(descending=True).tolist():
        rows, columns = torch.nonzero(canvas == instance, as_tuple=True)
        if len(rows) and rows.max() > rows.min() and columns.max() > columns.min():
            expected.append((instance, [float(v) for v in (columns.min(), rows.min(), columns.max(), rows.max())]))

    keep, cut = resolve_overlaps(masks, scores)
    assert list(zip(keep.tolist(), inclusive_boxes(cut).tolist(), strict=True)) == expected
    assert all(torch.equal(mask, canvas == instance) for mask, instance in zip(cut, keep, strict=True))


def test_no_instance_is_legal() -> None:
    keep, masks = resolve_overlaps(torch.zeros(0, 4, 5, dtype=torch.bool), torch.zeros(0))
    assert (keep.shape, masks.shape, inclusive_boxes(masks).shape) == ((0,), (0, 4, 5), (0, 4))


def test_probabilities_in_place_of_masks_are_rejected() -> None:
    with pytest.raises(ValueError, match="bool mask"):
        resolve_overlaps(torch.zeros(2, 4, 4), torch.zeros(2))


def test_boxes_include_both_ends_and_are_zero_for_an_empty_mask() -> None:
    mask = torch.zeros(2, 20, 50, dtype=torch.bool)
    mask[0, 5:15, 20:40] = True  # the 10 × 20 example of method.md section 9
    assert inclusive_boxes(mask).tolist() == [[20, 5, 39, 14], [0, 0, 0, 0]]


def test_confidence_is_the_mean_probability_inside() -> None:
    masks = draw("## .. ..", ".. .. ##")
    probabilities = torch.tensor([[[0.6, 0.8], [0.1, 0.1], [0.1, 0.1]], [[0.9, 0.9], [0.9, 0.9], [1.0, 0.8]]])
    torch.testing.assert_close(mask_confidence(probabilities, masks), torch.tensor([0.7, 0.9]))
