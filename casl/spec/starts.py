"""What a detector's backbone starts from without labels: contrastive pre-training, and how any such start is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from casl.catalog import check_name, row
from casl.errors import SpecError
from casl.spec.data_kinds import DataSet, Start
from casl.spec.records import LARGEST_RATE, LARGEST_SIDE, MOST_COUNTED, SMALLEST_SIDE
from casl.spec.schedule import MOST_ITERS
from casl.spec.stage import DataUse, Record, Stage, Work, check_choice, check_seed, check_within

GRIDS = ("c4", "c5")
FEATURES = "features"  # form of the metrics that judge features of a backbone, not predictions of a detector


@dataclass(frozen=True)
class ContrastRecipe(Record):
    """How a backbone is pre-trained by contrast, without its length.

    lr is the rate of the first iteration; it falls to 0 along half a cosine. size: side of a view in pixels, both
    sides. queue: keys of earlier batches that are negatives, a multiple of the batch. dim: of the space of the loss.
    momentum: share that the key encoder keeps of itself at each iteration. temperature: what similarities are divided
    by. groups: parts of the batch of keys whose batch norms have statistics of their own; 0 for a key encoder in
    evaluation mode, whose statistics follow those of the queries.

    Raises:
        SpecError: a value out of range, a queue that batches do not fill exactly, or groups that do not divide them.
    """

    lr: float
    batch: int
    size: int
    queue: int = 65_536
    dim: int = 128
    momentum: float = 0.999
    temperature: float = 0.2
    optimizer: str = "sgd"
    weight_decay: float = 1e-4
    groups: int = 8
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_name("optimizer", self.optimizer)
        check_choice("precision", self.precision, ("float32", "mixed"))
        for name, lowest in (("batch", 1), ("queue", 1), ("dim", 1), ("groups", 0)):
            check_within(name, getattr(self, name), lowest, MOST_COUNTED)
        check_within("size", self.size, SMALLEST_SIDE, LARGEST_SIDE)
        check_within("weight_decay", self.weight_decay, 0, LARGEST_RATE)
        if not (0 < self.lr <= LARGEST_RATE and 0 < self.temperature <= LARGEST_RATE):
            raise SpecError(f"lr and temperature must be positive, got {self.lr} and {self.temperature}")
        if not 0.0 <= self.momentum < 1.0:
            raise SpecError(f"momentum of the key encoder is in [0, 1), got {self.momentum}: at 1 it never moves")
        if self.queue % self.batch:
            raise SpecError(f"the queue must be a multiple of the batch, got {self.queue} and {self.batch}")
        if self.groups and self.batch % self.groups:
            raise SpecError(f"{self.groups} groups do not divide a batch of {self.batch}; 0 is a fixed key encoder")


@dataclass(frozen=True)
class Contrast(Start):
    """Stage 0 without labels: a backbone that tells the views of one image from those of all others.

    MoCo v2 (He et al., CVPR 2020; Chen et al. 2020), and DenseCL (Wang et al., CVPR 2021) where the loss of the cells
    has a weight. data: the images, a labeled or unlabeled split; no label is read. dense: weight of the loss of the
    cells, 1 minus it is that of the image; 0 is MoCo v2. grid: the map whose cells are compared, "c4" or "c5".
    """

    plural: ClassVar[str] = "Contrastive starts"
    about: ClassVar[str] = "backbones that learned without labels, on which images"

    recipe: ContrastRecipe
    iters: int
    dense: float = 0.0
    grid: str = "c5"

    def __post_init__(self) -> None:
        check_name("backbone", self.backbone)
        check_choice("grid of dense features", self.grid, GRIDS)
        check_within("iterations", self.iters, 1, MOST_ITERS)
        check_seed(self.seed)
        if not 0.0 <= self.dense <= 1.0:
            raise SpecError(f"dense is the weight of the cells' loss in [0, 1], got {self.dense}")
        if not self.dense and self.grid != "c5":
            raise SpecError(f"without a loss of cells (dense 0) no grid is used: leave {self.grid!r} out")
        if not isinstance(self.data, DataSet) or self.data.split.partition("_")[0] not in ("labeled", "unlabeled"):
            what = self.data.split if isinstance(self.data, DataSet) else self.data.kind
            raise SpecError(
                f"a backbone is pre-trained on images of the labeled or of an unlabeled split, got {what}: what "
                "detectors are judged on must not be seen before.\n"
                "  name another split, as data=profile.data.split('unlabeled', 'images')."
            )

    @property
    def method(self) -> str:
        """Its published name."""
        return "DenseCL" if self.dense else "MoCo v2"

    @property
    def brief(self) -> str:
        return f"{self.method} {self.iters} it"

    @property
    def title(self) -> str:
        words = [self.brief, self.backbone, f"λ {self.dense:g}" if self.dense else "", _images(self.data)]
        return " · ".join([*filter(None, words), f"seed {self.seed}"])

    @property
    def stands_for(self) -> str:
        return f"{self.method} on {_images(self.data)}, {self.iters} iterations"

    def work(self, iters: int) -> Work:
        near = (self.kind, self.backbone, self.recipe.size, self.recipe.batch)
        return Work(self.iters, ((*near, self.recipe, bool(self.dense), self.grid), near, (self.kind,)))

    def reads(self) -> tuple[DataUse, ...]:
        return self.data.read_by("training", "images")


@dataclass(frozen=True)
class Probe(Stage):
    """How well a linear classifier tells crops of objects apart by the features of a backbone that stays as it is.

    data: the split whose crops it learns from; judged: the one whose crops it must name. start: what made the backbone,
    a start or a detector; None is `weights`, as in Model. size: side of a crop, pixels. crops: at most so many of each
    split, drawn by chance; 0 for all. tuned: so many iterations the backbone learns too, with a linear layer on the
    mean over C5, in batches of `batch` crops at a constant rate `lr`; 0 leaves it as it is.
    """

    measures: ClassVar[bool] = True

    backbone: str
    data: Stage
    judged: Stage
    metric: str
    size: int
    start: Stage | None = None
    crops: int = 0
    seed: int = 0
    weights: str = "random"
    tuned: int = 0
    lr: float = 1e-3
    batch: int = 64

    def __post_init__(self) -> None:
        check_name("backbone", self.backbone)
        check_within("iterations of tuning", self.tuned, 0, MOST_ITERS)
        check_within("crops in a batch", self.batch, 1, MOST_COUNTED)
        check_seed(self.seed)
        if not 0 < self.lr <= LARGEST_RATE:
            raise SpecError(f"lr must be positive, at most {LARGEST_RATE:g}; got {self.lr:g}")
        if self.start is not None and self.weights != "random":
            raise SpecError(f"a backbone starts from {self.start.name} or from {self.weights!r} weights, not both")
        check_within("side of a crop", self.size, SMALLEST_SIDE, LARGEST_SIDE)
        check_within("number of crops", self.crops, 0, MOST_ITERS)
        if row("metric", self.metric).form != FEATURES:
            raise SpecError(f"metric {self.metric!r} judges predictions of a detector, a probe judges features")

    @property
    def weights_read(self) -> tuple[str, str] | None:
        return None if self.weights == "random" else (self.backbone, self.weights)

    @property
    def trained(self) -> Stage:
        """What is judged; of random weights the probe itself."""
        return self.start or self

    @property
    def title(self) -> str:
        what = getattr(self.start, "chain", self.start.brief) if self.start else f"{self.weights} {self.backbone}"
        tuned = f" · tuned {self.tuned} it" if self.tuned else ""
        return f"probe {self.metric}{tuned} · {what} · seed {self.seed}"

    @property
    def figures_of(self) -> str:
        return self.metric

    def work(self, iters: int) -> Work:
        if self.tuned:
            return Work(self.tuned, ((self.kind, "tuned", self.backbone, self.size, self.batch), (self.kind, "tuned")))
        images = sum(data.images for data in (self.data, self.judged) if isinstance(data, DataSet))
        return Work(images, ((self.kind, self.backbone, self.size), (self.kind,)), 64.0)

    def reads(self) -> tuple[DataUse, ...]:
        return (*self.data.read_by("training", "objects"), *self.judged.read_by("evaluation", "objects"))


def _images(data: Stage) -> str:
    """What was seen, for titles and notes."""
    assert isinstance(data, DataSet)
    return f"{data.images} {data.split} images"
