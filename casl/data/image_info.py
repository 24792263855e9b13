"""What a list says of one image, be it JSON or a manifest."""

from __future__ import annotations

from dataclasses import dataclass

from casl.coco.records import Record


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """One image: COCO id, file name relative to the split's folder, size in pixels after EXIF rotation."""

    id: int
    file_name: str
    width: int
    height: int


def image_info(record: Record) -> ImageInfo:
    """A legal entry of "images"."""
    return ImageInfo(record["id"], record["file_name"], record["width"], record["height"])
