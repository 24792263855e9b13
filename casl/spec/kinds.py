"""The stage kinds of CA-SSL with all facts about them. Their records are in records.py, data in data_kinds.py.

Method: Labeler -> PseudoLabel -> Warmup -> Finetune -> Evaluate (CA-SSL sec. 3.1).
Every check here runs when a spec is written, before anything is planned or computed.

A new kind is a class here, a line in the catalog's STAGES and a module in casl/stages. What other rooms must know of it
it says itself, by the class variables and methods of Stage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from casl.catalog import check_name, names, row
from casl.errors import SpecError
from casl.rows import PARTS
from casl.spec.data_kinds import BOXES, DIGEST_LENGTH, DataSet, Start, named_classes
from casl.spec.records import LARGEST_SIDE, MOST_COUNTED, OWN_WAY, SMALLEST_SIDE, Applied, Model, Recipe
from casl.spec.schedule import Schedule, check_schedule, cosine, factor_at, is_trunk, iterations
from casl.spec.stage import DataUse, Stage, Work, check_choice, check_seed, check_within, digest
from casl.spec.starts import FEATURES

MAPS = ("panoptic", "semantic")  # forms of metrics that read a map of stuff


def boxes_of(data: Stage) -> str:
    """How the boxes of labels are counted, one of BOXES: a data set says it, pseudo labels are like their labeler's."""
    return data.boxes if isinstance(data, DataSet | PseudoLabel) else BOXES[0]


@dataclass(frozen=True)
class Train(Stage):
    """A detector after the whole of its schedule. Kinds: Labeler, Warmup, Finetune, Joint.

    The same fields with a shorter schedule are an earlier state of the same training; see runner/segments.py. Under a
    cosine they are another training: nothing of it is shared, and of the schedule only the length is kept.
    init: a trained stage whose `parts` start this one; classifier: how its output is fitted to `model.classes`.
    pretrained: where the backbone starts from before `init` is applied; None leaves it to `model.weights`.
    """

    VERSION: ClassVar[int] = 2

    model: Model
    data: Stage
    labels: str
    recipe: Recipe
    schedule: Schedule
    seed: int = 0
    init: Train | None = None
    parts: tuple[str, ...] = PARTS
    classifier: str = "replicate"
    pretrained: Start | None = None

    def __post_init__(self) -> None:
        check_schedule(self.schedule)
        check_seed(self.seed)
        if not self.shares_beginnings:
            object.__setattr__(self, "schedule", ((self.iters, 1.0),))  # one length, one key, whatever its drops were
        check_choice("label kind", self.labels, ("objects", "entities", "pseudo", "keypoints", "panoptic"))
        self.model.check_labels(self.labels)
        check_choice("classifier initialisation", self.classifier, ("replicate", "random", "scaled"))
        for part in self.parts:
            check_choice("part", part, PARTS)
        if isinstance(self.data, DataSet) and self.data.without and self.labels != "objects":
            raise SpecError(f"classes are left out of the labels of objects; {self.kind} learns {self.labels}")
        known = getattr(self.data, "classes", None)
        if self.labels == "objects" and known is not None and self.model.classes not in (1, known):
            raise SpecError(f"the model has {self.model.classes} classes, its data {known}; 1 is class-agnostic")
        self._check_pasting()

    def _check_pasting(self) -> None:
        if not self.recipe.copy_paste or not isinstance(self.data, PseudoLabel):
            return  # whether a data set has masks is known when it is read
        detector = self.data.labeler.model
        if not detector.predicts("masks"):
            raise SpecError(
                f"copy_paste {self.recipe.copy_paste:g} pastes objects by their masks, and the pseudo labels of "
                f"{detector.detector!r} have boxes only\n  label with a detector of masks, such as condinst, or "
                "leave copy_paste at 0."
            )

    @property
    def leaves_teacher(self) -> bool:
        """Whether weights of an average of the model are kept, which an evaluation may be of."""
        return False

    @property
    def iters(self) -> int:
        """Length of the training from its first iteration."""
        return iterations(self.schedule)

    @property
    def reads_weights(self) -> bool:
        """Whether its backbone starts from `model.weights`: no part of `init` takes their place."""
        return self.model.weights != "random" and (self.init is None or "backbone" not in self.parts)

    @property
    def weights_read(self) -> tuple[str, str] | None:
        return (self.model.backbone, self.model.weights) if self.reads_weights else None

    @property
    def boxes(self) -> str:
        """How the boxes it learns are counted, one of BOXES: as its data's, or those its labeler learned."""
        return boxes_of(self.data)

    def until(self, schedule: Schedule) -> Train:
        """The same training after another schedule, normally a beginning of its own."""
        return replace(self, schedule=schedule)

    @property
    def shares_beginnings(self) -> bool:
        """Whether trainings that differ in length have states in common: not where the rate depends on the length."""
        return self.recipe.decay != "cosine"

    @property
    def is_continued(self) -> bool:
        """Whether longer trainings may continue from its end, so that all of its state is kept."""
        return self.shares_beginnings and is_trunk(self.schedule)

    def factor_at(self, iteration: int) -> float:
        """What the rate is multiplied by at an iteration (0-based), besides the ramp."""
        if self.recipe.decay == "cosine":
            return cosine(iteration, self.iters)
        return factor_at(self.schedule, iteration)

    @cached_property
    def family(self) -> str:
        """Key shared by all trainings that differ in nothing but the schedule: that of one iteration. One that shares
        no beginning is alone in its family."""
        if not self.shares_beginnings:
            return self.key
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
        divisible = row("detector", self.model.detector).divisible and self.model.usage == 1.0
        return min(wanted, self.recipe.batch) if divisible else 1

    def reads(self) -> tuple[DataUse, ...]:
        return self.data.read_by("training", self.labels)


