"""Image lists of unlabeled splits as columns: a manifest of millions of images is read in constant memory.

A file of Arrow's file format, a row an image, `annotations/unlabeled*.arrow` in place of the JSON list:

    id int64      file_name string      width, height int64
    sha256 binary[32]      size, mtime_ns int64      inode uint64

The second line is what is known of the file: its hash, and which file that was. It may be missing, and so may single
values. Further columns are not read, as further keys of a JSON list are not. The "categories" of a JSON list, where it
has any, are JSON under that name in the metadata of the schema. No column is compressed, so that a row can be found
where it lies; casl writes batches of 65,536 rows. The content of a list counts and not its container: a manifest and a
JSON list of the same images are the same split with the same digest.

A whole manifest is read batch by batch, and single rows through a map of the file.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import pyarrow as pa

from casl.coco.judge import image_problems, plainly_legal_images
from casl.coco.records import Record, Say, Source, legal_records, refuse
from casl.data.image_info import ImageInfo
from casl.errors import DataError
from casl.files import disk_errors

BATCH = 65_536  # rows
LISTED = pa.schema([("id", pa.int64()), ("file_name", pa.string()), ("width", pa.int64()), ("height", pa.int64())])
KEPT = pa.schema([("sha256", pa.binary(32)), ("size", pa.int64()), ("mtime_ns", pa.int64()), ("inode", pa.uint64())])
SCHEMA = pa.schema([*LISTED, *KEPT])
Stamp = tuple[int, int, int]  # size, modification time in ns, inode: another file, or other content, has another one


class Manifest:
    """A manifest on disk, whose columns are those it must have. What is in them, `require_legal` judges.

    Args:
        path: the file.

    Attributes:
        categories: as in a JSON list, not judged.

    Raises:
        DataError: there is no such file, it is not Arrow's or cut short, or lacks a column or has it in another type.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamp = stamp_of(path)
        with arrow_errors(path), pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            _require_columns(path, reader.schema)
            self._fields = {name: reader.schema.get_field_index(name) for name in SCHEMA.names}
            _require_uncompressed(path, source, reader)
            metadata = reader.schema.metadata or {}
            self.categories = json.loads(metadata.get(b"categories", b"[]"))
        self.has_digests = all(self._fields[name] >= 0 for name in KEPT.names)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns, in batches of at most `BATCH` rows. Raises DataError for one that is not sound in form."""
        read = pa.ipc.IpcReadOptions(included_fields=[self._fields[name] for name in columns])
        with arrow_errors(self.path), pa.OSFile(str(self.path)) as source:  # mapped, all of it would stay in memory
            reader = pa.ipc.open_file(source, options=read)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch.validate(full=True)  # offsets that point elsewhere, text that is not UTF-8
                for first in range(0, len(batch), BATCH):
                    part = batch.slice(first, BATCH)
                    yield pa.record_batch([part.column(name) for name in columns], schema=_fields(columns))

    def require_legal(self) -> int:
        """Judge all images as those of a JSON list; how many there are.

        Raises:
            DataError: an image is not legal, or two have one id; names the first.
        """
        count, last, plain, rising = 0, -(2**63), True, True
        for batch in self.batches(LISTED.names):
            count += len(batch)
            plain = plain and is_plain(batch)
            if plain and rising and len(batch):  # as ids are in lists of casl's; so none is there twice
                ids = batch.column("id").to_numpy()
                rising, last = bool(ids[0] > last and (ids[1:] > ids[:-1]).all()), int(ids[-1])
        if not plain or not (rising or self._distinct()):
            for _ in self.records(self.path):  # the judge of single records has the sentence
                pass
        return count

    def _distinct(self) -> bool:
        ids = np.concatenate([batch.column("id").to_numpy().copy() for batch in self.batches(["id"])])
        return len(np.unique(ids)) == len(ids)

    def records(self, source: Source, error: Say = refuse) -> Iterator[Record]:
        """The legal entries one by one, as those of a JSON list: judged by casl.coco.judge, with its sentences.

        Args:
            source: name of the list in messages.
            error: called with every problem.
        """
        rows = (row for batch in self.batches(LISTED.names) for row in batch.to_pylist())
        yield from legal_records(rows, f"{source}: image", image_problems, error)


class ListedImages(Sequence[ImageInfo]):
    """Images made from the rows of a judged manifest when asked for: millions as objects would not fit in memory.

    Threads and processes may share it. Raises DataError if the file is no longer the one that was judged.
    """

    def __init__(self, path: Path, stamp: Stamp, rows: range) -> None:
        self.path, self.stamp, self.rows = path, stamp, rows
        self._columns: list[pa.ChunkedArray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "stamp": self.stamp, "rows": self.rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, i: int) -> ImageInfo: ...
    @overload
    def __getitem__(self, i: slice) -> ListedImages: ...
    def __getitem__(self, i: int | slice) -> ImageInfo | ListedImages:
        if isinstance(i, slice):
            return ListedImages(self.path, self.stamp, self.rows[i])
        row = self.rows[i]
        return ImageInfo(*(column[row].as_py() for column in self._mapped()))

    def _mapped(self) -> list[pa.ChunkedArray]:
        if self._columns is None:
            if stamp_of(self.path) != self.stamp:
                raise DataError(
                    f"{self.path}: changed while it was used. Repeat the command to plan with what it is now."
                )
            with arrow_errors(self.path), pa.memory_map(str(self.path)) as source:
                table = pa.ipc.open_file(source).read_all()
            self._columns = [table.column(name) for name in LISTED.names]
        return self._columns


class NoRecords(Sequence[Sequence[Record]]):
    """The annotations of images that have none."""

    def __init__(self, count: int) -> None:
        self.rows = range(count)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, i: int) -> Sequence[Record]: ...
    @overload
    def __getitem__(self, i: slice) -> NoRecords: ...
    def __getitem__(self, i: int | slice) -> Sequence[Record] | NoRecords:
        found = self.rows[i]
        return NoRecords(len(found)) if isinstance(found, range) else ()


def read_images(manifest: Manifest) -> ListedImages:
    """The images of a manifest, all of them judged. Raises DataError as `require_legal`."""
    return ListedImages(manifest.path, manifest.stamp, range(manifest.require_legal()))


def write_manifest(path: Path, tables: Iterator[pa.Table]) -> None:
    """Write a manifest as its rows come; the file is whole or as it was.

    Args:
        path: ends in ".arrow".
        tables: rows of SCHEMA, in any portions.

    Raises:
        StoreError: the folder cannot be written.
    """
    with written_aside(path) as file, pa.ipc.new_file(file, SCHEMA) as writer:
        waiting: list[pa.Table] = []
        for table in tables:
            waiting.append(table)
            if sum(map(len, waiting)) >= BATCH:
                whole = pa.concat_tables(waiting)
                writer.write_table(whole.slice(0, BATCH).combine_chunks())
                waiting = [whole.slice(BATCH)]
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), BATCH)


def is_plain(batch: pa.RecordBatch) -> bool:
    """Whether all images of a batch are legal, told column by column; False only asks for a closer look."""
    if any(column.null_count for column in batch.columns):
        return False
    ids, widths, heights = (batch.column(name).to_numpy() for name in ("id", "width", "height"))
    return plainly_legal_images(ids, batch.column("file_name").to_pylist(), widths, heights)


def stamp_of(path: Path) -> Stamp:
    """Which file a path leads to, and whether it was written since. Raises DataError if it cannot be told."""
    try:
        facts = path.stat()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


@contextmanager
def arrow_errors(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a file into a sentence about the list."""
    try:
        yield
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:  # also of text and JSON that are none
        reason = next(iter(str(error).strip().splitlines()), "").rstrip(".")
        raise DataError(
            f"{path}: not an image list in Arrow's file format, damaged or cut short ({reason}).\n"
            "  Write it again, as `casl data prepare` does; docs/data.md has its columns."
        ) from error


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name once it is whole and synced. Raises StoreError if it cannot be written."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with disk_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _fields(names: Sequence[str]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in names])


