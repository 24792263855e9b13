"""Profile: how big. It turns the paper's units (1x, tiny, Swin-L) into numbers before anything is hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from casl.errors import SpecError, unknown
from casl.spec.kinds import Folder, Model, Recipe, Scenes
from casl.spec.stage import Stage

SCALES = ("tiny", "small", "base", "large")


@dataclass(frozen=True)
class SceneData:
    """The built-in scenes at a given size. unlabeled: images of each scale; smaller scales are prefixes of larger."""

    labeled: int
    unlabeled: Mapping[str, int]
    val: int
    size: int
    seed: int = 0
    name: str = "scenes"
    classes: int = Scenes.classes
    has_masks: bool = True
    has_entities: bool = True

    def split(self, split: str, labels: str, scale: str = "tiny") -> Stage:
        """The stage that makes a split ("labeled", "unlabeled", "val"); `labels` does not change its bytes."""
        del labels
        if split == "unlabeled" and scale not in self.unlabeled:
            raise SpecError(unknown("unlabeled scale", scale, self.unlabeled))
        count = self.unlabeled[scale] if split == "unlabeled" else {"labeled": self.labeled, "val": self.val}[split]
        return Scenes(split=split, count=count, size=self.size, seed=self.seed)


@dataclass(frozen=True)
class FolderData:
    """A data set on disk, as found by the checker. folders: (split, label kind) -> Folder stage."""

    name: str
    folders: Mapping[tuple[str, str], Folder]
    classes: int
    has_masks: bool
    has_entities: bool

    def split(self, split: str, labels: str, scale: str = "tiny") -> Stage:
        """The stage that stands for a split with one kind of labels.

        Raises:
            SpecError: the set lacks that split or kind of labels.
        """
        named = f"unlabeled_{scale}" if split == "unlabeled" else split
        for candidate in (named, split):
            if (candidate, labels) in self.folders:
                return self.folders[candidate, labels]
        have = ", ".join(f"{s} ({k})" for s, k in sorted(self.folders))
        raise SpecError(f"data set {self.name!r} has no split {split!r} with {labels}; it has: {have}")


@dataclass(frozen=True)
class PlannedData:
    """A data set that is only planned with: sizes are known, files are not at hand (COCO in profile `paper`)."""

    name: str
    counts: Mapping[str, int]
    classes: int
    has_masks: bool = True
    has_entities: bool = True

    def split(self, split: str, labels: str, scale: str = "tiny") -> Stage:
        """A Folder whose digest says that it stands for files nobody has shown yet."""
        count = self.counts[scale if split == "unlabeled" else split]
        digest = f"planned:{self.name}:{split}:{scale if split == 'unlabeled' else ''}:{labels}"
        return Folder(split=split, labels=labels, digest=digest, classes=self.classes, count=count)


Data = SceneData | FolderData | PlannedData


@dataclass(frozen=True)
class Profile:
    """Sizes and settings of one scale of experiment; numeric code never sees it.

    iters_1x: iterations of the paper's 1x (12 epochs). labeler_schedule: length of the labeler in x. rule: where the
    learning rate drops. warmup_recipe is also the labeler's. backbones: the paper's backbone name -> a catalog name.
    shape: the remaining fields of Model. test_size: short and long side at inference, px. threshold: delta.
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
    photo_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = field(default=())

    def with_seed(self, seed: int) -> Profile:
        """The same profile for another repetition."""
        return replace(self, seed=seed)

    def with_data(self, data: FolderData) -> Profile:
        """The same profile on a data set on disk: images at `photo_size`, level ranges scaled with them.

        What the set lacks is said in the notes, and the recipe does without it.
        """
        notes = list(self.notes)
        if not data.has_masks:
            notes.append(f"{data.name} has boxes but no masks: labeler and warmup are FCOS, not CondInst")
        if not data.has_entities:
            notes.append(f"{data.name} has no entity or panoptic annotations: the labeler learns objects, not entities")
        changed = replace(self, data=data, notes=tuple(notes))
        if self.photo_size is None:
            return changed
        short, long = self.photo_size
        scale = short / self.test_size[0]
        return replace(
            changed,
            shape=replace(self.shape, ranges=tuple(round(r * scale) for r in self.shape.ranges)),
            warmup_recipe=replace(self.warmup_recipe, sizes=(short,), max_size=long),
            finetune_recipe=replace(self.finetune_recipe, sizes=(short,), max_size=long),
            test_size=self.photo_size,
        )

    def backbone(self, paper_name: str) -> str:
        """Catalog name that stands for a backbone of the paper in this profile."""
        if paper_name not in self.backbones:
            raise SpecError(unknown("backbone of the paper", paper_name, self.backbones))
        return self.backbones[paper_name]
