"""A prediction made from panoptic ground truth by a fixed recipe, so that another implementation can judge the same.

The recipe, for each image: move all segments 2 pixels down and 5 to the right (around the edge). Then, by the place k
of a segment in its list: k % 5 = 4 becomes void; of k % 6 = 2, the right part (x above the mean of its pixels) becomes
a segment of its own; k % 7 = 3 gets the next category of the list. Pixels that are void in the truth become one segment
above the middle of the image and one below, of the image's first category; ids are numbered anew. Crowds of the truth
are among the predictions, treated as any other segment. No random numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casl.metrics.panoptic import Ids, rgb_of_ids

Json = dict[str, Any]


def ids_in(path: Path) -> Ids:
    pixels = np.asarray(Image.open(path)).astype(np.int64)
    return pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]


def write_png(path: Path, ids: Ids) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb_of_ids(ids)).save(path)


def first_images(gt: Json, number: int) -> Json:
    return gt | {"images": gt["images"][:number], "annotations": gt["annotations"][:number]}


def perturbed(gt: Json, gt_pngs: Path, dt_pngs: Path) -> Json:
    """The prediction's JSON; its PNGs are written into dt_pngs."""
    categories = [category["id"] for category in gt["categories"]]
    annotations = []
    for record in gt["annotations"]:
        ids, segments = _perturbed(ids_in(gt_pngs / record["file_name"]), record["segments_info"], categories)
        write_png(dt_pngs / record["file_name"], ids)
        annotations.append(
            {"image_id": record["image_id"], "file_name": record["file_name"], "segments_info": segments}
        )
    return {"annotations": annotations}


def _perturbed(true_ids: Ids, segments: list[Json], categories: list[int]) -> tuple[Ids, list[Json]]:
    moved = np.roll(true_ids, (2, 5), axis=(0, 1))
    columns, rows = np.arange(moved.shape[1])[None, :], np.arange(moved.shape[0])[:, None]
    ids = np.zeros_like(moved)
    classes: list[int] = []

    def paint(mask: np.ndarray[Any, Any], category: int) -> None:
        classes.append(category)
        ids[mask] = 1000 * len(classes)  # so that all three bytes of a PNG's pixel are used

    for k, segment in enumerate(segments):
        mask, category = moved == segment["id"], segment["category_id"]
        if k % 5 == 4:
            continue
        if k % 7 == 3:
            category = categories[(categories.index(category) + 1) % len(categories)]
        right = mask & (columns > np.nonzero(mask)[1].mean()) if k % 6 == 2 else np.zeros_like(mask)
        paint(mask & ~right, category)
        paint(right, category)
    for half in (rows < len(rows) // 2, rows >= len(rows) // 2):
        paint((true_ids == 0) & half, segments[0]["category_id"])
    left = [
        {"id": 1000 * k, "category_id": category} for k, category in enumerate(classes, 1) if (ids == 1000 * k).any()
    ]
    return ids, left
