"""`read_source` reads a damaged source or refuses it with a CaslError; it raises nothing else."""

from __future__ import annotations

import base64
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools

from casl.data.importing.fit import fitted
from casl.data.importing.make import read_source
from casl.data.importing.near import Seen, look
from casl.errors import CaslError
from tests.data.importing import exports
from tests.data.importing.exports import Photo

TIMES = 100  # mutations of each source
ODD: list[Any] = [
    *(None, True, False, 0, -1, 3, 10**30, -(2**63), 2**62, 0.5, -7.25, 1e308, float("inf"), float("nan")),
    *("", " ", "cat", "0", "1e999", "nan", "photo-00.png", "../photo-00.png", "a\0b", "\ud800", "x" * 5000, "/", "."),
    *([], [[]], {}, [1], ["cat"], [["cat"]], [1, 2, 3], {"a": 1}, [{}], [None], {"0": {}}),
]
WORDS = [
    *("0", "-1", "1e400", "nan", "0.5", "x", "", " ", "0x1", "1_0", "²", "0 0 0 0 0", "-0.0", "1.0000001"),
    "10" * 300,
]
TAGS = ["x1", "y1", "xmin", "name", "bndbox", "polygon", "object", "filename", "size", "width", "annotation"]
Mutate = Callable[[Path, random.Random], None]


def json_value(path: Path, chance: random.Random) -> None:
    """One value becomes another, goes, or stands twice."""
    data = json.loads(path.read_text())
    holder, key = chance.choice(_places(data))
    action = chance.randrange(4)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[key] = chance.choice(ODD)
    path.write_text(json.dumps(data))


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def xml_node(path: Path, chance: random.Random) -> None:
    """One element gets another text or name, goes, or stands twice."""
    tree = ElementTree.parse(path)
    parent, node = chance.choice([(parent, node) for parent in tree.iter() for node in parent])
    action = chance.randrange(4)
    if action == 0:
        parent.remove(node)
    elif action == 1:
        parent.append(node)
    elif action == 2:
        node.tag = chance.choice(TAGS)
    else:
        node.text = chance.choice(WORDS)
    tree.write(path)


def text_word(path: Path, chance: random.Random) -> None:
    """One word of a text becomes another, goes, or stands twice."""
    words = path.read_text().split(" ")
    place = chance.randrange(len(words))
    words[place : place + 1] = chance.choice([[], [words[place]] * 2, [chance.choice(WORDS)], [chance.choice(WORDS)]])
    path.write_text(" ".join(words))


