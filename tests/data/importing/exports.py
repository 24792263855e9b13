"""One small annotated set, written as each annotation tool exports it. Nothing here uses casl."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

Json = dict[str, Any]
Points = tuple[float, ...]
WIDTH, HEIGHT = 64, 48


@dataclass(frozen=True)
class Thing:
    """An object. box: x, y, width, height in pixels. outline: x, y, x, y, ... or nothing."""

    name: str
    box: tuple[float, float, float, float]
    outline: Points = ()


@dataclass(frozen=True)
class Photo:
    """An image to write; its pixels are drawn from `number`, so that no two look alike."""

    file: str
    number: int
    things: tuple[Thing, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT


def boxes(count: int = 12) -> list[Photo]:
    """Cats and dogs as boxes with whole corners; every fourth image has a cow too, image 5 has nothing."""
    photos = []
    for n in range(count):
        things = [Thing("cat", (2 + n % 40, 3, 10, 12)), Thing("dog", (30, 5 + n % 30, 20, 8))]
        things += [Thing("cow", (1, 20, 25, 9 + n % 3))] if n % 4 == 0 else []
        photos.append(Photo(f"photo-{n:02d}.png", n, tuple(things) if n != 5 else ()))
    return photos


def outlines(count: int = 12) -> list[Photo]:
    """The same as polygons: triangles and pentagons whose boxes are those of `boxes`."""
    return [
        Photo(photo.file, photo.number, tuple(Thing(t.name, t.box, _outline(*t.box)) for t in photo.things))
        for photo in boxes(count)
    ]


def _outline(x: float, y: float, w: float, h: float) -> Points:
    return (x, y + h / 2, x + w / 2, y, x + w, y + h / 4, x + w, y + h, x + w / 4, y + h)


def draw(photo: Photo, folder: Path) -> Path:
    """Write the image file."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(photo.number).integers(0, 255, (12, 16, 3), np.uint8)
    path = folder / photo.file
    Image.fromarray(cells).resize((photo.width, photo.height), Image.Resampling.NEAREST).save(path)
    return path


def names_of(photos: Sequence[Photo]) -> list[str]:
    """All classes, by name."""
    return sorted({thing.name for photo in photos for thing in photo.things})


def voc(photos: Sequence[Photo], root: Path, source: str = "Unknown") -> Path:
    """JPEGImages/ and Annotations/, as LabelImg and CVAT write them."""
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    for photo in photos:
        draw(photo, root / "JPEGImages")
        objects = "".join(
            f"<object><name>{escape(t.name)}</name><pose>Unspecified</pose><difficult>0</difficult><bndbox>"
            f"<xmin>{t.box[0]}</xmin><ymin>{t.box[1]}</ymin>"
            f"<xmax>{t.box[0] + t.box[2]}</xmax><ymax>{t.box[1] + t.box[3]}</ymax></bndbox></object>"
            for t in photo.things
        )
        (root / "Annotations" / photo.file).with_suffix(".xml").write_text(
            f"<annotation><folder>JPEGImages</folder><filename>{escape(photo.file)}</filename>"
            f"<source><database>D</database><annotation>{source}</annotation></source><size><width>{photo.width}</width>"
            f"<height>{photo.height}</height><depth>3</depth></size>{objects}</annotation>"
        )
    return root


