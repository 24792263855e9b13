"""A data set of four images, small enough to write for every test and to break in one place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Json = dict[str, Any]
WIDTH, HEIGHT = 24, 16
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
CAT_BOX = [2, 3, 8, 6]  # x, y, width, height
DOG_POLYGON = [12.0, 2.0, 20.0, 2.0, 20.0, 10.0, 12.0, 10.0]

# a folder with bccd, camvid, coco_mini and coco_panoptic_sample; git has none of them
REAL = Path(os.environ.get("CASL_REAL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"no real data sets in {REAL}; say where they are with CASL_REAL_DATA=folder"
)


def write_set(root: Path) -> Path:
    """Labeled a.png (cat, dog) and b.png (nothing), unlabeled c.png, val d.png; masks, entities, panoptic; valid."""
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "panoptic_labeled").mkdir(parents=True)
    for number, name in enumerate("abcd", start=1):
        pixels = np.full((HEIGHT, WIDTH, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
    write_json(root, "instances_labeled", coco("ab", [cat(1, 1), dog(2, 1)]))
    write_json(root, "instances_val", coco("d", [cat(1, 4)]))
    write_json(root, "unlabeled", {"images": coco("c", [])["images"]})
    one_class = [{"id": 1, "name": "entity"}]
    write_json(root, "entity_labeled", coco("ab", [cat(1, 1) | {"category_id": 1}]) | {"categories": one_class})
    write_panoptic(root)
    return root


def coco(names: str, annotations: list[Json]) -> Json:
    """COCO file of the images with these letters."""
    images = [
        {"id": "abcd".index(name) + 1, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT} for name in names
    ]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def cat(number: int, image: int) -> Json:
    """An annotation with an uncompressed RLE that fills its box."""
    x, y, w, h = CAT_BOX
    mask = np.zeros((HEIGHT, WIDTH), int)
    mask[y : y + h, x : x + w] = 1
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges.tolist(), flat.size]).tolist()
    return {
        "id": number,
        "image_id": image,
        "category_id": 3,
        "bbox": CAT_BOX,
        "area": w * h,
        "iscrowd": 0,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs},
    }


def dog(number: int, image: int) -> Json:
    """An annotation with a polygon, and neither `area` nor `iscrowd`."""
    return {"id": number, "image_id": image, "category_id": 7, "bbox": [12, 2, 8, 8], "segmentation": [DOG_POLYGON]}


def write_panoptic(root: Path) -> None:
    """Image a.png: cat 5, grass 700 (needs two bytes), a crowd 70000 (needs three), void; b.png: all grass."""
    ids = {"a": np.zeros((HEIGHT, WIDTH), int), "b": np.full((HEIGHT, WIDTH), 700)}
    ids["a"][3:9, 2:10], ids["a"][12:, :], ids["a"][0, 20:] = 5, 700, 70000
    for name, image in ids.items():
        write_ids(root / "annotations" / "panoptic_labeled" / f"{name}.png", image)
    grass = {"id": 700, "category_id": 9, "iscrowd": 0}
    cat_and_crowd = [{"id": 5, "category_id": 3, "iscrowd": 0}, {"id": 70000, "category_id": 3, "iscrowd": 1}]
    panoptic = coco("ab", [])
    panoptic["categories"] = [{"id": 3, "name": "cat", "isthing": 1}, {"id": 9, "name": "grass", "isthing": 0}]
    panoptic["categories"].append({"id": 7, "name": "dog", "isthing": 1})
    panoptic["annotations"] = [
        {"image_id": 1, "file_name": "a.png", "segments_info": [*cat_and_crowd, grass]},
        {"image_id": 2, "file_name": "b.png", "segments_info": [grass]},
    ]
    write_json(root, "panoptic_labeled", panoptic)


def write_ids(path: Path, ids: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    """A COCO panoptic PNG."""
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)).save(path)


def write_json(root: Path, name: str, content: Any) -> None:
    """annotations/<name>.json."""
    (root / "annotations" / f"{name}.json").write_text(json.dumps(content))


def edit(root: Path, name: str, change: Callable[[Json], object]) -> None:
    """Change the content of annotations/<name>.json in place."""
    path = root / "annotations" / f"{name}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
