"""What a folder looks like, from names and the first bytes of files. Standard library only, nothing is decoded."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

FORMATS = {
    "coco": "COCO JSON",
    "voc": "Pascal VOC",
    "yolo": "YOLO",
    "labelme": "LabelMe",
    "via": "VIA",
    "images": "a folder of images",
}
PEEK = 1 << 16  # bytes from either end of a JSON file; LabelMe puts the pixels of the image in between
MOST_LISTED = 5000  # files that a hint looks at
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_BESIDE_COCO = re.compile(r"image_info|captions|person_keypoints|panoptic|stuff_|entity_|unlabeled|import\.json")
_JSON = {  # the first that matches counts
    "via": re.compile(rb'"_via_|"regions"\s*:\s*[\[{]'),
    "labelme": re.compile(rb'"shapes"\s*:\s*\['),
    "coco": re.compile(rb'"(images|annotations|categories)"\s*:\s*\['),
}


def files_under(root: Path) -> Iterator[Path]:
    """Every file below a folder, in the order of names; hidden files and folders, and __MACOSX, are passed over."""
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith(".") and name != "__MACOSX")
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))


def is_image(path: Path) -> bool:
    """Whether a file is named as an image."""
    return path.suffix.lower() in _IMAGES


def format_of(path: Path) -> str | None:
    """The format that one file belongs to, or None for a file that says nothing."""
    suffix = path.suffix.lower()
    if suffix == ".json" and not _BESIDE_COCO.match(path.name):
        peek = _ends(path)
        return next((name for name, mark in _JSON.items() if mark.search(peek)), None)
    if suffix == ".xml":
        return "voc" if re.search(rb"<annotation\b", _ends(path)) else None
    if suffix in (".yaml", ".yml"):
        return "yolo" if re.search(rb"(?m)^\s*['\"]?names['\"]?\s*:", _ends(path)) else None
    if path.name in ("classes.txt", "obj.names", "obj.data"):
        return "yolo"
    if suffix == ".txt":
        return "yolo" if re.match(rb"\s*\d+([ \t]+-?[\d.]+(e-?\d+)?){4}", _ends(path)) else None
    return None


def formats_in(root: Path, most: int | None = None, of: Callable[[Path], str | None] = format_of) -> list[str]:
    """The formats of which a folder has files, by name; "images" alone where it has images and no annotations."""
    found, images = set(), False
    for path in islice(files_under(root), most):
        images = images or is_image(path)
        found.add(of(path))
    return sorted(name for name in found if name) or ["images"] * images


def import_advice(root: Path) -> str:
    """The command that makes a data set of a folder that is none, for error messages."""
    found = formats_in(root, MOST_LISTED)
    if not found:
        return "Exports of annotation tools become a set with `casl data import FOLDER --out SET`."
    named = " and ".join(FORMATS[name] for name in found)
    choice = f" --format {found[0]}" if len(found) > 1 else ""
    return (
        f"It looks like {named}: `casl data import {shlex.quote(str(root))} --out SET{choice}` makes a data set of it."
    )


def _ends(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            first = file.read(PEEK)
            file.seek(max(len(first), path.stat().st_size - PEEK))
            return first + b"\n" + file.read(PEEK)
    except OSError:
        return b""
