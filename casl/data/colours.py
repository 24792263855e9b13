"""Random colours and blur, as MoCo v2 and Unbiased Teacher have them with equal strengths.

torchvision changes colours of Pillow images, as in the sources; all random numbers come from the generator that is
given.

Source: MoCo main_moco.py --aug-plus; Unbiased Teacher ubteacher/data/detection_utils.py.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter
from torchvision.transforms import functional

JITTER, BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.8, 0.4, 0.4, 0.4, 0.1  # probability, and most changes
GREY, BLUR = 0.2, 0.5  # probabilities
SIGMA = (0.1, 2.0)  # of the blur, px
STEPS = (
    functional.adjust_brightness,
    functional.adjust_contrast,
    functional.adjust_saturation,
    functional.adjust_hue,
)


def jitter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast and saturation times 0.6 to 1.4 and hue turned by up to a tenth, in random order."""
    middle, most = np.array([1, 1, 1, 0]), np.array([BRIGHTNESS, CONTRAST, SATURATION, HUE])
    amounts = rng.uniform(middle - most, middle + most).tolist()
    for step in rng.permutation(len(STEPS)).tolist():
        image = STEPS[step](image, amounts[step])
    return image


def colour(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Jitter and grey of an RGB image, each by chance, in this order."""
    if rng.random() < JITTER:
        image = jitter(image, rng)
    if rng.random() < GREY:
        image = functional.rgb_to_grayscale(image, num_output_channels=3)
    return image


def recolour(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Jitter, grey and blur of an RGB image, each by chance, in this order."""
    image = colour(image, rng)
    if rng.random() < BLUR:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(*SIGMA))))
    return image
