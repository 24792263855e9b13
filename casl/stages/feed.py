"""From splits to the batches of a training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as mask_api

from casl.catalog import load
from casl.data.augment import Sample
from casl.data.coco import CocoSplit, Labels
from casl.data.copy_paste import copy_paste
from casl.data.stream import Batches, generator_at, stream_seed
from casl.errors import DataError, StageError
from casl.spec.records import Recipe
from casl.stages.sources import IMAGES
from casl.train.distributed import ALONE, Peers, portion
from casl.train.learner import Batch

ON_REQUEST = ("scores", "matrix")  # every sample has them, a target only where its source needs them


@dataclass(frozen=True)
class View:
    """How an image is augmented: the name of an augmentation in the catalog, short sides to choose from and the longest
    side, px; and the share of images onto which objects of another one are pasted, see Recipe."""

    augmentation: str
    sizes: tuple[int, ...]
    max_size: int
    copy_paste: float = 0.0


def view_of(recipe: Recipe) -> View:
    """The augmentation of a recipe."""
    return View(recipe.augmentation, recipe.sizes, recipe.max_size, recipe.copy_paste)


@dataclass(frozen=True, eq=False)
class Source:
    """The images of one split in each batch.

    Attributes:
        split: images with labels. Crowds are left out, as in all detectors compared here.
        count: images of it in each batch.
        views: one or more; each image of a batch is augmented once for each, from random numbers of its own.
        needs: what targets have besides boxes and labels: "masks", "keypoints", "semantic", "scores", "matrix".
        weigh: gives the (N,) weights of an image's labels, crowds included; None for targets without weights.

    Raises:
        DataError: the split is empty, or masks are wanted, by a detector or to paste objects, and absent.
        ValueError: no image or no view is asked for.
    """

    split: CocoSplit
    count: int
    views: tuple[View, ...]
    needs: Collection[str] = ()
    weigh: Callable[[Labels], NDArray[np.float32]] | None = None

    def __post_init__(self) -> None:
        where = self.split.folder
        if self.count < 1 or not self.views:
            raise ValueError(
                f"{where}: a source gives at least one view of one image, not {self.views} of {self.count}"
            )
        if not len(self.split):
            raise DataError(f"{where}: a training needs at least one image, the split has none")
        if "masks" in self.needs and not self.split.has_masks:
            raise DataError(f"{where}: the detector learns masks, but the annotations have boxes only; use fcos")
        if self.pastes and not self.split.has_masks:
            raise DataError(
                f"{where}: copy_paste pastes objects by their masks, but the annotations have boxes only; leave it at 0"
            )

    @property
    def pastes(self) -> bool:
        """Whether objects of its images are pasted onto each other."""
        return any(view.copy_paste for view in self.views)

    def read(self, index: int) -> Sample:
        """One image of the split with its labels, as it is on disk; with masks too where objects are pasted."""
        return read_sample(self.split, index, {*self.needs, "masks"} if self.pastes else self.needs, self.weigh)


class MixedFeed:
    """Batch of every iteration, a pure function of it: image order and augmentation come from (seed, position).

    A batch has the images of the first source, then those of the second, and so on; the views of an image follow each
    other. Those of one source are all wide or all tall, see `Batches`. All images of a batch are padded to one size,
    also where processes divide it: a training must not depend on how many they are. Where there are several sources or
    views, targets have "source" and "view", () int64 numbers of theirs.

    Args:
        sources: what a batch is made of. Each has a stream of its own; that of the first is the one it has alone.
        seed: of the training.
        peers: among whom each batch is divided, consecutive images to each rank, with all their views; numbers of
            images differ by one where they must.

    Raises:
        StageError: there are more ranks than images in a batch.
    """

    def __init__(self, sources: Sequence[Source], seed: int, peers: Peers = ALONE) -> None:
        images = [(number, place) for number, source in enumerate(sources) for place in range(source.count)]
        if len(images) < peers.world:
            raise StageError(
                f"a batch of {len(images)} images cannot be shared by {peers.world} processes: each needs one.\n"
                f"  use --gpus-per-stage {len(images)} or less."
            )
        first, last = portion(len(images), peers.world, peers.rank)
        self.portion = images[first:last]
        self.sources = tuple(sources)
        self.seeds = [stream_seed(seed, number) for number in range(len(sources))]
        self.orders = [
            Batches([(i.width, i.height) for i in source.split.images], source.count, own)
            for source, own in zip(sources, self.seeds, strict=True)
        ]
        self.augments: list[list[Callable[..., Sample]]] = [
            [load("augmentation", view.augmentation) for view in source.views] for source in sources
        ]
        self.tagged = len(sources) > 1 or any(len(source.views) > 1 for source in sources)

    def __call__(self, iteration: int) -> Batch:
        """Images (3, h, w) uint8, and targets with boxes (N, 4), labels (N,) and what their source needs."""
        images: list[torch.Tensor] = []
        targets: list[dict[str, torch.Tensor]] = []
        for number, place in self.portion:
            source = self.sources[number]
            for view, sample in enumerate(self.views(number, iteration * source.count + place)):
                tags = {"source": torch.tensor(number), "view": torch.tensor(view)} if self.tagged else {}
                images.append(image_tensor(sample.image))
                targets.append(target(sample, source.needs) | tags)
        return images, targets

    def views(self, number: int, position: int) -> list[Sample]:
        """All views of the image at a position of the stream of a source."""
        source, seed = self.sources[number], self.seeds[number]
        raw = source.read(self.orders[number].image_at(*divmod(position, source.count)))
        return [
            _finished(source, _augmented(raw, source, view, augment, generator_at(position, seed, index)))
            for index, (augment, view) in enumerate(zip(self.augments[number], source.views, strict=True))
        ]


def _augmented(
    raw: Sample, source: Source, view: View, augment: Callable[..., Sample], rng: np.random.Generator
) -> Sample:
    """One view of an image; the image whose objects are pasted is any of the source, in a view of its own."""
    sample = augment(raw, rng, view.sizes, view.max_size)
    if not view.copy_paste or rng.random() >= view.copy_paste:
        return sample
    other = source.read(int(rng.integers(len(source.split))))
    return copy_paste(sample, augment(other, rng, view.sizes, view.max_size), rng)


def _finished(source: Source, sample: Sample) -> Sample:
    """Without masks that were read to paste objects alone."""
    return replace(sample, masks=None) if source.pastes and "masks" not in source.needs else sample


class Feed(MixedFeed):
    """The batches of one split, each image in one view.

    Args:
        split, needs: as of a Source.
        recipe: batch size, augmentation and image sizes.
        seed, peers: as of a MixedFeed.

    Raises:
        DataError, StageError: as Source and MixedFeed.
    """

    def __init__(self, split: CocoSplit, recipe: Recipe, seed: int, needs: Sequence[str], peers: Peers = ALONE) -> None:
        super().__init__([Source(split, recipe.batch, (view_of(recipe),), frozenset(needs))], seed, peers)

    def sample(self, position: int) -> Sample:
        """The augmented image at a position of the stream."""
        return self.views(0, position)[0]


def read_sample(
    split: CocoSplit,
    index: int,
    needs: Collection[str],
    weigh: Callable[[Labels], NDArray[np.float32]] | None = None,
) -> Sample:
    """One image with its labels, crowds left out; other arguments as of a Source."""
    image = IMAGES.read(split.path(index))
    labels = split.labels(index)
    keep = ~labels.crowd
    masks = keypoints = None
    if "masks" in needs:
        rles = [rle for rle, kept in zip(labels.rles or [], keep, strict=True) if kept]
        masks = decode_masks(rles, image.shape[0], image.shape[1])
    if "keypoints" in needs and labels.keypoints is not None:
        keypoints = labels.keypoints[keep]
    return Sample(
        image,
        labels.boxes[keep],
        labels.labels[keep],
        masks,
        keypoints,
        split.flip_pairs,
        split.semantic(index) if "semantic" in needs else None,
        scores=labels.scores[keep],
        weights=None if weigh is None else weigh(labels)[keep].astype(np.float32),
    )


def decode_masks(rles: Sequence[dict[str, Any]], height: int, width: int) -> np.ndarray:
    """(N, height, width) bool."""
    if not rles:
        return np.zeros((0, height, width), dtype=bool)
    return np.ascontiguousarray(mask_api.decode(list(rles)).transpose(2, 0, 1)).astype(bool)


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (3, H, W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def target(sample: Sample, needs: Collection[str] = ()) -> dict[str, torch.Tensor]:
    """A sample's labels as tensors; of ON_REQUEST, those that are needed."""
    values = {"boxes": torch.from_numpy(sample.boxes), "labels": torch.from_numpy(sample.labels)}
    for name in ("masks", "keypoints", "weights", *(name for name in ON_REQUEST if name in needs)):
        if (array := getattr(sample, name)) is not None:
            values[name] = torch.from_numpy(np.ascontiguousarray(array))
    if sample.semantic is not None:
        values["semantic"] = torch.from_numpy(np.ascontiguousarray(sample.semantic)).long()
    return values
