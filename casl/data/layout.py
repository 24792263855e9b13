"""Where the files of a data set lie. Standard library only: plans are made without opening an image.

Two layouts are understood. The native one keeps all images in one folder and names its splits freely::

    images/   annotations/{instances,entity,panoptic,person_keypoints}_<split>.json   annotations/panoptic_<split>/
              annotations/unlabeled.json, annotations/unlabeled_<size>.json    (image lists, no labels;
              .arrow instead of .json where the list is a manifest, see casl.data.manifest)
    images_<split>/ instead of images/ where a split has a folder of its own

The other is COCO 2017 as downloaded::

    train2017/ val2017/ unlabeled2017/   annotations/{instances,panoptic,person_keypoints}_{train,val}2017.json
    annotations/image_info_unlabeled2017.json   panoptic_{train,val}2017/ here or in annotations/
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from casl.data.importing.looks import import_advice
from casl.errors import DataError, SpecError, unknown

KINDS = ("objects", "entities", "images", "keypoints", "panoptic")
COCO_FOLDERS = {"labeled": "train2017", "unlabeled": "unlabeled2017", "val": "val2017"}
MANIFEST = ".arrow"  # suffix of an image list in columns
PREFIXES = {"instances": "instances_", "entity": "entity_", "panoptic": "panoptic_", "keypoints": "person_keypoints_"}
MOST_SAID = 4
_CALLED = re.compile(
    rf"(?P<prefix>{'|'.join(PREFIXES.values())}|unlabeled|image_info_)(?P<split>[^.]*)\.json(?P<packed>\.(gz|bz2|xz|zip))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split; None for what the set does not have. Nothing here says that the files are sound.

    Attributes:
        name: "labeled", "unlabeled", "val", "unlabeled_gt" (true labels of the unlabeled images), "unlabeled_tiny" ...
        images: folder that the file names of the annotations are relative to.
        instances: COCO objects: boxes, masks where the set has them.
        entity: things and stuff as one class, in COCO instance format.
        panoptic: COCO panoptic JSON; its PNGs are in `panoptic_pngs`.
        keypoints: COCO person keypoints.
        listing: the images of an unlabeled split; any annotations in it are not read.
        crowds_are_objects: annotations marked iscrowd in the instance, entity and keypoint files are read as single
            objects. Some tools, CVAT among them, mark every mask that was drawn with a brush.
    """

    name: str
    images: Path
    instances: Path | None = None
    entity: Path | None = None
    panoptic: Path | None = None
    panoptic_pngs: Path | None = None
    keypoints: Path | None = None
    listing: Path | None = None
    crowds_are_objects: bool = False

    def derives(self, kind: str) -> bool:
        """Whether annotations of a kind that `source` has are taken from panoptic PNGs by EntitySeg's convention, so
        that boxes span the first to the last pixel index (`entities_from_panoptic`)."""
        return kind == "entities" and self.entity is None

    def source(self, kind: str) -> Path:
        """The annotation file that `kind` is read from: "objects", "entities", "images", "keypoints" or "panoptic".

        Entities come from the entity file, or else from the panoptic one; the images from whichever file lists them.
        For "panoptic" it is the panoptic file; its things come from `instances` where the split has it.

        Raises:
            SpecError: no such kind.
            DataError: the split has no such annotations.
        """
        if kind not in KINDS:
            raise SpecError(unknown("annotation kind", kind, KINDS))
        panoptic = self.panoptic if self.panoptic_pngs else None
        choices = {
            "objects": [self.instances],
            "entities": [self.entity, panoptic],
            "images": [self.listing, self.instances, self.entity, self.panoptic, self.keypoints],
            "keypoints": [self.keypoints],
            "panoptic": [panoptic],
        }
        found = next((path for path in choices[kind] if path is not None), None)
        if found is None:
            root = self.images.parent
            raise DataError(f"split '{self.name}' of {root} has no {kind}.\n  {_advice(self, kind)}{unread(root)}")
        return found


