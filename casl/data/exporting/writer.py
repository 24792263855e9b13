"""What every writer of labels does: images come one by one, and the result appears when it is whole."""

from __future__ import annotations

import os.path
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, ClassVar

from pycocotools import mask as rle_tools

from casl.data.importing.write import why_no_text
from casl.errors import DataError
from casl.files import disk_errors, sync_folder

Json = dict[str, Any]
RENAME = "  rename it."
OTHERWISE = "  rename it, or write --format coco."


@dataclass(frozen=True)
class Labelled:
    """An image that gets labels.

    Attributes:
        name: what files call it, relative to the folder of all images, with slashes.
        width, height: pixels, upright as the EXIF orientation says.
        path: its file; None where no image is to lie beside the labels.
    """

    name: str
    width: int
    height: int
    path: Path | None = None


class Writer(ABC):
    """Writes labels into a file or folder, which is there only when a `with` block ends without an error.

    A folder that is there, and empty, stays the one that it is, since a shell or a mount may be in it.

    Args:
        out: the file or folder.
        classes: names by category id, in the order of the classes.
        about: where the labels are from, as JSON values, for formats that have a place for it.
    """

    is_folder: ClassVar[bool] = True
    scores_in: ClassVar[str] = ""  # for people
    without_masks: ClassVar[bool] = True

    def __init__(self, out: Path, classes: Mapping[int, str], about: Json) -> None:
        self.out, self.classes, self.about = out, dict(classes), about
        self._place, mark = out.resolve(), f"{uuid.uuid4().hex[:8]}.tmp"  # resolved, since . has no name
        self._fills = os.path.isdir(self._place)  # noqa: PTH112  Path raises of long names
        self.aside = self._place / f".{mark}" if self._fills else self._place.with_name(f".{self._place.name}.{mark}")

    def __enter__(self) -> Writer:
        with disk_errors("write", self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                with disk_errors("write", self.out):
                    self._finish()
                    self._show()
        finally:
            self._discard()

    def _show(self) -> None:
        """Put what lies aside into its place."""
        if self._fills:
            for path in sorted(self.aside.iterdir()):
                path.rename(self._place / path.name)
        else:
            self.aside.replace(self._place)
        sync_folder(self.aside.parent)

    def add(self, image: Labelled, objects: Sequence[Json]) -> None:
        """One image with its objects, none is legal.

        Args:
            image: another one than all before.
            objects: COCO records with "category_id", "bbox" [x, y, width, height] in pixels, "score", and
                "segmentation" as RLE where there is a mask.

        Raises:
            StoreError: it cannot be written.
        """
        with disk_errors("write", self.out):
            self._add(image, objects)

    @classmethod
    def check(cls, names: Sequence[str], classes: Iterable[str]) -> None:
        """Refuse names that the format cannot hold, or that its readers would take for others.

        Args:
            names: of all images, as Labelled has them.
            classes: names of all classes.

        Raises:
            DataError: names the first such image or class, or two images that would have one file of labels.
        """
        for what, known in (("image", names), ("class", classes)):
            for name in known:
                if why := cls._obstacle(name):
                    raise DataError(f"the {what} {name!a} {why}.\n{OTHERWISE if cls.is_folder else RENAME}")
        if cls.is_folder:
            _check_stems(names)

    @classmethod
    def _obstacle(cls, name: str) -> str:
        """Why a name of an image or a class cannot be written, "" if it can."""
        if why := why_no_text(name):
            return why
        if cls.is_folder and name != name.strip():
            return "begins or ends with a blank, which readers of the format cut off"
        return "" if name or not cls.is_folder else "has no letter, and readers of the format want one"

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _add(self, image: Labelled, objects: Sequence[Json]) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...

    def _discard(self) -> None:
        """Remove what lies aside, if it still does."""
        shutil.rmtree(self.aside, ignore_errors=True)


def useful(objects: Sequence[Json]) -> list[Json]:
    """Those whose box has an area and whose mask, if any, has a pixel; nothing can be learned from the others."""
    return [o for o in objects if min(o["bbox"][2:]) > 0 and ("segmentation" not in o or area(o) > 0)]


def area(record: Json) -> float:
    """Pixels of a record's mask, or of its box where it has none."""
    if "segmentation" in record:
        return float(rle_tools.area(record["segmentation"]))
    return float(record["bbox"][2] * record["bbox"][3])


def text_name(name: str, suffix: str) -> PurePosixPath:
    """The file beside an image that YOLO and VOC look for: a/b.jpg -> a/b.txt."""
    return PurePosixPath(name).with_suffix(suffix)


def _check_stems(names: Sequence[str]) -> None:
    """Refuse images that differ in their suffix only: they would have one file of labels."""
    seen: dict[PurePosixPath, str] = {}
    for name in names:
        if (other := seen.setdefault(text_name(name, ""), name)) != name:
            raise DataError(
                f"{other} and {name} would have one file of labels, named without their suffix.\n{OTHERWISE}"
            )
