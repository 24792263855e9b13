"""What `casl predict` leaves in a folder: pictures, COCO results, and what their ids mean.

<image>.png       one a picture
results.json      COCO results of all images
images.json       images and categories, as in a COCO annotation file
panoptic.json     with the folder panoptic/, COCO's panoptic format; of detectors that know stuff
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casl.data.image import dim_values
from casl.errors import DataError
from casl.files import write_json
from casl.stages.predict import Detector
from casl.stages.sources import IMAGES


def write(detector: Detector, images: Sequence[Path], out: Path, threshold: float) -> tuple[dict[str, Any], list[str]]:
    """Find, draw and write.

    Returns:
        What was found in each image, as JSON values, with a warning where 8 bit leave little of 16-bit images; and a
        sentence for each image that could not be read.
    """
    said: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    segments: list[dict[str, Any]] = []
    infos: list[dict[str, Any]] = []
    bad: list[str] = []
    names, out_names = detector.names, _free_names(images)
    categories = dict(zip(names.category_ids, names.classes, strict=True))
    for number, path in enumerate(images, start=1):
        try:
            ((info, found),) = detector.find([path], threshold)
        except DataError as error:
            bad.append(f"{path} is left out: it cannot be read as an image ({error.__cause__ or error}).")
            continue
        picture = out / out_names[number - 1]
        picture.parent.mkdir(parents=True, exist_ok=True)
        detector.picture(IMAGES.read(path), found).save(picture)
        objects = [r | {"image_id": number} for r in detector.results(info, found)]
        results += objects
        infos.append({"id": number, "file_name": str(path), "width": info.width, "height": info.height})
        if merged := detector.panoptic(found):
            segments.append(_panoptic(number, merged, out / "panoptic" / picture.name))
        named = [o | {"category": categories[o["category_id"]]} for o in objects]
        said.append({"file": str(path), "picture": str(picture), "objects": named})
    _write_records(out, results, infos, categories, segments, detector)
    dim = dim_values([IMAGES.deep[path] for path in images if path in IMAGES.deep])
    unlike = detector.unlike([(i["height"], i["width"]) for i in infos])
    warned = [sentence for sentence in (dim, unlike) if sentence]
    about = {"model": detector.stage.name, "threshold": threshold, "out": str(out), "warnings": warned}
    return {**about, "images": said}, bad


def _free_names(images: Sequence[Path]) -> list[str]:
    """A picture's name is its image's; where two images have one, the later gets a number."""
    names: dict[str, None] = {}
    for path in images:
        name, number = f"{path.stem}.png", 1
        while name in names:
            number += 1
            name = f"{path.stem}_{number}.png"
        names[name] = None
    return list(names)


def _panoptic(number: int, merged: tuple[Any, list[dict[str, Any]]], path: Path) -> dict[str, Any]:
    """Save COCO's panoptic image: id = R + 256 G + 65536 B."""
    ids, info = merged
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)).save(path)
    return {"image_id": number, "file_name": path.name, "segments_info": info}


def _write_records(
    out: Path,
    results: list[dict[str, Any]],
    infos: list[dict[str, Any]],
    categories: Mapping[int, str],
    segments: list[dict[str, Any]],
    detector: Detector,
) -> None:
    listed = [{"id": i, "name": n} for i, n in categories.items()]
    write_json(out / "results.json", results)
    write_json(out / "images.json", {"images": infos, "categories": listed})
    if segments:
        names = detector.names
        stuff = [{"id": i, "name": n, "isthing": 0} for i, n in zip(names.stuff_ids, names.stuff, strict=True)]
        both = [c | {"isthing": 1} for c in listed] + stuff
        write_json(out / "panoptic.json", {"images": infos, "annotations": segments, "categories": both})
