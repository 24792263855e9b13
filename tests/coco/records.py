"""Records of a COCO file as hypothesis makes them: mostly plain, some fields as annotation tools and converters write
them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pycocotools import mask as rle_tools

from tests.data.tiny import CATEGORIES, DOG_POLYGON, HEIGHT, WIDTH, Json, cat

IMAGE = 4  # id of the only image

odd_numbers: st.SearchStrategy[Any] = st.sampled_from(
    [
        0,
        -1,
        -0.0,
        0.5,
        1e-9,
        7,
        1e9,
        1e308,
        -1e308,
        2**63,
        10**30,
        math.nan,
        math.inf,
        -math.inf,
        True,
        None,
        "3",
        [],
        {},
    ]
)
ids = st.one_of(
    st.integers(1, 40), st.sampled_from([0, -3, 1.0, 2.5, 2**53 + 1, 2**63 - 1, 2**63, "1", None, True, [1]])
)
coordinates = st.one_of(st.integers(0, 16), st.floats(-2, 26), odd_numbers)
boxes = st.one_of(
    st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(1, 12), st.integers(1, 8)).map(list),
    st.tuples(st.floats(-1, 24), st.floats(-1, 16), st.floats(-3, 24), st.floats(-3, 16)).map(list),
    st.lists(coordinates, min_size=3, max_size=5),
    st.sampled_from([[2, 3, 0, 6], [2, 3, 8, 0], [24, 3, 1, 6], [10, 9, 2, 3], None, "2 3 8 6", {"x": 1}]),
)
areas = st.one_of(st.integers(0, 400), st.floats(0, 400), odd_numbers)
crowds = st.sampled_from([0, 0, 0, 1, 1, True, False, 1.0, 2, -1, None, "0", [1]])


def _points(count: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.one_of(st.integers(0, 16), st.floats(-30, 60)), min_size=2 * count, max_size=2 * count)


polygons = st.one_of(
    st.just(DOG_POLYGON),
    st.integers(0, 6).flatmap(_points),
    st.lists(coordinates, max_size=9),
    st.sampled_from([[], [[1, 2], [3, 4]], "text", None, 5, {}]),
)


@st.composite
def _rle(draw: st.DrawFn, binary: bool) -> Json:
    """A run-length mask: lists and text, of a random mask, sometimes of another size or damaged."""
    seed, kind = (
        draw(st.integers(0, 99)),
        draw(st.sampled_from(["list", "text", "bytes"] if binary else ["list", "text"])),
    )
    mask = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < draw(st.sampled_from([0, 0.1, 0.5, 1]))
    rle = rle_tools.encode(np.asfortranarray(mask, dtype=np.uint8))
    size = draw(
        st.sampled_from([[HEIGHT, WIDTH]] * 4 + [[WIDTH, HEIGHT], [HEIGHT], [0, 0], "16x24", None, [16.0, 24.0]])
    )
    if kind == "list":
        flat = mask.T.ravel()
        edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
        runs = np.diff([0, *edges.tolist(), flat.size]).tolist()
        runs = [0, *runs] if flat[0] else runs
        return {
            "size": size,
            "counts": draw(st.sampled_from([runs] * 3 + [runs[:-1], [*runs, 5], [-1, 385], [0.5], []])),
        }
    text = draw(st.sampled_from([rle["counts"]] * 3 + [rle["counts"][:-1], b"", b"zzz", b"0" * 300, b"\xff\x01"]))
    return {"size": size, "counts": text if kind == "bytes" else text.decode("latin-1")}


def segmentations(binary: bool = False) -> st.SearchStrategy[Any]:
    """What stands in "segmentation". binary: also what only programs have, counts as bytes."""
    return st.one_of(
        st.lists(polygons, min_size=1, max_size=4),
        _rle(binary),
        st.sampled_from([None, [], [[]], {}, DOG_POLYGON, [[2, 3], [10, 3], [10, 9]], "mask", 5, {"counts": [384]}]),
    )


keypoints = st.one_of(
    st.sampled_from(
        [[1, 2, 2, 3, 4, 0], [0] * 6, [-9, 2, 2, 90, 4, 1], [1.5, 2, 2, 3, 4, 2], [], None, [1, 2, 2], "x"]
    ),
    st.lists(st.one_of(st.integers(0, 3), odd_numbers), min_size=6, max_size=6),
)
scores = st.one_of(st.floats(0, 1), odd_numbers, st.sampled_from(["0.9 manual", "high"]))

ODD: dict[str, st.SearchStrategy[Any]] = {
    "id": ids,
    "image_id": st.one_of(st.just(IMAGE), ids),
    "category_id": st.one_of(st.sampled_from([3, 7]), ids),
    "bbox": boxes,
    "area": areas,
    "iscrowd": crowds,
    "segmentation": segmentations(),
    "score": scores,
    "keypoints": keypoints,
    "num_keypoints": st.sampled_from([0, 1, 2, 3, "2", None, math.nan]),
}


@st.composite
def any_annotation(draw: st.DrawFn) -> Any:
    """An entry of "annotations": a sound one with some fields changed or taken away, or no object at all."""
    if draw(st.integers(0, 40)) == 0:
        return draw(st.sampled_from([5, None, [], "annotation"]))
    record = cat(1, IMAGE)
    for name in draw(st.lists(st.sampled_from(sorted(ODD)), max_size=3, unique=True)):
        record[name] = draw(ODD[name])
    for name in draw(st.lists(st.sampled_from(["area", "iscrowd", "segmentation", "bbox", "id"]), max_size=1)):
        record.pop(name, None)
    return record


@st.composite
def any_result(draw: st.DrawFn) -> Any:
    """An entry of a result list as a program holds it, so that counts may be bytes."""
    if draw(st.integers(0, 40)) == 0:
        return draw(st.sampled_from([5, None, [], "result"]))
    record: Json = {"image_id": IMAGE, "category_id": 3, "bbox": [2, 3, 8, 6], "score": 0.5}
    odd = {
        **{name: ODD[name] for name in ("image_id", "category_id", "bbox", "score")},
        "segmentation": segmentations(True),
    }
    for name in draw(st.lists(st.sampled_from(sorted(odd)), max_size=3, unique=True)):
        record[name] = draw(odd[name])
    for name in draw(st.lists(st.sampled_from(["bbox", "score", "category_id"]), max_size=1)):
        record.pop(name, None)
    return record


def file_of(records: list[Any], **category: Any) -> Json:
    """A COCO file of the only image. category: more fields of each category."""
    image = {"id": IMAGE, "file_name": "d.png", "width": WIDTH, "height": HEIGHT}
    return {"images": [image], "annotations": records, "categories": [c | category for c in CATEGORIES]}
