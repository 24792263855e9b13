from __future__ import annotations

import numpy as np
import pytest

from casl.data.stream import generator_at, image_at, stream_seed


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