def _require_columns(path: Path, schema: pa.Schema) -> None:
    types: Mapping[str, Any] = {field.name: field.type for field in SCHEMA}
    wanted = ", ".join(f"{field.name} {field.type}" for field in LISTED)
    found = set(schema.names)
    if missing := [name for name in LISTED.names if name not in found]:
        have = ", ".join(sorted(found)) or "none"
        raise DataError(f"{path}: no column {missing[0]!r}; a list has {wanted}. Its columns: {have}.")
    for field in schema:
        if len(schema.get_all_field_indices(field.name)) > 1 and field.name in types:
            raise DataError(f"{path}: two columns are called {field.name!r}; keep one.")
        if field.type != types.get(field.name, field.type):
            raise DataError(
                f"{path}: column {field.name!r} is {field.type}, but must be {types[field.name]}; a list has {wanted}."
            )


def _require_uncompressed(path: Path, source: pa.NativeFile, reader: pa.ipc.RecordBatchFileReader) -> None:
    """Refuse columns that do not lie in the mapped file as they are: each row would unpack its whole batch."""
    source.seek(0)
    whole = source.read_buffer()
    for number in range(reader.num_record_batches):
        for buffer in (b for column in reader.get_batch(number).columns for b in column.buffers() if b and b.size):
            if not whole.address <= buffer.address < whole.address + whole.size:
                raise DataError(f"{path}: its columns are compressed; write them without compression.")
