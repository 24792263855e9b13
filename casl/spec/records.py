"""The records inside stages: what a detector is, and how it is optimised."""

from __future__ import annotations

from dataclasses import dataclass

from casl.catalog import check_name, names, row
from casl.errors import SpecError, unknown
from casl.rows import SUPPRESSIONS
from casl.spec.schedule import MOST_ITERS
from casl.spec.stage import Record, check_choice, check_within

# fields of Model that only some detectors have (casl.rows.Detector.settings) -> what stands for "left out"
SETTINGS = {
    "anchor_scale": 1.0,
    "entity_head": False,
    "head_norm": False,
    "keypoints": 0,
    "rois": 0,
    "stuff": 0,
    "towers": 4,
}
DECAYS = ("cosine", "steps")
MERGED = ("masks", "entities")  # outputs that several views of an image can tell together
SMALLEST_SIDE, LARGEST_SIDE = 32, 1 << 16  # px; every image is padded to multiples of the smallest
# far beyond what is of use; a rate is one that a float of 32 bit holds
MOST_COUNTED, LARGEST_RATE = 1_000_000, 1e38


_OF_MODEL = (
    ("channels", 1, 1 << 16),
    ("mask_channels", 1, 1 << 16),
    ("towers", 0, 100),
    ("frozen_stages", 0, 5),
    ("stuff", 0, MOST_COUNTED),
    ("keypoints", 0, MOST_COUNTED),
    ("rois", 0, MOST_COUNTED),
)


