"""A data set on disk as JSON and back: what the keys of its stages rest on, so that they can be computed without its
files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from casl.errors import SpecError
from casl.spec.data_kinds import Folder
from casl.spec.data_sets import FolderData
from casl.spec.freeze import freeze, thaw

_PLAIN = ("classes", "has_masks", "has_entities", "stuff", "keypoints", "knows_hidden")


def content(data: FolderData) -> str:
    """Digest of all splits and labels of a set."""
    lines = sorted(f"{split} {kind} {folder.digest}" for (split, kind), folder in data.folders.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def described(data: FolderData) -> dict[str, Any]:
    """JSON values; `read_described` turns them back into an equal set, but for groups, which no set on disk has."""
    return {
        "data": data.name,
        "content": content(data),
        **{name: getattr(data, name) for name in _PLAIN},
        "names": list(data.names),
        "splits": [freeze(folder) for _, folder in sorted(data.folders.items())],
    }


def read_described(record: Mapping[str, Any]) -> FolderData:
    """Inverse of `described`.

    Raises:
        SpecError: a value is missing, of another type or of another version of casl, or the splits are not those of
            the content.
    """
    splits = [thaw(split) for split in record["splits"]] if isinstance(record.get("splits"), list) else []
    if not splits or not all(isinstance(split, Folder) for split in splits):
        raise SpecError("its splits are not described")
    types = {f.name: f.type for f in dataclasses.fields(FolderData)}
    for name in _PLAIN:
        if type(record.get(name)).__name__ != types[name]:
            raise SpecError(f"{name!r} must be of type {types[name]}, got {record.get(name)!r:.80}")
    data = FolderData(
        name=str(record.get("data")),
        folders={(split.split, split.labels): split for split in splits},
        names=tuple(map(str, record.get("names", ()))),
        **{name: record[name] for name in _PLAIN},
    )
    if content(data) != record.get("content"):
        raise SpecError(f"its splits are not those of content {record.get('content')!r:.20}")
    return data
