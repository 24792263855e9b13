"""What a file is that is called as an image and is none."""

from __future__ import annotations

from pathlib import Path

from PIL import UnidentifiedImageError

from casl.data import image
from casl.errors import DataError

_HEAD = 512  # bytes, more than any of the beginnings below
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) as `casl.data.image.image_size` has them; a file that is no image is told of by what it is.

    Raises:
        DataError: the file is missing or its header is not that of an image.
    """
    try:
        return image.image_size(path)
    except DataError as error:
        raise explained(path, error) from error


def explained(path: Path, error: DataError, content: bytes | None = None) -> DataError:
    """The error of reading an image, with what its file is where that is no image at all.

    Args:
        path: of the image.
        error: what reading it raised.
        content: of the file, where it was read already.
    """
    if not isinstance(error.__cause__, UnidentifiedImageError):
        return error
    return DataError(f"{path}: not a readable image: {what_is(_head(path) if content is None else content)}.")


def what_is(content: bytes) -> str:
    """What a file is in which Pillow finds no image, as a sentence without a full stop."""
    head = content[:_HEAD]
    if not head:
        return "it is empty; replace it, or take it out"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS to one; `git lfs pull` fetches that"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF:
        return "it is a HEIC photo, which is not read; convert it to JPEG or PNG"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page, as a failed download leaves one; fetch the image again"
    return "it has no picture of a known format; replace it, or take it out"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)
