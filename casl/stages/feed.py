"""From a split to the batches of a training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as mask_api

from casl.catalog import load
from casl.data.augment import Sample
from casl.data.coco import CocoSplit
from casl.data.stream import generator_at, image_at
from casl.errors import DataError, StageError
from casl.spec.records import Recipe
from casl.stages.sources import IMAGES
from casl.train.distributed import ALONE, Peers, portion

Batch = tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]


class Feed:
    """Batch of every iteration, a pure function of it: image order and augmentation come from (seed, position).

    Args:
        split: images with labels. Crowds are left out, as in all detectors compared here.
        recipe: batch size, augmentation and image sizes.
        seed: of the training.
        needs: what the detector learns besides boxes and labels: "masks", "keypoints", "semantic".
        peers: among whom each batch is divided, consecutive images to each rank; sizes differ by one where they must.

    Raises:
        DataError: the split is empty, or masks are wanted and absent.
        StageError: there are more ranks than images in a batch.
    """

    def __init__(self, split: CocoSplit, recipe: Recipe, seed: int, needs: Sequence[str], peers: Peers = ALONE) -> None:
        if not len(split):
            raise DataError(f"{split.folder}: a training needs at least one image, the split has none")
        if "masks" in needs and not split.has_masks:
            raise DataError(f"{split.folder}: the detector learns masks, but the annotations have boxes only; use fcos")
        if recipe.batch < peers.world:
            raise StageError(
                f"a batch of {recipe.batch} images cannot be shared by {peers.world} processes: each needs one.\n"
                f"  use --gpus-per-stage {recipe.batch} or less."
            )
        self.split = split
        self.recipe = recipe
        self.seed = seed
        self.needs = frozenset(needs)
        self.portion = range(*portion(recipe.batch, peers.world, peers.rank))
        self.augment: Callable[..., Sample] = load("augmentation", recipe.augmentation)

    def __call__(self, iteration: int) -> Batch:
        """Images (3, h, w) uint8 and targets with boxes (N, 4), labels (N,) and, if wanted, masks (N, h, w)."""
        samples = [self.sample(iteration * self.recipe.batch + place) for place in self.portion]
        return [image_tensor(s.image) for s in samples], [target(s) for s in samples]

    def sample(self, position: int) -> Sample:
        """The augmented image at a position of the stream."""
        raw = read_sample(self.split, image_at(position, len(self.split), self.seed), self.needs)
        return self.augment(raw, generator_at(position, self.seed), self.recipe.sizes, self.recipe.max_size)


def read_sample(split: CocoSplit, index: int, needs: Collection[str]) -> Sample:
    """One image with its labels, crowds left out, and what else a detector needs."""
    image = IMAGES.read(split.path(index))
    labels = split.labels(index)
    keep = ~labels.crowd
    masks = keypoints = None
    if "masks" in needs:
        rles = [rle for rle, kept in zip(labels.rles or [], keep, strict=True) if kept]
        masks = decode_masks(rles, image.shape[0], image.shape[1])
    if "keypoints" in needs and labels.keypoints is not None:
        keypoints = labels.keypoints[keep]
    semantic = split.semantic(index) if "semantic" in needs else None
    return Sample(image, labels.boxes[keep], labels.labels[keep], masks, keypoints, split.flip_pairs, semantic)


def decode_masks(rles: Sequence[dict[str, Any]], height: int, width: int) -> np.ndarray:
    """(N, height, width) bool."""
    if not rles:
        return np.zeros((0, height, width), dtype=bool)
    return np.ascontiguousarray(mask_api.decode(list(rles)).transpose(2, 0, 1)).astype(bool)


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (3, H, W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def target(sample: Sample) -> dict[str, torch.Tensor]:
    """A sample's labels as tensors."""
    values = {"boxes": torch.from_numpy(sample.boxes), "labels": torch.from_numpy(sample.labels)}
    for name, array in (("masks", sample.masks), ("keypoints", sample.keypoints)):
        if array is not None:
            values[name] = torch.from_numpy(np.ascontiguousarray(array))
    if sample.semantic is not None:
        values["semantic"] = torch.from_numpy(np.ascontiguousarray(sample.semantic)).long()
    return values
