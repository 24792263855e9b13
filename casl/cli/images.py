"""The images that `casl predict` and `casl label` look at: files as named, and of folders what a person put there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from casl.errors import DataError
from casl.files import instead

RECORDS = ("results.json", "images.json")  # what predict leaves beside its pictures
UNDECODED = ("MPEG",)  # Pillow knows these by their first bytes only


@dataclass
class Images:
    """Files to look at, and how many of the folders' were left out: pictures that predict drew, and hidden files."""

    files: list[Path] = field(default_factory=list)
    drawn: int = 0
    hidden: int = 0

    @property
    def said(self) -> str:
        """What was left out, for people; empty if nothing."""
        parts = [f"{self.drawn} drawn by predict"] * bool(self.drawn)
        parts += [f"{self.hidden} whose name or folder begins with a dot"] * bool(self.hidden)
        return f"left out of the folders: {', '.join(parts)}" if parts else ""


def find_images(names: Sequence[str], out: Path | None) -> Images:
    """The images behind file and folder names.

    Args:
        out: folder that pictures will go to; None where none are drawn.

    Raises:
        DataError: a name stands for no file, or no images are in a folder.
    """
    found, suffixes = Images(), _suffixes()
    for name in names:
        path = Path(name)
        if path.is_dir():
            _add_folder(found, path, out and out.resolve(), suffixes)
        elif path.is_file():
            found.files.append(path)
        else:
            raise DataError(f"there is no image {path}{instead(path)}")
    return found


def _add_folder(found: Images, folder: Path, out: Path | None, suffixes: frozenset[str]) -> None:
    before = len(found.files)
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.is_file()):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            found.hidden += 1
        elif _is_drawn(path, folder, out):
            found.drawn += 1
        else:
            found.files.append(path)
    if len(found.files) == before:
        left = f"\n  {found.said}." if found.said else ""
        raise DataError(f"{folder} holds no images; looked for {', '.join(sorted(suffixes))}{left}")


def _is_drawn(path: Path, folder: Path, out: Path | None) -> bool:
    """Whether a picture is the result of predict: in `out`, or beside the records of an earlier call."""
    whole, root = path.resolve(), folder.resolve()
    inside = out is not None and whole.is_relative_to(out) and not (root != out and root.is_relative_to(out))
    places = (whole.parent, whole.parent.parent) if whole.parent.name == "panoptic" else (whole.parent,)
    return inside or any(place == out or all((place / name).is_file() for name in RECORDS) for place in places)


def _suffixes() -> frozenset[str]:
    """Every suffix of a format that Pillow can decode by itself."""
    from PIL import Image, ImageFile

    Image.init()
    decoded = {
        name
        for name, (factory, _) in Image.OPEN.items()
        if name not in UNDECODED and not (isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile))
    }
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in decoded)