def yolo(photos: Sequence[Photo], root: Path, splits: Sequence[str] = ("",)) -> Path:
    """images/, labels/ and data.yaml, as ultralytics wants them; numbers with all digits."""
    names = names_of(photos)
    for n, photo in enumerate(photos):
        split = splits[n % len(splits)]
        draw(photo, root / "images" / split)
        (root / "labels" / split).mkdir(parents=True, exist_ok=True)
        lines = []
        for t in photo.things:
            x, y, w, h = t.box
            numbers: Points = ((x + w / 2) / photo.width, (y + h / 2) / photo.height, w / photo.width, h / photo.height)
            if t.outline:
                numbers = tuple(v / (photo.height if i % 2 else photo.width) for i, v in enumerate(t.outline))
            lines.append(" ".join([str(names.index(t.name)), *(repr(number) for number in numbers)]))
        (root / "labels" / split / photo.file).with_suffix(".txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text(f"names: {json.dumps(names)}\nnc: {len(names)}\n")
    return root


def labelme(photos: Sequence[Photo], root: Path) -> Path:
    """One JSON beside each image."""
    for photo in photos:
        draw(photo, root)
        shapes: list[Json] = [
            {
                "label": t.name,
                "points": [list(t.outline[i : i + 2]) for i in range(0, len(t.outline), 2)]
                or [[t.box[0] + t.box[2], t.box[1] + t.box[3]], [t.box[0], t.box[1]]],  # drawn from below
                "group_id": None,
                "shape_type": "polygon" if t.outline else "rectangle",
                "flags": {},
            }
            for t in photo.things
        ]
        content: Json = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": photo.file, "imageData": None}
        content |= {"imageHeight": photo.height, "imageWidth": photo.width}
        (root / photo.file).with_suffix(".json").write_text(json.dumps(content))
    return root


def via(photos: Sequence[Photo], root: Path) -> Path:
    """via_project.json of VIA 2 beside the images."""
    entries = {}
    for photo in photos:
        size = draw(photo, root).stat().st_size
        entries[f"{photo.file}{size}"] = {
            "filename": photo.file,
            "size": size,
            "regions": [{"shape_attributes": _via(t), "region_attributes": {"class": t.name}} for t in photo.things],
            "file_attributes": {},
        }
    (root / "via_project.json").write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": entries}))
    return root


def _via(thing: Thing) -> Json:
    if thing.outline:
        return {"name": "polygon", "all_points_x": thing.outline[::2], "all_points_y": thing.outline[1::2]}
    return {"name": "rect", **dict(zip(("x", "y", "width", "height"), thing.box, strict=True))}


def coco(photos: Sequence[Photo], name: Callable[[Photo], str], first: int = 1) -> Json:
    """A COCO file. first: the lowest of all ids."""
    names = names_of(photos)
    annotations: list[Json] = []
    for n, photo in enumerate(photos, start=first):
        for t in photo.things:
            area = t.box[2] * t.box[3]
            record = {"id": first + len(annotations), "image_id": n, "category_id": first + names.index(t.name)}
            polygons = [list(t.outline)] if t.outline else []
            annotations.append(record | {"bbox": list(t.box), "area": area, "segmentation": polygons, "iscrowd": 0})
    images = [
        {"id": n, "file_name": name(photo), "width": photo.width, "height": photo.height, "license": 0}
        for n, photo in enumerate(photos, start=first)
    ]
    categories = [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(names, start=first)]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def cvat(photos: Sequence[Photo], root: Path) -> Path:
    """CVAT's "COCO 1.0": images/default/ and annotations/instances_default.json, names relative to images/default."""
    for photo in photos:
        draw(photo, root / "images" / "default")
    write(root / "annotations" / "instances_default.json", coco(photos, lambda photo: photo.file))
    return root


def label_studio(photos: Sequence[Photo], root: Path) -> Path:
    """Label Studio's COCO: result.json with ids from 0, and names as Windows writes them."""
    for photo in photos:
        draw(photo, root / "images")
    write(root / "result.json", coco(photos, lambda photo: f"images\\{photo.file}", first=0))
    return root


def roboflow(photos: Sequence[Photo], root: Path) -> Path:
    """Roboflow's COCO: train/ and valid/ with a file in each; category 0 is the project's name."""
    for split, some in (("train", photos[: len(photos) * 2 // 3]), ("valid", photos[len(photos) * 2 // 3 :])):
        for photo in some:
            draw(photo, root / split)
        data = coco([*some, Photo("-", -1, tuple(t for p in photos for t in p.things))], lambda photo: photo.file)
        gone = data["images"].pop()["id"]  # was there for the classes of both files to be the same
        data["annotations"] = [record for record in data["annotations"] if record["image_id"] != gone]
        for category in data["categories"]:
            category["supercategory"] = "pets"
        data["categories"].insert(0, {"id": 0, "name": "pets", "supercategory": "none"})
        write(root / split / "_annotations.coco.json", data)
    return root


def write(path: Path, content: object) -> None:
    """A JSON file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
