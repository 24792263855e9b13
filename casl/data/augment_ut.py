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
from PIL import Image, ImageEnhance, ImageFilter

from casl.data.augment import Sample, weak
from casl.data.augment_strong import paint

JITTER = 0.8  # probability
SPREAD = 0.4  # of the factors of brightness, contrast and saturation, about 1
HUE = 0.1  # most that hues turn, share of the circle
GREY = 0.2  # probability
BLUR = 0.5  # probability
SIGMA = (0.1, 2.0)  # px
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


def turn_hue(image: Image.Image, share: float) -> Image.Image:
    """Adds to the hue of every pixel.

    Args:
        image: RGB.
        share: of the whole circle, in [-.5, .5]; hues are bytes, so it is rounded towards zero to a 255th.
    """
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.array(hue).astype(np.int64) + int(share * 255)).astype(np.uint8)  # modulo 256
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")


def jitter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast and saturation by a factor each, and the hue, in random order."""
    factors = rng.uniform(1 - SPREAD, 1 + SPREAD, 3).tolist()
    share = float(rng.uniform(-HUE, HUE))
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for kind in rng.permutation(4).tolist():
        image = turn_hue(image, share) if kind == 3 else enhancers[kind](image).enhance(factors[kind])
    return image


def recolour(sample: Sample, rng: np.random.Generator) -> Sample:
    """Colours, grey and blur, each by chance."""
    image = Image.fromarray(sample.image)
    if rng.random() < JITTER:
        image = jitter(image, rng)
    if rng.random() < GREY:
        image = image.convert("L").convert("RGB")
    if rng.random() < BLUR:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(*SIGMA))))
    return replace(sample, image=np.array(image))


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
    return erase(recolour(weak(sample, rng, sizes, max_size), rng), rng)
