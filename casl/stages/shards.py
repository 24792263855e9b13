"""The labels of an unlabeled split while they are being made: files of a few hundred images that know their checksum.

Borders do not depend on who labels, so a labelling that was stopped goes on with any number of ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from casl.data.pseudo import Prediction
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

    def __init__(self, folder: Path, images: int) -> None:
        self.folder, self.images = folder, images

    def __len__(self) -> int:
        return -(-self.images // SHARD)

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"{number:06d}.shard"

    def within(self, number: int) -> range:
        """The images of a shard."""
        return range(number * SHARD, min((number + 1) * SHARD, self.images))

    def write(self, number: int, predictions: Sequence[Prediction]) -> None:
        """Keep a shard; its file is whole or absent."""
        content = save(_to_arrays(predictions))
        write_atomic(self.path(number), hashlib.sha256(content).digest() + content)

    def read(self, number: int) -> list[Prediction] | None:
        """The predictions of a shard, exactly as written; None if there is none yet.

        Raises:
            DataError: the file is damaged; names it.
        """
        try:
            data = self.path(number).read_bytes()
        except FileNotFoundError:
            return None
        content = data[_DIGEST:]
        if hashlib.sha256(content).digest() != data[:_DIGEST]:
            raise DataError(f"{self.path(number)} is damaged")
        try:
            return _from_arrays(load(content))
        except (SafetensorError, KeyError) as error:
            raise DataError(f"{self.path(number)} is of another version ({error})") from error

    def clear(self) -> None:
        """Remove all, once the labels are in one file."""
        if self.folder.exists():
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()


def _to_arrays(predictions: Sequence[Prediction]) -> dict[str, np.ndarray]:
    rles = [rle for prediction in predictions for rle in prediction.rles or ()]
    empty = Prediction(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    return {
        "counts": np.array([len(prediction.scores) for prediction in predictions], np.int64),
        "has_masks": np.array([prediction.rles is not None for prediction in predictions], np.uint8),
        "boxes": np.concatenate([p.boxes for p in (empty, *predictions)]),
        "scores": np.concatenate([p.scores for p in (empty, *predictions)]),
        "labels": np.concatenate([p.labels for p in (empty, *predictions)]),
        "mask_sizes": np.array([rle["size"] for rle in rles], np.int64).reshape(-1, 2),
        "mask_ends": np.cumsum([len(rle["counts"]) for rle in rles], dtype=np.int64),
        "masks": np.frombuffer(b"".join(rle["counts"] for rle in rles), np.uint8),
    }


def _from_arrays(arrays: dict[str, np.ndarray]) -> list[Prediction]:
    texts, ends = arrays["masks"].tobytes(), [0, *arrays["mask_ends"].tolist()]
    sizes = arrays["mask_sizes"].tolist()
    predictions, first, mask = [], 0, 0
    for count, has_masks in zip(arrays["counts"].tolist(), arrays["has_masks"].tolist(), strict=True):
        rles = None
        if has_masks:
            rles = [{"size": sizes[m], "counts": texts[ends[m] : ends[m + 1]]} for m in range(mask, mask + count)]
            mask += count
        rows = slice(first, first + count)
        predictions.append(Prediction(arrays["boxes"][rows], arrays["scores"][rows], arrays["labels"][rows], rles))
        first += count
    return predictions
