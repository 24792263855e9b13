"""Which of the locations that must find an object also learn its mask.

Source: CondInst (ECCV 2020), AdelaiDet adet/modeling/condinst/condinst.py:186-224.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from casl.models.head import HeadOutput, flatten_levels
from casl.models.locations import Assignment, Grid
from casl.models.mask_head import InstanceKernels


@dataclass(frozen=True)
class Positives:
    """Locations that must find an object and its mask.

    Attributes:
        kernels: their N predicted kernels.
        objects: (N,) int64, row of each one's object among the objects of all images.
        scores: (N,) predicted class probability times centre-ness, without gradient.
    """

    kernels: InstanceKernels
    objects: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.objects)

    def select(self, index: Tensor) -> Positives:
        """The positives of an index or mask."""
        return Positives(self.kernels.select(index), self.objects[index], self.scores[index])


def owners_of(counts: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Number of objects of each image -> (G,) int64, the image of each object of the batch, ascending."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).to(device)


def objects_of(assignment: Assignment, owners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image, location and object of each of the N positives of a batch, image after image, (N,) int64 each.

    Args:
        assignment: (B, L).
        owners: (G,) int64, image of each object, see `owners_of`.
    """
    images, places = assignment.positive.nonzero(as_tuple=True)
    first = torch.searchsorted(owners, images)  # row of the first object of each one's image
    return images, places, first + assignment.gt_index[images, places]


def gather(
    output: HeadOutput, grid: Grid, assignment: Assignment, owners: Tensor, sizes_of_interest: Sequence[float]
) -> Positives:
    """All positives of a batch, image after image.

    Args:
        output: of the head, with kernels.
        grid: its L locations.
        assignment: (B, L).
        owners: (G,) int64, image of each object, see `owners_of`.
        sizes_of_interest: pixels a level.
    """
    assert output.kernels is not None
    images, places, objects = objects_of(assignment, owners)
    with torch.no_grad():
        classes = flatten_levels(output.logits)[images, places].sigmoid().amax(1)
        scores = classes * flatten_levels(output.center)[images, places, 0].sigmoid()
    sizes = grid.points.new_tensor(sizes_of_interest)[grid.levels[places]]
    params = flatten_levels(output.kernels)[images, places]
    return Positives(InstanceKernels(params, grid.points[places], sizes, images), objects, scores)


def drawn(count: int, limit: int) -> Tensor:
    """(limit,) int64, ascending: which of `count` are kept by chance, from the global generator of the CPU so that
    every device draws the same."""
    return torch.randperm(count)[:limit].sort().values


def draw(positives: Positives, limit: int) -> Positives:
    """At most `limit` positives by chance, order kept. The generator is not touched when there is nothing to choose."""
    if len(positives) <= limit:
        return positives
    return positives.select(drawn(len(positives), limit).to(positives.objects.device))


def number_of_best(objects: Tensor, owners: Tensor, total: int) -> int:
    """How many `best_of_each` keeps of positives of `objects` (N,), whatever their scores."""
    found, counts = torch.unique(objects, return_counts=True)
    quota = (total // owners[found].bincount().clamp(min=1)).clamp(min=1)
    return int(torch.minimum(counts, quota[owners[found]]).sum())


def best_of_each(positives: Positives, total: int) -> Positives:
    """The best-scored positives of every object, so many of each that an image has about `total`.

    Args:
        positives: N, of any number of images.
        total: wanted number per image; every object keeps at least one.

    Returns:
        M <= N of them, ordered by object, then from the best score down.

    Source: AdelaiDet adet/modeling/condinst/condinst.py:200-224.
    """
    order = positives.scores.argsort(descending=True, stable=True)
    order = order[positives.objects[order].argsort(stable=True)]
    objects, images = positives.objects[order], positives.kernels.images[order]
    rank = torch.arange(len(order), device=order.device) - torch.searchsorted(objects, objects)
    quota = (total // images[rank == 0].bincount().clamp(min=1)).clamp(min=1)
    return positives.select(order[rank < quota[images]])
