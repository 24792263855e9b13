"""The built-in data set: small synthetic scenes with boxes, masks, entities, panoptic maps and keypoints.

Image i of a split depends on (seed, split, i, size) and nothing else, so a smaller unlabeled split is always the
beginning of a larger one, and two machines with the same Pillow and NumPy write the same bytes.

The layout is the one `casl data check` reads: images/, splits.json and annotations/ with `instances_*`, `entity_*`,
`panoptic_*` and `person_keypoints_*` for each of labeled, unlabeled_gt and val, and `unlabeled.json` without any
annotation; keypoints in a set of THINGS alone. Boxes in every file are COCO's [x, y, width, height] with width = last
column - first + 1, areas are mask areas (also in the entity files, unlike the Entity data sets, whose boxes are one
pixel short and whose areas are box areas). Things or stuff with fewer than 12 visible pixels (at 64 px, more in
proportion for larger images) are left out: things are not painted either, stuff becomes void.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from casl.coco.reading import read_object
from casl.data.importing.write import refuse_if_there
from casl.data.scene_paint import DIFFICULTY, Difficulty, categories_of, paint_scene, plan_scene
from casl.data.scene_records import Json, Records, collect, panoptic_colours
from casl.data.scene_shapes import FIGURE, FLIP_PAIRS, KEYPOINTS, SHAPES, SKELETON, THINGS, ThingClass
from casl.errors import SpecError, unknown
from casl.files import held, inside, remove_left

SPLITS = ("labeled", "unlabeled", "val")
UNLABELED_SCALES = {"tiny": 123, "small": 660, "base": 1740, "large": 3660}  # thousand images, CA-SSL sec. 4.1, table 7
LIST = "splits.json"
_FIRST_ID = 1_000_000  # image ids of a split start here times its position in SPLITS, plus one
LARGEST = 4096  # px, as of images that detectors are shown; one of this side takes ten seconds and gigabytes
_VERSION = "1"


@dataclass(frozen=True)
class _Look:
    """What scenes are like, whatever their number and size. hidden: records say how much of a thing others hide."""

    difficulty: Difficulty = DIFFICULTY
    classes: tuple[ThingClass, ...] = THINGS
    hidden: bool = False


def unlabeled_counts(tiny: int) -> dict[str, int]:
    """Number of images of the nested unlabeled splits, in the paper's ratios.

    Args:
        tiny: images of the smallest split, >= 1.

    Returns:
        scale name -> number of images, increasing, `tiny` first.
    """
    if tiny < 1:
        raise SpecError(f"the tiny unlabeled split needs at least one image, got {tiny}")
    return {name: round(tiny * size / UNLABELED_SCALES["tiny"]) for name, size in UNLABELED_SCALES.items()}


def write_scenes(
    root: Path,
    split: str,
    count: int,
    size: int,
    seed: int,
    difficulty: Difficulty = DIFFICULTY,
    shapes: str = "things",
    hidden: bool = False,
) -> None:
    """Writes one split. Files of the same name are replaced, others are left alone; splits.json keeps other splits.

    Args:
        root: folder of the set, made when missing.
        split: labeled, unlabeled or val.
        count: number of images, from 1 to a million.
        size: side of the square images in pixels, from 32 to LARGEST.
        seed: >= 0.
        difficulty: how hard the scenes are.
        shapes: a key of SHAPES: "things", "others" for what stands for ImageNet, or "lookalikes".
        hidden: annotations of instances also say "full_area", the pixels that an object would have in the image if
            nothing hid it. Nothing else changes.

    Raises:
        SpecError: unknown split or shapes, or impossible number.
    """
    _check({split: count}, size, seed)
    if shapes not in SHAPES:
        raise SpecError(unknown("shapes of scenes", shapes, SHAPES))
    _write(root, split, {split: count}, size, seed, _Look(difficulty, SHAPES[shapes], hidden))


def write_scene_set(
    root: Path, labeled: int, unlabeled: int, val: int, size: int, seed: int, scales: Sequence[str] = ()
) -> None:
    """Writes a whole set: all three splits in one folder.

    Args:
        root: folder of the set, made when missing.
        labeled, unlabeled, val: number of images of each split; `unlabeled` is the tiny scale.
        size, seed: as in `write_scenes`.
        scales: also write `unlabeled_<scale>.json`, and its truth as `instances_unlabeled_<scale>_gt.json` and
            `entity_unlabeled_<scale>_gt.json`, for these scales. `unlabeled.json` always holds the tiny scale.

    Raises:
        SpecError: unknown scale or impossible number.
    """
    for name in scales:
        if name not in UNLABELED_SCALES:
            raise SpecError(unknown("unlabeled scale", name, UNLABELED_SCALES))
    _check({"labeled": labeled, "unlabeled": unlabeled, "val": val}, size, seed)
    counts = unlabeled_counts(unlabeled)
    prefixes = {"unlabeled": unlabeled} | {f"unlabeled_{name}": counts[name] for name in scales}
    for split, wanted in (("labeled", {"labeled": labeled}), ("unlabeled", prefixes), ("val", {"val": val})):
        _write(root, split, wanted, size, seed, _Look())


def new_scene_set(root: Path, labeled: int, unlabeled: int, val: int, size: int, seed: int) -> None:
    """As `write_scene_set`, into a new folder: one that holds something is refused. An interrupted call leaves none of
    its files behind, and what a killed one has left is removed by the next.

    Args:
        root: folder of the set, which is not there yet or empty.

    Raises:
        DataError: it holds something. SpecError: impossible number.
    """
    _check({"labeled": labeled, "unlabeled": unlabeled, "val": val}, size, seed)
    remove_left(root)
    refuse_if_there(root, "name another folder")
    aside, there = inside(root), root.exists()  # inside, since `root` may be where a disk is mounted
    try:
        with held(aside):
            write_scene_set(aside, labeled, unlabeled, val, size, seed)
            for part in ("images", "annotations", LIST):
                (aside / part).rename(root / part)
    except OSError as error:
        error.filename = str(root)  # as typed; a full disk names no file at all
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if not there:
            with suppress(OSError):  # the set is in it
                root.rmdir()


def _check(counts: dict[str, int], size: int, seed: int) -> None:
    for split, count in counts.items():
        if split not in SPLITS:
            raise SpecError(unknown("split", split, SPLITS))
        if count < 1:
            raise SpecError(f"split {split!r} of the scenes needs count >= 1, got {count}")
        if count > _FIRST_ID:
            raise SpecError(f"split {split!r} of the scenes has ids for {_FIRST_ID:,} images at most, got {count:,}")
    if size < 32 or seed < 0:
        raise SpecError(f"scenes need size >= 32 and seed >= 0, got size {size} and seed {seed}")
    if size > LARGEST:
        raise SpecError(f"the side of a scene is {LARGEST} px at most, got size {size:,}: choose a smaller one")


def _write(root: Path, split: str, prefixes: dict[str, int], size: int, seed: int, look: _Look) -> None:
    """Paints the longest prefix once and writes the annotation files of every prefix of it."""
    truth = "unlabeled_gt" if split == "unlabeled" else split
    annotations = root / "annotations"
    for folder in (root / "images", annotations / f"panoptic_{truth}"):
        folder.mkdir(parents=True, exist_ok=True)
    records = [_one_image(root, split, index, size, seed, look) for index in range(max(prefixes.values()))]
    info = {"description": "casl scenes", "version": _VERSION, "seed": seed, "size": size}
    for name, count in prefixes.items():
        _annotate(annotations, name, records[:count], info, categories_of(look.classes))
    _list_files(root, {name: [r.image["file_name"] for r in records[:count]] for name, count in prefixes.items()})


def _one_image(root: Path, split: str, index: int, size: int, seed: int, look: _Look) -> Records:
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    scene = paint_scene(plan_scene(rng, look.difficulty, look.classes), rng, size, look.difficulty)
    name = f"{split}_{index + 1:06d}.png"
    truth = "unlabeled_gt" if split == "unlabeled" else split
    _write_png(root / "images" / name, scene.image)
    _write_png(root / "annotations" / f"panoptic_{truth}" / name, panoptic_colours(scene))
    return collect(scene, _FIRST_ID * SPLITS.index(split) + index + 1, name, look.hidden)


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    # Settings are spelled out, so that a change of Pillow's defaults does not change the bytes.
    Image.fromarray(pixels).save(path, format="PNG", compress_level=3, optimize=False)


def _annotate(folder: Path, name: str, records: Sequence[Records], info: Json, classes: Sequence[Json]) -> None:
    """Writes the files of one split; a further unlabeled scale has no panoptic map and keypoints of its own.

    classes: categories of things and stuff.
    """
    scale = name.startswith("unlabeled_")
    truth = f"{name}_gt" if name.startswith("unlabeled") else name
    head = {"info": info, "images": [record.image for record in records]}
    things = [{key: value for key, value in c.items() if key != "isthing"} for c in classes if c["isthing"]]
    entity = [{"id": 1, "name": "entity", "supercategory": "entity"}]
    if truth != name:
        _write_json(folder / f"{name}.json", head | {"annotations": [], "categories": things})
    files = {"instances": (things, _number(r.instances for r in records))}
    files["entity"] = (entity, _number(r.entities for r in records))
    if not scale and things[FIGURE]["name"] == THINGS[FIGURE].name:
        figure = things[FIGURE] | {"keypoints": KEYPOINTS, "skeleton": SKELETON, "flip_pairs": FLIP_PAIRS}
        files["person_keypoints"] = ([figure], _number(r.keypoints for r in records))
    if not scale:
        files["panoptic"] = (list(classes), [r.panoptic for r in records])
    for kind, (categories, found) in files.items():
        _write_json(folder / f"{kind}_{truth}.json", head | {"annotations": found, "categories": categories})


def _number(groups: Iterable[Iterable[Json]]) -> list[Json]:
    """Annotation ids count from 1 in every file: an id of 0 means "unmatched" to pycocotools."""
    return [record | {"id": number} for number, record in enumerate(itertools.chain.from_iterable(groups), start=1)]


def _write_json(path: Path, content: Json) -> None:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    partial = path.with_suffix(".partial")  # a full disk must not leave half a file behind
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def _list_files(root: Path, lists: dict[str, list[str]]) -> None:
    path = root / LIST
    known = read_object(path) if path.exists() else {}
    _write_json(path, known | lists)
