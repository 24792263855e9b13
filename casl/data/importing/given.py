"""What a person gives an import to read: whether it is there, and what it is instead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from casl.data.importing.looks import FORMATS, is_image
from casl.data.near_names import strange
from casl.errors import DataError, nearest

WANTED = {
    "coco": "JSON with 'images', 'annotations' and 'categories'",
    "voc": "an XML file for each image, whose root is <annotation>",
    "yolo": "a text file for each image, and data.yaml or classes.txt",
    "labelme": "a JSON file with 'shapes' for each image",
    "via": "JSON with the 'regions' of each 'filename'",
}
_PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar")


def check_source(path: Path) -> None:
    """Check what is to be imported: a folder, or a file of annotations.

    Raises:
        DataError: it is not there, an archive, or an image.
    """
    _check_there(path, "file or folder", folders_only=False)
    if is_image(path) and path.is_file():
        raise DataError(f"{path}: is an image; give the folder that it is in.")


def check_folder_of_images(path: Path) -> None:
    """Check what is to hold further images.

    Raises:
        DataError: it is not there, an archive, or another file.
    """
    _check_there(path, "folder", folders_only=True)
    if not path.is_dir():
        raise DataError(f"{path}: is a file, not a folder of images; give the folder that it is in.")


def _check_there(path: Path, what: str, folders_only: bool) -> None:
    if not path.exists():
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        near = nearest(path.name, [other.name for other in beside if other.is_dir() or not folders_only])
        hint = f"\n  did you mean {str(path.with_name(near))!r}?" if near else ""
        raise DataError(f"{path}: no such {what}.{hint}")
    if not path.is_dir() and (why := strange(path)):  # a pipe would be waited for
        raise DataError(f"{path}: {why}.")
    if path.is_file() and path.suffix.lower() in _PACKED:
        raise DataError(f"{path}: is packed; unpack it, and give the folder that comes out.")


def nothing_labeled(path: Path, form: str, looks: Sequence[str]) -> DataError:
    """That a source has no annotations of the format that it is read as.

    Args:
        path: of the source.
        form: the format.
        looks: the formats that it has files of.
    """
    others = [name for name in looks if name not in (form, "images")]
    if others:
        there = f"It looks like {' and '.join(FORMATS[name] for name in others)}: --format {others[0]}."
    elif not looks:
        there = "There are no images in it either."
    else:
        there = "--format images takes its images without labels, if that is meant."
    return DataError(f"{path}: has no annotations of {FORMATS[form]} ({WANTED[form]}).\n  {there}")
