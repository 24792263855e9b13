"""The views of contrastive pre-training: MoCo v2's crop, flip and colours, which DenseCL takes over.

In order: a crop of a random part, colour jitter, grey, blur, flip. All random numbers come from the generator that is
given.

Source: MoCo main_moco.py --aug-plus; DenseCL configs/selfsup/densecl.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from casl.data.colours import recolour

AREA = (0.2, 1.0)  # of a crop, as a share of the image's
RATIO = (3 / 4, 4 / 3)  # of its width to its height
TRIES = 10  # to draw a crop that fits, before one from the middle is taken


def crop_box(rng: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    """A part of an image as XYXY in whole pixels: its area uniform in AREA, the logarithm of its ratio in RATIO's.

    Of ten draws the first that fits is taken, else the largest part from the middle whose ratio is within RATIO, as
    torchvision's RandomResizedCrop does.
    """
    for _ in range(TRIES):
        area = width * height * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - tall + 1))
            return left, top, left + wide, top + tall
    wide, tall = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    left, top = (width - wide) // 2, (height - tall) // 2
    return left, top, left + wide, top + tall


def contrast_view(image: NDArray[np.uint8], rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """One view of an image.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        rng: source of all randomness.
        size: sides of the view, px.

    Returns:
        (size, size, 3) uint8.
    """
    box = crop_box(rng, image.shape[1], image.shape[0])
    view = Image.fromarray(image).crop(box).resize((size, size), Image.Resampling.BILINEAR)
    view = recolour(view, rng)
    if rng.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.array(view)
