"""What a folder looks like, from names and the first bytes of files. Standard library only, nothing is decoded."""

from __future__ import annotations

import codecs
import json
import mmap
import os
import re
import shlex
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
# of formats of photographs that Pillow decodes by itself, in its oldest version that casl installs or a newer one
_IMAGES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
        *(".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc", ".avif"),
        *(".qoi", ".pcx", ".sgi", ".dds"),
    )
)
# of other pictures: of cameras, drawings, icons, and formats of single programs, some of which Pillow decodes too
_OTHER_PICTURES = frozenset(
    (
        *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
        *(".exr", ".hdr", ".psd", ".xcf", ".svg", ".svgz", ".eps", ".ps", ".wmf", ".emf", ".ico", ".icns", ".cur"),
        *(".avifs", ".blp", ".dcx", ".fit", ".fits", ".fli", ".flc", ".ftc", ".ftu", ".gbr", ".im", ".iim", ".msp"),
        *(".pcd", ".pfm", ".pxr", ".bw", ".rgb", ".rgba", ".ras", ".icb", ".vda", ".vst", ".xbm", ".xpm", ".palm"),
    )
)
_BESIDE_COCO = re.compile(r"captions|person_keypoints|panoptic|stuff_|entity_")
_LISTING = re.compile(r"image_info|unlabeled|import\.json")
_LABEL = re.compile(rb"\s*\d+(\.0*)?([ \t]+[-+]?[\d.]+([eE][-+]?\d+)?){4}")  # the first line of YOLO's labels
_ANNOTATIONS = {"coco": re.compile(rb'"annotations"\s*:\s*\[')}
_JSON = {  # the first that matches counts
    "via": re.compile(rb'"_via_|"regions"\s*:\s*[\[{]'),
    "labelme": re.compile(rb'"shapes"\s*:\s*\['),
    "coco": re.compile(rb'"(images|annotations|categories)"\s*:\s*\['),
}


@dataclass
class Passed:
    """What a walk passed over.

    Attributes:
        again: links to folders that are read under another name, or that lie above the link.
        odd: what is no file and no folder, or a folder that cannot be read, with what is the matter.
    """

    again: list[Path] = field(default_factory=list)
    odd: dict[Path, str] = field(default_factory=dict)


def files_under(root: Path, passed: Passed | None = None) -> Iterator[Path]:
    """Every file below a folder, in the order of names: of its own folders, then of those that links lead to.

    A folder is read once, whatever links lead to it, and no link is followed to a folder that it lies in: links in
    circles end. Hidden files and folders, and __MACOSX, are passed over. A link to nothing counts as a file.

    passed: told what else is passed over.
    """
    passed = passed or Passed()
    links, seen = deque([root]), set[str]()
    while links:
        top = links.popleft()
        if top != root and _leads_up(top, root):
            passed.again.append(top)
        else:
            yield from _walk(top, links, seen, passed)


def _leads_up(link: Path, root: Path) -> bool:
    target = os.path.realpath(link)
    return any(os.path.commonpath([target, os.path.realpath(here)]) == target for here in (link.parent, root))


def _walk(top: Path, links: deque[Path], seen: set[str], passed: Passed) -> Iterator[Path]:
    """The files of one tree. links: grows by those to folders. seen: real paths of the folders read so far."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        if (real := os.path.realpath(folder)) in seen:
            passed.again.append(folder)
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            passed.odd[folder] = f"cannot be read: {error.strerror}"
            continue
        below = []
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                below += [path] * (entry.name != "__MACOSX")
            elif entry.is_symlink() and os.path.isdir(path):  # noqa: PTH112  of links in a circle Path raises
                links.append(path)
            elif why := _odd(entry):
                passed.odd[path] = why
            else:
                yield path
        waiting += reversed(below)


def _odd(entry: os.DirEntry[str]) -> str:
    """Why an entry is no file that can be read to its end; empty for a file, and for a link to nothing."""
    regular = entry.is_file(follow_symlinks=False)  # costs nothing
    if not regular and entry.is_symlink():
        regular = os.path.isfile(entry.path) or not os.path.exists(entry.path)  # noqa: PTH110, PTH113  as above
    return "" if regular else "is no regular file"


def is_image(path: Path) -> bool:
    """Whether a file is named as an image."""
    return path.suffix.lower() in _IMAGES


def is_other_picture(path: Path) -> bool:
    """Whether a file is named as a picture of a format that is not imported."""
    return path.suffix.lower() in _OTHER_PICTURES


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
