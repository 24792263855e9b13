"""One COCO file of instances; every annotation has its "score", as files of results have it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

from casl.data.exporting.writer import Json, Labelled, Writer, area
from casl.files import begins_with

BEGINNING = b'{"info": {"description": "pseudo labels of '


class CocoWriter(Writer):
    """Annotations are written as they come, so that memory holds the list of images only. Masks are compressed RLE."""

    is_folder: ClassVar[bool] = False
    scores_in: ClassVar[str] = '"score" of each annotation'
    without_masks: ClassVar[bool] = False

    _file: TextIO

    def _begin(self) -> None:
        self._images: list[Json] = []
        self._count = 0
        self._file = self.aside.open("w", encoding="utf-8")
        self._file.write(f'{{"info": {_text(self.about)},\n"annotations": [')

    def _add(self, image: Labelled, objects: Sequence[Json]) -> None:
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": image.name, "width": image.width, "height": image.height})
        for entry in objects:
            self._count += 1
            record = {"id": self._count, **entry, "image_id": number, "area": area(entry), "iscrowd": 0}
            self._file.write(f"{',' * (self._count > 1)}\n{_text(record)}")

    def _finish(self) -> None:
        images = ",\n".join(map(_text, self._images))
        categories = ",\n".join(_text({"id": number, "name": name}) for number, name in self.classes.items())
        self._file.write(f'\n],\n"images": [\n{images}\n],\n"categories": [\n{categories}\n]}}\n')
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _discard(self) -> None:
        self._file.close()
        self.aside.unlink(missing_ok=True)


def is_of_labels(path: Path) -> bool:
    """Whether a file begins as those of pseudo labels that a CocoWriter writes, and so may be replaced by others."""
    return begins_with(path, BEGINNING)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
