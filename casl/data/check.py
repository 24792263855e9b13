"""The check of a whole data set: annotations, image files, and whether its splits fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from casl.coco.judge import png_problems
from casl.coco.masks import has_mask
from casl.coco.pngs import segment_ids
from casl.coco.records import Record
from casl.data.check_images import SHOWN, ImageFiles
from casl.data.check_tables import Table, check_keypoints, check_objects, check_segments, read_table
from casl.data.image import image_size
from casl.data.image_info import ImageInfo
from casl.data.layout import SplitFiles, find_splits
from casl.errors import DataError, shortened
from casl.words import noun, number_of

Progress = Callable[[int, int], None]
RULES = 1  # raised whenever a check finds more or less, so that what passed an earlier one is checked again
KNOWN_SPLITS = ("labeled", "unlabeled", "val")
MOST_SHOWN = 20


@dataclass
class Report:
    """What `check` found.

    Attributes:
        errors: what makes the data set unusable, one line each: file, record, what is wrong, what to do.
        warnings: what is legal but seldom meant.
        counts: by split, then by what was counted; can be written as JSON.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    counts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def raise_if_bad(self) -> None:
        """Raise one DataError that lists the first 20 errors; return if there are none."""
        if not self.errors:
            return
        more = len(self.errors) - MOST_SHOWN
        lines = [f"the data set has {number_of(len(self.errors), 'problem')}:"]
        lines += [f"  {error}" for error in self.errors[:MOST_SHOWN]]
        raise DataError("\n".join(lines + [f"  ... and {more} more"] * (more > 0)))


def check(
    root: Path, *, decode: bool = True, progress: Progress | None = None, crowds_are_objects: bool = False
) -> Report:
    """Check a whole data set: annotations, images, masks, and that its splits fit together.

    Args:
        root: the data set, in any layout of `find_splits`.
        decode: read every pixel. False looks at headers only, which is much faster and finds no damage further in.
        progress: called with (files done, files in all) after every image and every panoptic PNG.
        crowds_are_objects: see SplitFiles.

    Returns:
        Errors, warnings and counts; nothing is raised for what is wrong inside the files.

    Raises:
        DataError: there is no data set in `root`.
    """
    checker = _Checker(decode)
    splits = [*find_splits(root, crowds_are_objects).values()]
    images = checker.run(splits, progress)
    listed = [path for paths in images.values() for path in paths]
    checker.images.say_unlisted((files.images for files in splits), listed)
    return checker.report


def check_split(files: SplitFiles, decode: bool = True, progress: Progress | None = None) -> Report:
    """Check one split alone; see `check`."""
    checker = _Checker(decode)
    checker.run([files], progress)
    return checker.report


