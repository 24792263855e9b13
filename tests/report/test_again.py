"""Shipped pages look as this code makes them, and follow from the JSON beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from casl.report.again import write_again

PUBLISHED = sorted((Path(__file__).resolve().parents[2] / "reports" / "published").iterdir())


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_shipped_pages_are_those_of_this_code(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    written = write_again(copy)
    assert any(path.name == "index.html" for path in written)
    stale = [path.name for path in written if path.read_bytes() != (folder / path.name).read_bytes()]
    assert not stale, f"`make docs` writes {', '.join(stale)} anew"
