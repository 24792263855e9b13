from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from casl.data.pictures import colour, draw_labels, side_by_side

GREY = np.full((300, 400, 3), 100, dtype=np.uint8)
BOX = np.array([[50.0, 60, 150, 160]])


def is_painted(picture: Image.Image, paint: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    painted: np.ndarray[Any, Any] = (np.asarray(picture) == paint).all(axis=2)
    return painted


def left_half() -> dict[str, Any]:
    mask = np.zeros((300, 400), dtype=np.uint8)
    mask[60:160, 50:100] = 1
    rle: dict[str, Any] = coco_mask.encode(np.asfortranarray(mask))
    return rle


def test_the_box_is_outlined_in_the_colour_of_its_class_and_the_rest_is_untouched() -> None:
    pixels = np.asarray(draw_labels(GREY, BOX, [3]))
    assert pixels.shape == GREY.shape
    for y, x in [(60, 80), (159, 80), (120, 50), (120, 149)]:
        assert tuple(pixels[y, x]) == colour(3)
    assert (pixels[100:140, 70:130] == 100).all()
    assert (pixels[200:] == 100).all()


@pytest.mark.parametrize(
    ("shape", "expected"), [((64, 64), (256, 256)), ((50, 90), (540, 300)), ((300, 256), (256, 300))]
)
def test_small_images_are_enlarged_by_a_whole_number(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), dtype=np.uint8)
    assert draw_labels(image, np.zeros((0, 4))).size == expected


