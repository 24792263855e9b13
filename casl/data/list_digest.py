"""The digest of a split that a manifest lists: that of the same list as JSON, made in constant memory.

What is known of the images is a file beside the digests of small sets: their names in order, each with its hash and
the stamp of the file that was hashed. While every stamp holds, the digest is known too and nothing is sorted or hashed.
Else names are put in order on disk, and only files are read whose hash neither that file nor the manifest has.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import stat
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from casl.data.content import SETTLED_S, Digest, unreadable
from casl.data.manifest import KEPT, LISTED, Manifest, Stamp, written_aside

PORTION = 1024  # rows of a sorted run that are in memory at once
KNOWN = pa.schema([LISTED.field("file_name"), *KEPT])
FORMAT = "1"
DAMAGED = (OSError, ValueError, KeyError, pa.ArrowException)  # what reading a damaged memory raises


class Row(NamedTuple):
    """An image file: its name, the hash it had, and the stamp of the file that had it; nothing known is None."""

    file_name: str
    sha256: bytes | None
    size: int | None
    mtime_ns: int | None
    inode: int | None

    def still(self, stamp: Stamp) -> bool:
        """Whether what is known is known of the file with this stamp."""
        return self.sha256 is not None and (self.size, self.mtime_ns, self.inode) == stamp


class ListedDigests(Mapping[str, str]):
    """Hashes by name, as in Digest.files, of a list too long for a dict; found in the file of what is known.

    Args:
        image_list: hash of the list itself.
        memory: file of what is known. It stays open, so that a newer one in its place changes nothing here.
    """

    def __init__(self, image_list: str, memory: Path) -> None:
        self.image_list = image_list
        self._reader = pa.ipc.open_file(pa.OSFile(str(memory)))
        sizes = [self._reader.get_batch(number).num_rows for number in range(self._reader.num_record_batches)]
        self._batches = range(sum(size > 0 for size in sizes))  # the last one has facts and no rows
        self._count: int = sum(sizes)

    def __len__(self) -> int:
        return 1 + self._count

    def __iter__(self) -> Iterator[str]:
        yield "image list"
        for number in self._batches:
            yield from (f"images/{name}" for name in self._column(number, "file_name"))

    def __getitem__(self, name: str) -> str:
        if name == "image list":
            return self.image_list
        image = name.removeprefix("images/")
        number = bisect_right(self._batches, image, key=lambda n: self._column(n, "file_name")[0]) - 1
        names = self._column(number, "file_name") if number >= 0 else []
        row = bisect_left(names, image)
        if image == name or row == len(names) or names[row] != image:
            raise KeyError(name)
        return str(self._column(number, "sha256")[row].hex())

    def _column(self, number: int, name: str) -> list[Any]:
        found: list[Any] = self._reader.get_batch(number).column(name).to_pylist()
        return found


def list_digest(path: Path, images: Path, content: str, memory: Path) -> Digest:
    """The digest of the images of a manifest, equal to that of a JSON list of the same images.

    Args:
        path: the manifest.
        images: folder that its names are relative to.
        content: sha256 of the manifest, in hex.
        memory: file of what is known, made if missing, made anew if damaged or of another list.

    Raises:
        DataError: the manifest is damaged, an image in it is not legal, or a file is missing.
        StoreError: the memory cannot be written.
    """
    found = _unchanged(memory, images, content) or _renew(path, images, content, memory)
    return Digest(found["value"], ListedDigests(found["image list"], memory))


def _unchanged(memory: Path, images: Path, content: str) -> dict[str, str] | None:
    """What the memory says of the list if it is of this list and of all files as they are; else None."""
    try:
        found = _facts(memory)
        if found.get("format") != FORMAT or found.get("list") != content:
            return None
        _ = found["image list"], found["value"]
        return found if all(row.still(_stamp(images, row.file_name)) for row in _rows(memory)) else None
    except DAMAGED:
        return None  # it is made anew


def _renew(path: Path, images: Path, content: str, memory: Path) -> dict[str, str]:
    """Hash what is not known, and write down what is."""
    manifest = Manifest(path)
    manifest.require_legal()
    image_list = _hash_of_list(manifest)
    value = hashlib.sha256(b"[" + json.dumps(["image list", image_list]).encode())
    memory.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryFile(dir=memory.parent) as aside,
        written_aside(memory) as file,
        pa.ipc.new_file(file, KNOWN) as writer,
    ):
        for rows in _portions(_hashed(_in_order(manifest, aside), _before(memory), images)):
            pairs = [[f"images/{row.file_name}", row.sha256.hex()] for row in rows if row.sha256]
            value.update(b", " + json.dumps(pairs)[1:-1].encode())
            writer.write_batch(_batch(rows))
        value.update(b"]")
        facts = {"format": FORMAT, "list": content, "image list": image_list, "value": value.hexdigest()}
        writer.write_batch(_batch([]), custom_metadata=facts)
    return facts


def _hash_of_list(manifest: Manifest) -> str:
    """sha256 of the list as JSON, in the order of the manifest."""
    found, between = hashlib.sha256(b"["), b""
    for batch in manifest.batches(LISTED.names):
        rows = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        if rows:
            found.update(between + json.dumps(rows)[1:-1].encode())
            between = b", "
    found.update(b"]")
    return found.hexdigest()


def _portions(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while portion := list(islice(rows, PORTION)):
        yield portion


def _batch(rows: Sequence[Row]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(KNOWN)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, KNOWN, strict=True)]
    return pa.record_batch(arrays, schema=KNOWN)


def _in_order(manifest: Manifest, aside: Any) -> Iterator[Row]:
    """Every name once, in order, with what the manifest knows of it: runs sorted on disk, then merged."""
    columns = KNOWN.names if manifest.has_digests else ["file_name"]
    runs: list[range] = []
    with pa.ipc.new_file(aside, pa.schema([KNOWN.field(name) for name in columns])) as writer:
        for batch in manifest.batches(columns):
            table = pa.Table.from_batches([batch]).sort_by("file_name").combine_chunks()
            first = runs[-1].stop if runs else 0
            runs.append(range(first, first - (-len(table) // PORTION)))
            writer.write_table(table, PORTION)
    aside.seek(0)
    reader = pa.ipc.open_file(aside)
    merged = heapq.merge(*(_run(reader, run) for run in runs), key=itemgetter(0))
    for _, same in groupby(merged, key=itemgetter(0)):
        yield next(same)


def _run(reader: pa.ipc.RecordBatchFileReader, batches: range) -> Iterator[Row]:
    for number in batches:
        columns = [column.to_pylist() for column in reader.get_batch(number).columns]
        columns += [[None] * len(columns[0])] * (len(KNOWN) - len(columns))
        yield from map(Row, *columns)


def _hashed(rows: Iterable[Row], before: Iterator[Row], images: Path) -> Iterator[Row]:
    """The rows with the hash of each file as it is. before: what was known, in order too."""
    old = next(before, None)
    for row in rows:
        while old is not None and old.file_name < row.file_name:
            old = next(before, None)
        stamp = _stamp(images, row.file_name)
        if row.still(stamp):
            yield row
        elif old is not None and old.file_name == row.file_name and old.still(stamp):
            yield old
        else:
            young = time.time() - stamp[1] / 1e9 < SETTLED_S  # so that it is read again next time
            yield Row(row.file_name, _sha256(images / row.file_name), *((None, None, None) if young else stamp))


def _before(memory: Path) -> Iterator[Row]:
    """What was known, as far as it can be read."""
    try:
        yield from _rows(memory)
    except DAMAGED:
        return


def _rows(memory: Path) -> Iterator[Row]:
    with pa.OSFile(str(memory)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            batch.validate(full=True)
            yield from map(Row, *(batch.column(name).to_pylist() for name in KNOWN.names))


def _facts(memory: Path) -> dict[str, str]:
    with pa.OSFile(str(memory)) as source:
        reader = pa.ipc.open_file(source)
        facts = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1).custom_metadata or {}
    return {key.decode(): text.decode() for key, text in facts.items()}


def _stamp(images: Path, name: str) -> Stamp:
    try:
        facts = os.stat(f"{images}/{name}")  # noqa: PTH116  a path object each would take twice as long
        if not stat.S_ISREG(facts.st_mode):
            raise OSError("it is no regular file")
    except (OSError, ValueError) as error:
        raise unreadable(images / name, error) from error
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


def _sha256(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise unreadable(path, error) from error
