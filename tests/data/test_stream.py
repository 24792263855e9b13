from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from casl.data.stream import Batches, generator_at, image_at, stream_seed


def test_every_epoch_shows_every_image_once_in_another_order() -> None:
    epochs = [[image_at(e * 7 + i, 7, seed=0) for i in range(7)] for e in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_the_stream_is_a_function_of_its_position() -> None:
    forward = [image_at(p, 5, seed=1) for p in range(20)]
    backward = [image_at(p, 5, seed=1) for p in reversed(range(20))][::-1]
    assert forward == backward
    assert forward != [image_at(p, 5, seed=2) for p in range(20)]


def test_augmentation_of_two_positions_is_independent() -> None:
    draws = [generator_at(p, seed=0).random(4) for p in range(100)]
    assert len({tuple(d) for d in draws}) == 100
    assert np.mean(draws) == pytest.approx(0.5, abs=0.06)


def test_an_empty_split_has_no_stream() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        image_at(0, 0, seed=0)


def test_views_of_an_image_are_augmented_independently_and_the_first_as_if_it_were_alone() -> None:
    draws = [generator_at(p, seed=0, view=view).random(4) for p in range(30) for view in range(3)]
    assert len({tuple(d) for d in draws}) == 90
    np.testing.assert_array_equal(generator_at(5, seed=2, view=0).random(9), np.random.default_rng([2, 5, 1]).random(9))


def test_streams_of_a_training_have_seeds_of_their_own_and_the_first_has_the_trainings() -> None:
    seeds = [stream_seed(seed, number) for seed in range(20) for number in range(5)]
    assert len(set(seeds)) == 100
    assert seeds[::5] == list(range(20))
    first, second = ([image_at(p, 50, stream_seed(0, number)) for p in range(50)] for number in (0, 1))
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 10


WIDE, TALL, SQUARE = (640, 480), (480, 640), (64, 64)
MIXED = [TALL if index % 4 == 1 else WIDE for index in range(40)]  # 30 wide and 10 tall


def test_images_of_one_orientation_are_one_stream() -> None:
    for sizes in ([SQUARE] * 11, [WIDE] * 11, [TALL] * 11):
        order = Batches(sizes, 4, seed=3)
        assert [order.image_at(n, p) for n in range(9) for p in range(4)] == [image_at(i, 11, 3) for i in range(36)]


def test_an_orientation_with_fewer_images_than_a_batch_is_not_kept_apart() -> None:
    """It would fill batches with copies of one image."""
    apart, together = Batches(MIXED, 10, seed=0), Batches(MIXED, 11, seed=0)
    assert len({tuple(MIXED[apart.image_at(3, place)] for place in range(10))}) == 1
    assert [together.image_at(n, p) for n in range(5) for p in range(11)] == [image_at(i, 40, 0) for i in range(55)]


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_has_one_orientation_and_every_image_is_seen_equally_often(seed: int) -> None:
    order = Batches(MIXED, 4, seed)
    rows = [[order.image_at(number, place) for place in range(4)] for number in range(40)]
    assert all(len({MIXED[index] for index in row}) == 1 for row in rows)
    seen = np.bincount(np.concatenate(rows), minlength=40)
    assert seen.tolist() == [4] * 40, "40 batches of 4 are four epochs of 40 images"
    tall = [number for number, row in enumerate(rows) if MIXED[row[0]] is TALL]
    assert np.diff(tall).tolist() == [4] * 9, "as evenly as can be"


def test_the_orientations_of_batches_are_a_function_of_seed_and_number() -> None:
    def orientations(seed: int, numbers: range) -> list[bool]:
        order = Batches(MIXED, 4, seed)
        return [MIXED[order.image_at(number, 0)] is TALL for number in numbers]

    forward, backward = orientations(5, range(30)), orientations(5, range(29, -1, -1))
    assert forward == backward[::-1]
    assert len({tuple(orientations(seed, range(8))) for seed in range(20)}) == 4, "where the first one is"


def test_batches_of_one_orientation_are_padded_less() -> None:
    """The sizes and numbers of COCO's images, nearly: see coco_mini."""
    sizes = [(640, 480)] * 45 + [(640, 427)] * 50 + [(612, 612)] * 5 + [(480, 640)] * 35 + [(427, 640)] * 35
    alone = Batches(sizes, 16, seed=0)

    def padding(image: Callable[[int, int], int]) -> float:
        batches = [[sizes[image(number, place)] for place in range(16)] for number in range(200)]
        whole = sum(16 * max(w for w, _ in batch) * max(h for _, h in batch) for batch in batches)
        return whole / sum(w * h for batch in batches for w, h in batch)

    assert padding(lambda number, place: image_at(16 * number + place, len(sizes), 0)) > 1.35
    assert padding(alone.image_at) < 1.15
