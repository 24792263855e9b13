"""What a profile's data are: the built-in scenes, a set on disk, or one that is only planned with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from casl.errors import SpecError, unknown
from casl.rows import Detector
from casl.spec.data_kinds import DataSet, Folder, Scenes

SCALES = ("tiny", "small", "base", "large")
# A data set on disk has one unlabeled split. Its scales are an eighth, a quarter, half and all of it, drawn by chance
# and each part of the next: the paper's ratios, 1 to 30, would leave a dozen images of a small set.
FOLDER_SHARES = {"tiny": 8, "small": 4, "base": 2, "large": 1}
SILHOUETTES = {"disc, ring": (0, 4), "square, pillow": (1, 5), "triangle, pentagon": (3, 7)}  # of the scenes' things
LOOKALIKES = {"discs": (0, 4), "squares": (1, 5), "crosses": (2, 6), "triangles": (3, 7)}  # of scenes of that name
TRUTH = "unlabeled_gt"  # the split of a set on disk that holds the hidden truth of its unlabeled images


def share_of(count: int, percent: float) -> int:
    """So many percent of a number of images, rounded, at least one.

    Raises:
        SpecError: not above 0 and at most 100.
    """
    if not 0 < percent <= 100:
        raise SpecError(f"a share of the labels is more than 0 and at most 100 percent, got {percent:g}")
    return max(1, round(count * percent / 100))


# by so much the seed of a fold's scenes rises with each: past the seeds of scenes that starts are trained on
_A_FOLD = 1000


@dataclass(frozen=True)
class SceneData:
    """The built-in scenes at a given size. unlabeled: images of each scale; smaller scales are prefixes of larger.
    groups: classes that belong together, as positions by rising category id; of scenes those that share a silhouette.
    tail: of the images to learn from, as of Scenes; those of val have the usual one, so that rare classes can be
    measured too. shapes: as of Scenes. fold: labeled scenes of another one are other scenes.
    """

    labeled: int
    unlabeled: Mapping[str, int]
    val: int
    size: int
    seed: int = 0
    name: str = "scenes"
    classes: int = Scenes.classes
    stuff: int = Scenes.stuff
    keypoints: int = Scenes.keypoints
    has_masks: bool = True
    has_entities: bool = True
    knows_hidden: bool = True
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: SILHOUETTES)
    tail: float = Scenes.tail
    shapes: str = Scenes.shapes
    fold: int = 0

    def knows(self, labels: str) -> bool:
        """Whether the true labels of unlabeled images are known, for measuring and for oracles."""
        return labels in ("objects", "entities")

    def labeled_share(self, percent: float, fold: int = 0) -> SceneData:
        """The same data with so much of the labeled split; smaller shares are part of larger ones of the same fold.

        fold: labeled scenes of another one are others, drawn alike, and none of all the labeled scenes; all of the
            split has no folds.
        """
        labeled = share_of(self.labeled, percent)
        return replace(self, labeled=labeled, fold=fold if labeled < self.labeled else 0)

    def split(self, split: str, labels: str, scale: str | None = None) -> DataSet:
        """The stage that makes a split ("labeled", "unlabeled", "val"); `labels` does not change its bytes.

        scale: of the unlabeled split, default tiny.
        """
        del labels
        scale = scale or "tiny"
        if split == "unlabeled" and scale not in self.unlabeled:
            raise SpecError(unknown("unlabeled scale", scale, self.unlabeled))
        count = self.unlabeled[scale] if split == "unlabeled" else {"labeled": self.labeled, "val": self.val}[split]
        tail = Scenes.tail if split == "val" else self.tail
        seed = self.seed + (_A_FOLD * self.fold if split == "labeled" else 0)
        return Scenes(split=split, count=count, size=self.size, seed=seed, tail=tail, shapes=self.shapes)

    def lookalikes(self) -> SceneData:
        """The same scenes with classes in pairs that differ in a small detail only; none of them has keypoints."""
        return replace(self, shapes="lookalikes", keypoints=0, groups=LOOKALIKES)


def _drawn(folder: Folder, percent: float, fold: int) -> Folder:
    """A share of a split; one that is rounded to all of its images is the split."""
    count = share_of(folder.count, percent)
    drawn, fold = (count, fold) if count < folder.count else (0, 0)
    return replace(folder, drawn=drawn, fold=fold)


@dataclass(frozen=True)
class FolderData:
    """A data set on disk, as found by the checker. folders: (split, label kind) -> Folder stage.

    stuff, keypoints: number of stuff classes and of points of a pose, 0 where the set has no such labels. groups: as
    of SceneData; which classes belong together is not read. names: of the classes by rising category id; () where they
    were not read.
    """

    name: str
    folders: Mapping[tuple[str, str], Folder]
    classes: int
    has_masks: bool
    has_entities: bool
    stuff: int = 0
    keypoints: int = 0
    knows_hidden: bool = False
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def places_of(self, *names: str) -> tuple[int, ...]:
        """Positions of classes by rising category id, as Evaluate.classes and DataSet.without take them; they rise.

        names: as the annotation files write them.

        Raises:
            SpecError: the set has no such class, or two of that name.
        """
        for name in names:
            if name not in self.names:
                raise SpecError(unknown(f"class of data set {self.name!r}", name, self.names))
            if self.names.count(name) > 1:
                raise SpecError(
                    f"data set {self.name!r} has {self.names.count(name)} classes {name!r}, so a name does not tell "
                    "which is meant\n  give each category of its annotation files a name of its own."
                )
        return tuple(sorted({self.names.index(name) for name in names}))

    def knows(self, labels: str) -> bool:
        """Whether the true labels of unlabeled images are known, for measuring and for oracles."""
        return (TRUTH, labels) in self.folders

    def labeled_share(self, percent: float, fold: int = 0) -> FolderData:
        """The same data with so much of the labeled split, drawn by chance; smaller shares are part of larger ones of
        the same fold.

        fold: another one is drawn anew; all of the split has no folds.
        """
        drawn = {place: _drawn(of, percent, fold) for place, of in self.folders.items() if place[0] == "labeled"}
        return replace(self, folders={**self.folders, **drawn})

    def split(self, split: str, labels: str, scale: str | None = None) -> DataSet:
        """The stage that stands for a split with one kind of labels.

        scale: a named unlabeled split of the set, or a share of its only one; default all of it. Labels of unlabeled
            images other than "images" are their hidden truth, of all of them.

        Raises:
            SpecError: the set lacks that split or kind of labels.
        """
        if scale and scale not in SCALES:
            raise SpecError(unknown("unlabeled scale", scale, SCALES))
        if split == "unlabeled" and labels != "images":
            split, scale = TRUTH, None
        if scale and (named := self.folders.get((f"{split}_{scale}", labels))):
            return named
        if (whole := self.folders.get((split, labels))) is None:
            have = ", ".join(f"{s} ({k})" for s, k in sorted(self.folders))
            raise SpecError(f"data set {self.name!r} has no split {split!r} with {labels}; it has: {have}")
        if scale is None or scale == "large":
            return whole
        return replace(whole, drawn=max(1, whole.count // FOLDER_SHARES[scale]))


@dataclass(frozen=True)
class PlannedData:
    """A data set that is only planned with: sizes are known, files are not at hand (COCO in profile `paper`).

    groups: as of SceneData. fold: of the labeled split.
    """

    name: str
    counts: Mapping[str, int]
    classes: int
    stuff: int
    keypoints: int
    has_masks: bool = True
    has_entities: bool = True
    knows_hidden: bool = False
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    fold: int = 0

    def knows(self, labels: str) -> bool:
        """Whether the true labels of unlabeled images are known; those of COCO's are not."""
        del labels
        return False

    def labeled_share(self, percent: float, fold: int = 0) -> PlannedData:
        """The same data with so much of the labeled split; fold: as of FolderData."""
        count = share_of(self.counts["labeled"], percent)
        counts = {**self.counts, "labeled": count}
        return replace(self, counts=counts, fold=fold if count < self.counts["labeled"] else 0)

    def split(self, split: str, labels: str, scale: str | None = None) -> DataSet:
        """A Folder with the number of images of a split; its digest says that the files are not at hand. Entities are
        those of panoptic annotations, as COCO has no others."""
        scale = (scale or "tiny") if split == "unlabeled" else ""
        fold = f":fold {self.fold}" if self.fold and split == "labeled" else ""
        digest = f"planned:{self.name}:{split}:{scale}:{labels}{fold}"
        return Folder(
            split=split,
            labels=labels,
            digest=digest,
            classes=self.classes,
            count=self.counts[scale or split],
            boxes="inclusive" if labels == "entities" else "exact",
        )


