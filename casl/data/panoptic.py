"""Panoptic annotations for training: one map of stuff an image, and things where no instance file has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from casl.coco.pngs import segment_ids
from casl.coco.records import Record, category_records, image_records, panoptic_records
from casl.errors import DataError

THING = 0  # in a semantic map: any thing
VOID = 255  # in a semantic map: not annotated, no target
MOST_STUFF = VOID - 1


@dataclass(frozen=True, eq=False, repr=False)
class PanopticTruth:
    """A COCO panoptic file and its PNGs, which are read when asked for.

    Attributes:
        pngs: folder that the file names of the records are relative to.
        images: entries of "images" by id, in the order of the file.
        records: entries of "annotations" by image id, one for each image.
        categories: entries of "categories" by id, in the order of the file.
    """

    pngs: Path
    images: Mapping[int, Record]
    records: Mapping[int, Record]
    categories: Mapping[int, Record]

    def __repr__(self) -> str:
        return f"PanopticTruth({self.pngs}: {len(self.records)} images, {len(self.categories)} categories)"

    @property
    def things(self) -> dict[int, str]:
        """Names of the categories of things by id."""
        return {number: record["name"] for number, record in self.categories.items() if _is_thing(record)}

    @property
    def stuff(self) -> dict[int, str]:
        """Names of the categories of stuff by id; the first has index 1 in a semantic map."""
        return {number: record["name"] for number, record in self.categories.items() if not _is_thing(record)}

    def ids(self, image_id: int) -> NDArray[np.int32]:
        """(H, W) int32 segment of every pixel, 0 is void.

        Raises:
            DataError: the PNG is missing, damaged, or not of the size of its image.
        """
        image = self.images[image_id]
        path = self.pngs / self.records[image_id]["file_name"]
        ids = segment_ids(path)
        if ids.shape != (image["height"], image["width"]):
            raise DataError(f"{path}: is {ids.shape[1]}x{ids.shape[0]}, its image {image['width']}x{image['height']}.")
        return ids

    def semantic(self, image_id: int) -> NDArray[np.uint8]:
        """(H, W) uint8 stuff index 1..S of every pixel, THING for any thing, VOID for void and crowds.

        Pixels of a segment that the JSON does not list are void too. Raises as `ids`.
        """
        ids = self.ids(image_id)
        index_of = dict.fromkeys(self.things, THING) | {number: k for k, number in enumerate(self.stuff, start=1)}
        semantic = np.full(ids.shape, VOID, np.uint8)
        for segment in self.records[image_id]["segments_info"]:
            if not segment.get("iscrowd", 0):
                semantic[ids == segment["id"]] = index_of[segment["category_id"]]
        return semantic

    def problem_with(self, images: Mapping[int, tuple[str, int, int]], things: Mapping[int, str]) -> str | None:
        """Why the objects of an instance file cannot be the things of this one, or None.

        Args:
            images: file name, width and height by image id. There may be more than here, but not less.
            things: names of the object categories by id; must be the same as here.
        """
        if things != self.things:
            odd = sorted(set(things.items()) ^ set(self.things.items()))[:5]
            return (
                f"their categories of things are not the same, so a label would not mean the same; different: {odd}. "
                "Write the same ids and names into both."
            )
        for number, record in self.images.items():
            image = (record["file_name"], record["width"], record["height"])
            if images.get(number) != image:
                return f"image {number} is {image} in one and {images.get(number, 'not there')} in the other"
        return None

    def json(self, image_ids: Iterable[int]) -> dict[str, Any]:
        """COCO panoptic dict of these images; every segment says `iscrowd` and every category `isthing`. A copy."""
        numbers = list(image_ids)
        return {
            "info": {},
            "images": [dict(self.images[number]) for number in numbers],
            "annotations": [_copy(self.records[number]) for number in numbers],
            "categories": [{**record, "isthing": int(_is_thing(record))} for record in self.categories.values()],
        }


def read_panoptic(data: Mapping[str, Any], path: Path, pngs: Path) -> PanopticTruth:
    """The content of a COCO panoptic file, checked; no PNG is opened.

    Args:
        data: content of the file.
        path: the file, for messages.
        pngs: folder of its PNGs.

    Raises:
        DataError: not sound COCO panoptic, names the first bad record; or more than 254 kinds of stuff.
    """
    images, categories = image_records(data, path), category_records(data, path, panoptic=True)
    records = panoptic_records(data, path, images, categories)
    if missing := sorted(images.keys() - records.keys()):
        raise DataError(f"{path}: image {missing[0]} has no panoptic annotation; add it or take the image out.")
    truth = PanopticTruth(pngs, images, records, categories)
    if len(truth.stuff) > MOST_STUFF:
        raise DataError(f"{path}: {len(truth.stuff)} kinds of stuff; a map of 8 bit has room for {MOST_STUFF}.")
    return truth


def things_from_panoptic(truth: PanopticTruth) -> dict[str, Any]:
    """COCO instance dict of the things in panoptic annotations. Every PNG is read, some 10 ms an image.

    Unlike in `entities_from_panoptic`, boxes are exact and areas are those of the masks. Crowds stay, as crowds.

    Returns:
        COCO dict with the categories of things; annotations are numbered from 1 in the order of the images, masks are
        compressed RLE with counts as str.

    Raises:
        DataError: a PNG is missing, damaged, of another size, or has no pixel of a segment.
    """
    records = [record for number in truth.images for record in _things(truth, number)]
    return {
        "images": list(truth.images.values()),
        "annotations": [{"id": number, **record} for number, record in enumerate(records, start=1)],
        "categories": [{"id": number, "name": name} for number, name in truth.things.items()],
    }


def _things(truth: PanopticTruth, image_id: int) -> Iterator[dict[str, Any]]:
    ids, record, things = np.asfortranarray(truth.ids(image_id)), truth.records[image_id], truth.things
    for segment in record["segments_info"]:
        if segment["category_id"] not in things:
            continue
        rle = rle_tools.encode(np.asfortranarray(ids == segment["id"], dtype=np.uint8))
        area = int(rle_tools.area(rle))
        if not area:
            path = truth.pngs / record["file_name"]
            raise DataError(f"{path}: no pixel of segment {segment['id']}, which the JSON lists.")
        yield {
            "image_id": image_id,
            "category_id": segment["category_id"],
            "bbox": [int(value) for value in rle_tools.toBbox(rle)],
            "area": area,
            "iscrowd": int(segment.get("iscrowd", 0)),
            "segmentation": {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")},
        }


def _is_thing(category: Record) -> bool:
    return bool(category["isthing"])


def _copy(record: Record) -> dict[str, Any]:
    return {**record, "segments_info": [{"iscrowd": 0, **segment} for segment in record["segments_info"]]}
