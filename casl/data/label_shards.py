"""The one file format of pseudo labels: shards of images and what was predicted in each, as Arrow files.

A labelling in progress keeps shards of a few hundred images (casl.stages.shards), finished labels are shards of a few
thousand (casl.data.pseudo).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from casl.data.image_info import ImageInfo
from casl.errors import DataError

OPEN = 8  # shards mapped at a time
_SCHEMA = pa.schema(
    [
        *((name, pa.int64()) for name in ("image_id", "width", "height")),
        ("file_name", pa.string()),
        ("boxes", pa.list_(pa.float32())),
        ("scores", pa.list_(pa.float32())),
        ("labels", pa.list_(pa.int32())),
        ("rles", pa.list_(pa.binary())),
    ]
)


class Shard:
    """The labels of consecutive images, read from one file's content.

    Args:
        source: the content, in memory or mapped.
        path: the file, for messages.

    Raises:
        DataError: the content is not a shard.
    """

    def __init__(self, source: pa.NativeFile, path: Path) -> None:
        try:
            batch = pa.ipc.open_file(source).get_batch(0)
        except (OSError, pa.ArrowException) as error:
            raise DataError(damaged(path, str(error))) from error
        if batch.schema != _SCHEMA:
            raise DataError(damaged(path, "other columns"))
        self.batch = batch
        scores = batch.column("scores")
        self.offsets = scores.offsets.to_numpy()
        self.scores = scores.values.to_numpy()

    def __len__(self) -> int:
        rows: int = self.batch.num_rows
        return rows

    def image(self, row: int) -> ImageInfo:
        number, width, height, name = (self.batch.column(n)[row].as_py() for n in range(4))
        return ImageInfo(number, name, width, height)

    def boxes(self, first: int, last: int) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.batch.column("boxes").values.to_numpy()[4 * first : 4 * last].reshape(-1, 4)
        return found

    def labels(self, first: int, last: int) -> NDArray[np.int32]:
        found: NDArray[np.int32] = self.batch.column("labels").values.to_numpy()[first:last]
        return found

    def rle(self, n: int) -> bytes:
        found: bytes = self.batch.column("rles").values[n].as_py()
        return found

    def rles(self, row: int) -> list[bytes] | None:
        found: list[bytes] | None = self.batch.column("rles")[row].as_py()
        return found


class LabelShards:
    """All shards of finished labels, a few of them mapped into memory. Threads may share it."""

    def __init__(self, folder: Path, shards: Sequence[dict[str, Any]]) -> None:
        self.folder, self.shards = folder, list(shards)
        self.first_row = np.cumsum([0, *(s["images"] for s in shards)])
        self.first_label = np.cumsum([0, *(s["labels"] for s in shards)])
        self._open: OrderedDict[int, Shard] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "shards": self.shards}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def verify(self) -> None:
        """Compare every shard with its checksum, one after the other.

        Raises:
            DataError: one is missing or damaged; named.
        """
        for shard in self.shards:
            path = self.folder / shard["file"]
            try:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise DataError(damaged(path, error.strerror or str(error))) from error
            if found != shard["sha256"]:
                raise DataError(damaged(path, "its checksum is another"))

    def open(self, number: int) -> Shard:
        """A shard by its number."""
        with self._lock:
            if number in self._open:
                self._open.move_to_end(number)
            else:
                self._open[number] = mapped(self.folder / self.shards[number]["file"])
                if len(self._open) > OPEN:
                    self._open.popitem(last=False)
            return self._open[number]

    def at(self, row: int) -> tuple[Shard, int, int]:
        """The shard of an image, its row there, and the number of labels before that shard."""
        number = int(np.searchsorted(self.first_row, row, side="right")) - 1
        return self.open(number), row - int(self.first_row[number]), int(self.first_label[number])

    def above(self, threshold: float) -> Iterator[tuple[NDArray[np.int64], int]]:
        """For each shard the rows of its images that have a label above a threshold, and the number of such labels."""
        for number in range(len(self.shards)):
            shard = self.open(number)
            confident = shard.scores > np.float32(threshold)
            before = np.concatenate([[0], np.cumsum(confident)])
            rows = np.flatnonzero(np.diff(before[shard.offsets])) + self.first_row[number]
            yield rows, int(before[-1])


def mapped(path: Path) -> Shard:
    """The shard in a file, mapped into memory. Raises DataError if it is missing or damaged."""
    try:
        with pa.memory_map(str(path)) as file:
            return Shard(file, path)
    except OSError as error:
        raise DataError(damaged(path, str(error))) from error


def packed(rows: Sequence[tuple[ImageInfo, Any]]) -> bytes:
    """The content of a shard's file: images and their predictions (casl.data.pseudo.Prediction), kept exactly.

    `rles` of None is a null, [] an empty list.
    """
    images, found = [image for image, _ in rows], [prediction for _, prediction in rows]
    offsets = np.cumsum([0, *(len(p.scores) for p in found)], dtype=np.int32)
    boxes = np.concatenate([p.boxes for p in found]).astype(np.float32).reshape(-1)
    rles = [rle["counts"] for p in found for rle in p.rles or ()]
    rle_offsets = np.cumsum([0, *(len(p.rles or ()) for p in found)], dtype=np.int32)
    without = [p.rles is None for p in found]
    columns = [
        *(pa.array([getattr(i, name) for i in images], pa.int64()) for name in ("id", "width", "height")),
        pa.array([image.file_name for image in images], pa.string()),
        pa.ListArray.from_arrays(offsets * 4, pa.array(boxes)),
        pa.ListArray.from_arrays(offsets, pa.array(np.concatenate([p.scores for p in found]))),
        pa.ListArray.from_arrays(offsets, pa.array(np.concatenate([p.labels for p in found]).astype(np.int32))),
        pa.ListArray.from_arrays(
            rle_offsets, pa.array(rles, pa.binary()), mask=pa.array(without) if any(without) else None
        ),
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def damaged(path: Path, reason: str) -> str:
    """The message for a file that is not as it was written."""
    return f"{path}: damaged or cut short ({reason}). Delete it and label the images again."
