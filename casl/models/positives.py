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

# Images whose mask losses are averaged together: those that one GPU of the reference has. It averages over the
# positives of a GPU and then over GPUs. The group is fixed: a loss must not depend on how many processes share a batch.
GROUP = 2


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


def draw_seed() -> int:
    """A seed for `drawn`, from the global generator of the CPU, so that every device draws the same."""
    return int(torch.randint(2**62, ()))


def drawn(counts: Sequence[int], limit: int, seed: int, first: int = 0) -> Tensor | None:
    """Which positives are kept by chance, at most `limit` of each image.

    Every image draws from a generator of its own, so that what it keeps depends on its place in the batch alone: not on
    the other images, nor on how the batch is divided.

    Args:
        counts: positives of each image.
        limit: at least 1.
        seed: of the batch, see `draw_seed`.
        first: place of the first of these images in the batch.

    Returns:
        (M,) int64 on the CPU, ascending, among the positives of all these images, image after image; None for all.
    """
    if max(counts, default=0) <= limit:
        return None
    kept, begin = [], 0
    for place, count in enumerate(counts, start=first):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed + place))
        kept.append(begin + order[:limit].sort().values)
        begin += count
    return torch.cat(kept)


@dataclass(frozen=True)
class MaskLearners:
    """The positives of a part of a batch that get a mask loss.

    Attributes:
        chosen: (n,) int64 on the CPU, among the positives of the part; None for all, or where the best-scored are
            taken.
        positives: (b,) float32 of each image of the part, what the mask loss of each of its positives is divided by.
        objects: (b,) likewise, of the cluster loss of each of its objects.
    """

    chosen: Tensor | None
    positives: Tensor
    objects: Tensor


@dataclass(frozen=True)
class Choice:
    """What `choose` found of b images: `chosen` of MaskLearners, and the number of positives and of objects in each."""

    chosen: Tensor | None
    positives: list[int]
    objects: list[int]


def choose(
    assignment: Assignment, objects_in: Sequence[int], limit: int | None, topk: int | None, seed: int, first: int = 0
) -> Choice:
    """Which positives get a mask loss, as far as that is known without the network.

    Args:
        assignment: (b, L).
        objects_in: number of objects of each image.
        limit, seed, first: as in `drawn`; no limit is None.
        topk: of `best_of_each`, whose choice depends on scores; its number does not. None where it is not used.
    """
    owners, count = owners_of(objects_in), len(objects_in)
    images, _, objects = objects_of(assignment, owners.to(assignment.labels.device))
    images, objects = torch.stack([images, objects]).cpu()  # so a GPU is waited for once; what follows is counting
    if topk is not None:
        return Choice(None, _best_in(objects, owners, topk, count), _count_in(owners[torch.unique(objects)], count))
    counts = _count_in(images, count)
    chosen = None if limit is None else drawn(counts, limit, seed, first)
    if chosen is not None and limit is not None:
        counts, objects = [min(number, limit) for number in counts], objects[chosen]
    return Choice(chosen, counts, _count_in(owners[torch.unique(objects)], count))


def learners_of(choices: Sequence[Choice], whole: Sequence[Sequence[int]], first: int) -> list[MaskLearners]:
    """The choices of consecutive parts of a batch, with divisors from counts over all of it.

    Args:
        choices: of the parts at hand.
        whole: positives and objects of each image of the batch.
        first: place of the first image at hand in the batch.
    """
    positives, objects = (divisors(counts) for counts in whole)
    learners = []
    for choice in choices:
        here = slice(first, first + len(choice.positives))
        learners.append(MaskLearners(choice.chosen, torch.tensor(positives[here]), torch.tensor(objects[here])))
        first = here.stop
    return learners


def divisors(counts: Sequence[int]) -> list[float]:
    """What each image's terms of a mask loss are divided by, so that their sum is the mean over GROUPs of the mean over
    the terms of a group, 0 where it has none.

    Args:
        counts: terms of each image of a whole batch.
    """
    sums = [sum(counts[begin : begin + GROUP]) for begin in range(0, len(counts), GROUP)]
    return [float(len(sums) * max(sums[place // GROUP], 1)) for place in range(len(counts))]


def _count_in(images: Tensor, count: int) -> list[int]:
    """How many of (N,) image numbers are 0, 1, ... count - 1."""
    numbers: list[int] = images.bincount(minlength=count).tolist()
    return numbers


def _best_in(objects: Tensor, owners: Tensor, total: int, count: int) -> list[int]:
    """How many `best_of_each` keeps in each of `count` images of positives of `objects` (N,), whatever their scores."""
    found, counts = torch.unique(objects, return_counts=True)
    images = owners[found]
    quota = (total // images.bincount().clamp(min=1)).clamp(min=1)
    kept = torch.zeros(count, dtype=torch.int64)
    numbers: list[int] = kept.index_add(0, images, torch.minimum(counts, quota[images])).tolist()
    return numbers


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
