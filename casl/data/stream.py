"""The order in which a training sees images: an unbounded seeded stream that is a function of the position.

Position p is image p mod n of the permutation number p div n. Because nothing else is remembered, the saved position of
a training is its iteration, a resumed run skips no decoding, and any number of loader threads gives the same batches.

The images of a batch are padded to one size, so wide and tall ones are not put together: each orientation has a stream,
and which of the two a batch is taken from is a function of its number (`Batches`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=64)
def _permutation(count: int, seed: int, epoch: int, stream: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch, 0, *[stream] * (stream > 0)]).permutation(count)


def image_at(position: int, count: int, seed: int, stream: int = 0) -> int:
    """Index of the image at a position of the stream.

    Args:
        position: 0-based, unbounded.
        count: images in the split, at least 1.
        seed: of the training.
        stream: number of one of several streams of these images, each in an order of its own.
    """
    if count < 1:
        raise ValueError("a stream needs at least one image")
    return int(_permutation(count, seed, position // count, stream)[position % count])


class Batches:
    """Which image is at each place of each batch, a pure function of both.

    Wide and tall images are streams of their own. Batches are taken from the two in proportion to their numbers and
    as evenly as can be, so every image is seen equally often. Images are not divided where one orientation has fewer
    than a batch, which would fill with copies of them; so images of one orientation, and square ones, are one stream.

    Args:
        sizes: (width, height) of each image of a split, at least one.
        batch: images in each batch.
        seed: of the training.

    Source: detectron2's AspectRatioGroupedDataset, which remembers what it has seen; w > h is wide there too.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], batch: int, seed: int) -> None:
        wide = [index for index, (width, height) in enumerate(sizes) if width > height]
        tall = [index for index, (width, height) in enumerate(sizes) if width <= height]
        apart = min(len(wide), len(tall)) >= batch
        self.streams: tuple[list[int], ...] = (wide, tall) if apart else (list(range(len(sizes))),)
        self.count, self.batch, self.seed = len(sizes), batch, seed
        # trainings of other seeds take their first tall batch elsewhere
        self.phase = int(np.random.default_rng([seed, 0, 0, 2]).integers(len(sizes))) if apart else 0

    def image_at(self, number: int, place: int) -> int:
        """Index of an image.

        Args:
            number: of the batch, 0-based, unbounded.
            place: in the batch, 0-based.
        """
        stream, row = 0, number
        if len(self.streams) == 2:
            before, after = self._tall_before(number), self._tall_before(number + 1)
            stream, row = (1, before) if after > before else (0, number - before)
        images = self.streams[stream]
        return images[image_at(row * self.batch + place, len(images), self.seed, stream)]

    def _tall_before(self, number: int) -> int:
        """How many of the first batches are tall."""
        return (number * len(self.streams[1]) + self.phase) // self.count


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