def test_boxes_are_enlarged_with_the_image() -> None:
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    rows, columns = np.nonzero(is_painted(draw_labels(image, np.array([[20.0, 30, 40, 50]])), colour(0)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (120, 199, 80, 159)


def test_a_mask_is_translucent_with_an_outline() -> None:
    pixels = np.asarray(draw_labels(GREY, BOX, [0], rles=[left_half()])).astype(int)
    inside, outside = pixels[110, 75], pixels[110, 125]
    assert (outside == 100).all()
    assert (np.abs(inside - outside) > 5).any()
    assert (np.abs(inside - colour(0)).sum() < np.abs(outside - colour(0)).sum()) and tuple(inside) != colour(0)
    assert tuple(pixels[110, 99]) == colour(0)


def test_an_instance_may_have_no_mask_and_a_mask_may_be_uncompressed() -> None:
    runs = [50 * 300 + 60, *([100, 200] * 49), 100, 140 + 300 * 300]
    boxes = np.concatenate([BOX, BOX + 100])
    uncompressed = draw_labels(GREY, boxes, rles=[{"size": [300, 400], "counts": runs}, None])
    assert uncompressed == draw_labels(GREY, boxes, rles=[left_half(), None])


def test_name_and_score_are_written_on_a_plate_at_the_box() -> None:
    bare = is_painted(draw_labels(GREY, BOX, None), colour(0))
    named = is_painted(draw_labels(GREY, BOX, [0], classes=["square"]), colour(0))
    scored = is_painted(draw_labels(GREY, BOX, [0], [0.75], classes=["square"]), colour(0))
    assert bare.sum() < named.sum() < scored.sum()
    rows, columns = np.nonzero(scored & ~bare)
    assert rows.min() >= 40
    assert rows.max() < 60  # above the box
    assert columns.min() == 50


def test_texts_of_equal_boxes_do_not_hide_each_other() -> None:
    one = is_painted(draw_labels(GREY, BOX, [0], classes=["square"]), colour(0))
    both = draw_labels(GREY, np.concatenate([BOX, BOX]), [0, 1], classes=["square", "square"])
    plate = one[:60].sum()
    assert is_painted(both, colour(0)).sum() >= plate
    assert is_painted(both, colour(1)).sum() >= plate


def test_texts_stay_in_the_picture() -> None:
    corner = np.array([[395.0, 0, 400, 6]])
    painted = is_painted(draw_labels(GREY, corner, [0], [1.0], classes=["pedestrian"]), colour(0))
    assert painted[:20, 300:].sum() > 500


def test_class_agnostic_instances_have_colours_of_their_own() -> None:
    picture = draw_labels(GREY, np.concatenate([BOX, BOX + 120]))
    assert is_painted(picture, colour(0)).any()
    assert is_painted(picture, colour(1)).any()


def test_boxes_beyond_the_image_are_cut_and_those_outside_or_inside_out_are_left_out() -> None:
    cut = draw_labels(GREY, np.array([[350.0, 250, 900, 900]]))
    assert tuple(np.asarray(cut)[299, 380]) == colour(0)
    for box in ([500.0, 10, 600, 20], [-50, -50, -10, -10], [90, 90, 20, 20], [np.nan, 0, 5, 5]):
        assert (np.asarray(draw_labels(GREY, np.array([box]), [0], classes=["x"])) == 100).all()


def test_the_image_is_not_changed() -> None:
    image = GREY.copy()
    draw_labels(image, BOX, [0], [0.5], [left_half()], ["square"])
    assert (image == 100).all()


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="1 boxes but 2 scores"):
        draw_labels(GREY, BOX, scores=[0.1, 0.2])
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        draw_labels(GREY[:, :, 0], BOX)
    with pytest.raises(ValueError, match=r"mask of \(300, 400\) does not fit"):
        draw_labels(GREY[:256], BOX, rles=[left_half()])


def test_class_colours_differ() -> None:
    assert len({colour(i) for i in range(100)}) == 100
    first = np.array([colour(i) for i in range(12)], dtype=int)
    distances = np.abs(first[:, None] - first[None]).sum(axis=2)
    assert distances[~np.eye(12, dtype=bool)].min() > 75


def test_a_grid_has_every_picture_under_its_heading() -> None:
    red, blue = Image.new("RGB", (100, 60), (255, 0, 0)), Image.new("RGB", (140, 40), (0, 0, 255))

    grid = side_by_side([[red, blue], [blue, red]], ["prediction", "ground truth"])

    rows, columns = np.nonzero(is_painted(grid, (255, 0, 0)))
    assert is_painted(grid, (255, 0, 0)).sum() == 2 * 100 * 60
    assert is_painted(grid, (0, 0, 255)).sum() == 2 * 140 * 40
    upper = rows < rows.mean()
    assert columns[upper].max() < columns[~upper].min()  # red is left above and right below
    heading = np.asarray(grid)[: rows.min()]
    middle = grid.width // 2
    assert (heading[:, :middle] < 100).any()
    assert (heading[:, middle:] < 100).any()


def test_a_grid_needs_a_picture_for_every_heading() -> None:
    picture = Image.new("RGB", (10, 10))
    for rows in ([], [[picture]]):
        with pytest.raises(ValueError, match="2 headings need rows"):
            side_by_side(rows, ["a", "b"])


def test_an_outline_leaves_what_is_inside_as_it_is() -> None:
    pixels = np.asarray(draw_labels(GREY, BOX, [0], rles=[left_half()], filled=False))
    assert tuple(pixels[110, 75]) == (100, 100, 100)
    assert tuple(pixels[110, 99]) == colour(0)


def test_only_the_highest_scores_are_written_and_every_box_is_drawn() -> None:
    boxes = np.array([[x, 100.0, x + 80, 180] for x in (10, 110, 210, 310)])
    scores, classes = [0.2, 0.9, 0.4, 0.8], ["disc"]
    bare = np.asarray(draw_labels(GREY, boxes, [0] * 4, named=0))
    named = np.asarray(draw_labels(GREY, boxes, [0] * 4, scores, classes=classes, named=2))
    columns = np.flatnonzero((bare != named).any(axis=(0, 2)))
    assert {int(x) // 100 for x in columns} == {1, 3}, "above the second and the fourth"
    every = np.asarray(draw_labels(GREY, boxes, [0] * 4, scores, classes=classes))
    assert (np.asarray(draw_labels(GREY, boxes, [0] * 4, scores, classes=classes, named=9)) == every).all()


@pytest.mark.parametrize("corner", [(0, 0), (398, 0), (0, 298), (398, 298)])
def test_a_name_at_the_edge_is_written_whole(corner: tuple[int, int]) -> None:
    def plate(x: float, y: float) -> int:
        drawn = draw_labels(GREY, np.array([[x, y, x + 2, y + 2]]), [0], [0.61], classes=["pentagon"])
        return int(is_painted(drawn, colour(0)).sum())

    assert plate(*corner) == pytest.approx(plate(200, 150), abs=8), "as many pixels as in the middle"
