"""What a folder looks like, from names and the first bytes of files. Standard library only, nothing is decoded."""

from __future__ import annotations

import codecs
import json
import mmap
import os
import re
import shlex
from collections.abc import Iterator, Mapping
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
PEEK = 1 << 16  # bytes from either end of a file, which mostly say what it is
MOST_LISTED = 5000  # files that a hint looks at
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_BESIDE_COCO = re.compile(r"captions|person_keypoints|panoptic|stuff_|entity_")
_LISTING = re.compile(r"image_info|unlabeled|import\.json")
_LABEL = re.compile(rb"\s*\d+(\.0*)?([ \t]+[-+]?[\d.]+([eE][-+]?\d+)?){4}")  # the first line of YOLO's labels
_ANNOTATIONS = {"coco": re.compile(rb'"annotations"\s*:\s*\[')}
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


def is_beside_coco(path: Path) -> bool:
    """Whether a file is named as what stands beside COCO's objects: keypoints, captions, segments."""
    return bool(_BESIDE_COCO.match(path.name))


def is_listing(path: Path) -> bool:
    """Whether a file is named as a list of images, which has no annotations."""
    return bool(_LISTING.match(path.name))


def format_of(path: Path, whole: bool = True, named: bool = True) -> str | None:
    """The format that one file looks like, or None for a file that says nothing. What it is, its reader finds out.

    Args:
        whole: look at all of a JSON file whose ends say nothing, as one with the pixels of its image in front.
        named: pass over JSON files that by their name have no objects of their own.
    """
    suffix = path.suffix.lower()
    if suffix == ".json" and not (named and (is_beside_coco(path) or is_listing(path))):
        return _marked(path, _JSON, whole)
    if suffix == ".xml":
        return "voc" if re.search(rb"<annotation\b", _ends(path)) else None
    if suffix in (".yaml", ".yml"):
        return "yolo" if re.search(rb"(?m)^\s*['\"]?names['\"]?\s*:", _ends(path)) else None
    if path.name.lower() in ("classes.txt", "obj.names", "obj.data"):
        return "yolo"
    if suffix == ".txt":
        return "yolo" if _LABEL.match(_ends(path)) else None
    return None


def formats_in(root: Path, most: int | None = None) -> list[str]:
    """The formats of which a folder has files, by name; "images" alone where it has images and no annotations.

    most: look at the ends of so many files at most, for a hint.
    """
    found, images, others = set(), False, []
    for path in islice(files_under(root), most):
        images = images or is_image(path)
        found.add(format_of(path, whole=most is None))
        if path.suffix.lower() == ".json" and (is_beside_coco(path) or is_listing(path)):
            others.append(path)
    known = sorted(name for name in found if name)
    if not known and any(_marked(path, _ANNOTATIONS, most is None) for path in others):
        known = ["coco"]
    return known or ["images"] * images


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


def _marked(path: Path, marks: Mapping[str, re.Pattern[bytes]], whole: bool) -> str | None:
    """The first mark that the ends of a file have, or else the whole of it."""
    peek = _ends(path)
    found = next((name for name, mark in marks.items() if mark.search(peek)), None)
    if found or not whole or len(peek) < 2 * PEEK:
        return found
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return next((name for name, mark in marks.items() if mark.search(content)), None)


def _ends(path: Path) -> bytes:
    """Both ends of a file without a byte order mark; all of it, in UTF-8, where it is in UTF-16 or UTF-32."""
    try:
        with path.open("rb") as file:
            first = file.read(PEEK)
            encoding = json.detect_encoding(first)
            if not encoding.startswith("utf-8"):
                return (first + file.read()).decode(encoding, "replace").encode()
            file.seek(max(len(first), path.stat().st_size - PEEK))
            return first.removeprefix(codecs.BOM_UTF8) + b"\n" + file.read(PEEK)
    except OSError:
        return b""
