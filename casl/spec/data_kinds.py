"""The stage kinds that stand for what the method is given: data sets, and the weights that ImageNet gives elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from casl.catalog import check_name
from casl.errors import SpecError
from casl.spec.records import LARGEST_RATE, LARGEST_SIDE, MOST_COUNTED, SMALLEST_SIDE
from casl.spec.schedule import MOST_ITERS
from casl.spec.stage import DataUse, Stage, Work, check_choice, check_seed, check_within

DIGEST_LENGTH = 32  # of a data set in MLflow, which takes 36
SPLITS = ("labeled", "unlabeled", "val")
SHAPES = ("things", "others", "lookalikes")
STEEPEST = 5.0  # tail of scenes: one object in 34 thousand is then of the last class
BOXES = ("exact", "inclusive")  # of entities: the edges of their pixels, or the first and last of their pixels' indices
LABELS = ("objects", "entities", "images", "keypoints", "panoptic")


def named_classes(places: tuple[int, ...]) -> str:
    """Positions of classes for titles: "classes 1, 5", "20 classes" where they are many."""
    return f"classes {', '.join(map(str, places))}" if len(places) <= 6 else f"{len(places)} classes"


@dataclass(frozen=True)
class DataSet(Stage, ABC):
    """One split of a data set. Kinds: Scenes, Folder. Beside it, what is known of every split.

    without: positions of classes, by rising category id, whose objects are left out of the labels. The
    images and the list of classes stay.
    """

    of_method: ClassVar[bool] = False
    needs_torch: ClassVar[bool] = False  # a worker that only makes data starts in a fraction of the time
    names_classes: ClassVar[bool] = False  # its classes are named by its result, not by the program

    split: str

    @property
    @abstractmethod
    def without(self) -> tuple[int, ...]:
        """Classes whose objects are not annotated."""

    @property
    def left_out(self) -> str:
        """The same for titles."""
        return f" · without {named_classes(self.without)}" if self.without else ""

    def _check_without(self, classes: int) -> None:
        if self.without and not (
            list(self.without) == sorted(set(self.without)) and self.without[0] >= 0 and self.without[-1] < classes
        ):
            raise SpecError(f"classes to leave out are rising positions from 0 to {classes - 1}, got {self.without}")
        if self.without and getattr(self, "labels", "objects") != "objects":
            raise SpecError("classes are left out of the labels of objects, and of no other kind")

    @property
    def brief(self) -> str:
        return f"{self.split} images"

    @property
    @abstractmethod
    def images(self) -> int:
        """How many are used."""

    @property
    def boxes(self) -> str:
        """How its boxes are counted, one of BOXES."""
        return "exact"

    @property
    @abstractmethod
    def content(self) -> tuple[str, str]:
        """What to call it in tags of MLflow, and what tells its content from another's."""

    def work(self, iters: int) -> Work:
        return Work(self.images, ((self.kind, getattr(self, "size", 0)), (self.kind,)), float("inf"))


@dataclass(frozen=True)
class Scenes(DataSet):
    """One split of the built-in synthetic data set; its bytes depend on these fields only.

    split: "labeled", "unlabeled" or "val". count: images. size: side in pixels. seed: of the whole set.
    shapes: "things", which detectors learn; "others", as many classes that no detector learns; or "lookalikes", as many
    in pairs that differ in a small detail only, in the same places. without: as of DataSet. hidden: whether records say
    how much of each object others hide; the images are the same. tail: class k (from 1) is drawn with probability in
    proportion to k ** -tail; from 2 on the last ones are rare.
    """

    classes: ClassVar[int] = 8  # facts of the generator, not choices
    stuff: ClassVar[int] = 4
    keypoints: ClassVar[int] = 7

    count: int
    size: int
    seed: int = 0
    shapes: str = "things"
    without: tuple[int, ...] = ()
    hidden: bool = False
    tail: float = 0.8

    def __post_init__(self) -> None:
        check_choice("split", self.split, SPLITS)
        check_choice("shapes of scenes", self.shapes, SHAPES)
        self._check_without(self.classes)
        check_within("number of scenes", self.count, 1, 1_000_000)  # image ids of the next split begin there
        check_within("scene size in pixels", self.size, 32, 1 << 13)
        check_seed(self.seed)
        if not 0.0 <= self.tail <= STEEPEST:
            raise SpecError(f"tail is an exponent from 0, classes alike, to {STEEPEST:g}, got {self.tail}")

    @property
    def title(self) -> str:
        other = {"others": " · other shapes", "lookalikes": " · lookalikes"}.get(self.shapes, "")
        other += " · with hidden shares" if self.hidden else ""
        other += f" · tail {self.tail:g}" if self.tail != Scenes.tail else ""
        return f"scenes {self.split}{other}{self.left_out} · {self.count} images · {self.size} px · seed {self.seed}"

    @property
    def images(self) -> int:
        return self.count

    @property
    def content(self) -> tuple[str, str]:
        return self.split, self.name

    def read_by(self, context: str, labels: str, threshold: float = 0.0) -> tuple[DataUse, ...]:
        profile = {"images": self.count, "size_px": self.size, "labels": labels}
        return (DataUse(f"scenes {self.split}", self.key[:DIGEST_LENGTH], context, self.name, profile),)


