"""The labels of an unlabeled split while they are being made: small shards, each behind its checksum.

Their format is that of finished labels (casl.data.label_shards). Where a shard begins does not depend on the number of
ranks, so a labelling that was stopped goes on with any number of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from casl.data.image_info import ImageInfo
from casl.data.label_shards import Shard, packed
from casl.data.pseudo import Prediction, predictions_of
from casl.errors import DataError
from casl.files import write_atomic

SHARD = 256  # images; a multiple of the batch at inference, so that shards cut no batch

_DIGEST = 32  # bytes of sha256 before the content


class Shards:
    """The shards of one labelling.

    Args:
        folder: where they lie until all are there.
        images: of the split.
    """

    def __init__(self, folder: Path, images: Sequence[ImageInfo]) -> None:
        self.folder, self.images = folder, images

    def __len__(self) -> int:
        return -(-len(self.images) // SHARD)

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"{number:06d}.shard"

    def within(self, number: int) -> range:
        """The images of a shard."""
        return range(number * SHARD, min((number + 1) * SHARD, len(self.images)))

    def write(self, number: int, predictions: Sequence[Prediction]) -> None:
        """Keep the predictions of a shard's images; its file is whole or absent."""
        images = [self.images[i] for i in self.within(number)]
        content = packed(list(zip(images, predictions, strict=True)))
        write_atomic(self.path(number), hashlib.sha256(content).digest() + content)

    def read(self, number: int) -> list[Prediction] | None:
        """The predictions of a shard, exactly as written; None if there is none yet.

        Raises:
            DataError: the file is damaged or of another version; names it.
        """
        try:
            data = self.path(number).read_bytes()
        except FileNotFoundError:
            return None
        content = data[_DIGEST:]
        if hashlib.sha256(content).digest() != data[:_DIGEST]:
            raise DataError(f"{self.path(number)} is damaged")
        return predictions_of(Shard(pa.BufferReader(content), self.path(number)))

    def clear(self) -> None:
        """Remove all, once the finished labels are written."""
        if self.folder.exists():
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()
