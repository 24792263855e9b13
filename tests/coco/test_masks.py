from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from casl.coco.masks import has_mask, segmentation_problem, to_rle, whole_masks
from casl.coco.runs import are_whole, runs_of

# 4 rows, 5 columns; runs count down the columns: 5 off, 2 on, 2 off, 2 on, 9 off
MASK = np.zeros((4, 5), dtype=np.uint8)
MASK[1:3, 1:3] = 1
RUNS = [5, 2, 2, 2, 9]


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [4, 5], "counts": RUNS},
        coco_mask.encode(np.asfortranarray(MASK)),
        {"size": (4, 5), "counts": coco_mask.encode(np.asfortranarray(MASK))["counts"].decode()},
        [[1, 1, 3, 1, 3, 3, 1, 3]],
        [[1, 1, 2, 1, 2, 3, 1, 3], [2, 1, 3, 1, 3, 3, 2, 3]],
    ],
)
def test_every_form_of_a_mask_is_read_as_the_same_pixels(segmentation: Any) -> None:
    np.testing.assert_array_equal(coco_mask.decode(to_rle(segmentation, 4, 5)), MASK)


def test_masks_of_any_shape_and_size_are_taken_as_pycocotools_wrote_them() -> None:
    rng = np.random.default_rng(0)
    for height, width in [(1, 1), (3, 70), (300, 2), (200, 333), (700, 900)]:
        for density in (0.0, 0.001, 0.5, 1.0):
            rle = coco_mask.encode(np.asfortranarray((rng.random((height, width)) < density).astype(np.uint8)))
            assert to_rle(rle, height, width)["counts"] == rle["counts"]


COMPRESSED = coco_mask.encode(np.asfortranarray(MASK))["counts"]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ("mask.png", "neither a list of polygons nor an RLE"),
        ({"counts": RUNS}, "neither a list of polygons nor an RLE"),
        ({"size": [5, 4], "counts": RUNS}, "mask is [5, 4] (height, width) but the image is [4, 5]"),
        ({"size": 20, "counts": RUNS}, "mask is 20 (height, width) but the image is [4, 5]"),
        ({"size": [4, 5], "counts": [5, 2, 2]}, "cover 9 pixels, the image has 4 x 5 = 20"),
        ({"size": [4, 5], "counts": []}, "cover 0 pixels"),
        ({"size": [4, 5], "counts": [25, -5]}, "cover 20 pixels"),
        ({"size": [4, 5], "counts": [2**62] * 4 + [20]}, "cover 18446744073709551636 pixels"),  # 20 in 64 bits
        ({"size": [4, 5], "counts": [2**63, 20]}, "must be integers of 64 bits"),
        ({"size": [4, 5], "counts": [2**63, 2**63]}, "cover 18446744073709551616 pixels"),
        ({"size": [4, 5], "counts": ["many"]}, "must be integers"),
        ({"size": [4, 5], "counts": [1.5, 18.5]}, "must be integers"),
        ({"size": [4, 5], "counts": [[1], [2, 3]]}, "must be integers"),
        ({"size": [4, 5], "counts": 20}, "list, str or bytes, is int"),
        ({"size": [4, 5], "counts": None}, "list, str or bytes, is NoneType"),
        ({"size": [4, 5], "counts": COMPRESSED[:-1]}, "cover 11 pixels"),
        ({"size": [4, 5], "counts": ""}, "not a COCO run-length string"),
        ({"size": [4, 5], "counts": "o"}, "not a COCO run-length string"),  # a character that promises another
        ({"size": [4, 5], "counts": "5 22"}, "not a COCO run-length string"),
        ({"size": [4, 5], "counts": "5é"}, "not a COCO run-length string"),
        ({"size": [4, 5], "counts": "\ud800"}, "not a COCO run-length string"),
        ([1, 1, 3, 1, 3, 3], "is one flat list"),
        ([[1, 1], [3, 1], [3, 3]], "is a list of points; write each polygon as one flat list"),
        ([[1, 1, 3, 3, 2, 2, 1]], "a polygon is a flat list of finite numbers"),
        ([[1, 1, 3, 1, float("nan"), 3]], "a polygon is a flat list of finite numbers"),
        ([[1, 1, 3, 1, "a", 3]], "a polygon is a flat list of finite numbers"),
        ([["1", "1", "5", "5", "1", "5"]], "a polygon is a flat list of finite numbers"),
        ([[[1, 1], [3, 1, 3]]], "a polygon is a flat list of finite numbers"),
        ([[1, 1, 3, 1, 3, 3], None], "a polygon is a flat list of finite numbers"),
        ([{"x": 1, "y": 2}], "a polygon is a flat list of finite numbers"),
        ([[1, 1, 5, 5, 1e12, 9]], "reaches 1e+12, far outside the 5x4 image"),
    ],
)
def test_an_illegal_mask_is_refused_by_the_judge_and_by_the_reader(segmentation: Any, message: str) -> None:
    problem = segmentation_problem(segmentation, 4, 5)
    assert problem is not None and message in problem
    with pytest.raises(ValueError, match=re.escape(message)):
        to_rle(segmentation, 4, 5)


