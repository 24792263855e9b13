"""Profile: how big. It turns the paper's units (1x, tiny, Swin-L) into numbers before anything is hashed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from casl.catalog import names, row
from casl.errors import SpecError, unknown
from casl.spec.data_kinds import Start
from casl.spec.data_sets import NEEDS, Data, FolderData, PlannedData, SceneData
from casl.spec.kinds import PseudoLabel, Train
from casl.spec.records import Model, Recipe
from casl.spec.schedule import RULES
from casl.spec.stage import Stage
from casl.spec.starts import ContrastRecipe

# whose frameworks Tables 2 and 10 are made of -> what begins the names of its detectors in the catalog
PROVIDERS = {"torchvision": "", "detectron2": "d2_"}
YES = "yes"  # value of an option that has none on the command line
# Optimiser -> how its learning rate follows the size of the batch: name of the rule, and power of the ratio of sizes.
# SGD: Goyal et al. 2017. AdamW divides the gradient by its size, which is that of its noise, and noise falls with the
# root: Malladi et al. 2022. (detectron2 and mmdetection scale in proportion whatever the optimiser is.)
BATCH_RULES = {"adamw": ("square root", 0.5), "sgd": ("linear", 1.0)}
TARGET = "swin_t"  # the paper's backbone of the detectors that its tables are about
SMALLEST = 32  # short side of an image, px; all are padded to multiples of it
LARGEST = 4096  # a square one takes 200 MB, and each of the first maps of features of a ResNet-50 1 GB


def typed(options: Iterable[tuple[str, str]]) -> list[str]:
    """What a command changed, as words of a command line."""
    return [word for option, value in options for word in (f"--{option}", value) if word != YES]


def check_side(short: int) -> None:
    """Check the short side that a detector is to see images at, px.

    Raises:
        SpecError: smaller than the 32 px that every image is padded to, or larger than memory allows for.
    """
    if not SMALLEST <= short <= LARGEST:
        raise SpecError(f"the short side of an image is from {SMALLEST} to {LARGEST} px, got {short}")


def _batch_rule(optimizer: str) -> tuple[str, float]:
    if optimizer not in BATCH_RULES:
        raise SpecError(
            f"no rule is known for the learning rate of {optimizer!r} in batches of another size; there is one for "
            f"{' and '.join(BATCH_RULES)}.\n  set batch and lr in the profile's recipes instead."
        )
    return BATCH_RULES[optimizer]


@dataclass(frozen=True)
class Unlabelled:
    """How and how long a backbone is pre-trained without labels. grid: the map whose cells DenseCL compares."""

    recipe: ContrastRecipe
    iters: int
    grid: str = "c5"

    def scaled(self, scale: float) -> Unlabelled:
        """The same on images so many times as large; no view is smaller than SMALLEST."""
        return replace(self, recipe=replace(self.recipe, size=max(SMALLEST, round(self.recipe.size * scale))))


@dataclass(frozen=True)
class Certainty:
    """Lengths of certainty-aware pseudo labels, in x. one_x: what stands for a published 1x of students. teacher: the
    least length of their teachers. tau: threshold of a class of mean certainty, with its range in proportion.
    """

    one_x: float = 1.0
    teacher: float = 0.0
    tau: float = 0.7


@dataclass(frozen=True)
class Profile:
    """Sizes and settings of one scale of experiment; numeric code never sees it.

    iters_1x: iterations of the paper's 1x (12 epochs). labeler_schedule: length of the labeler in x. rule: where the
    learning rate drops. warmup_recipe is also the labeler's. backbones: the paper's backbone name -> a catalog name.
    labeler_sizes: the paper's backbone name -> size of images in relation to test_size, where labelers with that
    backbone learn from larger images, label them and are judged on them; a labeler is to be stronger than its target.
    shape: the remaining fields of Model. light: detectors in their light form (casl.rows.Detector). shapes,
    recipes: the paper's backbone name -> fields of Model and of Recipe that are others with it.
    test_size: short and long side at inference, px. photo_size: that of images on disk, where it is another.
    threshold: delta. classifier: how a finetune of many classes starts from one, as in Train. provider: a key of
    PROVIDERS. contrast: how a backbone is pre-trained without labels, None where it is not said. source: labeled images
    of another set that detectors may be pre-trained on, where neither scenes of another seed nor hidden truth can be
    had. certain: lengths and threshold of certainty-aware pseudo labels. native: small, yet computed with the
    processor's own kernels unless asked otherwise. options: what a command changed, (option, value).
    """

    name: str
    title: str
    data: Data
    iters_1x: int
    backbones: Mapping[str, str]
    shape: Model
    warmup_recipe: Recipe
    finetune_recipe: Recipe
    test_size: tuple[int, int]
    labeler_backbone: str = "swin_l"
    labeler_schedule: int = 3
    threshold: float = 0.3
    rule: str = "A"
    classifier: str = "replicate"
    seed: int = 0
    seeds: int = 1
    small: bool = True
    native: bool = False
    photo_size: tuple[int, int] | None = None
    strong_sizes: tuple[int, ...] = ()
    pretrain: Start | None = None
    contrast: Unlabelled | None = None
    source: PlannedData | None = None
    certain: Certainty = Certainty()
    epochs_follow_scale: bool = False
    light: bool = False
    shapes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    labeler_sizes: Mapping[str, float] = field(default_factory=dict)
    provider: str = "torchvision"
    notes: tuple[str, ...] = field(default=())
    options: tuple[tuple[str, str], ...] = ()

    @cached_property
    def built(self) -> dict[Any, Any]:
        """What the recipe has made under this profile; see casl.spec.once."""
        return {}

    def with_seed(self, seed: int) -> Profile:
        """The same profile for another repetition."""
        return replace(self, seed=seed)

    def with_provider(self, provider: str) -> Profile:
        """The same profile with another project's frameworks; FCOS and CondInst are always ours.

        Raises:
            SpecError: unknown provider.
        """
        if provider not in PROVIDERS:
            raise SpecError(unknown("provider of frameworks", provider, PROVIDERS))
        if provider == self.provider:
            return self
        note = f"RetinaNet, the R-CNNs and PanopticFPN are {provider}'s own on our backbone and pyramid"
        return replace(self, provider=provider)._changed("provider", provider, note)

    def provided(self, framework: str) -> str:
        """Catalog name of a framework of the paper from this profile's provider; a detector of ours keeps its name."""
        theirs = f"{PROVIDERS[self.provider]}{framework}"
        return theirs if theirs in names("detector") else framework

    def lacks(self, metric: str) -> str:
        """What the data lacks for a metric, as a sentence; empty if nothing."""
        for need in row("metric", metric).needs:
            if need not in NEEDS:
                raise SpecError(unknown(f"need of metric {metric!r}", need, NEEDS))
            present, what = NEEDS[need]
            if not present(self.data):
                return f"not measured: {self.data.name} has no {what}"
        return ""

    @property
    def start(self) -> str:
        """What stands in the place of ImageNet's weights here, for the note of baseline cells; empty if they do."""
        if self.shape.weights != "random":
            return ""
        if self.pretrain is None:
            return "ImageNet stand-in: random initialisation"
        return f"ImageNet stand-in: {self.pretrain.stands_for}"

    def images_in(self, scale: str) -> int:
        """Unlabeled images of a scale."""
        return self.data.split("unlabeled", "images", scale).images

    def iters_1x_on(self, data: Stage) -> int:
        """Iterations of 1x on some labels: more on a larger unlabeled split, where epochs are what counts."""
        if not (self.epochs_follow_scale and isinstance(data, PseudoLabel)):
            return self.iters_1x
        return round(self.iters_1x * data.data.images / self.images_in("tiny"))

    def epochs(self, training: Train) -> float:
        """Length of a training in the paper's epochs; 1x is 12."""
        return 12 * training.iters / self.iters_1x_on(training.data)

    def with_iters_1x(self, iters: int) -> Profile:
        """The same profile with so many iterations of 1x; what is counted in x follows, ramp-up and pretraining do not.

        Raises:
            SpecError: 1x would have no iteration.
        """
        if iters < 1:
            raise SpecError(f"--iters-1x (make: ITERS=) must be at least 1, got {iters}")
        if iters == self.iters_1x:
            return self
        note = f"1x is {iters:,} iterations, not {self.iters_1x:,}"
        return replace(self, iters_1x=iters)._changed("iters-1x", str(iters), note)

    def with_batch(self, batch: int) -> Profile:
        """The same epochs in batches of another size: iterations and ramp-up in inverse proportion to it, rates by the
        optimiser's rule in BATCH_RULES. Weight decay, momentum and betas stay.

        Raises:
            SpecError: the batch is not positive, or so large that 1x would have no iteration; or no rule is known for
                an optimiser.
        """
        had = self.warmup_recipe.batch
        if batch < 1 or round(self.iters_1x * had / batch) < 1:
            raise SpecError(f"a batch must hold 1 to {self.iters_1x * had} images in profile {self.name}, got {batch}")
        if batch == had:
            return self
        scale = batch / had

        def rate(lr: float, optimizer: str) -> float:
            return lr * float(scale ** _batch_rule(optimizer)[1])

        def scaled(values: Mapping[str, Any]) -> dict[str, Any]:
            optimizer = values.get("optimizer", self.warmup_recipe.optimizer)
            lr = {"lr": rate(values["lr"], optimizer)} if "lr" in values else {}
            ramp = {"ramp_iters": round(values["ramp_iters"] / scale)} if "ramp_iters" in values else {}
            return {**values, **lr, **ramp}

        def recipe(of: Recipe) -> Recipe:
            lr = rate(of.lr, of.optimizer)
            return replace(of, batch=batch, lr=lr, ramp_iters=round(of.ramp_iters / scale))

        return replace(
            self,
            iters_1x=round(self.iters_1x / scale),
            warmup_recipe=recipe(self.warmup_recipe),
            finetune_recipe=recipe(self.finetune_recipe),
            recipes={name: scaled(values) for name, values in self.recipes.items()},
        )._changed(
            "batch-size",
            str(batch),
            f"batches of {batch} images, not {had}, as many epochs; learning rates {self._rates_at(scale)}",
        )

    def _rates_at(self, scale: float) -> str:
        """What becomes of the rates in batches `scale` times as large, in words."""
        used = [self.warmup_recipe.optimizer, self.finetune_recipe.optimizer]
        used += [values["optimizer"] for values in self.recipes.values() if "optimizer" in values]
        rules = {optimizer: _batch_rule(optimizer) for optimizer in used}
        return ", ".join(f"x {scale**power:g} ({rule} rule, {name})" for name, (rule, power) in rules.items())

    def with_value(self, path: str, value: str) -> Profile:
        """The same profile, whose cells have another value somewhere in their chains; the command line puts it there.

        Args:
            path: as in casl.spec.varied. value: as it was typed.

        Raises:
            SpecError: a letter that no name of a folder should have.
        """
        if not re.fullmatch(r"[\w.+-]+=[\w.+-]+", f"{path}={value}"):
            raise SpecError(
                f"--set takes PATH=VALUE, such as warmup.threshold=0.4, of letters and digits; got {path}={value}"
            )
        return self._changed("set", f"{path}={value}", f"{path} is {value} in every cell whose chain has it")

    def with_rule(self, rule: str) -> Profile:
        """The same profile with the learning rate dropping by another rule of spec.schedule.times."""
        if rule not in RULES:
            raise SpecError(unknown("schedule rule", rule, RULES))
        return self if rule == self.rule else replace(self, rule=rule)._changed("rule", rule, f"schedule rule {rule}")

    def with_data(self, data: FolderData, crowds_are_objects: bool = False) -> Profile:
        """The same profile on a data set on disk, its images at `photo_size`.

        What the set lacks is said in the notes, and the recipe does without it. crowds_are_objects: annotations marked
        as crowds were read as single objects, which `data` tells by its digests.
        """
        notes = list(self.notes)
        if not data.has_masks:
            notes.append(f"{data.name} has boxes but no masks: labeler and warmup are FCOS, not CondInst")
        if not data.has_entities:
            notes.append(f"{data.name} has no entity or panoptic annotations: the labeler learns objects, not entities")
        # A classifier of scenes stands for ImageNet beside scenes only: photos have nothing in common with them.
        title = "its models and iterations, images on disk" if isinstance(self.data, SceneData) else self.title
        # Objects of a few pixels are common in small photos, and a side near zero can be lost for good behind a ReLU.
        shape = replace(self.shape, clip="projected") if self.small else self.shape
        changed = replace(self, title=title, data=data, notes=tuple(notes), pretrain=None, source=None, shape=shape)
        changed = changed._at_size(*self.photo_size) if self.photo_size else changed
        note = "annotations marked as crowds are read as single objects"
        return changed._changed("crowds-are-objects", YES, note) if crowds_are_objects else changed

    def warned(self, warnings: Iterable[str]) -> Profile:
        """The same profile with what the check of its data warned of among its notes."""
        return replace(self, notes=(*self.notes, *warnings))

    def with_size(self, short: int) -> Profile:
        """The same profile with images on disk at another size: what it costs goes with the square.

        Args:
            short: short side at inference, px; sizes trained at, long sides and level ranges keep their ratio to it.

        Raises:
            SpecError: as `check_side`, or the data are scenes.
        """
        if isinstance(self.data, SceneData):
            raise SpecError(
                f"built-in scenes are drawn at {self.data.size} px; a size is for a data set on disk.\n"
                "  name one with --data, or edit the profile."
            )
        check_side(short)
        had, long = self.test_size
        if short == had:
            return self
        note = f"images at {short} px, not {had}"
        return self._at_size(short, round(short * long / had))._changed("size", str(short), note)

    def _at_size(self, short: int, long: int) -> Profile:
        scale = short / self.test_size[0]

        def resized(recipe: Recipe) -> Recipe:
            return replace(recipe, sizes=tuple(round(size * scale) for size in recipe.sizes), max_size=long)

        return replace(
            self,
            shape=replace(self.shape, ranges=tuple(round(r * scale) for r in self.shape.ranges)),
            warmup_recipe=resized(self.warmup_recipe),
            finetune_recipe=resized(self.finetune_recipe),
            test_size=(short, long),
            strong_sizes=tuple(round(size * scale) for size in self.strong_sizes),
            contrast=self.contrast and self.contrast.scaled(scale),
        )

    def larger(self, backbone: str) -> Profile:
        """This profile at the size of images of the labelers with a backbone of the paper."""
        ratio = self.labeler_sizes.get(backbone, 1.0)
        return self if ratio == 1.0 else self._at_size(*(round(side * ratio) for side in self.test_size))

    def sides(self, trained: Train) -> tuple[int, int]:
        """Short and long side of the images that a detector is applied to: those it is tested at, in the ratio of what
        it was trained at to what the profile's targets are."""
        ratio = trained.recipe.max_size / self.warmup_recipe.max_size
        short, long = self.test_size
        return (short, long) if ratio == 1.0 else (round(short * ratio), round(long * ratio))

    def as_recorded(self, options: Iterable[tuple[str, str]], data: FolderData | None = None) -> Profile:
        """This profile as a command made it of which `options` are left, on a data set on disk if it had one.

        Raises:
            SpecError: an option that changes cells rather than the profile, or that is not known; a value out of range.
        """
        given = tuple(options)
        profile = self.with_provider(dict(given).get("provider", self.provider))
        if data is not None:
            profile = profile.with_data(data, ("crowds-are-objects", YES) in given)
        for option, value in given:
            if option in _AGAIN:
                profile = _AGAIN[option](profile, value)
        if profile.options != given:
            raise SpecError(f"profile {self.name} cannot be made again from {' '.join(typed(given))}")
        return profile

    def _changed(self, option: str, value: str, note: str) -> Profile:
        return replace(self, options=(*self.options, (option, value)), notes=(*self.notes, note))

    @property
    def variant(self) -> tuple[str, ...]:
        """What a command changed, in words: ("size 96",)."""
        plain = {"provider": "{value}", "crowds-are-objects": "{option}", "set": "{value}"}
        return tuple(
            plain.get(option, "{option} {value}").format(option=option, value=value) for option, value in self.options
        )

    @property
    def folder(self) -> str:
        """Name of the folder of its reports, "mini-camvid-size96": no two kinds of results share one."""
        data = (self.data.name,) if isinstance(self.data, FolderData) else ()
        return "-".join([self.name, *data, *(words.replace(" ", "") for words in self.variant)])

    def backbone(self, paper_name: str) -> str:
        """Catalog name that stands for a backbone of the paper in this profile."""
        if paper_name not in self.backbones:
            raise SpecError(unknown("backbone of the paper", paper_name, self.backbones))
        return self.backbones[paper_name]


# of an option that `Profile.options` records -> what applies its value; provider and data come before these
_AGAIN: dict[str, Callable[[Profile, str], Profile]] = {
    "size": lambda profile, value: profile.with_size(_whole(value)),
    "rule": lambda profile, value: profile.with_rule(value),
    "batch-size": lambda profile, value: profile.with_batch(_whole(value)),
    "iters-1x": lambda profile, value: profile.with_iters_1x(_whole(value)),
}


def _whole(value: str) -> int:
    if not value.isdecimal():
        raise SpecError(f"a recorded option needs a whole number, got {value!r}")
    return int(value)
