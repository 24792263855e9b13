from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from casl.metrics.panoptic import Ids
from casl.metrics.panoptic_merge import MergeSettings, merge_panoptic
from casl.metrics.pq import pq_of_arrays

STUFF = [40, 50]  # category ids of classes 1 and 2 of a semantic map
SMALL = MergeSettings(stuff_area_limit=1)


def masks(*spans: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(N, 1, 10) bool: each instance covers the columns start to stop of one line."""
    columns = np.arange(10)
    return np.array([[(columns >= start) & (columns < stop)] for start, stop in spans], dtype=bool).reshape(-1, 1, 10)


def line(text: str) -> Ids:
    return np.array([[int(character) for character in text]])


def merged(
    spans: list[tuple[int, int]], scores: list[float], semantic: str, settings: MergeSettings | None = SMALL
) -> str:
    """The ids of the line, as digits."""
    ids, _ = merge_panoptic(masks(*spans), np.array(scores), [3] * len(scores), line(semantic), STUFF, settings)
    return "".join(map(str, ids[0]))


@pytest.mark.parametrize(
    ("spans", "scores", "semantic", "expected"),
    [
        pytest.param([(0, 4), (6, 8)], [0.9, 0.8], "0" * 10, "1111002200", id="apart"),
        pytest.param([(0, 4), (2, 8)], [0.8, 0.9], "0" * 10, "2211111100", id="the better score is in front"),
        pytest.param([(0, 4), (2, 8)], [0.8, 0.8], "0" * 10, "1111222200", id="of equal scores the earlier"),
        pytest.param([(0, 4), (2, 6)], [0.9, 0.8], "0" * 10, "1111220000", id="half covered stays"),
        pytest.param([(0, 4), (1, 6)], [0.9, 0.8], "0" * 10, "1111000000", id="more than half covered goes"),
        pytest.param([(0, 4), (6, 8)], [0.5, 0.499], "0" * 10, "1111000000", id="score .5 stays, less goes"),
        pytest.param([(5, 5), (6, 8)], [0.9, 0.8], "0" * 10, "0000001100", id="an empty mask is no segment"),
        pytest.param([(2, 4)], [0.9], "1111100222", "2211200333", id="stuff fills the rest, 0 stays void"),
        pytest.param([], [], "2211111111", "2211111111", id="no instances"),
        pytest.param([(0, 10)], [0.9], "1111111111", "1" * 10, id="stuff all covered is no segment"),
    ],
)
def test_lines_are_merged_as_drawn_by_hand(
    spans: list[tuple[int, int]], scores: list[float], semantic: str, expected: str
) -> None:
    assert merged(spans, scores, semantic) == expected


def test_stuff_below_the_limit_is_void_and_what_instances_cover_does_not_count() -> None:
    limit = MergeSettings(stuff_area_limit=4)
    assert merged([], [], "1111222000", limit) == "1111000000"
    assert merged([(0, 1)], [0.9], "1111222200", limit) == "1000222200"
    assert merged([], [], "1" * 10, None) == "0" * 10  # 4096 pixels by default


def test_thresholds_can_be_set() -> None:
    assert merged([(0, 4), (1, 6)], [0.9, 0.1], "0" * 10, MergeSettings(0.0, 0.6, 1)) == "1111220000"


def test_an_instance_wholly_behind_others_is_no_segment_whatever_overlap_is_allowed() -> None:
    settings = MergeSettings(max_overlap=1.0)
    _, segments = merge_panoptic(masks((0, 4), (1, 3)), np.array([0.9, 0.8]), [3, 3], line("0" * 10), STUFF, settings)
    assert [segment["area"] for segment in segments] == [4]


def test_segments_tell_category_kind_score_and_the_pixels_they_kept() -> None:
    ids, segments = merge_panoptic(
        masks((0, 4), (2, 7)), np.array([0.75, 0.5]), [3, 9], line("2222222211"), STUFF, MergeSettings(0.5, 0.5, 1)
    )

    assert ids.dtype == np.int32
    assert segments == [
        {"id": 1, "category_id": 3, "isthing": True, "iscrowd": 0, "area": 4, "score": 0.75},
        {"id": 2, "category_id": 9, "isthing": True, "iscrowd": 0, "area": 3, "score": 0.5},
        {"id": 3, "category_id": 40, "isthing": False, "iscrowd": 0, "area": 2},
        {"id": 4, "category_id": 50, "isthing": False, "iscrowd": 0, "area": 1},
    ]


def test_what_is_merged_can_be_judged() -> None:
    image = merge_panoptic(masks((0, 4)), np.array([0.9]), [3], line("0000111111"), STUFF, SMALL)
    categories = [{"id": 3, "isthing": 1}, {"id": 40, "isthing": 0}]
    assert set(pq_of_arrays([(*image, *image)], categories).values()) == {100.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": np.ones(2)}, "there are 2 scores"),
        ({"semantic": np.zeros((2, 10), dtype=int)}, r"\(2, 10\) pixels"),
        ({"thing_categories": [1, 2]}, "2 categories but 1 scores"),
        ({"semantic": line("3000000000")}, "holds 0 to 3, but 0 is no stuff and 2 categories"),
        ({"masks": np.ones((1, 1, 10))}, "masks must be bool"),
    ],
)
def test_inputs_that_do_not_fit_are_errors(changes: dict[str, Any], message: str) -> None:
    inputs: dict[str, Any] = {
        "masks": masks((0, 4)),
        "scores": np.ones(1),
        "thing_categories": [3],
        "semantic": line("0000000000"),
        "stuff_categories": STUFF,
    }
    with pytest.raises(ValueError, match=message):
        merge_panoptic(**inputs | changes)
