"""The stage kind of methods that learn from labeled and unlabeled images in one batch, with a teacher.

STAC, self-training, certainty-aware pseudo labels, Soft Teacher and Unbiased Teacher are rows of data over its fields:
joint_methods.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from casl.catalog import check_name, row
from casl.errors import SpecError
from casl.rows import Detector
from casl.spec.data_kinds import DataSet
from casl.spec.kinds import PseudoLabel, Train
from casl.spec.records import LARGEST_RATE
from casl.spec.schedule import MOST_ITERS
from casl.spec.stage import DataUse, Stage, Work, check_choice, check_within

TEACHERS = ("fixed", "ema")
MIXES = ("sum", "mean", "share", "normalised")
BOX_RULES = ("all", "none", "spread")
SAMPLINGS = ("ratio", "union")
ABSENT = ("refuse", "leave out")
OF_EMA = ("momentum", "ramp", "score", "floor", "soft_background")  # fields that say something of an average only


@dataclass(frozen=True)
class Joint(Train):
    """A detector, the student, that learns from labeled images (`data`) and from boxes that a teacher finds in
    unlabeled ones. `recipe.augmentation` is the view of labeled images; `recipe.batch` counts images of both kinds.

    unlabeled: scored labels of a pseudolabel stage for a fixed teacher, a split of images for a teacher that is an
    exponential average of the student. ratio: labeled and unlabeled images of a batch; together `recipe.batch`.
    teacher: "fixed" or "ema". momentum: of the average. ramp: it follows min(momentum, 1 - 1/(t + 1)), with t counted
    from the end of the burn-in, so that it begins as the plain mean of all students. burn_in: first iterations, whose
    batches are labeled images alone; at their end the teacher is a copy of the student.

    rise: iterations after the burn-in in which w grows from 0, in a straight line.

    unsup_weight: w of the losses of unlabeled images. unsup_box_weight: of their box losses, None for the same. mix:
    how losses of both kinds add up, "sum": L + w U; "mean": (L + w U) / 2; "share": (L + w U) / (1 + w); "normalised":
    (L + w r U) / (1 + w), where r is the ratio of the moving averages of L and U.

    threshold: scores of pseudo boxes must exceed it. score: which one, "detection" as predicted or "class", the class
    probability alone. relax: of an image whose best score is lower, that one is the threshold, and equal passes.
    box_rule: which pseudo boxes teach boxes and masks: "all" that pass; "none"; "spread": those that score above
    `floor` and whose sides the teacher is sure of, up to `spread` in units of the box's size.
    soft_background: the loss of background is weighed by how sure the teacher is of it. focal: gamma of a focal loss of
    the classes of regions, 0 for cross-entropy.

    Of a fixed teacher, rules by class. They follow from what the student's p * v of foreground adds up to in each,
    statistics that are part of the state (casl/models/class_statistics.py). threshold_range: lowest and highest
    threshold of a class, () for one of all. threshold_power: gamma 1, 0 for `threshold` everywhere. weight_power: gamma
    2 of the weights of foreground losses, 0 for 1. weight_range: what weights are clipped to, () for no bound.
    least_instances: of every class, until which there is one threshold and no weight. absent: what becomes of a class
    without any instance, "refuse" or "leave out". sampling: "ratio", or "union": both kinds are in a batch in
    proportion to how many images there are of each, the loss is the mean over images, and `ratio` is left out.

    views: augmentation of unlabeled images for the teacher and for the student. view_sizes: short sides of the two to
    choose from, px; () for the recipe's. second_view: labeled images are in each batch in this one too, in the
    student's sizes; "" for once.
    """

    plural: ClassVar[str] = "Joint trainings"
    about: ClassVar[str] = "on labeled and unlabeled images at once"

    unlabeled: Stage | None = None
    ratio: tuple[int, int] = (1, 1)
    teacher: str = "fixed"
    momentum: float = 0.999
    ramp: bool = True
    burn_in: int = 0
    rise: int = 0
    unsup_weight: float = 1.0
    unsup_box_weight: float | None = None
    mix: str = "sum"
    threshold: float = 0.5
    score: str = "detection"
    relax: bool = False
    box_rule: str = "all"
    floor: float = 0.0
    spread: float = 0.02
    soft_background: bool = False
    focal: float = 0.0
    views: tuple[str, str] = ("weak", "strong")
    view_sizes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    second_view: str = ""
    threshold_range: tuple[float, ...] = ()
    threshold_power: float = 0.0
    weight_power: float = 0.0
    weight_range: tuple[float, ...] = ()
    least_instances: int = 10
    absent: str = "refuse"
    sampling: str = "ratio"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("teacher", self.teacher, TEACHERS)
        check_choice("mix of losses", self.mix, MIXES)
        check_choice("rule for pseudo boxes", self.box_rule, BOX_RULES)
        check_choice("score of pseudo boxes", self.score, ("detection", "class"))
        for view in (*self.views, *[self.second_view] * bool(self.second_view)):
            check_name("augmentation", view)
        check_choice("sampling of images", self.sampling, SAMPLINGS)
        check_choice("treatment of absent classes", self.absent, ABSENT)
        self._check_numbers()
        self._check_rules()
        self._check_data()
        self._check_teacher()

    def _check_numbers(self) -> None:
        if self.sampling == "ratio" and (min(self.ratio) < 1 or sum(self.ratio) != self.recipe.batch):
            raise SpecError(
                f"labeled and unlabeled images make up a batch of {self.recipe.batch}, at least one of each; "
                f"got {self.ratio[0]} + {self.ratio[1]}"
            )
        for name, value in (("threshold", self.threshold), ("floor", self.floor)):
            if not 0.0 <= value <= 1.0:
                raise SpecError(f"{name} is a probability in [0, 1], got {value}")
        if not 0.0 <= self.momentum < 1.0:
            raise SpecError(f"momentum of the teacher is in [0, 1), got {self.momentum}")
        weights = (self.unsup_weight, self.unsup_weight if self.unsup_box_weight is None else self.unsup_box_weight)
        for name, number in (("weight of unlabeled images", min(weights)), ("focal", self.focal)):
            check_within(name, number, 0, LARGEST_RATE)
        check_within("weight of unlabeled images", max(weights), 0, LARGEST_RATE)
        check_within("burn_in", self.burn_in, 0, MOST_ITERS)
        check_within("rise", self.rise, 0, MOST_ITERS)
        check_within("spread", self.spread, 0, LARGEST_RATE)

    def _check_rules(self) -> None:
        for name, power in (("threshold_power", self.threshold_power), ("weight_power", self.weight_power)):
            if not 0.0 <= power <= 1.0:
                raise SpecError(f"{name} is a power in [0, 1], 0 for none, got {power}")
        for name, limits, middle in (
            ("threshold_range", self.threshold_range, self.threshold),
            ("weight_range", self.weight_range, 1.0),
        ):
            if limits and not (len(limits) == 2 and 0.0 <= limits[0] <= middle <= limits[1]):
                raise SpecError(f"{name} is two numbers from 0 on around {middle:g}, or () for none, got {limits}")
        if self.threshold_range and self.threshold_range[1] > 1.0:
            raise SpecError(f"thresholds are probabilities in [0, 1], got {self.threshold_range}")
        check_within("least_instances", self.least_instances, 1, MOST_ITERS)
        if self.threshold_power and not self.threshold_range:
            raise SpecError("a threshold_power needs a threshold_range: labels are read above its lowest")
        if self.has_rules and (self.teacher != "fixed" or self.relax or self.box_rule != "all" or self.focal):
            raise SpecError("rules by class go with a fixed teacher, box_rule 'all', and neither relax nor focal")
        if self.sampling == "union" and not (self.has_rules and self.ratio == (1, 1) and self.mix != "normalised"):
            raise SpecError("sampling 'union' goes with rules by class, without a ratio or moving averages of losses")

    @property
    def leaves_teacher(self) -> bool:
        return self.teacher == "ema"

    @property
    def lowest(self) -> float:
        """What scores must exceed for a stored label to be read at all, whatever the image and the class."""
        return self.threshold_range[0] if self.threshold_range else self.threshold

    @property
    def has_rules(self) -> bool:
        """Whether thresholds of pseudo boxes or weights of losses are by class."""
        return bool(self.threshold_range or self.weight_power)

    def _check_data(self) -> None:
        if self.labels != "objects":
            raise SpecError(f"a joint training learns objects, got labels {self.labels!r}")
        if self.unlabeled is None or (self.teacher == "fixed") != isinstance(self.unlabeled, PseudoLabel):
            kind = self.unlabeled.kind if self.unlabeled else "nothing"
            raise SpecError(
                f"a fixed teacher is the labels of a pseudolabel stage, an average labels a split of images; "
                f"teacher {self.teacher!r} got {kind}"
            )
        if isinstance(self.unlabeled, PseudoLabel) and self.unlabeled.labeler.model.classes != self.model.classes:
            raise SpecError(
                f"pseudo labels of {self.unlabeled.labeler.model.classes} classes for a model of "
                f"{self.model.classes}: their labeler must be class-specific where the model is"
            )

    def _check_teacher(self) -> None:
        if self.teacher == "fixed":
            defaults = {f.name: f.default for f in fields(self)}
            given = [name for name in OF_EMA if getattr(self, name) != defaults[name]]
            given += ["box_rule='spread'"] * (self.box_rule == "spread")
            if given:
                raise SpecError(f"a fixed teacher is its stored labels: {', '.join(given)} must be left out")
        known: Detector = row("detector", self.model.detector)
        needs = {
            "score 'class'": (self.score == "class", ("dense",)),
            "a focal loss of regions": (self.focal > 0, ("regions",)),
            "rules by class": (self.has_rules, ("dense", "regions", "intervals")),
            "soft_background": (self.soft_background, ("dense", "regions")),
            f"box_rule {self.box_rule!r}": (self.box_rule != "all", ("dense", "regions")),
            "a teacher's masks or keypoints": (self.leaves_teacher and bool(known.outputs), ("dense",)),
        }
        for what, (is_asked, able) in needs.items():
            if is_asked and known.teaches not in able:
                raise SpecError(f"detector {self.model.detector!r} cannot take part with {what}: see docs/method.md")

    def weights_of(self, name: str) -> float:
        """The weight of a loss of unlabeled images, by its name."""
        of_boxes = self.unsup_weight if self.unsup_box_weight is None else self.unsup_box_weight
        return of_boxes if is_of_boxes(name) else self.unsup_weight

    @property
    def passes(self) -> tuple[int, int]:
        """How often labeled and unlabeled images are seen, in images, by the end of the schedule; views of one image
        count once. Of a union, if every image has an object that teaches."""
        burnt = min(self.burn_in, self.iters)
        labeled, unlabeled = self.ratio
        if self.sampling == "union":
            counts = [split.images if isinstance(split, DataSet) else 1 for split in self._splits]
            labeled = self.iters * self.recipe.batch * counts[0] // sum(counts)
            return labeled, self.iters * self.recipe.batch - labeled
        return burnt * self.recipe.batch + (self.iters - burnt) * labeled, (self.iters - burnt) * unlabeled

    @property
    def _splits(self) -> tuple[Stage, Stage]:
        """Labeled and unlabeled images."""
        assert self.unlabeled is not None
        return self.data, self.unlabeled.data if isinstance(self.unlabeled, PseudoLabel) else self.unlabeled

    def _label_words(self) -> list[str]:
        mixed = "union" if self.sampling == "union" else f"{self.ratio[0]} + {self.ratio[1]}"
        rules = [f"γ {self.threshold_power:g}, {self.weight_power:g}"] * self.has_rules
        return [f"{self.teacher} teacher {mixed}", f"δ {self.threshold:g}", *rules]

    def work(self, iters: int) -> Work:
        shape = (self.recipe.max_size, self.recipe.batch)
        near = (self.kind, self.teacher, self.model.detector, self.model.backbone, *shape)
        mixed = self.ratio if self.sampling == "ratio" else self.sampling
        exact = (self.kind, self.teacher, self.model, self.recipe, mixed, self.views, self.second_view)
        return Work(iters, (exact, near, (self.kind, *shape)))

    def ranks(self, wanted: int) -> int:
        """One: its losses are defined over whole batches, and its teacher sees them in one piece."""
        del wanted
        return 1

    def reads(self) -> tuple[DataUse, ...]:
        assert self.unlabeled is not None
        return super().reads() + self.unlabeled.read_by(
            "training", "pseudo" if self.teacher == "fixed" else "images", self.lowest
        )


def is_of_boxes(name: str) -> bool:
    """Whether a loss of a detector, by its name, is about where an object is: those of boxes and masks."""
    return "box" in name or "mask" in name
