"""COCO records of one painted scene: instances, entities, panoptic segments, keypoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_tools

from casl.data.scene_paint import Scene

Json = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """The annotations of one image; annotation ids are given when a file is put together.

    Attributes:
        image: the COCO image record.
        instances: things; boxes [x, y, width, height] and areas of the visible mask, masks as compressed RLE.
        entities: things and stuff as one class, with `isthing` and `source_category_id`.
        panoptic: the one record of the image, its segment ids as in `panoptic_colours`.
        keypoints: the things with keypoints, as in `instances` with the COCO keypoint fields added.
    """

    image: Json
    instances: tuple[Json, ...]
    entities: tuple[Json, ...]
    panoptic: Json
    keypoints: tuple[Json, ...]


def collect(scene: Scene, image_id: int, file_name: str, hidden: bool = False) -> Records:
    """Puts the truth of a scene into COCO's words.

    hidden: instances also say "full_area", the pixels that they would have if nothing hid them.
    """
    height, width, things = *scene.segments.shape, len(scene.classes)
    numbers = np.arange(1, len(scene.categories) + 1)
    masks = np.asfortranarray(scene.segments[..., None] == numbers, dtype=np.uint8)
    rles = rle_tools.encode(masks)
    segments: list[Json] = [
        {
            "image_id": image_id,
            "iscrowd": 0,
            "category_id": category,
            "bbox": [int(value) for value in rle_tools.toBbox(rle)],
            "area": int(rle_tools.area(rle)),
            "segmentation": {"size": [height, width], "counts": rle["counts"].decode("ascii")},
        }
        for category, rle in zip(scene.categories, rles, strict=True)
    ]
    whole = [{"full_area": area} if hidden else {} for area in scene.full_areas]
    return Records(
        image={"id": image_id, "file_name": file_name, "width": width, "height": height},
        instances=tuple(segment | own for segment, own in zip(segments, whole, strict=False)),
        entities=tuple(_entity(segment, things) for segment in segments),
        panoptic=_panoptic(segments, image_id, file_name),
        keypoints=tuple(segments[number - 1] | _keypoints(points) for number, points in scene.keypoints.items()),
    )


def _entity(segment: Json, things: int) -> Json:
    source = segment["category_id"]
    return segment | {"category_id": 1, "isthing": int(source <= things), "source_category_id": source}


def _keypoints(points: NDArray[np.int64]) -> Json:
    return {"keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum())}


def _segment_id(category: int, position: int) -> int:
    return 1000 * category + position  # unique in an image and readable; category 0 is void


def _panoptic(segments: list[Json], image_id: int, file_name: str) -> Json:
    infos = [
        {"id": _segment_id(segment["category_id"], position)}
        | {key: segment[key] for key in ("category_id", "iscrowd", "area", "bbox")}
        for position, segment in enumerate(segments, start=1)
    ]
    return {"image_id": image_id, "file_name": file_name, "segments_info": infos}


def panoptic_colours(scene: Scene) -> NDArray[np.uint8]:
    """(S, S, 3) uint8 RGB with segment id = R + 256 G + 65536 B, 0 = void: the COCO panoptic PNG."""
    ids = [0, *(_segment_id(category, position) for position, category in enumerate(scene.categories, start=1))]
    painted = np.array(ids)[scene.segments]
    return np.stack([painted % 256, painted // 256 % 256, painted // 65536], axis=-1).astype(np.uint8)