@dataclass(frozen=True)
class Model(Record):
    """Architecture of a detector (method reference sec. 1 and 2).

    channels: of neck and head. ranges: upper object sizes in pixels of levels P3..P6. weights: "random",
    "imagenet" for those that docs/method.md names, or a word for a file of your own. frozen_stages: stem and stages of
    the backbone kept fixed, with all batch norms, as detectron2's FREEZE_AT. entity_head: the EntitySeg controller,
    kernel bank and overlap loss. rois: regions an R-CNN draws from an image, 0 for as many as suit its size. clip: how
    FCOS keeps box distances above zero, "relu" as the reference or "projected", which differs in gradients only and
    loses no side for good. head_norm: group norms in RetinaNet's towers. anchor_scale: of RetinaNet's anchors, beside
    the scale that follows from ranges. usage: of a Swin, the share of block halves of its third stage that policies are
    to let run, in (0, 1]; 1 has no policies. options: further settings of the detector, (name, value) sorted by name.

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
    anchor_scale: float = 1.0
    usage: float = 1.0
    options: tuple[tuple[str, str | int | float | bool], ...] = ()

    def __post_init__(self) -> None:
        self._check_settings()
        check_choice("clip of distances", self.clip, ("relu", "projected"))
        check_name("backbone", self.backbone)
        check_within("number of classes", self.classes, 1, MOST_COUNTED)
        for name, lowest, highest in _OF_MODEL:
            check_within(name, getattr(self, name), lowest, highest)
        if not 0.0 <= self.drop_path < 1.0:
            raise SpecError(f"drop_path is a probability in [0, 1), got {self.drop_path}")
        if not 0 < self.anchor_scale <= LARGEST_SIDE:
            raise SpecError(f"anchor_scale is a factor of sizes above 0, got {self.anchor_scale}")
        if not 0.0 < self.usage <= 1.0:
            raise SpecError(f"usage is a share of block halves that run, in (0, 1], got {self.usage}; 1 skips none")
        if self.usage < 1.0 and not row("backbone", self.backbone).skips:
            able = ", ".join(n for n in names("backbone") if row("backbone", n).skips)
            raise SpecError(
                f"backbone {self.backbone!r} skips no blocks, so usage {self.usage} has no meaning; {able} do"
            )
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
        given = [name for name, _ in self.options]
        for name in given:
            if name in SETTINGS or name not in known:
                options = [n for n in known if n not in SETTINGS]
                raise SpecError(unknown(f"option of detector {self.detector!r}", name, options))
        for name, value in self.options:
            if not isinstance(value, str):
                check_within(f"option {name}", value, -MOST_ITERS, MOST_ITERS)
        if given != sorted(set(given)):
            raise SpecError(f"options are sorted by name and each is given once, got {', '.join(given)}")

    def check_labels(self, labels: str) -> None:
        """Whether it has outputs for stuff where its labels have stuff, and only there.

        Raises:
            SpecError: it has not.
        """
        if "stuff" in row("detector", self.detector).settings and (self.stuff > 0) != (labels == "panoptic"):
            raise SpecError(
                f"detector {self.detector!r} with {self.stuff} stuff classes cannot learn labels {labels!r}: "
                "'panoptic' labels have stuff, others have none"
            )

    def predicts(self, output: str) -> bool:
        """Whether the detector gives "masks", "entities" (one a pixel), "keypoints" or "semantic" beside boxes."""
        return output in row("detector", self.detector).outputs


@dataclass(frozen=True)
class Recipe(Record):
    """How a detector is optimised, without its length.

    lr is the rate after ramp-up; at iteration i < ramp_iters it is lr x (ramp_factor + (1 - ramp_factor) i/ramp_iters).
    sizes: short sides in pixels to choose from. precision: "float32" or "mixed". empty_images: also train on images
    that have no label or crowds only, which detectron2 leaves out (FILTER_EMPTY_ANNOTATIONS); of pseudo labels eq. 3
    leaves them out whatever is said here. body_lr: factor of the rate for the backbone, which is pretrained where all
    else begins at random; weight decay is in proportion to the rate.

    What people expect beside, each off by default:

    ema: momentum m of an exponential average of the weights, a <- m a + (1 - m) w after each step, from the initial
    weights on; buffers too, counters are copied. The average is then the result: what is evaluated, labels images and
    starts other trainings. It remembers about 1/(1 - m) iterations. Source: Mean Teacher (NeurIPS 2017) eq. 1.
    clip_norm: gradients of all weights together are scaled down to this norm where theirs is larger; 0 never. Source:
    torch.nn.utils.clip_grad_norm_.
    decay: how the rate falls: "steps" as the schedule says, or "cosine" from the first iteration to the last, times the
    ramp; then only the length of a schedule counts. Source: SGDR (ICLR 2017).
    copy_paste: share of images onto which a random subset of the objects of another image is pasted, after
    `augmentation` of both; needs masks. With "lsj" and 1.0 as in its source: Simple Copy-Paste (CVPR 2021).
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
    empty_images: bool = False
    body_lr: float = 1.0
    ema: float = 0.0
    clip_norm: float = 0.0
    decay: str = "steps"
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        check_name("optimizer", self.optimizer)
        check_name("augmentation", self.augmentation)
        check_choice("precision", self.precision, ("float32", "mixed"))
        check_choice("decay of the rate", self.decay, DECAYS)
        check_within("batch", self.batch, 1, MOST_COUNTED)
        check_within("max_size", self.max_size, SMALLEST_SIDE, LARGEST_SIDE)
        check_within("ramp_iters", self.ramp_iters, 0, MOST_ITERS)
        check_within("ramp_factor", self.ramp_factor, 0, 1)
        check_within("weight_decay", self.weight_decay, 0, LARGEST_RATE)
        for name in ("lr", "body_lr"):
            check_within(name, getattr(self, name), -LARGEST_RATE, LARGEST_RATE)  # of those below 0 more is said
        if self.lr <= 0:
            raise SpecError(f"lr must be positive, got {self.lr}")
        if self.body_lr <= 0:
            raise SpecError(
                f"body_lr must be positive, got {self.body_lr}: a backbone that does not learn has frozen_stages 5"
            )
        if not self.sizes or min(self.sizes) < 32 or max(self.sizes) > self.max_size:
            raise SpecError(f"sizes are short sides of 32 px or more, max_size at least as large; got {self}")
        if not 0.0 <= self.ema < 1.0:
            raise SpecError(
                f"ema is the momentum of an average of the weights, in [0, 1), got {self.ema}\n"
                "  0 keeps the last weights; 0.999 averages about the last 1,000 iterations."
            )
        if self.clip_norm < 0:
            raise SpecError(f"clip_norm is the largest norm of all gradients, or 0 for any, got {self.clip_norm}")
        if not 0.0 <= self.copy_paste <= 1.0:
            raise SpecError(f"copy_paste is a share of images, in [0, 1], got {self.copy_paste}")