@dataclass(frozen=True)
class Folder(DataSet):
    """One split of a data set on disk, named by content and never by path.

    digest: sha256 over the annotation file and the image list with the images' contents. drawn: use so many images,
    drawn by chance so that fewer are part of more (casl.data.coco.sample); 0 for all. fold: which draw; those of
    another are drawn anew. boxes: "inclusive" where entities are derived from panoptic PNGs, as EntitySeg's converter
    writes them. without: as of DataSet.
    """

    names_classes: ClassVar[bool] = True

    labels: str
    digest: str
    classes: int
    count: int
    drawn: int = 0
    boxes: str = "exact"
    without: tuple[int, ...] = ()
    fold: int = 0

    def __post_init__(self) -> None:
        check_choice("label kind", self.labels, LABELS)
        self._check_without(self.classes)
        check_choice("count of boxes", self.boxes, BOXES)
        if not 0 <= self.drawn <= self.count:
            raise SpecError(f"drawn must be 1 to {self.count} images, or 0 for all, got {self.drawn}")
        check_within("fold", self.fold, 0, MOST_ITERS)
        if self.fold and not 0 < self.drawn < self.count:
            raise SpecError(f"fold {self.fold} of all {self.count} images: only fewer are drawn, and so have folds")

    @property
    def title(self) -> str:
        fold = f" · fold {self.fold}" if self.fold else ""
        images = f"{self.drawn} of {self.count} images" if self.drawn else f"{self.count} images"
        return f"folder {self.split} · {self.labels}{self.left_out} · {images}{fold} · {self.digest[:8]}"

    @property
    def images(self) -> int:
        return self.drawn or self.count

    @property
    def content(self) -> tuple[str, str]:
        return f"{self.split}.{self.labels}", self.key if self.without else self.digest

    def read_by(self, context: str, labels: str, threshold: float = 0.0) -> tuple[DataUse, ...]:
        profile = {"images": self.images, "classes": self.classes, "labels": self.labels}
        content = self.key if self.drawn or self.without else self.digest
        return (DataUse(f"{self.split} {self.labels}", content[:DIGEST_LENGTH], context, self.name, profile),)


@dataclass(frozen=True)
class Start(Stage, ABC):
    """A trained backbone that detectors start from in the place of ImageNet's weights. Kinds: Pretrain, Contrast.

    data: what it learns from. The result is a file of weights; the backbone's are named as in a detector.
    """

    backbone: str
    data: Stage
    seed: int = field(default=0, kw_only=True)

    @property
    @abstractmethod
    def stands_for(self) -> str:
        """What it is, for notes: "classifier of crops of other shapes, 250 iterations"."""


@dataclass(frozen=True)
class Pretrain(Start):
    """Stage 0: a backbone that classifies crops of objects: where ImageNet's weights cannot be had, and where a table
    asks what classes without boxes teach.

    data: what is cropped; in ImageNet's place scenes with objects of other classes than any detector learns. size: side
    of a crop in pixels. before: the start that this one goes on from. weights, frozen_stages: as in Model.
    """

    of_method: ClassVar[bool] = False
    VERSION: ClassVar[int] = 2

    size: int
    batch: int
    iters: int
    lr: float
    before: Start | None = None
    weights: str = "random"
    frozen_stages: int = 0

    def __post_init__(self) -> None:
        check_name("backbone", self.backbone)
        check_within("iterations", self.iters, 1, MOST_ITERS)
        check_within("size of a crop", self.size, SMALLEST_SIDE, LARGEST_SIDE)
        check_within("batch", self.batch, 1, MOST_COUNTED)
        check_within("frozen_stages", self.frozen_stages, 0, 5)
        check_seed(self.seed)
        if not 0 < self.lr <= LARGEST_RATE:
            raise SpecError(f"lr must be positive, at most {LARGEST_RATE:g}; got {self.lr:g}")
        if self.before is not None and self.weights != "random":
            raise SpecError(f"a backbone starts from {self.before.name} or from {self.weights!r} weights, not both")
        if self.before is not None and self.before.backbone != self.backbone:
            raise SpecError(f"the start before is a {self.before.backbone}, this one a {self.backbone}")

    @property
    def stands_for(self) -> str:
        return f"classifier of crops of {self._cropped}, {self.iters} iterations"

    @property
    def weights_read(self) -> tuple[str, str] | None:
        return None if self.weights == "random" else (self.backbone, self.weights)

    @property
    def _cropped(self) -> str:
        if isinstance(self.data, Scenes) and self.data.shapes == "others":
            return "other shapes"
        return f"{self.data.images} images" if isinstance(self.data, DataSet) else "objects"

    def work(self, iters: int) -> Work:
        return Work(self.iters, ((self.kind, self.backbone, self.size, self.batch), (self.kind,)))

    def reads(self) -> tuple[DataUse, ...]:
        return self.data.read_by("training", "objects")
