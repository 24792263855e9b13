"""Reading image files of any mode, bit depth and EXIF orientation as 8-bit RGB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, TiffImagePlugin

from casl.coco.pngs import UNREADABLE, unreadable
from casl.errors import DataError
from casl.words import noun, number_of

FULL_RANGE = 0xFFFF  # of 16 bit
TWELVE_BIT = 1 << 12
LEAST_LEVELS = 128  # of the 256 grey levels of 8 bit; fewer, and a set uses less than half of its 16-bit range
PREVIEWED = "MPO"  # photos of telephones: what follows the photo is a preview of it
ORIENTATION_TAG, TIFF_WIDTH, TIFF_LENGTH = 0x0112, 0x0100, 0x0101
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path | BinaryIO) -> NDArray[np.uint8]:
    """Pixels of an image file, upright and in colour.

    Grayscale, 1-bit, palette, YCbCr and CMYK files become RGB; an alpha channel is dropped, not blended; 16-bit values
    keep their high byte, so that all files of a set are scaled alike. Of an animation the first frame is read.

    Args:
        path: an image file of any format that Pillow opens, or its content as a stream.

    Returns:
        (H, W, 3) uint8 RGB, rotated and mirrored as the EXIF orientation says. The array is writable and contiguous.

    Raises:
        DataError: the file is missing, truncated, not an image, too large (more than 178,956,970 pixels), or holds
            numbers that have no 8-bit meaning: floats, 16-bit grey values that are all below 256 and not all 0, or
            16-bit colours that are all below 256.
    """
    return read_with_range(path)[0]


def read_with_range(path: Path | BinaryIO) -> tuple[NDArray[np.uint8], int | None]:
    """What `read_image` returns, and the largest value in a file of 16 bit; None for all other files.

    Of 16-bit colour files Pillow gives the high bytes only; the value is the largest that can have been there.
    """
    try:
        with Image.open(path) as image:
            deep = image.mode.startswith("I") or any(_is_deep(tile[3]) for tile in image.tile)  # tiles go with loading
            image.load()  # turns TIFF files itself, and only then finds what PNG files have behind their pixels
            turn = UPRIGHT.get(_as_orientation(image.getexif().get(ORIENTATION_TAG)))
            rgb = _rgb(image)
            pixels = np.array(rgb if turn is None else rgb.transpose(turn), order="C")
            return pixels, _highest(image, pixels) if deep else None
    except UNREADABLE as error:
        raise DataError(_complaint(path if isinstance(path, Path) else Path("image"), error)) from error


def dim_values(highest: Sequence[int], whose: str = "") -> str:
    """What 8 bit leave of 16-bit files that use little of their range; empty if enough.

    Args:
        highest: the largest value in each of several files that are seen together.
        whose: where they are, for the sentence: " of 'labeled'".
    """
    most = max(highest, default=0)
    levels, dim = (most >> 8) + 1, sum(0 < value < TWELVE_BIT for value in highest)
    if most > 0 and levels < LEAST_LEVELS:
        have = noun(len(highest), "has", "have")
        said = f"{number_of(len(highest), 'image')}{whose} {have} 16-bit values that go to {most} of {FULL_RANGE}"
        return f"{said}, of which {levels} of 256 grey levels are left; scale the values to the full range"
    said = f"{dim} of {len(highest)} images{whose} with 16-bit values stay below {TWELVE_BIT} of {FULL_RANGE}"
    mostly = 2 * dim > len(highest)  # a few dark images among bright ones are as they should be
    return f"{said}, of which at most 16 of 256 grey levels are left; scale all images alike" if mostly else ""


@dataclass(frozen=True)
class Header:
    """What the header of an image file says. width, height: pixels of what `read_image` returns. grey: whether it has
    one channel of brightness. several: whether it holds more than one picture, as animations and pages of a TIFF do."""

    width: int
    height: int
    grey: bool
    several: bool


def image_header(path: Path) -> Header:
    """What is known of an image before its pixels are read.

    EXIF data behind the pixels of a PNG file, where few programs write them, are not read.

    Raises:
        DataError: the file is missing or its header is not that of an image.
    """
    try:
        with Image.open(path) as image:
            sideways = _header_orientation(image) in (5, 6, 7, 8)
            width, height = image.size
            if isinstance(image, TiffImagePlugin.TiffImageFile):  # its size is turned already, in newer Pillow only
                width, height = image.tag_v2[TIFF_WIDTH], image.tag_v2[TIFF_LENGTH]
            grey = image.mode.startswith(("1", "L", "I"))
            several = image.format != PREVIEWED and getattr(image, "is_animated", False)
    except UNREADABLE as error:
        raise DataError(_complaint(path, error)) from error
    return Header(height, width, grey, several) if sideways else Header(width, height, grey, several)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of what `read_image` returns, from the file's header only; raises as `image_header`."""
    header = image_header(path)
    return header.width, header.height


def _header_orientation(image: Image.Image) -> int:
    # For PNG, Pillow's own method decodes every pixel to look for EXIF data behind them.
    exif = Image.Image.getexif(image) if isinstance(image, PngImagePlugin.PngImageFile) else image.getexif()
    return _as_orientation(exif.get(ORIENTATION_TAG))


def _as_orientation(value: object) -> int:
    return value if isinstance(value, int) else 1


def _is_deep(unpacked: object) -> bool:
    """Whether a file has 16-bit values, from how Pillow unpacks it: a mode such as "RGB;16B", alone or in front."""
    mode = unpacked[0] if isinstance(unpacked, tuple) and unpacked else unpacked
    return isinstance(mode, str) and ";16" in mode


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # I;16 and its byte orders; I is how older Pillow opens a 16-bit PNG
        return _high_byte(image).convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are floating point numbers; convert it to 8 or 16 bit")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _high_byte(image: Image.Image) -> Image.Image:
    # The high byte is also what Pillow keeps of 16-bit colour files.
    values = np.asarray(image)
    if values.min() < 0 or values.max() > FULL_RANGE:
        raise ValueError("its pixels do not fit 16 bit; convert it to 8 or 16 bit")
    if 0 < values.max() < 256:  # all 0 is black indeed
        raise ValueError(
            f"its 16-bit values go to {values.max()} of {FULL_RANGE}, so that nothing is left of them in 8 bit; "
            "scale the values to the full range, or write the file with 8 bit"
        )
    return Image.fromarray((values >> 8).astype(np.uint8))


def _highest(image: Image.Image, pixels: NDArray[np.uint8]) -> int:
    if image.mode.startswith("I"):
        return int(np.asarray(image).max())
    if not pixels.any():  # its low bytes are not to be had
        raise ValueError(
            f"its 16-bit colours are all below 256 of {FULL_RANGE}, so that nothing is left of them in 8 bit; "
            "scale the values to the full range, or write the file with 8 bit"
        )
    return (int(pixels.max()) << 8) + 255


def _complaint(path: Path, error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such image. Restore the file or remove its entry from the annotations."
    why = f"{path}: not a readable image ({unreadable(error)})"
    return f"{why}. Replace the file or remove its entry from the annotations."
