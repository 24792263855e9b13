"""Near copies: images that show the same picture in another size, compression or slight change of brightness."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from casl.data.image import read_image
from casl.data.importing.no_image import explained
from casl.errors import DataError

SIDE = 16  # of the grid whose horizontal differences make the hash; SIDE * SIDE bits
MOST_BITS = 32  # of 256 that near copies may differ in; JPEG at quality 30 and half size move 18, other scenes 68
MOST_GREY = 0.03  # of the brightest cell, mean difference of two grids; keeps images without structure apart
LEAST_RISE = 1 / 510  # of the brightest cell; less is noise of an even sky
ROWS = 2048  # compared at once
_ROBOFLOW = re.compile(r"(.+)\.rf\.[0-9a-zA-Z]{16,}\.\w+")


@dataclass(frozen=True, eq=False)
class Seen:
    """What a file holds.

    Attributes:
        sha256: of the file.
        width, height: upright.
        bits: (256,) bool, whether grey rises from one cell of a grid to the next: the difference hash.
        grid: (16, 17) float32, grey.
    """

    sha256: str
    width: int
    height: int
    bits: NDArray[np.bool_]
    grid: NDArray[np.float32]


def look(path: Path) -> Seen:
    """Read one file.

    Raises:
        DataError: it is no image, or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    try:
        pixels = read_image(io.BytesIO(content))
    except DataError as error:
        said = explained(path, error, content)
        raise DataError(f"{path}{str(error).removeprefix('image')}" if said is error else str(said)) from error
    grey = Image.fromarray(pixels).convert("L").convert("F")  # fractions, since a dark image has few whole levels
    grid = np.asarray(grey.resize((SIDE + 1, SIDE), Image.Resampling.BOX), np.float32)
    height, width = pixels.shape[:2]
    bits = (grid[:, 1:] - grid[:, :-1] > grid.max() * LEAST_RISE).ravel()
    return Seen(hashlib.sha256(content).hexdigest(), width, height, bits, grid)


def look_at_all(
    paths: Sequence[Path], jobs: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Seen | DataError]:
    """Every file read once, by `jobs` threads; a damaged one gives its error."""

    def one(path: Path) -> Seen | DataError:
        try:
            return look(path)
        except DataError as error:
            return error

    found = []
    with ThreadPoolExecutor(jobs) as threads:
        for seen in threads.map(one, paths):
            found.append(seen)
            progress(len(found), len(paths))
    return found


def groups_of(seen: Sequence[Seen], names: Sequence[str]) -> NDArray[np.int64]:
    """The group of each image: near copies have one number, the position of their first.

    Near are images whose hashes differ in at most MOST_BITS and whose grids in at most MOST_GREY; those that Roboflow
    made from one ("a_jpg.rf.<hash>.jpg") are near by name, since they may be mirrored or cropped. Near copies of near
    copies are in one group. Every pair is compared: 100,000 images take minutes.

    Args:
        seen: N images.
        names: N file names.
    """
    root = np.arange(len(seen))
    for a, b in [*_near_pairs(seen), *_of_one_upload(names)]:
        first, second = sorted((_root(root, a), _root(root, b)))
        root[second] = first
    return np.array([_root(root, i) for i in range(len(root))], np.int64)


def _near_pairs(seen: Sequence[Seen]) -> list[tuple[int, int]]:
    if not seen:
        return []
    signs = np.stack([image.bits for image in seen]).astype(np.float32) * 2 - 1
    grids = np.stack([image.grid for image in seen])
    pairs = []
    for start in range(0, len(seen), ROWS):
        agreeing = signs[start : start + ROWS] @ signs.T  # 256 less twice the bits that differ
        rows, columns = np.nonzero(agreeing >= SIDE * SIDE - 2 * MOST_BITS)
        rows += start
        rows, columns = rows[rows < columns], columns[rows < columns]
        for part in range(0, len(rows), ROWS):
            a, b = rows[part : part + ROWS], columns[part : part + ROWS]
            brightest = np.maximum(grids[a].max(axis=(1, 2)), grids[b].max(axis=(1, 2)))
            close = np.abs(grids[a] - grids[b]).mean(axis=(1, 2)) <= MOST_GREY * brightest
            pairs += list(zip(a[close].tolist(), b[close].tolist(), strict=True))
    return pairs


def _of_one_upload(names: Sequence[str]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    matches = [(i, match[1]) for i, name in enumerate(names) if (match := _ROBOFLOW.fullmatch(name))]
    return [(first.setdefault(stem, i), i) for i, stem in matches]


def _root(root: NDArray[Any], i: int) -> int:
    while root[i] != i:
        root[i] = root[root[i]]
        i = int(root[i])
    return i
