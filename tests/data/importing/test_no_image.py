"""A file that is called as an image and is none is told of by what it is, wherever it is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from casl.data.check import check
from casl.data.importing.make import import_set, read_source
from casl.data.inventory import groups_in, scan
from casl.errors import DataError
from tests.data.importing import exports
from tests.data.importing.test_formats import HOW, Export
from tests.data.importing.test_recognised import ALL
from tests.data.tiny import write_set

NONE = [
    (b"", "not a readable image: it is empty"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "it is a pointer of Git LFS to one"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is a HEIC photo, which is not read; convert it to JPEG or PNG"),
    (b"\r\n <!DOCTYPE html><title>404</title>", "it is a web page, as a failed download leaves one"),
    (b"text", "it has no picture of a known format; replace it"),
]


@pytest.mark.parametrize(("content", "says"), NONE)
@pytest.mark.parametrize(
    "export", [exports.voc, exports.yolo, exports.labelme, exports.via, exports.cvat], ids=lambda e: str(e.__name__)
)
def test_a_labeled_image_that_is_none_is_refused(export: Export, content: bytes, says: str, tmp_path: Path) -> None:
    source = export(exports.boxes(4), tmp_path / "src")
    path = next(source.rglob("photo-01.png"))
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        import_set(read_source(source), tmp_path / "set", ALL, HOW)
    assert str(error.value).startswith(f"{path}: ") and says in str(error.value) and "<_io" not in str(error.value)


@pytest.mark.parametrize(("content", "says"), NONE)
def test_the_check_and_a_scan_say_so_too(content: bytes, says: str, tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    (root / "images" / "c.png").write_bytes(content)
    assert [says in error and str(root / "images" / "c.png") in error for error in check(root).errors] == [True]
    photos = tmp_path / "places" / "train"
    photos.mkdir(parents=True)
    (photos / "a.jpg").write_bytes(content)
    scan("places", tmp_path / "places", tmp_path / "inventory", 1)
    (table,) = groups_in(tmp_path / "inventory")["places"]["train"].tables(["problem"])
    (problem,) = table.column("problem").to_pylist()
    assert says in problem and "<_io" not in problem and str(photos) not in problem, json.dumps(problem)
