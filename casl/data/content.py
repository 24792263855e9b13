"""What digests of lists in JSON and of manifests share. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from casl.errors import DataError

# A file written again within the tick of the file system's clock keeps its time; such young files are not cached.
SETTLED_S = 2.0


@dataclass(frozen=True)
class Digest:
    """Hash of a split's content.

    Attributes:
        value: sha256 in hex over all of `files`.
        files: sha256 in hex by name: "objects", "entities", "keypoints", "panoptic" or "image list" for annotations,
            "images/..." and "panoptic/..." for pixels. Not a dict where the images are listed by a manifest.
    """

    value: str
    files: Mapping[str, str]


def unreadable(path: Path, error: Exception) -> DataError:
    """The error for an image that its list names and no one can read."""
    return DataError(f"{path}: cannot be read ({error}), but the annotations name it.")