def cut_off(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def other_byte(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)


def voc(photos: Sequence[Photo], root: Path) -> Path:
    source = exports.voc(photos, root)
    for path in (source / "Annotations").iterdir():
        outline = "<polygon><x1>2</x1><y1>3</y1><x2>12</x2><y2>3</y2><x3>12</x3><y3>15</y3></polygon>"
        path.write_text(path.read_text().replace("<bndbox>", f"{outline}<bndbox>", 1))
    (source / "ImageSets" / "Main").mkdir(parents=True)
    (source / "ImageSets" / "Main" / "train.txt").write_text("photo-00 \nphoto-01 1\n")
    return source


def yolo(photos: Sequence[Photo], root: Path) -> Path:
    source = exports.yolo(photos, root)
    (source / "data.yaml").write_text(
        "names: { 0: cat , 1: cow , 2: dog }\npath: .\ntrain: train.txt\nval: [ val.txt ]\n"
    )
    (source / "train.txt").write_text("images/photo-00.png\nimages/photo-01.png \n")
    (source / "val.txt").write_text("images/photo-02.png \n")
    return source


def yolo_lists(photos: Sequence[Photo], root: Path) -> Path:
    source = yolo(photos, root)
    (source / "data.yaml").unlink()
    (source / "classes.txt").write_text("cat \ncow \ndog")
    return source


def cvat(photos: Sequence[Photo], root: Path) -> Path:
    source = exports.cvat(photos, root)
    path = source / "annotations" / "instances_default.json"
    data = json.loads(path.read_text())
    runs = {"size": [48, 64], "counts": [100, 20, 48 * 64 - 120]}
    data["annotations"][0]["segmentation"] = runs
    packed = rle_tools.encode(np.eye(48, 64, dtype=np.uint8, order="F"))
    data["annotations"][1]["segmentation"] = {"size": [48, 64], "counts": packed["counts"].decode()}
    data["licenses"] = [{"id": 0, "name": "CC BY 4.0", "url": ""}]
    path.write_text(json.dumps(data))
    return source


def labelme(photos: Sequence[Photo], root: Path) -> Path:
    source = exports.labelme(photos, root)
    path = source / "photo-00.json"
    data = json.loads(path.read_text())
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(stream, "PNG")
    mask = base64.b64encode(stream.getvalue()).decode()
    data["shapes"] += [
        {"label": "cat", "shape_type": "mask", "points": [[1, 1], [5, 5]], "mask": mask},
        {"label": "cat", "shape_type": "circle", "points": [[20, 20], [25, 25]], "group_id": 1},
    ]
    path.write_text(json.dumps(data))
    return source


def via(photos: Sequence[Photo], root: Path) -> Path:
    source = exports.via(photos, root)
    path = source / "via_project.json"
    data = json.loads(path.read_text())
    region = next(iter(data["_via_img_metadata"].values()))["regions"][0]
    region["shape_attributes"] = {"name": "ellipse", "cx": 20, "cy": 20, "rx": 5, "ry": 4, "theta": 0.5}
    path.write_text(json.dumps(data))
    return source


JSON_KINDS: list[Mutate] = [json_value, json_value, json_value, cut_off, other_byte]


@pytest.mark.parametrize(
    ("export", "form", "suffixes", "mutations"),
    [
        (voc, "voc", (".xml",), [xml_node, xml_node, xml_node, cut_off, other_byte]),
        (voc, "voc", (".xml", "train.txt"), [text_word, other_byte, cut_off]),
        (yolo, "yolo", (".txt", ".yaml"), [text_word, text_word, text_word, cut_off, other_byte]),
        (yolo_lists, "yolo", (".txt",), [text_word, text_word, text_word, cut_off, other_byte]),
        (labelme, "labelme", (".json",), JSON_KINDS),
        (cvat, "coco", (".json",), JSON_KINDS),
        (via, "via", (".json",), JSON_KINDS),
    ],
)
def test_a_damaged_source_is_read_or_refused_with_a_sentence(
    export: Callable[[Sequence[Photo], Path], Path],
    form: str,
    suffixes: tuple[str, ...],
    mutations: list[Mutate],
    tmp_path: Path,
) -> None:
    source = export(exports.boxes(3) if export is yolo else exports.outlines(3), tmp_path / "src")
    texts = sorted(path for path in source.rglob("*") if path.name.endswith(suffixes))
    good = {path: path.read_bytes() for path in texts}
    seen = {path: look(path) for path in source.rglob("*.png")}
    read(source, form, seen)
    ends: Counter[bool] = Counter()
    for seed in range(TIMES):
        chance = random.Random(f"{form} {suffixes} {seed}")
        path = chance.choice(texts)
        chance.choice(mutations)(path, chance)
        try:
            read(source, form, seen)
            ends[True] += 1
        except CaslError as error:
            assert str(error).strip()
            ends[False] += 1
        path.write_bytes(good[path])
    assert min(ends[True], ends[False]) > TIMES / 20, ends  # else nothing was tried


def read(source: Path, form: str, seen: dict[Path, Seen]) -> None:
    """All of an import that looks at what a source says. seen: what its images hold, which do not change."""
    for picture in read_source(source, form).pictures:
        fitted(picture, seen[picture.path], Counter())
