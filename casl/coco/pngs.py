"""Segments written as colours: the PNGs of COCO's panoptic format."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from casl.errors import DataError

# Pillow refuses images of more than this many pixels by itself, and warns of half as many, which are legal
MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# all that Pillow raises on damaged files, and on small files that claim to be larger than the memory. For decoding
# alone: a RuntimeError, as libavif's are, may be anything elsewhere
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, RuntimeError, LookupError),
    *(Image.DecompressionBombError, MemoryError, OverflowError),
)


def segment_ids(path: Path) -> NDArray[np.int32]:
    """Segment ids of a COCO panoptic PNG: (H, W) int32, R + 256 G + 65536 B; 0 is void.

    Raises:
        DataError: missing, damaged, or not an 8-bit RGB image; the message names the file.
    """
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise FileNotFoundError
        with Image.open(path) as image:
            mode, pixels = image.mode, np.asarray(image)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such panoptic PNG.") from error
    except UNREADABLE as error:
        raise DataError(f"{path}: not a readable PNG ({unreadable(error)}).") from error
    if mode not in ("RGB", "RGBA"):
        raise DataError(f"{path}: a panoptic PNG has 8-bit RGB pixels, this one is {mode}.")
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return red + 256 * green + 65536 * blue


def unreadable(error: BaseException) -> str:
    """Why an image could not be read: what Pillow says, but of images that are too large."""
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {MOST_PIXELS:,} pixels, the most that are read"
    return str(error)
