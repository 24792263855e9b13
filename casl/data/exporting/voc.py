"""Pascal VOC's folder: JPEGImages/, Annotations/ and ImageSets/Main/train.txt.

VOC's XML has no element for a score; it stands in <attributes>, where CVAT writes what it knows beyond VOC.
Corners are edges of boxes in pixels, counted from 0, with two decimals, as CVAT writes them too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar
from xml.etree import ElementTree

from casl.data.exporting.writer import Json, Labelled, Writer, text_name
from casl.data.importing.write import put_image

_NOT_IN_XML = re.compile("[\x00-\x1f\ufffe\uffff]")  # a line break too: it would end a line of train.txt


class VocWriter(Writer):
    """Boxes only: VOC keeps masks as pictures, which have no scores."""

    scores_in: ClassVar[str] = "<attributes> of each <object>, named score"

    @classmethod
    def _obstacle(cls, name: str) -> str:
        if _NOT_IN_XML.search(name):
            return "has a control character in its name, which XML has no place for"
        return super()._obstacle(name)

    def _begin(self) -> None:
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (self.aside / folder).mkdir(parents=True)
        self._listed = (self.aside / "ImageSets/Main/train.txt").open("w", encoding="utf-8")

    def _add(self, image: Labelled, objects: Sequence[Json]) -> None:
        if image.path is not None:
            put_image(image.path, self.aside / "JPEGImages" / image.name)
        path = self.aside / "Annotations" / text_name(image.name, ".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        tree = ElementTree.ElementTree(self._annotation(image, objects))
        ElementTree.indent(tree)
        tree.write(path, "utf-8")
        self._listed.write(f"{text_name(image.name, '')}\n")

    def _annotation(self, image: Labelled, objects: Sequence[Json]) -> ElementTree.Element:
        root = ElementTree.Element("annotation")
        _say(root, "folder", "JPEGImages")
        _say(root, "filename", image.name)  # relative to it: images of two folders may have one name
        _say(ElementTree.SubElement(root, "source"), "annotation", str(self.about["description"]))
        size = ElementTree.SubElement(root, "size")
        for name, value in (("width", image.width), ("height", image.height), ("depth", 3)):
            _say(size, name, str(value))
        _say(root, "segmented", "0")
        for entry in objects:
            root.append(self._object(entry))
        return root

    def _object(self, entry: Json) -> ElementTree.Element:
        node = ElementTree.Element("object")
        known = {"name": self.classes[entry["category_id"]], "pose": "Unspecified", "truncated": "0", "difficult": "0"}
        for name, text in known.items():
            _say(node, name, text)
        x, y, w, h = entry["bbox"]
        box = ElementTree.SubElement(node, "bndbox")
        for name, value in (("xmin", x), ("ymin", y), ("xmax", x + w), ("ymax", y + h)):
            _say(box, name, f"{value:.2f}")
        score = ElementTree.SubElement(ElementTree.SubElement(node, "attributes"), "attribute")
        _say(score, "name", "score")
        _say(score, "value", f"{entry['score']:.6f}")
        return node

    def _finish(self) -> None:
        self._listed.close()

    def _discard(self) -> None:
        self._listed.close()
        super()._discard()


def _say(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text
