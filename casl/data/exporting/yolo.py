"""YOLO's folder: images/, labels/ and data.yaml; scores lie beside, since a line for training has no place for one.

images/<name>.jpg   labels/<name>.txt: class cx cy w h, shares of the image's sides
data.yaml           scores/<name>.txt: a score a line, in the order of labels/<name>.txt

Trainers look for labels where the last folder images/ is called labels/ instead: of images/images/a.jpg it is
images/labels/a.txt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

import yaml

from casl.data.exporting.writer import Json, Labelled, Writer
from casl.data.importing.write import put_image
from casl.data.importing.yolo import beside

VAL = "# pseudo labels are for training: add `val:` with images that people have labeled\n"


class YoloWriter(Writer):
    """Boxes only; a line with more than five numbers would be read as an outline, so scores have files of their own."""

    scores_in: ClassVar[str] = "scores/, a line for each line of labels/"

    def _begin(self) -> None:
        self.aside.mkdir()
        for folder in ("images", "labels", "scores"):
            (self.aside / folder).mkdir()
        self._position = {number: place for place, number in enumerate(self.classes)}

    def _add(self, image: Labelled, objects: Sequence[Json]) -> None:
        if image.path is not None:
            put_image(image.path, self.aside / "images" / image.name)
        lines = [self._line(entry, image) for entry in objects]
        for folder, texts in (("labels", lines), ("scores", [f"{entry['score']:.6f}" for entry in objects])):
            path = self.aside / beside(PurePosixPath("images", image.name), folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{text}\n" for text in texts))

    def _line(self, entry: Json, image: Labelled) -> str:
        x, y, w, h = entry["bbox"]
        shares = ((x + w / 2) / image.width, (y + h / 2) / image.height, w / image.width, h / image.height)
        return " ".join([str(self._position[entry["category_id"]]), *(f"{share:.6f}" for share in shares)])

    def _finish(self) -> None:
        settings = {"train": "images", "names": dict(enumerate(self.classes.values()))}
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        (self.aside / "data.yaml").write_text(f"{VAL}{text}", "utf-8")
