"""The set that an import writes: linked images, COCO files, and import.json, which says where each image came from."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as rle_tools

from casl.coco.licences import Licence
from casl.coco.masks import to_rle
from casl.data.importing.fit import Item, segmentation
from casl.errors import DataError
from casl.files import disk_errors, write_json

MANIFEST, ANNOTATIONS = "import.json", "annotations"
Json = dict[str, Any]
Named = tuple[str, Item]  # name in the set, below images/


def write_set(
    out: Path, splits: Mapping[str, Sequence[Named]], classes: Sequence[str], manifest: Json, images: Path | bool
) -> None:
    """Write a set into a folder that is not there yet, or is empty and then stays the folder that it is, since a shell
    or a mount may be in it. It appears when it is whole.

    Args:
        out: the folder.
        splits: "labeled", "val", "unlabeled", "unlabeled_gt"; a split without images is not written.
        classes: names of all classes; category ids count from 1.
        manifest: what import.json says beside the images.
        images: a folder with the images that is linked to; True: images are copied; False: images are hard links.

    Raises:
        DataError: the folder is there and not empty. StoreError: it cannot be written.
    """
    refuse_if_there(out)
    place, mark = out.resolve(), f"{uuid.uuid4().hex[:8]}.tmp"
    fills = os.path.isdir(place)  # noqa: PTH112
    aside = place / f".{mark}" if fills else place.with_name(f".{place.name}.{mark}")
    with disk_errors("write", out):
        try:
            (aside / ANNOTATIONS).mkdir(parents=True)
            if isinstance(images, Path):
                (aside / "images").symlink_to(os.path.relpath(images.resolve(), place))
            else:
                put_images(aside / "images", [named for some in splits.values() for named in some], images)
            licences = _licences(splits)
            for split, members in splits.items():
                if members:
                    _write_split(aside / ANNOTATIONS, split, members, classes, licences)
            write_json(aside / MANIFEST, {**manifest, "images": _origins(splits)})
            if fills:
                for name in ("images", MANIFEST, ANNOTATIONS):  # the last of them makes a set of the folder
                    (aside / name).rename(place / name)
            else:
                aside.rename(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def refuse_if_there(out: Path, advice: str = "name another --out") -> None:
    """Refuse a target that holds something.

    Args:
        advice: what a user does who means another one.

    Raises:
        DataError: it is a folder that is not empty, or anything else, such as a link to what is not there; or it would
            be below a file.
    """
    if any(out.iterdir()) if os.path.isdir(out) else os.path.lexists(out):  # noqa: PTH112  Path raises of long names
        raise DataError(f"{out}: is there already; {advice}, or remove it.")
    above = next(folder for folder in out.absolute().parents if os.path.exists(folder))  # noqa: PTH110
    if not above.is_dir():
        raise DataError(f"{out}: a part of this path is a file, {above}; {advice}.")


def put_images(folder: Path, images: Sequence[Named], copy: bool) -> None:
    """Each image once in a folder: a hard link, or a copy where asked or on another file system."""
    for name, item in dict(images).items():
        put_image(item.picture.path, folder / name, copy)


def why_no_text(name: str) -> str:
    """Why a file's name cannot stand in a file of labels, which is UTF-8; "" if it can."""
    if any("\ud800" <= letter <= "\udfff" for letter in name):  # as os.fsdecode has such bytes
        return "has bytes in its name that are no UTF-8, which files of labels are in"
    return ""


def put_image(path: Path, target: Path, copy: bool = False) -> None:
    """One image, as `put_images`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = path.resolve()
    if not copy:
        try:
            target.hardlink_to(source)
            return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
                raise
    shutil.copy2(source, target)


def _licences(splits: Mapping[str, Sequence[Named]]) -> dict[Licence, int]:
    """Number of each licence of the set, in the order of its images."""
    found = dict.fromkeys(item.picture.licence for members in splits.values() for _, item in members)
    return {licence: number for number, licence in enumerate(filter(None, found), start=1)}


def _write_split(
    folder: Path, split: str, members: Sequence[Named], classes: Sequence[str], licences: Mapping[Licence, int]
) -> None:
    """One split. Where an image of the set has a licence every file lists all, so that none stands for others."""
    images: list[Json] = [
        {"id": n, "file_name": name, "width": item.seen.width, "height": item.seen.height}
        for n, (name, item) in enumerate(members, start=1)
    ]
    listed: Json = {"images": images}
    if licences:
        listed["licenses"] = [{"id": n, "name": found.name, "url": found.url} for found, n in licences.items()]
        for image, (_, item) in zip(images, members, strict=True):
            image["license"] = licences[item.picture.licence] if item.picture.licence else None
    if split == "unlabeled":
        write_json(folder / "unlabeled.json", listed)
        return
    ids = {name: number for number, name in enumerate(classes, start=1)}
    records = [
        {**_record(item, k), "image_id": n, "category_id": ids[item.shapes[k].name]}
        for n, (_, item) in enumerate(members, start=1)
        for k in range(len(item.shapes))
    ]
    annotations = [{"id": n, **record} for n, record in enumerate(records, start=1)]
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    content = {**listed, "annotations": annotations, "categories": categories}
    write_json(folder / f"instances_{split}.json", content)


def _record(item: Item, k: int) -> Json:
    shape = item.shapes[k]
    record: Json = {"bbox": list(shape.box), "iscrowd": int(shape.crowd), "area": shape.box[2] * shape.box[3]}
    if mask := segmentation(shape):
        record["segmentation"] = mask
        record["area"] = float(rle_tools.area(to_rle(mask, item.seen.height, item.seen.width)))
    return record


def _origins(splits: Mapping[str, Sequence[Named]]) -> list[Json]:
    return [
        {
            "file": f"images/{name}",
            "split": split,
            "source": str(item.picture.path),
            "sha256": item.seen.sha256,
            "annotation": str(item.picture.annotation) if item.picture.annotation else None,
        }
        for split, members in splits.items()
        if split != "unlabeled_gt"
        for name, item in members
    ]


def counts_of(splits: Mapping[str, Sequence[Named]]) -> dict[str, Json]:
    """Images and objects of each split, and objects of each class."""
    return {
        split: {
            "images": len(members),
            "objects": sum(len(item.shapes) for _, item in members),
            "per_class": dict(sorted(Counter(s.name for _, item in members for s in item.shapes).items())),
        }
        for split, members in splits.items()
        if members
    }
