"""The stage kinds of CA-SSL with all facts about them, and the records they are made of.

Data is in data_kinds.py. Method: Labeler -> PseudoLabel -> Warmup -> Finetune -> Evaluate (CA-SSL sec. 3.1).
Every check here runs when a spec is written, before anything is planned or computed.

A new kind is a class here, a line in the catalog's STAGES and a module in casl/stages. What other rooms must know of it
it says itself, by the class variables and methods of Stage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from casl.catalog import check_name, row
from casl.errors import SpecError, unknown
from casl.spec.data_kinds import DIGEST_LENGTH, DataSet, Folder, Pretrain, Scenes
from casl.spec.schedule import Schedule, check_schedule, iterations
from casl.spec.stage import DataUse, Record, Stage, Work, check_choice, check_least, digest

PARTS = ("backbone", "neck", "head", "classifier")
# fields of Model that only some detectors have (casl.catalog.Detector.settings) -> what stands for "left out"
SETTINGS = {"entity_head": False, "head_norm": False, "keypoints": 0, "rois": 0, "stuff": 0, "towers": 4}


@dataclass(frozen=True)
class Model(Record):
    """Architecture of a detector (method reference sec. 1 and 2).

    channels: of neck and head. ranges: upper object sizes in pixels of levels P3..P6. weights: "random" or the name of
    a file with pretrained backbone weights. frozen_stages: ResNet stem and stages kept fixed, with all batch norms, as
    detectron2's FREEZE_AT. entity_head: the EntitySeg controller, kernel bank and overlap loss. rois: regions an R-CNN
    draws from an image, 0 for as many as suit its size. clip: how FCOS keeps box distances above zero, "relu" as the
    reference or "projected", which differs in gradients only and loses no side for good. head_norm: group norms in
    RetinaNet's towers. options: further settings of the detector, (name, value) sorted by name.

    Raises:
        SpecError: a value out of range, an option the detector does not know, or a setting that it lacks.
    """

    detector: str
    backbone: str
    classes: int
    channels: int = 256
    mask_channels: int = 128
    towers: int = 4
    ranges: tuple[int, ...] = (64, 128, 256, 512)
    weights: str = "random"
    drop_path: float = 0.0
    frozen_stages: int = 0
    entity_head: bool = False
    stuff: int = 0
    keypoints: int = 0
    rois: int = 0
    clip: str = "relu"
    head_norm: bool = False
    options: tuple[tuple[str, str | int | float | bool], ...] = ()

    def __post_init__(self) -> None:
        self._check_settings()
        check_choice("clip of distances", self.clip, ("relu", "projected"))
        check_name("backbone", self.backbone)
        check_least("number of classes", self.classes, 1)
        check_least("number of channels", self.channels, 1)
        if len(self.ranges) != 4 or list(self.ranges) != sorted(set(self.ranges)):
            raise SpecError(f"ranges are four rising object sizes in pixels, got {self.ranges}")

    def _check_settings(self) -> None:
        known = row("detector", self.detector).settings
        for name, default in SETTINGS.items():
            if name not in known and getattr(self, name) != default:
                theirs = ", ".join(n for n in known if n in SETTINGS) or "none of these settings"
                raise SpecError(
                    f"detector {self.detector!r} has no {name}, got {getattr(self, name)!r}; it has {theirs}.\n"
                    f"  leave {name} out, or choose another detector: it would change the key and nothing else."
                )
        names = [name for name, _ in self.options]
        for name in names:
            if name in SETTINGS or name not in known:
                options = [n for n in known if n not in SETTINGS]
                raise SpecError(unknown(f"option of detector {self.detector!r}", name, options))
        if names != sorted(set(names)):
            raise SpecError(f"options are sorted by name and each is given once, got {', '.join(names)}")

    def predicts(self, output: str) -> bool:
        """Whether the detector gives "masks", "entities" (one a pixel), "keypoints" or "semantic" beside boxes."""
        return output in row("detector", self.detector).outputs


@dataclass(frozen=True)
class Recipe(Record):
    """How a detector is optimised, without its length.

    lr is the rate after ramp-up; at iteration i < ramp_iters it is lr x (ramp_factor + (1 - ramp_factor) i/ramp_iters).
    sizes: short sides in pixels to choose from. precision: "float32" or "mixed".
    """

    lr: float
    batch: int
    sizes: tuple[int, ...]
    max_size: int
    optimizer: str = "adamw"
    weight_decay: float = 0.05
    ramp_iters: int = 0
    ramp_factor: float = 0.001
    augmentation: str = "weak"
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_name("optimizer", self.optimizer)
        check_name("augmentation", self.augmentation)
        check_choice("precision", self.precision, ("float32", "mixed"))
        check_least("batch", self.batch, 1)
        check_least("ramp_iters", self.ramp_iters, 0)
        if self.lr <= 0:
            raise SpecError(f"lr must be positive, got {self.lr}")
        if not self.sizes or min(self.sizes) < 32 or max(self.sizes) > self.max_size:
            raise SpecError(f"sizes are short sides of 32 px or more, max_size at least as large; got {self}")


@dataclass(frozen=True)
class Train(Stage):
    """A detector after the whole of its schedule. Kinds: Labeler, Warmup, Finetune.

    The same fields with a shorter schedule are an earlier state of the same training; see runner/segments.py.
    init: a trained stage whose `parts` start this one; classifier: how its output is fitted to `model.classes`.
    pretrained: where the backbone starts from before `init` is applied; None leaves it to `model.weights`.
    """

    model: Model
    data: Stage
    labels: str
    recipe: Recipe
    schedule: Schedule
    seed: int = 0
    init: Train | None = None
    parts: tuple[str, ...] = PARTS
    classifier: str = "replicate"
    pretrained: Pretrain | None = None

    def __post_init__(self) -> None:
        check_schedule(self.schedule)
        check_choice("label kind", self.labels, ("objects", "entities", "pseudo", "keypoints", "panoptic"))
        check_choice("classifier initialisation", self.classifier, ("replicate", "random"))
        for part in self.parts:
            check_choice("part", part, PARTS)
        known = getattr(self.data, "classes", None)
        if self.labels == "objects" and known is not None and self.model.classes not in (1, known):
            raise SpecError(f"the model has {self.model.classes} classes, its data {known}; 1 is class-agnostic")

    @property
    def iters(self) -> int:
        """Length of the training from its first iteration."""
        return iterations(self.schedule)

    def until(self, schedule: Schedule) -> Train:
        """The same training after another schedule, normally a beginning of its own."""
        return replace(self, schedule=schedule)

    @cached_property
    def family(self) -> str:
        """Key shared by all trainings that differ in nothing but the schedule: that of one iteration."""
        payload = self.payload()
        return digest({**payload, "fields": {**payload["fields"], "schedule": [[1, 1]]}})

    @property
    def title(self) -> str:
        words = [self.chain, f"{self.model.detector} {self.model.backbone}", *self._label_words()]
        words += [self.recipe.augmentation] * (self.recipe.augmentation != "weak")
        words += ["from " + ", ".join(self.parts)] * (self.init is not None and self.parts != PARTS)
        return " · ".join([*words, f"seed {self.seed}"])

    def _label_words(self) -> list[str]:
        """What a title says of the labels."""
        return []

    @property
    def brief(self) -> str:
        return f"{self.kind} {self.iters} it"

    @property
    def chain(self) -> str:
        """The training and those it starts from, last first: "finetune 120 it ← warmup 360 it"."""
        return self.brief + (f" ← {self.init.chain}" if self.init else "")

    def work(self, iters: int) -> Work:
        model, shape = self.model, (self.recipe.max_size, self.recipe.batch)
        near = ("train", model.detector, model.backbone, *shape)
        return Work(iters, (("train", model, self.recipe, self.labels == "pseudo"), near, (self.kind, *shape)))

    def ranks(self, wanted: int) -> int:
        return min(wanted, self.recipe.batch) if row("detector", self.model.detector).divisible else 1

    def reads(self) -> tuple[DataUse, ...]:
        return self.data.read_by("training", self.labels)


@dataclass(frozen=True)
class Labeler(Train):
    """Stage 1: the pseudo labeler, trained on labeled data (eq. 1). model.classes is 1 when class-agnostic."""

    VERSION: ClassVar[int] = 1
    plural: ClassVar[str] = "Labelers"
    about: ClassVar[str] = "what labels the images"
    has_default_model: ClassVar[bool] = True


@dataclass(frozen=True)
class Predict(Stage, ABC):
    """A trained detector applied to images at a test size. Kinds: PseudoLabel, Evaluate."""

    @property
    @abstractmethod
    def trained(self) -> Train:
        """The training whose detector predicts."""

    @property
    @abstractmethod
    def sides(self) -> tuple[int, int]:
        """Short and long side of the test image in pixels."""

    def _work_on(self, data: Stage, metric: str = "") -> Work:
        model, shape = self.trained.model, (self.kind, *self.sides)
        what = (*shape, metric)
        alike = ((*what, model), (*what, model.detector, model.backbone), shape)
        images = data.images if isinstance(data, DataSet) else 1
        return Work(images, alike, float(self.trained.recipe.batch))


@dataclass(frozen=True)
class PseudoLabel(Predict):
    """Stage 1b: the labeler's predictions on unlabeled images, with their scores (eq. 2 before the threshold).

    size, max_size: short and long side of the test image in pixels. non_overlap: each pixel to one entity only.
    """

    plural: ClassVar[str] = "Pseudo labels"
    about: ClassVar[str] = "with precision and recall, where the truth is known"

    labeler: Train
    data: Stage
    size: int
    max_size: int
    non_overlap: bool = True
    detections: int = 100

    @property
    def trained(self) -> Train:
        return self.labeler

    @property
    def title(self) -> str:
        count = f" of {self.data.count} images" if isinstance(self.data, Scenes | Folder) else ""
        return f"pseudo labels{count} ← {self.labeler.chain} · seed {self.labeler.seed}"

    @property
    def brief(self) -> str:
        return "pseudo labels"

    @property
    def sides(self) -> tuple[int, int]:
        return self.size, self.max_size

    def work(self, iters: int) -> Work:
        return self._work_on(self.data)

    def ranks(self, wanted: int) -> int:
        return wanted

    def reads(self) -> tuple[DataUse, ...]:
        return self.data.read_by("labeling", "images")

    def read_by(self, context: str, labels: str, threshold: float = 0.0) -> tuple[DataUse, ...]:
        images = getattr(self.data, "count", 0)
        profile = {"images": images, "threshold": threshold, "labeler": self.labeler.name}
        return (DataUse("pseudo labels", self.key[:DIGEST_LENGTH], context, self.name, profile),)


@dataclass(frozen=True)
class Warmup(Train):
    """Stage 2: the target detector trained on pseudo labels (eq. 4).

    threshold: delta of eq. 2, applied when labels are read: score > threshold stays, images left empty drop out
    (eq. 3). It has no meaning, and stays at 0, when `data` is ground truth.
    """

    plural: ClassVar[str] = "Warmups"
    about: ClassVar[str] = "on which labels, for how long"
    has_default_model: ClassVar[bool] = True
    is_compared: ClassVar[bool] = True

    threshold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.threshold <= 1.0:
            raise SpecError(f"threshold (delta) is a probability in [0, 1], got {self.threshold}")
        if (self.labels == "pseudo") != isinstance(self.data, PseudoLabel):
            raise SpecError("labels='pseudo' goes with the data of a pseudolabel stage, and only with it")

    def _label_words(self) -> list[str]:
        return [f"δ {self.threshold:g}"] if self.labels == "pseudo" else []

    def reads(self) -> tuple[DataUse, ...]:
        return self.data.read_by("training", self.labels, self.threshold)


@dataclass(frozen=True)
class Finetune(Train):
    """Stage 3: the target detector trained on class-specific ground truth, starting from a warmup (eq. 5)."""

    plural: ClassVar[str] = "Finetunes"
    about: ClassVar[str] = "from which warmup"


@dataclass(frozen=True)
class Evaluate(Predict):
    """One metric of one trained model on one split. size, max_size as in PseudoLabel."""

    measures: ClassVar[bool] = True

    model: Train
    data: Stage
    labels: str
    metric: str
    size: int
    max_size: int

    def __post_init__(self) -> None:
        check_name("metric", self.metric)
        check_choice("label kind", self.labels, ("objects", "entities", "keypoints", "panoptic"))

    @property
    def trained(self) -> Train:
        return self.model

    @property
    def sides(self) -> tuple[int, int]:
        return self.size, self.max_size

    @property
    def title(self) -> str:
        return f"evaluate {self.metric} · {self.model.chain} · seed {self.model.seed}"

    @property
    def figures_of(self) -> str:
        return self.metric

    def work(self, iters: int) -> Work:
        return self._work_on(self.data, self.metric)

    def reads(self) -> tuple[DataUse, ...]:
        return self.data.read_by("evaluation", self.labels)