Data = SceneData | FolderData | PlannedData

# what a metric may need of a data set -> whether it has it, and what it is called
NEEDS: dict[str, tuple[Callable[[Data], bool], str]] = {
    "entities": (lambda data: data.has_entities, "entity or panoptic annotations"),
    "keypoints": (lambda data: data.keypoints > 0, "keypoints"),
    "masks": (lambda data: data.has_masks, "masks"),
    "occlusion": (lambda data: data.knows_hidden, "record of how much of an object others hide"),
    "stuff": (lambda data: data.stuff > 0, "panoptic annotations with stuff"),
}


def check_learns(data: Data, detector: str, known: Detector, labels: str) -> None:
    """Whether a data set has what a detector learns from, before anything is trained.

    Args:
        detector, known: its name and its row. labels: kind of labels that it is to learn.

    Raises:
        SpecError: the set has boxes only and the detector learns masks, or stuff is to be learned and there is none.
    """
    if "masks" in known.outputs and not data.has_masks:
        raise SpecError(
            f"detector {detector!r} learns masks, and data set {data.name!r} has boxes only\n"
            "  choose a detector of boxes, such as cascade_rcnn or fcos."
        )
    if labels == "panoptic" and not data.stuff:
        without = "" if "semantic" in known.outputs else ", or labels='objects', which leaves its semantic branch out"
        raise SpecError(
            f"detector {detector!r} learns stuff, and data set {data.name!r} has none\n"
            f"  choose a detector of objects, such as mask_rcnn{without}."
        )
