"""Which positives learn a mask: gathering them from the maps, drawing by chance, the best of each object."""

from __future__ import annotations

import torch

from casl.models.head import HeadOutput
from casl.models.locations import Assignment, Grid
from casl.models.mask_head import InstanceKernels
from casl.models.positives import Positives, best_of_each, draw, gather, owners_of


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


def test_draw_takes_different_positives_each_time_and_the_same_after_the_same_seed() -> None:
    many = positives_of([0] * 50, [0] * 50, [0.5] * 50)
    torch.manual_seed(7)
    first, second = rows(draw(many, 10)), rows(draw(many, 10))
    torch.manual_seed(7)
    assert rows(draw(many, 10)) == first != second
    assert first == sorted(set(first))
    assert len(first) == 10


def test_draw_leaves_the_generator_alone_when_all_fit() -> None:
    few = positives_of([0, 0], [0, 1], [0.5, 0.5])
    before = torch.get_rng_state()
    assert rows(draw(few, 2)) == [0, 1]
    assert torch.equal(torch.get_rng_state(), before)


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
    assert len(draw(none, 5)) == len(best_of_each(none, 5)) == 0
