"""An import from start to end: read, fit, find near copies, draw, write."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casl.data.importing.assign import Drawn, Plan, assign, own_val
from casl.data.importing.coco import read_coco
from casl.data.importing.draw import Group, Share
from casl.data.importing.fit import Item, fitted
from casl.data.importing.given import check_folder_of_images, check_source, nothing_labeled
from casl.data.importing.labelme import read_labelme
from casl.data.importing.looks import FORMATS, format_of, formats_in
from casl.data.importing.near import groups_of, look_at_all
from casl.data.importing.source import Folder, Picture, Source, read_images
from casl.data.importing.via import read_via
from casl.data.importing.voc import read_voc
from casl.data.importing.write import Named, counts_of, put_images, refuse_if_there, why_no_text, write_set
from casl.data.importing.yolo import read_yolo
from casl.errors import DataError, SpecError, unknown
from casl.files import disk_errors

SCALES = (1, 2, 5, 10)  # percent, of the literature
FOLDS = 5
READERS: Mapping[str, Callable[[Folder], Source]] = {
    "voc": read_voc,
    "yolo": read_yolo,
    "labelme": read_labelme,
    "via": read_via,
    "images": read_images,
}
Progress = Callable[[int, int], None]
Manifest = dict[str, Any]


@dataclass(frozen=True)
class How:
    """How images are taken over.

    Attributes:
        told: entries of the manifest that the caller knows: the command, the version.
        copy: images are copied, not linked.
        apart: near copies may come into different splits.
        jobs: threads that read.
        progress: told (images read, images in all).
    """

    told: Mapping[str, Any]
    copy: bool = False
    apart: bool = False
    jobs: int = 1
    progress: Progress = lambda done, total: None


@dataclass(frozen=True)
class Read:
    """All images, their names below images/, groups of near copies, and what was left out or changed."""

    source: Source
    items: list[Item]
    names: list[str]
    groups: list[Group]
    said: Counter[str]


def read_source(path: Path, form: str | None = None, crowds_are_objects: bool = False) -> Source:
    """What an annotation tool exported.

    Args:
        path: its folder, or the one JSON file in it that counts.
        form: name of the format; None: what it looks like.
        crowds_are_objects: see `read_coco`.

    Raises:
        DataError: no such folder, no known format, several of them, no annotations of the one that was named or is the
            only one, or a fault in them. SpecError: no such format.
    """
    if form is not None and form not in FORMATS:
        raise SpecError(unknown("format", form, FORMATS))
    check_source(path)
    only = path if path.is_file() else None
    folder = Folder(path.parent if only else path)
    if only:
        folder.files = [file for file in folder.files if file == only or file.suffix != only.suffix]
    looks = [name for name in [format_of(path, named=False)] if name] if only else formats_in(path)
    found = form or _the_format(path, looks, folder)
    if found == "yolo" and "yolo" not in looks:  # all texts beside images would be taken for labels
        raise nothing_labeled(path, found, looks)
    source = read_coco(folder, crowds_are_objects) if found == "coco" else READERS[found](folder)
    if found != "images" and all(picture.annotation is None for picture in source.pictures):
        raise nothing_labeled(path, found, looks)
    source.left_out += folder.passed_over
    return source


def _the_format(path: Path, found: list[str], folder: Folder) -> str:
    if not found:
        what = "holds" if path.is_file() else "has no images, and"
        over = "".join(f"\n  Passed over: {count} {said}." for said, count in folder.passed_over.items() if count)
        raise DataError(f"{path}: {what} no annotations of a known format: {', '.join(FORMATS.values())}.{over}")
    if len(found) > 1:
        words = " and ".join(FORMATS[name] for name in found)
        raise DataError(f"{path}: has files of {words}; name one of them with --format {found[0]}.")
    return found[0]


def import_set(source: Source, out: Path, plan: Plan, how: How, unlabeled: Path | None = None) -> Manifest:
    """Make a set of a source; what import.json says, but for the list of images.

    Args:
        source: from `read_source` or `read_set`.
        out: folder of the set, not there yet.
        plan: how splits are drawn.
        how: how images are taken over.
        unlabeled: folder of further images without labels.

    Raises:
        DataError: the folder is there or inside the source, a labeled image is damaged, a shape does not fit its image,
            or there are too few images.
    """
    _refuse_target(out, [source.root, *([unlabeled] if unlabeled else [])])
    read = _read(source, how, unlabeled)
    drawn = assign(read.items, read.groups, plan, unlabeled is not None)
    manifest = _manifest(read, drawn, plan, how)
    write_set(out, _named(read, drawn), source.classes, manifest, how.copy)
    return manifest


def protocol(source: Source, out: Path, seed: int, how: How) -> dict[str, Manifest]:
    """The protocol of the literature: 1, 2, 5 and 10 % of the labels in five folds, the rest unlabeled, val as it is.

    Within a fold each share holds the smaller ones. All sets have their images in one folder.

    Args:
        source: from `read_set`.
        out: folder of the sets, not there yet.
        seed: of all that is drawn.
        how: how images are taken over.

    Returns:
        What import.json of each set says, by its folder below `out`: "fold0/1-percent".

    Raises:
        DataError: as `import_set`, or the set has no val.
    """
    _refuse_target(out, [source.root])
    read = _read(source, how, None)
    if own_val(read.items) is None:
        command = f"casl data split {shlex.quote(str(source.root))} --out SET --val 20% --labeled 100%"
        raise DataError(f"{source.root}: has no val split, which all folds are compared on.\n  `{command}` makes one.")
    made = {}
    for fold in range(FOLDS):
        for percent in SCALES:
            plan = Plan(labeled=Share(f"{percent}%"), seed=seed, fold=fold)
            drawn = assign(read.items, read.groups, plan, further=False)
            made[f"fold{fold}/{percent}-percent"] = drawn, _manifest(read, drawn, plan, how)
    with disk_errors("write", out):
        put_images(out / "images", list(zip(read.names, read.items, strict=True)), how.copy)
    for name, (drawn, manifest) in made.items():
        write_set(out / name, _named(read, drawn), read.source.classes, manifest, out / "images")
    return {name: manifest for name, (_, manifest) in made.items()}


def _read(source: Source, how: How, unlabeled: Path | None) -> Read:
    """Read every image once, fit its shapes, and find near copies."""
    if unlabeled:
        check_folder_of_images(unlabeled)
    further = Folder(unlabeled) if unlabeled else None
    more = [Picture(path) for path in further.images] if further else []
    if unlabeled and not more:
        raise DataError(f"{unlabeled}: no images in it.")
    pictures = [*source.pictures, *more]
    if not pictures:
        raise DataError(f"{source.root}: no images in it.")
    names = [*_names(source), *_further_names(source, unlabeled, more)]
    for name in names:
        if why := why_no_text(name):
            raise DataError(f"{source.root}: the image {name!a} {why}; rename it.")
    seen = look_at_all([picture.path for picture in pictures], how.jobs, how.progress)
    read = Read(source, [], [], [], Counter(source.left_out))
    read.said.update(further.passed_over if further else {})
    for picture, name, found in zip(pictures, names, seen, strict=True):
        if not isinstance(found, DataError):
            read.items.append(fitted(picture, found, read.said))
            read.names.append(name)
        elif picture.annotation is not None:
            raise found
        else:
            read.said["unlabeled images that are damaged"] += 1
    read.groups.extend(_groups(read, how.apart))
    return read


def _groups(read: Read, apart: bool) -> Iterable[Group]:
    files = [item.picture.path.name for item in read.items]
    numbers = range(len(files)) if apart else groups_of([item.seen for item in read.items], files).tolist()
    members: dict[int, list[int]] = {}
    for i, number in enumerate(numbers):
        members.setdefault(number, []).append(i)
    for some in members.values():
        yield Group(tuple(some), frozenset(name for i in some for name in read.items[i].classes))


def _names(source: Source) -> list[str]:
    """Names below images/: paths below the source, so that equal names in different folders stay apart."""
    names = [picture.path.relative_to(source.root).as_posix() for picture in source.pictures]
    if all(name.startswith("images/") for name in names):
        names = [name.removeprefix("images/") for name in names]
    return names


def _further_names(source: Source, unlabeled: Path | None, more: list[Picture]) -> list[str]:
    top, taken = "unlabeled", {name.partition("/")[0] for name in _names(source)}
    while top in taken:
        top += "_more"
    return [f"{top}/{picture.path.relative_to(unlabeled).as_posix()}" for picture in more] if unlabeled else []


def _refuse_target(out: Path, sources: Iterable[Path]) -> None:
    refuse_if_there(out)
    for root in sources:
        if out.resolve().is_relative_to(root.resolve()):
            raise DataError(f"{out}: lies inside {root}, where its images would be found again; name another --out.")


def _named(read: Read, drawn: Drawn) -> dict[str, list[Named]]:
    return {split: [(read.names[i], read.items[i]) for i in some] for split, some in drawn.splits.items()}


def _manifest(read: Read, drawn: Drawn, plan: Plan, how: How) -> Manifest:
    copies = [len(group.members) for group in read.groups if len(group.members) > 1]
    asked = {name: share.text if share else None for name, share in (("labeled", plan.labeled), ("val", plan.val))}
    return {
        **how.told,
        "format": read.source.form,
        "source": str(read.source.root),
        "seed": plan.seed,
        "fold": plan.fold,
        "asked": asked,
        "splits": counts_of(_named(read, drawn)),
        "classes": read.source.classes,
        "classes_lacking": {split: names for split, names in drawn.lacking.items() if names},
        "left_out_or_changed": dict(sorted((+(read.said + drawn.left_out)).items())),
        "near_copies": {"groups": len(copies), "images": sum(copies), "apart": how.apart, **+drawn.near},
    }
