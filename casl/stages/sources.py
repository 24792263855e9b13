"""Opening what a stage reads: splits of data sets, pseudo labels, and images that are decoded once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from casl.data.coco import CocoSplit, agnostic, load_split, sample, with_images, without_categories
from casl.data.digest import digest
from casl.data.image import read_with_range
from casl.data.layout import SplitFiles, find_splits
from casl.data.pseudo import read_pseudo_labels
from casl.errors import DataError, SpecError
from casl.spec.context import Context
from casl.spec.data_kinds import DataSet, Folder, Scenes
from casl.spec.data_sets import TRUTH
from casl.spec.kinds import PseudoLabel, Warmup
from casl.spec.stage import Stage

LABELS = "labels"  # folder of a pseudolabel stage's result that holds the scored labels


def split_files(stage: Stage, ctx: Context) -> SplitFiles:
    """The files of a data stage, wherever they lie on this machine.

    Raises:
        DataError: the set on disk is no longer the one the stage was planned with.
    """
    if isinstance(stage, Scenes):
        return find_splits(ctx.inputs[stage.name] / "set")[stage.split]
    if isinstance(stage, Folder):
        return _unchanged(stage, ctx)
    raise TypeError(f"{stage.kind} is not a data set")


def _unchanged(stage: Folder, ctx: Context) -> SplitFiles:
    if stage.digest not in ctx.roots:
        raise DataError(
            f"stage {stage.name} reads the {stage.split} split of a data set this run was not given.\n"
            "  pass it with --data path (make: DATA=path)."
        )
    root = ctx.roots[stage.digest]
    for crowds_are_objects in (False, True):  # the digest says which of the two was planned
        files = find_splits(root, crowds_are_objects).get(stage.split)
        if files and digest(files, stage.labels, ctx.digests).value == stage.digest:
            return files
    raise DataError(
        f"data set {root}: split {stage.split!r} changed on disk since this run was planned.\n"
        "  repeat the command to plan with the new content; finished stages of the old content stay in the store."
    )


def open_split(stage: Stage, labels: str, ctx: Context) -> CocoSplit:
    """A split with its annotations.

    labels: one of casl.data.layout.KINDS. Of an unlabeled split "images" are all that the method sees; other kinds are
    the hidden truth, which the built-in scenes know: for measuring, and for the ablations `reasons` and `strength`.
    """
    if isinstance(stage, Scenes) and stage.split == "unlabeled" and labels != "images":
        return load_split(find_splits(ctx.inputs[stage.name] / "set")["unlabeled_gt"], labels)
    split = load_split(split_files(stage, ctx), labels)
    if isinstance(stage, DataSet) and stage.without and labels == "objects":
        split = without_categories(split, categories_at(split, stage.without))
    return sample(split, stage.drawn, stage.fold) if isinstance(stage, Folder) and stage.drawn else split


def categories_at(split: CocoSplit, classes: Iterable[int]) -> list[int]:
    """Category ids at positions in the list of them all by rising id, as specs name classes."""
    known = sorted(split.category_ids)
    return [known[place] for place in classes]


def hidden_truth(stage: Stage, labels: str, ctx: Context) -> CocoSplit | None:
    """True labels of built-in unlabeled scenes, None elsewhere: what the results of stages may rest on."""
    return open_split(stage, labels, ctx) if isinstance(stage, Scenes) else None


def known_truth(stage: Stage, labels: str, ctx: Context) -> CocoSplit | None:
    """As hidden_truth, also of the images of a set on disk that keeps their true labels beside it; None elsewhere.

    For pictures and figures about results. No stage's result may rest on it, since keys do not hold those labels.
    Images are those of the stage that have true labels, with the ids of the true labels.
    """
    if not isinstance(stage, Folder):
        return hidden_truth(stage, labels, ctx)
    images = open_split(stage, "images", ctx).images
    files = find_splits(ctx.roots[stage.digest]).get(TRUTH)
    if files is None or not (files.entity if labels == "entities" else files.instances):
        return None
    return with_images(load_split(files, labels), {image.file_name for image in images})


def open_pseudo_labels(stage: Warmup, ctx: Context) -> CocoSplit:
    """Eq. 2 and 3: the labels above the threshold, and the images that have any.

    Raises:
        DataError: nothing is left.
    """
    source = stage.data
    assert isinstance(source, PseudoLabel)
    images = split_files(source.data, ctx).images
    split = read_pseudo_labels(ctx.inputs[source.name] / LABELS, images, stage.threshold)
    if not len(split):
        raise DataError(
            f"no pseudo label of {source.name} scores above delta = {stage.threshold}.\n"
            "  train the labeler longer, or lower the profile's threshold (scores start at 0.05)."
        )
    return split


class ImageCache:
    """Decoded images, kept up to a number of bytes, so that none is decoded twice without need.

    deep: the largest value of each 16-bit file that was read.
    """

    def __init__(self, limit_bytes: int = 1 << 30) -> None:
        self.limit_bytes = limit_bytes
        self._held = 0
        self.deep: dict[Path, int] = {}
        self._images: dict[Path, NDArray[np.uint8]] = {}

    def read(self, path: Path) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; the caller must not write into it."""
        image = self._images.get(path)
        if image is None:
            image, highest = read_with_range(path)
            if highest is not None:
                self.deep[path] = highest
            if self._held + image.nbytes <= self.limit_bytes:
                self._images[path] = image
                self._held += image.nbytes
        return image


IMAGES = ImageCache()  # one for the process: the stages a worker runs mostly read the same images


def of_classes(split: CocoSplit, classes: int) -> CocoSplit:
    """A split for a model of so many classes; for one class all of the split's become it.

    Raises:
        SpecError: it has another number of classes.
    """
    if classes == 1 and len(split.classes) > 1:
        split = agnostic(split)
    if len(split.classes) != classes:
        raise SpecError(f"the model has {classes} classes, the data {len(split.classes)}: {', '.join(split.classes)}")
    return split


def facts_of(split: CocoSplit) -> dict[str, int]:
    """Counts worth keeping with a result."""
    return {"images": len(split), "labels": sum(_count(split))}


def _count(split: CocoSplit) -> Iterable[int]:
    return (len(split.labels(i).labels) for i in range(len(split)))
