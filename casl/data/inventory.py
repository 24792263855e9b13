"""What image folders hold: every file read once, decoded, hashed, and remembered in chunks.

The three collections of unlabeled images of CA-SSL (sec. 4) in the folders that people have of them. A chunk is up to
2,048 files of one folder, kept as one parquet file that appears when it is complete; a scan that was killed goes on
with the chunks that are missing. A file is read again only if its size or time changed. Files that cannot be decoded
stay in the inventory with the reason.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from casl.data.image import read_image
from casl.data.importing.no_image import explained
from casl.errors import DataError, SpecError, unknown
from casl.files import write_atomic

CHUNK = 2048  # files
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
HEX = "0123456789abcdef"
# source -> group of images -> folders that may hold it, the first that are there count; all of one line belong together
LAYOUTS: Mapping[str, Mapping[str, Sequence[Sequence[str]]]] = {
    "coco": {name: [[name]] for name in ("val2017", "train2017", "unlabeled2017")},
    "openimages": {"train": [["train"], [f"train_{digit}" for digit in HEX], ["images/train"]]},
    "places": {"train": [["data_large"], ["data_large_standard"], ["data_256"], ["data_256_standard"], ["train"]]},
}
_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("sha256", pa.binary(32)),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("problem", pa.string()),  # "" for a sound file
    ]
)
Row = dict[str, Any]
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Group:
    """A group of a source: its chunks, in the order of folders and names."""

    source: str
    name: str
    chunks: tuple[Path, ...]

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The chunks, one at a time, with some columns."""
        for path in self.chunks:
            yield read_chunk(path, columns)


def scan(source: str, root: Path, inventory: Path, jobs: int, progress: Progress = lambda done, rate: None) -> int:
    """Read what changed since the last scan.

    Args:
        source: "coco", "openimages" or "places".
        root: its folder as downloaded.
        inventory: folder for the chunks of all sources.
        jobs: processes that decode.
        progress: told the number of files seen and files a second, after every chunk.

    Returns:
        How many files were read.

    Raises:
        SpecError: another source. DataError: the folder is not in a known layout of it.
    """
    folders = groups_of(source, root)
    read, seen, began = 0, 0, time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        for group, parts in folders.items():
            kept = set()
            for path, names in _chunks(root, parts):
                target = inventory / source / group / path
                kept.add(target)
                changed = _renew(target, root, names, pool)
                read, seen = read + changed, seen + len(names)
                progress(seen, seen / max(time.monotonic() - began, 1e-9))
            for stale in set((inventory / source / group).glob("*.parquet")) - kept:
                stale.unlink()  # of folders that are gone
    return read


def groups_of(source: str, root: Path) -> dict[str, list[Path]]:
    """The folders of each group of a source that are there.

    Raises:
        SpecError: no such source. DataError: nothing of it is in `root`.
    """
    if source not in LAYOUTS:
        raise SpecError(unknown("source", source, LAYOUTS))
    found = {}
    for group, choices in LAYOUTS[source].items():
        there = next((t for c in choices if (t := [root / name for name in c if (root / name).is_dir()])), [])
        if there:
            found[group] = there
    if not found:
        wanted = [c[0] + (" .." if len(c) > 1 else "") for many in LAYOUTS[source].values() for c in many]
        have = ", ".join(sorted(p.name for p in root.iterdir())[:12]) if root.is_dir() else "no such folder"
        raise DataError(
            f"{root} does not look like {source}.\n  wanted: {' or '.join(wanted)}.\n  found:  {have or 'nothing'}."
        )
    return found


def groups_in(inventory: Path) -> dict[str, dict[str, Group]]:
    """What was scanned: source -> group."""
    found: dict[str, dict[str, Group]] = {}
    for source, layout in LAYOUTS.items():
        for name in layout:
            if chunks := sorted((inventory / source / name).glob("*.parquet")):
                found.setdefault(source, {})[name] = Group(source, name, tuple(chunks))
    return found


def read_chunk(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """One chunk.

    Raises:
        DataError: it is damaged; says what to do.
    """
    try:
        return pq.read_table(path, columns=None if columns is None else list(columns))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: damaged ({error}). Delete it and prepare again.") from error


def _chunks(root: Path, folders: Sequence[Path]) -> Iterator[tuple[str, list[str]]]:
    """(name of the chunk's file, names of images relative to the root), folder by folder, sorted."""
    for top in folders:
        for folder, below, files in os.walk(top):
            below.sort()
            here = Path(folder).relative_to(root)
            images = sorted(name for name in files if name.lower().endswith(SUFFIXES))
            mark = "-".join(here.parts)
            for number in range(0, len(images), CHUNK):
                yield (
                    f"{mark}-{number // CHUNK:05d}.parquet",
                    [str(here / name) for name in images[number : number + CHUNK]],
                )


def _renew(target: Path, root: Path, names: Sequence[str], pool: ProcessPoolExecutor) -> int:
    """Make a chunk say what its files are now; how many had to be read."""
    stamps = [(root / name).stat() for name in names]
    known: dict[str, Row] = {}
    if target.exists():
        try:
            known = {row["name"]: row for row in read_chunk(target).to_pylist()}
        except DataError:
            known = {}  # a damaged chunk is made again
    rows: list[Row | None] = []
    for name, stamp in zip(names, stamps, strict=True):
        row = known.get(name)
        same = row is not None and (row["size"], row["mtime_ns"]) == (stamp.st_size, stamp.st_mtime_ns)
        rows.append(row if same else None)
    missing = [i for i, row in enumerate(rows) if row is None]
    if not missing and len(known) == len(names):
        return 0
    results = pool.map(_read, [root / names[i] for i in missing], chunksize=32)
    for i, found in zip(missing, results, strict=True):
        rows[i] = {"name": names[i], "size": stamps[i].st_size, "mtime_ns": stamps[i].st_mtime_ns, **found}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), sink, compression="zstd")
    write_atomic(target, sink.getvalue().to_pybytes())
    return len(missing)


def _read(path: Path) -> Row:
    """Hash and size of an image as the loader sees it, or what is wrong with it."""
    nothing = {"sha256": bytes(32), "width": 0, "height": 0}
    try:
        content = path.read_bytes()
    except OSError as error:
        return {**nothing, "problem": error.strerror or "unreadable"}
    digest = hashlib.sha256(content).digest()
    try:
        height, width = read_image(io.BytesIO(content)).shape[:2]
    except DataError as error:
        said = str(explained(path, error, content)).splitlines()[0]
        return {**nothing, "sha256": digest, "problem": said.removeprefix(f"{path}: ").removeprefix("image: ")}
    return {"sha256": digest, "width": width, "height": height, "problem": ""}