@dataclass(frozen=True)
class Applied(Record):
    """How a detector is applied, where not in its own way, which the defaults are.

    suppression: of boxes that overlap a better one, "hard", or by Soft-NMS, "linear" or "gaussian" of width `sigma`, of
    detectors that have it. least: score that predictions must exceed, before and after Soft-NMS; 0 for the detector's
    own threshold. scales: sizes that it sees an image at, as factors of the test size; () for that alone. flip: also
    mirrored. What is found at all sizes is put together and suppressed once.

    Raises:
        SpecError: a value out of range, or one without use.
    """

    suppression: str = "hard"
    sigma: float = 0.5
    least: float = 0.0
    scales: tuple[float, ...] = ()
    flip: bool = False

    def __post_init__(self) -> None:
        check_choice("suppression", self.suppression, SUPPRESSIONS)
        if self.sigma <= 0 or (self.sigma != 0.5 and self.suppression != "gaussian"):
            raise SpecError(
                f"sigma is the width of a gaussian suppression, above 0; got {self.sigma:g} for {self.suppression!r}"
            )
        if not 0.0 <= self.least < 1.0:
            raise SpecError(f"the score that predictions must exceed is in [0, 1), got {self.least}")
        if list(self.scales) != sorted(set(self.scales)) or not all(0.25 <= scale <= 4.0 for scale in self.scales):
            raise SpecError(f"scales are rising factors of the test size, each from 0.25 to 4, got {self.scales}")
        if self.scales == (1.0,):
            raise SpecError("scales (1.0,) is the test size alone: leave them out, it would change the key only")

    @property
    def views(self) -> tuple[tuple[float, bool], ...]:
        """Every view of an image: factor of the test size, and whether mirrored."""
        return tuple((scale, turned) for scale in self.scales or (1.0,) for turned in (False, True)[: 1 + self.flip])

    @property
    def words(self) -> list[str]:
        """What differs from the detector's own way, for titles."""
        soft = [] if self.suppression == "hard" else [f"{self.suppression} Soft-NMS"]
        least = [f"candidates > {self.least:g}"] * bool(self.least)
        sizes = [f"at {' '.join(f'{scale:g}' for scale in self.scales)} x"] * bool(self.scales)
        return [*soft, *least, *sizes, *["mirrored too"] * self.flip]

    def check(self, model: Model, labels: str, size: int) -> None:
        """Whether a detector can be applied so.

        Raises:
            SpecError: it has no Soft-NMS, finds what several views cannot tell together, or would see too few pixels.
        """
        known = row("detector", model.detector)
        if self.suppression != "hard" and not known.softens:
            able = ", ".join(name for name in names("detector") if row("detector", name).softens)
            raise SpecError(f"detector {model.detector!r} has hard suppression only; {able} have Soft-NMS too")
        if len(self.views) == 1:
            return
        if foreign := [output for output in known.outputs if output not in MERGED]:
            raise SpecError(
                f"several views of an image can tell boxes and masks together, not the {', '.join(foreign)} of "
                f"{model.detector!r}"
            )
        if labels == "entities" and model.predicts("entities"):
            raise SpecError("entities are predicted without overlap, which several views together would not keep")
        if (smallest := round(size * self.views[0][0])) < SMALLEST_SIDE:
            raise SpecError(f"the smallest view has a short side of {smallest} px; {SMALLEST_SIDE} are the least")


OWN_WAY = Applied()
