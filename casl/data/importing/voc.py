"""Pascal VOC: one XML file an image, as VOC itself, LabelImg, CVAT and Roboflow write it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from casl.data.importing.image_sets import listed_splits
from casl.data.importing.source import (
    Folder,
    Picture,
    Points,
    Shape,
    Source,
    box_around,
    numbers,
    without_short,
)
from casl.data.importing.splits import split_of
from casl.errors import DataError

CORNERS = ("xmin", "ymin", "xmax", "ymax")
OTHER_XML = "XML files without a Pascal VOC annotation"
DIFFICULT = "objects marked difficult (crowds now: neither learned nor judged)"


def read_voc(folder: Folder) -> Source:
    """Every XML file whose root is <annotation>. Masks in SegmentationObject/ are not read.

    Corners are edges of boxes, as LabelImg, CVAT and Roboflow write them. In VOC's own files the first pixel is 1 and
    the last belongs to the box, so there 1 goes off xmin and ymin. An object marked difficult becomes a crowd: neither
    VOC's evaluation nor COCO's counts it as found or missed. They differ in which predictions it excuses: VOC's those
    that overlap it by IoU, COCO's those of whose own area enough lies on it. So a small box inside it is wrong by
    VOC's and left out by COCO's.
    """
    said: Counter[str] = Counter()
    pictures = []
    for path in folder.ending(".xml"):
        root = read_xml(path)
        if root.tag == "annotation":
            pictures.append(_picture(path, root, folder, said))
        elif root.tag.endswith("}annotation"):
            space = root.tag.removeprefix("{").partition("}")[0]
            raise DataError(f"{path}: its elements are in the XML namespace {space!r:.80}; take the xmlns out of it.")
        else:
            said[OTHER_XML] += 1
    described = {picture.path: picture.annotation for picture in pictures if picture.annotation}
    lists = listed_splits(folder, described, said)
    for picture in pictures:
        picture.split = lists.get(picture.path, picture.split)
    names = sorted({shape.name for picture in pictures for shape in picture.shapes})
    said[DIFFICULT] += sum(shape.crowd for picture in pictures for shape in picture.shapes)
    return Source("voc", folder.root, folder.with_unlabeled(pictures), names, said)


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file without a document type, and so without entities that could grow without bound.

    Raises:
        DataError: it cannot be read, is no XML, or declares a document type.
    """
    guard = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise DataError(f"{path}: declares a document type, which annotations have no use for; delete the <!DOCTYPE>.")

    guard.StartDoctypeDeclHandler = refuse
    try:
        content = path.read_bytes()
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path}: not XML ({error}). Is the file complete?") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error


def _picture(path: Path, root: ElementTree.Element, folder: Folder, said: Counter[str]) -> Picture:
    one_based = (root.findtext("source/annotation") or "").upper().startswith("PASCAL VOC")
    name = (root.findtext("filename") or "").strip() or path.stem
    if not re.search(r"\.\w+$", name):  # some tools leave the suffix out
        name += Path((root.findtext("path") or "x.jpg").replace("\\", "/")).suffix or ".jpg"
    image = folder.image(name, path)
    nodes = enumerate(root.iterfind("object"), start=1)
    shapes = [_shape(node, f"{path}: object {n}", one_based, said) for n, node in nodes]
    return Picture(image, shapes, path, split_of(path, folder.root) or split_of(image, folder.root), _stated(root))


def _stated(root: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height; several tools write 0 or nothing."""
    texts = [(root.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    if not all(re.fullmatch(r"\d{1,7}(\.0*)?", text) for text in texts):
        return None
    width, height = (int(float(text)) for text in texts)
    return (width, height) if width and height else None


def _shape(node: ElementTree.Element, where: str, one_based: bool, said: Counter[str]) -> Shape:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{where}: has no <name>, which is its class.")
    polygon = _polygon(node.find("polygon"), where)
    outlines = (polygon,) if polygon else ()
    crowd = (node.findtext("difficult") or "").strip().lower() in ("1", "true")
    box = node.find("bndbox")
    if box is None and not polygon:
        raise DataError(f"{where}: has no <bndbox>.")
    if box is None:
        return Shape(name, box_around(polygon), where, outlines, crowd=crowd)
    x1, y1, x2, y2 = numbers((box.findtext(corner) for corner in CORNERS), where)
    if x2 < x1 or y2 < y1:
        raise DataError(f"{where}: its corners are in the wrong order: {CORNERS} = {(x1, y1, x2, y2)}.")
    x1, y1 = x1 - one_based, y1 - one_based
    return without_short(Shape(name, (x1, y1, x2 - x1, y2 - y1), where, outlines, crowd=crowd), said)


def _polygon(node: ElementTree.Element | None, where: str) -> Points:
    """Points of <polygon><x1/><y1/>... as Roboflow writes them, by their names, in whatever order they stand."""
    texts = {} if node is None else {child.tag: child.text for child in node}
    wanted = [f"{axis}{n}" for n in range(1, len(texts) // 2 + 1) for axis in "xy"]
    if node is not None and (len(texts) < len(node) or texts.keys() != set(wanted)):
        raise DataError(f"{where}: its <polygon> is not <x1/><y1/><x2/><y2/> and so on, it has {_named(node)}.")
    return numbers((texts[tag] for tag in wanted), where)


def _named(node: ElementTree.Element) -> str:
    return ", ".join(f"<{child.tag!s:.20}>" for child in node[:8]) + ", ..." * (len(node) > 8)
