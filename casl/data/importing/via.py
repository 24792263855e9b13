"""VIA, the VGG Image Annotator, version 1 and 2: one JSON file with the regions of all images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casl.data.importing.outlines import ellipse
from casl.data.importing.source import Folder, Picture, Shape, Source, box_around, numbers, objects_in
from casl.data.importing.splits import split_of
from casl.errors import DataError, unknown

WITHOUT_AREA = ("point", "polyline", "line")
ATTRIBUTES = ("class", "label", "category", "type", "name")  # that usually hold the class, the first of them counts
ONLY_CLASS = "object"  # of regions where no region of the file has an attribute


def read_via(folder: Folder) -> Source:
    """Every project or annotation export of VIA.

    The class is the only attribute that regions have; of several, the one named class, label, category, type or name.
    """
    left_out: Counter[str] = Counter()
    files = objects_in(folder, _is_via, "VIA", left_out)
    pictures = [picture for path, data in files for picture in _pictures(path, data, folder, left_out)]
    names = sorted({shape.name for picture in pictures for shape in picture.shapes})
    return Source("via", folder.root, folder.with_unlabeled(pictures), names, left_out)


def _is_via(data: Mapping[str, Any]) -> bool:
    entries = (entry for entry in data.values() if isinstance(entry, dict))
    return any(key.startswith("_via_") for key in data) or any({"filename", "regions"} & e.keys() for e in entries)


def _pictures(path: Path, data: dict[str, Any], folder: Folder, left_out: Counter[str]) -> list[Picture]:
    entries = data.get("_via_img_metadata", data)
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise DataError(f"{path}: not a VIA export: each entry is an object with 'filename' and 'regions'.")
    regions = {key: _regions(entry, f"{path}: {key}") for key, entry in entries.items()}
    attribute = _attribute(path, [region for many in regions.values() for region in many])
    pictures = []
    for key, entry in entries.items():
        image = folder.image(entry.get("filename"), path)
        shapes = [
            shape
            for n, region in enumerate(regions[key], start=1)
            if (shape := _shape(region, f"{path}: {entry['filename']}: region {n}", attribute, left_out))
        ]
        split = split_of(image, folder.root) or split_of(path, folder.root, by_name=True)
        pictures.append(Picture(image, shapes, path, split))
    return pictures


def _regions(entry: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """The regions of one image: a list, or in version 1 an object by number."""
    found = entry.get("regions") or []
    regions = list(found.values()) if isinstance(found, dict) else found
    if not isinstance(regions, list) or not all(
        isinstance(region, dict)
        and isinstance(region.get("shape_attributes"), dict)
        and isinstance(region.get("region_attributes") or {}, dict)
        for region in regions
    ):
        raise DataError(
            f"{where}: 'regions' is not a list of objects whose 'shape_attributes' and 'region_attributes' are objects."
        )
    return regions


def _attribute(path: Path, regions: list[dict[str, Any]]) -> str | None:
    """The attribute that holds the class; None where no region has any."""
    names = sorted({name for region in regions for name in region.get("region_attributes") or {}})
    if len(names) <= 1:
        return names[0] if names else None
    for name in ATTRIBUTES:
        if name in names:
            return name
    raise DataError(f"{path}: regions have the attributes {', '.join(names)}; name the one that is the class 'class'.")


def _shape(region: dict[str, Any], where: str, attribute: str | None, left_out: Counter[str]) -> Shape | None:
    """One region; None for one without area, which is counted."""
    shape = region["shape_attributes"]
    kind = str(shape.get("name"))
    if kind in WITHOUT_AREA:
        left_out[f"shapes of kind {kind}, which have no area"] += 1
        return None
    name = ONLY_CLASS if attribute is None else _class(region, attribute, where)
    if kind == "rect":
        x, y, width, height = numbers((shape.get(key) for key in ("x", "y", "width", "height")), where)
        if width < 0 or height < 0:
            raise DataError(f"{where}: the box has a negative size.")
        return Shape(name, (x, y, width, height), where)
    if kind == "polygon":
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys) or not xs:
            raise DataError(f"{where}: 'all_points_x' and 'all_points_y' are not lists of one length.")
        points = numbers((side for point in zip(xs, ys, strict=True) for side in point), where)
    elif kind in ("circle", "ellipse"):
        x, y = numbers((shape.get("cx"), shape.get("cy")), where)
        radii = (shape.get("r"), shape.get("r")) if kind == "circle" else (shape.get("rx"), shape.get("ry"))
        (rx, ry), (turn,) = numbers(radii, where), numbers([shape.get("theta", 0)], where)
        points = ellipse(x, y, rx, ry, turn)
    else:
        known = (*WITHOUT_AREA, "rect", "polygon", "circle", "ellipse")
        raise DataError(f"{where}: {unknown('kind of shape', kind, known)}")
    return Shape(name, box_around(points), where, (points,))


def _class(region: dict[str, Any], attribute: str, where: str) -> str:
    value = (region.get("region_attributes") or {}).get(attribute)
    if isinstance(value, dict):  # of a check box: {"cat": true}
        chosen = [name for name, on in value.items() if on]
        value = chosen[0] if len(chosen) == 1 else None
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: its attribute {attribute!r}, the class, is missing or not one name.")
    return value.strip()