class _Checker:
    """One run of `check`: annotations first, then the queued pixel jobs, then what spans several splits."""

    def __init__(self, decode: bool) -> None:
        self.decode = decode
        self.report = Report()
        self.jobs: list[Callable[[], None]] = []
        self.images = ImageFiles(decode, self.error, self.warn)
        self.categories: dict[str, list[tuple[int, str]]] = {}

    def error(self, line: str) -> None:
        self.report.errors.append(shortened(line))

    def warn(self, line: str) -> None:
        self.report.warnings.append(shortened(line))

    def run(self, splits: Iterable[SplitFiles], progress: Progress | None) -> dict[str, list[Path]]:
        """Fill the report; the image files of every split."""
        images = {files.name: self._split(files) for files in splits}
        for done, job in enumerate(self.jobs, start=1):
            job()
            if progress:
                progress(done, len(self.jobs))
        self.images.say_absent()
        for split, paths in images.items():
            self.images.odd(split, paths)
            if known := self.images.ranges(split, paths):
                self.report.counts[split]["sixteen_bit"] = known
        self._same_classes()
        self._leaks(images)
        return images

    def _split(self, files: SplitFiles) -> list[Path]:
        """Check the annotations of a split, queue the work on its pixels, return its image files."""
        if files.name not in KNOWN_SPLITS and not files.name.startswith("unlabeled_"):
            self.warn(f"no stage reads a split '{files.name}'; known: {', '.join(KNOWN_SPLITS)}, unlabeled_*")
        paths = {kind: getattr(files, kind) for kind in ("listing", "instances", "entity", "panoptic", "keypoints")}
        tables: dict[str, Table] = {}
        for kind, path in paths.items():
            if path is not None and (table := read_table(path, kind, self.error)):
                tables[kind] = table
        images = self._images(list(tables.values()))
        counts = self.report.counts[files.name] = {"images": len(images)}
        if "instances" in tables:
            self._instances(files.name, self._told(tables["instances"], files), counts)
        if "entity" in tables:
            counts["entities"] = len(check_objects(self._told(tables["entity"], files), self.error, self.warn))
        if "panoptic" in tables:
            self._panoptic(tables["panoptic"], files.panoptic_pngs, counts)
        if {"instances", "panoptic"} <= tables.keys():
            self._same_things(tables["instances"], tables["panoptic"])
        if "keypoints" in tables:
            people = check_objects(self._told(tables["keypoints"], files), self.error, self.warn)
            counts["keypoints"] = check_keypoints(tables["keypoints"], people, self.error, self.warn)
        self._queue_images(files.images, images)
        return [files.images / name for name in images]

    def _told(self, table: Table, files: SplitFiles) -> Table:
        return replace(table, crowds_are_objects=files.crowds_are_objects)

    def _images(self, tables: list[Table]) -> dict[str, tuple[str, ImageInfo]]:
        """All images of a split by file name, with the annotation file that lists them first."""
        images: dict[str, tuple[str, ImageInfo]] = {}
        by_id: dict[int, str] = {}
        for table in tables:
            for info in table.images.values():
                if by_id.setdefault(info.id, info.file_name) != info.file_name:
                    self.error(f"{table.name}: image {info.id} is {info.file_name}, elsewhere it is {by_id[info.id]}")
                name, first = images.setdefault(info.file_name, (table.name, info))
                if first != info:
                    self.error(f"{table.name}: image {info.id} ({info.file_name}) is not as in {name}: {info}, {first}")
        return images

    def _instances(self, split: str, table: Table, counts: dict[str, Any]) -> None:
        records = check_objects(table, self.error, self.warn)
        names = {number: category["name"] for number, category in table.categories.items()}
        self.categories[split] = list(names.items())
        if twice := sorted(name for name, count in Counter(names.values()).items() if count > 1):
            self.warn(f"{table.name}: several categories have the same name: {', '.join(twice)}")
        per_class = dict.fromkeys(names.values(), 0)
        for record in records:
            per_class[names[record["category_id"]]] += 1
        unused = [name for name, count in per_class.items() if count == 0]
        if unused and split == "labeled":
            shown = ", ".join(unused[:SHOWN]) + ", ..." * (len(unused) > SHOWN)
            few = f"{len(unused)} of {len(names)} classes have no annotation and cannot be learned"
            self.warn(f"{table.name}: {few}: {shown}")
        counts["annotations"] = len(records)
        counts["crowds"] = sum(bool(record.get("iscrowd", 0)) for record in records)
        if split == "labeled" and len(records) > counts["crowds"] > len(records) / 2 and not table.crowds_are_objects:
            self.warn(
                f"{table.name}: {counts['crowds']} of {len(records)} annotations are crowds (iscrowd 1), which nothing "
                "is learned from; CVAT writes brush masks so. If each is one object, add --crowds-are-objects"
            )
        counts["masks"] = sum(has_mask(record) for record in records)
        counts["images_without_annotation"] = len(table.images.keys() - {record["image_id"] for record in records})
        counts["per_class"] = per_class

    def _panoptic(self, table: Table, pngs: Path | None, counts: dict[str, Any]) -> None:
        records = check_segments(table, self.error)
        segments = [segment for record in records for segment in record["segments_info"]]
        counts["segments"] = len(segments)
        counts.setdefault("entities", sum(not segment.get("iscrowd", 0) for segment in segments))
        if pngs is None:
            self.error(f"{table.name}: its folder of PNGs ({Path(table.name).stem}/) is missing; add it")
            return
        for record in records:
            self.jobs.append(partial(self._png, table, record, pngs))

    def _same_things(self, instances: Table, panoptic: Table) -> None:
        """Objects of one file stand for the things of the other only where both mean the same."""
        objects = {(number, category["name"]) for number, category in instances.categories.items()}
        things = {(n, category["name"]) for n, category in panoptic.categories.items() if category.get("isthing", 1)}
        if odd := sorted(objects ^ things)[:5]:
            self.warn(
                f"{panoptic.name}: its things are not the categories of {instances.name}, so the two are not used "
                f"together; different: {odd}. Write the same ids and names into both."
            )

    def _png(self, table: Table, record: Record, pngs: Path) -> None:
        image = table.images[record["image_id"]]
        path = pngs / record["file_name"]
        where = f"{pngs.name}/{record['file_name']} (image {image.id})"
        try:
            ids = segment_ids(path) if self.decode else None
            size = image_size(path) if ids is None else ids.shape[::-1]
        except DataError as problem:
            self.error(f"{table.name}: {problem}")
            return
        if size != (image.width, image.height):
            self.error(f"{where}: is {size[0]}x{size[1]} but {table.name} says {image.width}x{image.height}")
        if ids is None:
            return
        drawn = dict(zip(*(part.tolist() for part in np.unique(ids, return_counts=True)), strict=True))
        listed = {segment["id"]: segment.get("area") for segment in record["segments_info"]}
        for odd in png_problems(listed, drawn):
            self.error(f"{table.name}: {where}: {odd}")
        if any(area is not None and area != drawn.get(number, area) for number, area in listed.items()):
            self.warn(f"{where}: areas in {table.name} are not the number of pixels")

    def _queue_images(self, folder: Path, images: dict[str, tuple[str, ImageInfo]]) -> None:
        if images and not folder.is_dir():
            self.error(
                f"{folder}: no such folder; it should hold the {number_of(len(images), 'image')} of the annotations"
            )
            return
        listed = Counter(table for table, _ in images.values())
        for table, info in images.values():
            self.jobs.append(partial(self.images.read, folder, table, info, listed[table]))

    def _same_classes(self) -> None:
        wanted = self.categories.get("labeled")
        for split, found in self.categories.items():
            if wanted is not None and found != wanted:
                odd = sorted(set(found) ^ set(wanted))[:5] or "the order"
                self.error(
                    f"the categories of '{split}' are not those of 'labeled', so a label would not mean the same; "
                    f"different: {odd}. Write the same list 'categories' into all files."
                )

    def _leaks(self, images: dict[str, list[Path]]) -> None:
        """Warn of images in two splits; by content, so a second name does not hide them."""
        names = {
            split: {file.content: path.name for path in paths if (file := self.images.found.get(path))}
            for split, paths in images.items()
            if not split.endswith("_gt")
        }
        for split, found in names.items():
            if split != "val" and (
                shared := [name for content, name in found.items() if content in names.get("val", ())]
            ):
                self.warn(
                    f"{_images(len(shared), split)} also in 'val' (the first: {shared[0]}), which makes "
                    "results too good; take each out of one of the two"
                )
            both = names.get("labeled", {}) if split.startswith("unlabeled") else {}
            if twice := [name for content, name in found.items() if content in both]:
                self.warn(
                    f"{_images(len(twice), split)} also in 'labeled' (the first: {twice[0]}); the method gains "
                    f"nothing from labeling {noun(len(twice), 'it', 'them')}"
                )
        for split, paths in images.items():
            if (
                split in names
                and (copies := len([p for p in paths if self.images.found.get(p)]) - len(names[split])) > 0
            ):
                self.warn(f"{_images(copies, split)} there twice, as equal files under two names")


def _images(count: int, split: str) -> str:
    return f"{number_of(count, 'image')} of '{split}' {noun(count, 'is', 'are')}"