def find_splits(root: Path, crowds_are_objects: bool = False) -> dict[str, SplitFiles]:
    """Every split of the data set in `root`, by name, in alphabetical order.

    Args:
        root: folder in the native or the COCO 2017 layout (see the top of this file).
        crowds_are_objects: as in SplitFiles, for every split.

    Returns:
        At least one split. A folder with only one split is legal, so is a split with only one kind of annotations.

    Raises:
        DataError: the folder does not exist, is in neither layout, or mixes both.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. A data set is a folder with annotations/ and images in it.")
    coco, native = _coco_splits(root), _native_splits(root)
    if coco and native:
        raise DataError(
            f"{root}: annotations/ holds both COCO 2017 names ({', '.join(coco)}) and native ones "
            f"({', '.join(native)}), and only one of the two can be meant. Move one of them to another folder."
        )
    if not coco and not native:
        raise DataError(_not_a_set(root))
    found = coco or native
    return {name: replace(files, crowds_are_objects=crowds_are_objects) for name, files in found.items()}


def unread(root: Path) -> str:
    """A line about what stands in annotations/ and is not read, since it is packed, no file or called in other letters;
    empty where there is nothing of that kind."""
    folder = root / "annotations"
    if not folder.is_dir():
        alike = [p.name for p in _entries(root) if p.name.casefold() == folder.name and p.is_dir() and _has_json(p)]
        return "".join(
            f"\n  {name}/ is not read: upper and lower case count; rename it to annotations" for name in alike
        )
    found = [f"{path.name} {why}" for path in _entries(folder) if (why := _why_unread(path))]
    more = f", and {len(found) - MOST_SAID} more" * (len(found) > MOST_SAID)
    return f"\n  not read of annotations/: {', '.join(found[:MOST_SAID])}{more}" if found else ""


def _has_json(folder: Path) -> bool:
    """Whether it has annotations as casl reads them; those of Pascal VOC are XML."""
    return any(".json" in path.name.casefold() for path in _entries(folder))


def _why_unread(path: Path) -> str:
    """Why an entry of annotations/ is not read that is called as those that are; empty for all others."""
    found = _CALLED.fullmatch(path.name)
    if found is None:
        return ""
    if found["packed"]:
        return "is packed: unpack it"
    meant = f"{found['prefix'].lower()}{found['split']}.json"
    if path.name != meant:
        return f"is called in other letters: rename it to {meant}"
    if not path.is_file():
        return "is a folder, not a file" if path.is_dir() else "is no file"
    return ""


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _coco_splits(root: Path) -> dict[str, SplitFiles]:
    splits = {}
    for name, folder in sorted(COCO_FOLDERS.items()):
        files = _annotations(root, folder)
        listing = root / "annotations" / f"image_info_{folder}.json"
        if name == "unlabeled" and listing.is_file():
            files["listing"] = listing
        if files:
            splits[name] = SplitFiles(name, root / folder, **files)
    return splits


def _native_splits(root: Path) -> dict[str, SplitFiles]:
    folder = root / "annotations"
    names = {
        path.stem.removeprefix(prefix)
        for prefix in PREFIXES.values()
        for path in folder.glob(f"{prefix}*.json")
        if path.stem.removeprefix(prefix) not in COCO_FOLDERS.values()
    }
    lists = _lists(folder)
    splits = {}
    for name in sorted(names | set(lists)):
        files = _annotations(root, name)
        if name in lists:
            files["listing"] = lists[name]
        own = root / f"images_{name}"
        splits[name] = SplitFiles(name, own if own.is_dir() else root / "images", **files)
    return splits


def _lists(folder: Path) -> dict[str, Path]:
    """The image list of every unlabeled split."""
    found: dict[str, Path] = {}
    for path in sorted(path for suffix in (".json", MANIFEST) for path in folder.glob(f"unlabeled*{suffix}")):
        if path.stem.endswith("_gt"):
            continue
        if (other := found.setdefault(path.stem, path)) != path:
            raise DataError(
                f"{folder}: both {other.name} and {path.name} list the images of '{path.stem}', and only one of the "
                "two can be meant. Remove one of them."
            )
    return found


def _annotations(root: Path, suffix: str) -> dict[str, Any]:
    folder = root / "annotations"
    files = {field: folder / f"{prefix}{suffix}.json" for field, prefix in PREFIXES.items()}
    found = {field: path for field, path in files.items() if path.is_file()}
    pngs = [path for path in (folder / f"panoptic_{suffix}", root / f"panoptic_{suffix}") if path.is_dir()]
    if "panoptic" in found and pngs:
        found["panoptic_pngs"] = pngs[0]
    return found


def _advice(files: SplitFiles, kind: str) -> str:
    found = "panoptic JSON without its folder of PNGs" if files.panoptic else "neither"
    if kind == "panoptic":
        return f"Wanted panoptic_{files.name}.json and the folder panoptic_{files.name}/ of its PNGs; found {found}."
    if kind == "keypoints":
        return f"Wanted person_keypoints_{files.name}.json (COCO keypoints, of persons or anything else)."
    if kind == "entities":
        return (
            f"Wanted entity_{files.name}.json, or panoptic_{files.name}.json with the folder panoptic_{files.name}/; "
            f"found {found}. Add one of them, or use a labeler trained on objects."
        )
    if kind == "objects" and files.listing:
        return f"It is an unlabeled split: read its images, or the split '{files.name}_gt' where the truth is known."
    return f"Wanted instances_{files.name}.json (COCO instances)."


def _not_a_set(root: Path) -> str:
    return (
        f"{root}: not a data set in a known layout.\n"
        "  wanted: annotations/instances_{labeled,val}.json and annotations/unlabeled.json beside images/,\n"
        "      or: annotations/instances_{train,val}2017.json and annotations/image_info_unlabeled2017.json\n"
        "          beside train2017/, val2017/ and unlabeled2017/.\n"
        f"  found:  {_listing(root)}; annotations/: {_listing(root / 'annotations')}.\n"
        f"  {import_advice(root)}{unread(root)}"
    )


def _listing(folder: Path, most: int = 12) -> str:
    if not folder.is_dir():
        return "no such folder"
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"