@dataclass(frozen=True)
class Labeler(Train):
    """Stage 1: the pseudo labeler, trained on labeled data (eq. 1). model.classes is 1 when class-agnostic."""

    plural: ClassVar[str] = "Labelers"
    about: ClassVar[str] = "what labels the images"
    is_of_labels: ClassVar[bool] = True
    has_default_model: ClassVar[bool] = True


@dataclass(frozen=True)
class Predict(Stage, ABC):
    """A trained detector applied to images at a test size. Kinds: PseudoLabel, Evaluate."""

    VERSION: ClassVar[int] = 2

    @property
    @abstractmethod
    def trained(self) -> Train:
        """The training whose detector predicts."""

    @property
    @abstractmethod
    def sides(self) -> tuple[int, int]:
        """Short and long side of the test image in pixels."""

    def _check_sides(self) -> None:
        short, long = self.sides
        if not SMALLEST_SIDE <= short <= long <= LARGEST_SIDE:
            raise SpecError(
                f"a test image has a short side of {SMALLEST_SIDE} px or more, and a long one at least as large, up to "
                f"{LARGEST_SIDE} px; got size {short} and max_size {long}"
            )

    def _work_on(self, data: Stage, metric: str = "", views: int = 1) -> Work:
        model, shape = self.trained.model, (self.kind, *self.sides)
        what = (*shape, metric)
        alike = ((*what, model), (*what, model.detector, model.backbone), shape)
        images = data.images if isinstance(data, DataSet) else 1
        return Work(images * views, alike, float(self.trained.recipe.batch))


@dataclass(frozen=True)
class PseudoLabel(Predict):
    """Stage 1b: the labeler's predictions on unlabeled images, with their scores (eq. 2 before the threshold).

    size, max_size: short and long side of the test image in pixels. non_overlap: each pixel to one entity only. Boxes
    are counted as in the data that the labeler learned from.
    """

    plural: ClassVar[str] = "Pseudo labels"
    about: ClassVar[str] = "with precision and recall, where the truth is known"

    labeler: Train
    data: DataSet
    size: int
    max_size: int
    non_overlap: bool = True
    detections: int = 100

    def __post_init__(self) -> None:
        self._check_sides()
        check_within("detections", self.detections, 1, MOST_COUNTED)

    @property
    def trained(self) -> Train:
        return self.labeler

    @property
    def title(self) -> str:
        return f"pseudo labels of {self.data.images} images ← {self.labeler.chain} · seed {self.labeler.seed}"

    @property
    def boxes(self) -> str:
        """As its labeler's."""
        return self.labeler.boxes

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
        profile = {"images": self.data.images, "threshold": threshold, "labeler": self.labeler.name}
        return (DataUse("pseudo labels", self.key[:DIGEST_LENGTH], context, self.name, profile),)


