"""The strong augmentation of Unbiased Teacher: colours, blur and noise on top of the weak one, and no geometry.

In order: resize and flip as `weak`; with probability .8 brightness, contrast, saturation and hue in random order; with
.2 grey; with .5 a blur; then three times, with .7, .5 and .3, noise over a rectangle. Boxes stay where `weak` has them;
under the noise masks, keypoints and the semantic map are treated as in `casl.data.augment_strong.erase`.

The source fills rectangles with normal noise of deviation 1 in units of the whole range, and turns it into bytes modulo
256. All bytes are then equally likely but for 0, which rounding towards it makes 1.4 times so; here 0 is as the others.

Source: Unbiased Teacher (ICLR 2021), ubteacher/data/detection_utils.py; torchvision's ColorJitter and RandomErasing for
what these do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from casl.data.augment import Sample, weak
from casl.data.augment_strong import paint
from casl.data.colours import colour, recolour

TRIES = 10  # to draw a rectangle that fits into the image


@dataclass(frozen=True)
class Erasing:
    """One rectangle of noise: its probability, share of the image's area, and height divided by width."""

    probability: float
    areas: tuple[float, float]
    ratios: tuple[float, float]


ERASINGS = (
    Erasing(0.7, (0.05, 0.2), (0.3, 3.3)),
    Erasing(0.5, (0.02, 0.2), (0.1, 6.0)),
    Erasing(0.3, (0.02, 0.2), (0.05, 8.0)),
)


def rectangle(rng: np.random.Generator, height: int, width: int, erasing: Erasing) -> tuple[int, int, int, int] | None:
    """Top, left, height and width of a rectangle inside of an image of so many px; None if ten draws are too large.

    Its area is uniform in the range, its ratio uniform on a logarithmic scale, its place uniform.
    """
    low, high = (math.log(ratio) for ratio in erasing.ratios)
    for _ in range(TRIES):
        area, ratio = rng.uniform(*erasing.areas) * height * width, math.exp(rng.uniform(low, high))
        tall, wide = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if tall < height and wide < width:
            return int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1)), tall, wide
    return None


def erase(sample: Sample, rng: np.random.Generator) -> Sample:
    """Noise over up to three rectangles, one for each of ERASINGS by chance."""
    height, width = sample.image.shape[:2]
    for erasing in ERASINGS:
        if rng.random() >= erasing.probability or (place := rectangle(rng, height, width, erasing)) is None:
            continue
        top, left, tall, wide = place
        erased = np.zeros((height, width), np.bool_)
        erased[top : top + tall, left : left + wide] = True
        sample = paint(sample, erased, rng.integers(0, 256, sample.image.shape, dtype=np.uint8))
    return sample


def ut(sample: Sample, rng: np.random.Generator, sizes: Sequence[int], max_size: int) -> Sample:
    """Augments as Unbiased Teacher augments images for the student; arguments as in `weak`.

    Returns:
        The augmented sample; boxes are those of `weak`. With masks, an instance that noise covers is dropped.
    """
    return erase(ut_blur(sample, rng, sizes, max_size), rng)


def ut_blur(sample: Sample, rng: np.random.Generator, sizes: Sequence[int], max_size: int) -> Sample:
    """`ut` without its noise: colours and blur; arguments as in `weak`."""
    sample = weak(sample, rng, sizes, max_size)
    return replace(sample, image=np.array(recolour(Image.fromarray(sample.image), rng)))


def ut_colour(sample: Sample, rng: np.random.Generator, sizes: Sequence[int], max_size: int) -> Sample:
    """`ut` without its blur and its noise; arguments as in `weak`."""
    sample = weak(sample, rng, sizes, max_size)
    return replace(sample, image=np.array(colour(Image.fromarray(sample.image), rng)))