def test_a_run_that_pycocotools_cannot_hold_is_refused() -> None:
    side = 2**16
    problem = segmentation_problem({"size": [side, side], "counts": [side * side]}, side, side)
    assert problem is not None and "an RLE run is 4294967296 pixels long" in problem
    assert segmentation_problem({"size": [side, side], "counts": [1, side * side - 1]}, side, side) is None


def growing(count: int) -> bytes:
    """A text whose runs, all above 0, are each `step` longer than the run two before."""
    step = [(2**33 >> shift) & 31 for shift in range(0, 35, 5)]
    number = bytes(48 + low + 32 * (n < 6) for n, low in enumerate(step))
    return number * count


def test_a_text_whose_runs_wrap_in_64_bits_is_not_whole() -> None:
    """Runs of 2**33, 2 * 2**33, ... add up to a multiple of 2**64 after 2**17 of them, that is to 0 in 64 bits."""
    for count in range(2**16, 2**17 + 1, 2**12):
        text = growing(count)
        wrapped = int(runs_of(text).sum())
        assert runs_of(text).min() > 0
        assert not are_whole([text], [wrapped])
        assert "RLE runs cover" in str(segmentation_problem({"size": [1, wrapped], "counts": text}, 1, wrapped))


@pytest.mark.parametrize("small", [[], [2, 2], [1, 1, 4, 3]])
def test_a_polygon_of_fewer_than_three_points_beside_another_is_skipped(small: list[float]) -> None:
    square = [1, 1, 3, 1, 3, 3, 1, 3]
    assert segmentation_problem([small, square], 4, 5) is None
    np.testing.assert_array_equal(coco_mask.decode(to_rle([small, square], 4, 5)), MASK)


def test_polygons_of_fewer_than_three_points_alone_are_an_empty_mask_not_a_box() -> None:
    assert coco_mask.decode(to_rle([[1, 1, 3, 3]], 4, 5)).sum() == 0


@pytest.mark.parametrize("empty", [None, [], [[]], {}, [[], []]])
def test_an_empty_segmentation_is_none(empty: Any) -> None:
    assert not has_mask({"segmentation": empty})
    assert not has_mask({})
    assert has_mask({"segmentation": [[], [1, 1, 3, 1, 3, 3]]})


def test_whole_masks_are_found_by_their_positions_in_any_company() -> None:
    text = {"size": [4, 5], "counts": COMPRESSED}
    odd: list[Any] = [{}, {"segmentation": [[1, 1, 3, 1, 3, 3]]}, 5, {"segmentation": text | {"size": [4.0, 5]}}]
    assert whole_masks([{"segmentation": text}, *odd, {"segmentation": text}]) == {0, 5}
    assert whole_masks([{"segmentation": text}, {"segmentation": text | {"counts": COMPRESSED[:-1]}}]) == set()


def many(seed: int) -> list[dict[str, Any]]:
    """Masks of many sizes and densities, as pycocotools writes them."""
    rng = np.random.default_rng(seed)
    sizes = [(1, 1), (1, 9), (3, 70), (300, 2), (120, 133), (400, 500)]
    pixels = [rng.random(size) < density for size in sizes for density in (0.0, 0.001, 0.3, 1.0)]
    return [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in pixels]


def test_many_masks_are_sound_together_if_each_is_alone() -> None:
    masks = many(1)
    strings, pixels = [m["counts"] for m in masks], [m["size"][0] * m["size"][1] for m in masks]
    assert are_whole(strings, pixels)
    assert all(are_whole([string], [count]) for string, count in zip(strings, pixels, strict=True))


def test_one_damaged_mask_among_many_is_noticed_as_alone() -> None:
    rng = np.random.default_rng(2)
    masks = many(2)
    strings, pixels = [m["counts"] for m in masks], [m["size"][0] * m["size"][1] for m in masks]
    noticed = 0
    for _ in range(100):
        which = int(rng.integers(len(strings)))
        damaged = bytearray(strings[which])
        damaged[int(rng.integers(len(damaged)))] = int(rng.integers(30, 130))
        changed = [*strings[:which], bytes(damaged), *strings[which + 1 :]]
        height, width = masks[which]["size"]
        try:
            to_rle(masks[which] | {"counts": bytes(damaged)}, height, width)
            sound = True
        except ValueError:
            sound = False
        assert are_whole(changed, pixels) == sound
        noticed += not sound
    assert 10 < noticed < 100


@pytest.mark.parametrize("damaged", [b"", b"o", b"0" * 3, b"ooooooooo0"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_string_that_is_none_is_noticed_wherever_it_stands(damaged: bytes, place: int) -> None:
    strings = [COMPRESSED, COMPRESSED]
    strings.insert(place, damaged)
    assert not are_whole(strings, [20, 20, 20])


def test_a_polygon_too_long_for_the_memory_is_a_sentence() -> None:
    zigzag = [0, 0, 900_000, 900_000] * 20
    assert "px long; more than 10,000,000" in str(segmentation_problem([zigzag], 1_000_000, 1_000_000))
    assert segmentation_problem([zigzag[:8]], 1_000_000, 1_000_000) is None
