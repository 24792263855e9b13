"""Entities made from panoptic annotations, against drawn masks and against files that others made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from casl.coco.pngs import segment_ids
from casl.data.entity import entities_from_panoptic
from casl.errors import DataError
from tests.data.tiny import REAL, Json, needs_real, write_ids, write_set


def one_segment(tmp_path: Path, ids: np.ndarray[tuple[int, int], np.dtype[np.int64]], **segment: int) -> Json:
    write_ids(tmp_path / "x.png", ids)
    height, width = ids.shape
    return {
        "images": [{"id": 4, "file_name": "x.jpg", "width": width, "height": height}],
        "categories": [{"id": 6, "name": "sea", "isthing": 0}],
        "annotations": [{"image_id": 4, "file_name": "x.png", "segments_info": [{"category_id": 6, **segment}]}],
    }


def test_box_and_area_span_the_first_to_the_last_pixel_index(tmp_path: Path) -> None:
    ids = np.zeros((30, 50), int)
    ids[5:15, 20:40] = 66051  # all three bytes differ
    coco = entities_from_panoptic(one_segment(tmp_path, ids, id=66051), tmp_path)
    (entity,) = coco["annotations"]
    segmentation = entity.pop("segmentation")
    assert entity == {
        "id": 1,
        "image_id": 4,
        "category_id": 1,
        "bbox": [20, 5, 19, 9],
        "area": 171,
        "iscrowd": 0,
        "isthing": 0,
        "source_category_id": 6,
    }
    np.testing.assert_array_equal(rle_tools.decode(segmentation), ids > 0)
    assert [(category["id"], category["name"]) for category in coco["categories"]] == [(1, "entity")]
    json.dumps(coco)


def test_crowds_are_skipped_and_ids_count_on_over_images(tmp_path: Path) -> None:
    folder = write_set(tmp_path) / "annotations"
    coco = entities_from_panoptic(
        json.loads((folder / "panoptic_labeled.json").read_text()), folder / "panoptic_labeled"
    )
    found = [tuple(a[key] for key in ("id", "image_id", "source_category_id", "isthing")) for a in coco["annotations"]]
    assert found == [(1, 1, 3, 1), (2, 1, 9, 0), (3, 2, 9, 0)]


def test_a_segment_one_pixel_wide_keeps_its_mask_and_gets_a_box_without_area(tmp_path: Path) -> None:
    ids = np.zeros((8, 8), int)
    ids[2:6, 3] = 1
    (entity,) = entities_from_panoptic(one_segment(tmp_path, ids, id=1), tmp_path)["annotations"]
    assert (entity["bbox"], entity["area"], rle_tools.area(entity["segmentation"])) == ([3, 2, 0, 3], 0, 4)


def test_png_and_json_that_do_not_belong_together_are_rejected(tmp_path: Path) -> None:
    panoptic = one_segment(tmp_path, np.ones((8, 8), int), id=2)
    with pytest.raises(DataError, match=r"x\.png: no pixel of segment 2"):
        entities_from_panoptic(panoptic, tmp_path)
    write_ids(tmp_path / "x.png", np.full((8, 9), 2))
    with pytest.raises(DataError, match=r"x\.png: is 9x8, its image 8x8"):
        entities_from_panoptic(panoptic, tmp_path)
    (tmp_path / "x.png").unlink()
    with pytest.raises(DataError, match=r"x\.png: no such panoptic PNG"):
        entities_from_panoptic(panoptic, tmp_path)


def test_instances_are_not_taken_for_panoptic(tmp_path: Path) -> None:
    folder = write_set(tmp_path) / "annotations"
    with pytest.raises(DataError, match=r"annotations of .*: category 3: 'isthing' must be 0 or 1"):
        entities_from_panoptic(json.loads((folder / "instances_labeled.json").read_text()), folder)


@needs_real
def test_the_official_sample_gives_the_masks_of_its_own_detection_format() -> None:
    folder = REAL / "coco_panoptic_sample" / "annotations"
    panoptic = json.loads((folder / "panoptic_sample.json").read_text())
    official = json.loads((folder / "detection_format_sample.json").read_text())["annotations"]
    entities = entities_from_panoptic(panoptic, folder / "panoptic_sample")["annotations"]
    kept = [record for record in official if not record["iscrowd"]]
    assert [record["segmentation"]["counts"] for record in entities] == [r["segmentation"]["counts"] for r in kept]
    for entity, record in zip(entities, kept, strict=True):
        x, y, w, h = record["bbox"]  # there a box ends after its last pixel
        assert entity["bbox"] == [x, y, w - 1, h - 1]
        assert entity["source_category_id"] == record["category_id"]


@needs_real
def test_real_entities_have_the_masks_that_were_shipped() -> None:
    folder = REAL / "camvid" / "annotations"
    shipped = json.loads((folder / "entity_labeled.json").read_text())["annotations"]
    panoptic = json.loads((folder / "panoptic_labeled.json").read_text())
    derived = entities_from_panoptic(panoptic, folder / "panoptic_labeled")["annotations"]
    facts = [
        [(r["image_id"], r["segmentation"]["counts"], r["isthing"], r["source_category_id"]) for r in records]
        for records in (derived, shipped)
    ]
    assert sorted(facts[0]) == sorted(facts[1])


@needs_real
def test_panoptic_ids_are_read_byte_by_byte() -> None:
    folder = REAL / "coco_panoptic_sample" / "annotations"
    for record in json.loads((folder / "panoptic_sample.json").read_text())["annotations"]:
        ids, areas = np.unique(segment_ids(folder / "panoptic_sample" / record["file_name"]), return_counts=True)
        drawn = {number: area for number, area in zip(ids.tolist(), areas.tolist(), strict=True) if number}
        assert drawn == {segment["id"]: segment["area"] for segment in record["segments_info"]}
