"""The order in which a training sees images: an unbounded seeded stream that is a function of the position.

Position p is image p mod n of the permutation number p div n. Because nothing else is remembered, the saved position of
a training is its iteration, a resumed run skips no decoding, and any number of loader threads gives the same batches.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=64)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch, 0]).permutation(count)


def image_at(position: int, count: int, seed: int) -> int:
    """Index of the image at a position of the stream.

    Args:
        position: 0-based, unbounded.
        count: images in the split, at least 1.
        seed: of the training.
    """
    if count < 1:
        raise ValueError("a stream needs at least one image")
    return int(_permutation(count, seed, position // count)[position % count])


def generator_at(position: int, seed: int, view: int = 0) -> np.random.Generator:
    """The random generator that augments the image at a position, independent of all others.

    Args:
        position: of the image in the stream.
        seed: of the training.
        view: number of the view, where one image is augmented several times.
    """
    return np.random.default_rng([seed, position, 1 + view])


def stream_seed(seed: int, number: int) -> int:
    """Seed of one of several streams of a training; the first is the training's own.

    Streams of one seed would flip and resize the images at equal positions alike.

    Args:
        seed: of the training.
        number: of the stream, 0-based.
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]) if number else seed
