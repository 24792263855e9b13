"""Which positives learn a mask: gathering them from the maps, drawing by chance, the best of each object."""

from __future__ import annotations

import torch

from casl.models.head import HeadOutput
from casl.models.locations import Assignment, Grid
from casl.models.mask_head import InstanceKernels
from casl.models.positives import (
    Positives,
    best_of_each,
    choose,
    divisors,
    draw_seed,
    drawn,
    gather,
    owners_of,
)


def positives_of(images: list[int], objects: list[int], scores: list[float]) -> Positives:
    count = len(images)
    numbers = torch.arange(count, dtype=torch.float32)[:, None]
    places, sizes = torch.zeros(count, 2), torch.ones(count)
    kernels = InstanceKernels(numbers, places, sizes, torch.tensor(images, dtype=torch.int64))
    return Positives(kernels, torch.tensor(objects, dtype=torch.int64), torch.tensor(scores))


def rows(positives: Positives) -> list[int]:
    return [int(value) for value in positives.kernels.params[:, 0]]


def test_objects_of_all_images_are_counted_through() -> None:
    assert owners_of([2, 0, 3]).tolist() == [0, 0, 2, 2, 2]


def test_gather_finds_image_object_level_and_kernel_of_each_positive() -> None:
    points = torch.tensor([[4.0, 4.0], [12.0, 4.0], [8.0, 8.0]])  # a 1 x 2 level and a 1 x 1 level
    levels = torch.tensor([0, 0, 1])
    grid = Grid(points, levels, torch.tensor([8.0, 8.0, 16.0]), torch.zeros(3), torch.ones(3))
    assignment = Assignment(
        labels=torch.tensor([[1, 0, 1], [1, 1, 0]]),
        ltrb=torch.zeros(2, 3, 4),
        gt_index=torch.tensor([[-1, 1, -1], [-1, -1, 0]]),
    )
    output = HeadOutput(
        logits=[torch.zeros(2, 1, 1, 2), torch.zeros(2, 1, 1, 1)],
        ltrb=[torch.zeros(2, 4, 1, 2), torch.zeros(2, 4, 1, 1)],
        center=[torch.zeros(2, 1, 1, 2), torch.full((2, 1, 1, 1), 100.0)],
        kernels=[torch.arange(4.0).reshape(2, 1, 1, 2), torch.tensor([[[[10.0]]], [[[11.0]]]])],
    )
    found = gather(output, grid, assignment, owners_of([2, 1]), sizes_of_interest=(64, 128))
    assert found.kernels.images.tolist() == [0, 1]
    assert found.objects.tolist() == [1, 2]
    assert found.kernels.params.tolist() == [[1.0], [11.0]]
    assert found.kernels.locations.tolist() == [[12.0, 4.0], [8.0, 8.0]]
    assert found.kernels.sizes.tolist() == [64.0, 128.0]
    torch.testing.assert_close(found.scores, torch.tensor([0.25, 0.5]))


def test_no_image_keeps_more_than_the_limit_and_those_with_fewer_keep_all() -> None:
    kept = drawn([50, 3, 0, 12], 10, seed=7)
    assert kept is not None
    per_image = torch.bucketize(kept, torch.tensor([50, 53, 53, 65]), right=True).bincount(minlength=4)
    assert per_image.tolist() == [10, 3, 0, 10]
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert drawn([10, 3, 0], 10, seed=7) is None


def test_what_an_image_keeps_depends_on_its_place_alone() -> None:
    """So a process that has a part of a batch draws what one that has all of it draws."""
    whole, changed, part = drawn([30, 20, 40], 10, 7), drawn([5, 99, 40], 10, 7), drawn([40], 10, 7, first=2)
    assert whole is not None and changed is not None and part is not None
    assert (whole[20:] - 50).tolist() == (changed[15:] - 104).tolist() == part.tolist()
    assert part.tolist() != whole[:10].tolist() != (whole[10:20] - 30).tolist()


def test_seeds_of_draws_follow_from_the_generator() -> None:
    torch.manual_seed(3)
    first, second = draw_seed(), draw_seed()
    torch.manual_seed(3)
    assert draw_seed() == first != second
    assert not torch.equal(drawn([40], 10, first), drawn([40], 10, second))  # type: ignore[arg-type]


def test_losses_divided_by_their_divisors_are_the_mean_over_pairs_of_the_mean_of_a_pair() -> None:
    """AdelaiDet on GPUs of two images: the mean over the positives of a GPU, then over GPUs."""
    counts = [3, 1, 0, 0, 5]
    images = torch.repeat_interleave(torch.arange(5), torch.tensor(counts))
    losses = torch.rand(9, generator=torch.Generator().manual_seed(0))
    expected = (losses[:4].mean() + 0.0 + losses[4:].mean()) / 3
    torch.testing.assert_close((losses / torch.tensor(divisors(counts))[images]).sum(), expected)


def test_the_best_of_each_are_counted_without_their_scores() -> None:
    images, objects = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 3, 3, 3, 3, 3]
    gt_index = torch.full((3, 10), -1)
    for place, (image, object_) in enumerate(zip(images, objects, strict=True)):
        gt_index[image, place] = object_ - (0, 3)[image]
    assignment = Assignment(labels=torch.where(gt_index < 0, 1, 0), ltrb=torch.zeros(3, 10, 4), gt_index=gt_index)
    found = choose(assignment, [3, 1, 0], None, 4, seed=0)
    best = best_of_each(positives_of(images, objects, [0.5] * 10), 4)
    assert found.positives == best.kernels.images.bincount(minlength=3).tolist() == [4, 4, 0]
    assert (found.objects, found.chosen) == ([2, 1, 0], None)


def test_best_of_each_shares_the_total_among_the_objects_of_an_image() -> None:
    images = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    objects = [0, 0, 0, 1, 1, 3, 3, 3, 3, 3]  # object 2 has no positive
    scores = [0.1, 0.3, 0.2, 0.5, 0.6, 0.1, 0.5, 0.4, 0.3, 0.2]
    chosen = best_of_each(positives_of(images, objects, scores), 4)  # two each in image 0, four in image 1
    assert rows(chosen) == [1, 2, 4, 3, 6, 7, 8, 9]


def test_best_of_each_keeps_one_of_every_object_when_there_are_more_objects_than_the_total() -> None:
    assert rows(best_of_each(positives_of([0, 0, 0], [0, 1, 1], [0.1, 0.2, 0.3]), 1)) == [0, 2]


def test_no_positive_is_legal() -> None:
    none = positives_of([], [], [])
    assert len(best_of_each(none, 5)) == 0
    assert drawn([0, 0], 5, seed=0) is None and drawn([], 5, seed=0) is None