@dataclass(frozen=True)
class Warmup(Train):
    """Stage 2: the target detector trained on pseudo labels (eq. 4).

    threshold: delta of eq. 2, applied when labels are read: score > threshold stays, images left empty drop out
    (eq. 3). It has no meaning, and stays at 0, when `data` is ground truth.
    """

    plural: ClassVar[str] = "Warmups"
    about: ClassVar[str] = "on which labels, for how long"
    is_of_labels: ClassVar[bool] = True
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
    """One metric of one trained model on one split. size, max_size as in PseudoLabel.

    Boxes of entities are counted as in `data`. classes: positions, by rising category id, of the classes whose objects
    are to be found, as DataSet.without; () for all. above: only predictions that score above this are judged, as a
    warmup reads labels above delta; 0 for all. of: whose weights, the "student"'s, which every training has, or those
    of the "teacher" that is an average of it. applied: how the detector is applied.
    """

    measures: ClassVar[bool] = True

    model: Train
    data: Stage
    labels: str
    metric: str
    size: int
    max_size: int
    classes: tuple[int, ...] = ()
    above: float = 0.0
    of: str = "student"
    applied: Applied = OWN_WAY

    def __post_init__(self) -> None:
        self._check_sides()
        check_choice("weights to evaluate", self.of, ("student", "teacher"))
        if self.of == "teacher" and not self.model.leaves_teacher:
            raise SpecError(f"{self.model.name} leaves no weights of a teacher: only an average of the student does")
        check_name("metric", self.metric)
        self.applied.check(self.model.model, self.labels, self.size)
        check_choice("label kind", self.labels, ("objects", "entities", "keypoints", "panoptic"))
        if row("metric", self.metric).form == FEATURES:
            raise SpecError(f"metric {self.metric!r} judges features: casl.spec.probe() measures it")
        if row("metric", self.metric).form in MAPS and not self.model.model.predicts("semantic"):
            able = [name for name, known in names("detector").items() if "semantic" in known.outputs]  # type: ignore[union-attr]
            detector = self.model.model.detector
            raise SpecError(
                f"metric {self.metric!r} judges maps of stuff, and {detector!r} has none; {', '.join(able)} have"
            )
        if not 0.0 <= self.above < 1.0:
            raise SpecError(f"a score to be above is in [0, 1), got {self.above}")
        if self.classes and not row("metric", self.metric).chooses:
            able = [name for name, known in names("metric").items() if known.chooses]  # type: ignore[union-attr]
            raise SpecError(f"metric {self.metric!r} cannot be told which classes to find; {', '.join(able)} can")
        there = getattr(self.data, "classes", None)
        if there is not None and any(not 0 <= place < there for place in self.classes):
            raise SpecError(f"classes to find are positions from 0 to {there - 1}, got {self.classes}")

    @property
    def trained(self) -> Train:
        return self.model

    @property
    def seed(self) -> int:
        """That of the training."""
        return self.model.seed

    @property
    def sides(self) -> tuple[int, int]:
        return self.size, self.max_size

    @property
    def title(self) -> str:
        words = [f"evaluate {self.metric}"]
        words += [f"of {named_classes(self.classes)}"] * bool(self.classes)
        words += [f"score > {self.above:g}"] * bool(self.above)
        words += ["of the teacher"] * (self.of == "teacher") + self.applied.words
        return " · ".join([*words, self.model.chain, f"seed {self.model.seed}"])

    @property
    def figures_of(self) -> str:
        return self.metric

    def work(self, iters: int) -> Work:
        return self._work_on(self.data, self.metric, len(self.applied.views))

    def reads(self) -> tuple[DataUse, ...]:
        return self.data.read_by("evaluation", self.labels)
