"""Images of every mode, depth and orientation come out as upright 8-bit RGB."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from casl.data.image import dim_values, image_size, read_image, read_with_range
from casl.errors import DataError
from tests.data.deep import write_deep

ORANGE = (240, 120, 30)


def picture(width: int = 6, height: int = 4) -> Image.Image:
    """No two corners alike, so that every rotation and mirroring shows."""
    pixels = np.full((height, width, 3), 200, np.uint8)
    pixels[0, 0], pixels[0, -1], pixels[-1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("mode", "suffix", "colour", "expected"),
    [
        ("RGB", "png", ORANGE, ORANGE),
        ("RGBA", "png", (*ORANGE, 7), ORANGE),
        ("L", "png", 90, (90, 90, 90)),
        ("L", "jpg", 90, (90, 90, 90)),
        ("LA", "png", (90, 3), (90, 90, 90)),
        ("1", "png", 1, (255, 255, 255)),
        ("CMYK", "tif", (0, 0, 0, 0), (255, 255, 255)),
        ("CMYK", "jpg", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", "png", 0x5AFF, (0x5A, 0x5A, 0x5A)),
        ("I;16", "tif", 0xFFFF, (255, 255, 255)),
        ("I", "tif", 0x1234, (0x12, 0x12, 0x12)),
    ],
)
def test_every_mode_becomes_8_bit_rgb(
    tmp_path: Path, mode: str, suffix: str, colour: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.new(mode, (5, 3), colour).save(path)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    tolerance = 3 if suffix == "jpg" else 0
    np.testing.assert_allclose(pixels.astype(int), np.broadcast_to(expected, (3, 5, 3)), atol=tolerance)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("transparency", [None, 0, b"\x10\x80"])
def test_palette_images_get_their_colours_with_and_without_transparency(
    tmp_path: Path, transparency: int | bytes | None
) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*ORANGE, 10, 20, 30])
    image.putpixel((1, 0), 1)
    if transparency is not None:
        image.info["transparency"] = transparency
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), [[ORANGE, (10, 20, 30)]])


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied_to_pixels_and_size(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture().save(path, exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(path), upright)
    assert image_size(path) == (upright.shape[1], upright.shape[0])


def test_16_bit_images_are_turned_as_well(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 256
    Image.fromarray(values).save(tmp_path / "deep.png", exif=exif)
    assert image_size(tmp_path / "deep.png") == (2, 3)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[..., 0], np.rot90(values >> 8, -1))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_image_is_named_and_its_size_is_still_known(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert image_size(path) == (80, 64)
    with pytest.raises(DataError, match=rf"cut\.{suffix}: not a readable image"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"hello, I am text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(DataError, match=r"page\.png: not a readable image"):
            read(path)


@pytest.mark.filterwarnings("ignore:Tag data larger", "ignore:.*EXIF", "ignore:Truncated")
@pytest.mark.parametrize("form", ["AVIF", "WEBP", "TIFF", "JPEG2000", "PNG"])
def test_a_file_with_any_byte_changed_is_read_or_named(tmp_path: Path, form: str) -> None:
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path, random = tmp_path / "a", Random(0)
    picture(64, 48).save(path, format=form)
    whole = path.read_bytes()
    for place in range(0, min(len(whole), 400), 2):
        damaged = bytearray(whole)
        damaged[place] = random.choice([0, 255, random.randrange(256)])
        path.write_bytes(damaged)
        for read in (image_size, read_image):
            with suppress(DataError):
                read(path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    for read in (read_image, image_size):
        with pytest.raises(DataError, match=r"gone\.png: no such image"):
            read(tmp_path / "gone.png")


@pytest.mark.parametrize(("mode", "colour", "reason"), [("F", 0.5, "floating point"), ("I", 70_000, "fit 16 bit")])
def test_numbers_without_an_8_bit_meaning_are_rejected(tmp_path: Path, mode: str, colour: float, reason: str) -> None:
    Image.new(mode, (2, 2), colour).save(tmp_path / "height.tif")
    with pytest.raises(DataError, match=reason):
        read_image(tmp_path / "height.tif")


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("bits", "levels"), [(10, 4), (12, 16), (14, 64), (16, 256)])
def test_bits_that_are_left_of_16_are_known(tmp_path: Path, bits: int, levels: int, suffix: str, colour: bool) -> None:
    path = tmp_path / f"deep.{suffix}"
    write_deep(path, 64, 48, (1 << bits) - 1, colour)
    pixels, highest = read_with_range(path)
    assert highest == (1 << bits) - 1 and len(np.unique(pixels)) == levels
    said = dim_values([highest], " of 'val'")
    lost = f"1 image of 'val' has 16-bit values that go to {highest} of 65535, of which {levels} of 256 grey levels"
    assert said == "" if bits == 16 else said.startswith(lost)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_eight_bits_in_16_are_never_black_in_silence(tmp_path: Path, suffix: str, colour: bool) -> None:
    path = tmp_path / f"deep.{suffix}"
    write_deep(path, 64, 48, 255, colour)
    with pytest.raises(DataError, match=r"deep\.\w+: not a readable image .*nothing is left of them in 8 bit"):
        read_image(path)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_a_black_image_of_8_bit_is_not_taken_for_one_of_16(tmp_path: Path, compression: str | None) -> None:
    for width in (16, 160, 1600):  # numbers that stand beside the mode where Pillow says how to unpack it
        path = tmp_path / f"{width}.tif"
        Image.new("RGB", (width, 16)).save(path, compression=compression)
        assert read_with_range(path)[1] is None


BOMB = """
import sys
from pathlib import Path
from casl.data.image import image_size, read_image
from casl.coco.pngs import segment_ids
side = int(sys.argv[2])
assert image_size(Path(sys.argv[1])) == (side, side)
assert read_image(Path(sys.argv[1])).shape == (side, side, 3)
segment_ids(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("side", [9_500, 13_400])
def test_large_images_are_read_in_silence_and_larger_ones_refused_in_our_words(tmp_path: Path, side: int) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (side, side)).save(path)
    words = [sys.executable, "-W", "error", "-c", BOMB, str(path), str(side)]
    said = subprocess.run(words, capture_output=True, text=True).stderr
    assert "Warning" not in said
    limit = "large.png: not a readable image (it has more than 178,956,970 pixels, the most that are read)"
    assert (limit in said) == (side > 13_377)
    assert ("a panoptic PNG has 8-bit RGB pixels" in said) == (side < 13_377)
