"""Image lists in both containers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from casl.data.layout import MANIFEST
from casl.data.manifest import LISTED
from tests.data.tiny import Json


def write_rows(path: Path, rows: Sequence[Json], schema: pa.Schema = LISTED, batch: int = 2) -> Path:
    """A manifest of entries of "images", a few rows a batch."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    with pa.ipc.new_file(str(path), schema) as writer:
        writer.write_table(table, batch)
    return path


def to_manifest(root: Path, split: str = "unlabeled", **options: Any) -> Path:
    """Turn annotations/<split>.json into a manifest of the same images."""
    path = root / "annotations" / f"{split}.json"
    content = json.loads(path.read_text())
    path.unlink()
    schema = LISTED.with_metadata({"categories": json.dumps(content.get("categories", []))})
    return write_rows(path.with_suffix(MANIFEST), content["images"], schema, **options)
