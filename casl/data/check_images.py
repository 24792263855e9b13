"""Checks of image files: whether they are there, readable and of their size, their bit range, and files in no list."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from casl.coco.records import Say
from casl.data.image import Header, dim_values, image_header, read_with_range
from casl.data.image_info import ImageInfo
from casl.data.importing.no_image import explained
from casl.data.near_names import NearNames, strange
from casl.errors import DataError

SHOWN = 3
LEAST_SIDE = 8  # pixels, the finest stride of a detector: less is no whole cell of any map


@dataclass(frozen=True)
class ImageFile:
    """An image file as found on disk. content: sha256, or the path where the content is not read. highest: largest
    value of a 16-bit file, None of all others."""

    header: Header
    content: str
    highest: int | None = None


@dataclass
class _Absent:
    """The images of one list that have no file."""

    listed: int
    images: list[ImageInfo] = field(default_factory=list)


class ImageFiles:
    """Reads every image of a set once, since splits may share them.

    Args:
        decode: read every pixel; False reads headers only.
        error, warn: called for every problem.
    """

    def __init__(self, decode: bool, error: Say, warn: Say) -> None:
        self.decode = decode
        self.error, self.warn = error, warn
        self.found: dict[Path, ImageFile | None] = {}
        self._absent: dict[tuple[str, Path], _Absent] = {}

    def read(self, folder: Path, table: str, info: ImageInfo, listed: int) -> None:
        """Check an image of an annotation file.

        Args:
            folder: that its name is relative to.
            table: the annotation file, for messages.
            info: what the annotation file says of it.
            listed: images in that file.
        """
        path = folder / info.file_name
        if not os.path.isfile(path):  # noqa: PTH113  of a name too long it says no, Path.is_file raises
            self._absent.setdefault((table, folder), _Absent(listed)).images.append(info)
            return
        if path not in self.found:
            self.found[path] = self._read(path, f"{table}: image {info.id}")
        file = self.found[path]
        if file is None:
            return
        width, height = file.header.width, file.header.height
        if (width, height) != (info.width, info.height):
            self.error(
                f"{table}: image {info.id} ({path.name}) is said to be {info.width}x{info.height} but the file is "
                f"{width}x{height} (EXIF rotation applied); correct the JSON, or rotate boxes and masks too"
            )

    def say_absent(self) -> None:
        """One line for each annotation file that names images which are not there."""
        near: dict[Path, NearNames] = {}
        for (table, folder), absent in self._absent.items():
            first, count = absent.images[0], len(absent.images)
            some = f"all {count}" if count == absent.listed else f"{count} of {absent.listed}"
            who = f"image {first.id}" if count == 1 else f"{some} images are missing (the first: image {first.id})"
            path, restore = folder / first.file_name, "Restore the files or remove their entries from the annotations."
            if what := strange(path):
                self.error(f"{table}: {who}: {path} {what}. {restore}")
                continue
            hint = near.setdefault(folder, NearNames(folder)).hint(first.file_name)
            self.error(f"{table}: {who}: {path}: no such image; {hint or restore}")

    def ranges(self, split: str, paths: Iterable[Path]) -> dict[str, int]:
        """Say if the 16-bit images of a split are too dark for 8 bit; what is known of them, empty without any."""
        files = [self.found.get(path) for path in paths]
        deep = [file.highest for file in files if file is not None and file.highest is not None]
        if not deep:
            return {}
        if dim := dim_values(deep, f" of '{split}'"):
            self.warn(dim)
        return {"images": len(deep), "highest_value": max(deep)}

    def odd(self, split: str, paths: Sequence[Path]) -> None:
        """Say which images of a split are read otherwise than one may think, or are too small to hold an object."""
        headers = {path: file.header for path in paths if (file := self.found.get(path)) is not None}
        grey = [path for path, header in headers.items() if header.grey]
        several = [path for path, header in headers.items() if header.several]
        tiny = [path for path, header in headers.items() if min(header.width, header.height) < LEAST_SIDE]
        for found, said in (
            (grey if len(grey) < len(headers) else [], "have one channel and are read as grey among coloured ones"),
            (several, "hold several pictures (animations, pages), of which the first is used"),
            (tiny, f"have a side of less than {LEAST_SIDE} px, in which nothing can be found; take them out"),
        ):
            if found:
                first = f"the first: {found[0].name}, {headers[found[0]].width}x{headers[found[0]].height}"
                self.warn(f"{len(found)} of {len(headers)} images of '{split}' ({first}) {said}")

    def say_unlisted(self, folders: Iterable[Path], listed: Iterable[Path]) -> None:
        """Warn of image files in the folders of a set that no annotation file lists."""
        known = {os.path.normpath(path) for path in listed}
        suffixes = tuple(Image.registered_extensions())
        for folder in sorted(set(folders)):
            shown, count = [], 0
            for place, _, names in os.walk(folder):
                for name in sorted(names):
                    path = os.path.join(place, name)  # noqa: PTH118  a million of them
                    if name.startswith(".") or not name.lower().endswith(suffixes) or os.path.normpath(path) in known:
                        continue
                    count += 1
                    shown += [name] if count <= SHOWN else []
            if count:
                names_shown = ", ".join(shown) + ", ..." * (count > SHOWN)
                self.warn(f"{folder.name}/: {count} image files are in no list and are not used: {names_shown}")

    def _read(self, path: Path, where: str) -> ImageFile | None:
        try:
            header = image_header(path)
            if not self.decode:
                return ImageFile(header, str(path))
            pixels, highest = read_with_range(path)
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            header = replace(header, width=pixels.shape[1], height=pixels.shape[0])  # some are turned behind the header
            return ImageFile(header, content, highest)
        except DataError as problem:
            self.error(f"{where}: {explained(path, problem)}")
            return None
