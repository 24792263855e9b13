"""JSON files that are none are named."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from casl.coco.reading import read_json, read_object
from casl.errors import DataError


def zipped(content: bytes) -> bytes:
    with zipfile.ZipFile(packed := io.BytesIO(), "w") as file:
        file.writestr("odd.json", content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"), [("{", "not JSON"), ("", "not JSON"), ("[]", "not COCO.*list"), ("\x00", "not JSON")]
)
def test_what_is_not_a_json_object_is_named(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "odd.json").write_text(content)
    with pytest.raises(DataError, match=rf"odd\.json: {reason}"):
        read_object(tmp_path / "odd.json")


@pytest.mark.parametrize(
    ("pack", "name"), [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz"), (zipped, "zip")]
)
def test_what_is_packed_is_said_whatever_its_name_is(tmp_path: Path, pack: Callable[[bytes], bytes], name: str) -> None:
    (tmp_path / "odd.json").write_bytes(pack(b'{"images": []}' * 99))
    with pytest.raises(DataError, match=rf"odd\.json: is packed by {name}, whatever its name says; unpack it"):
        read_json(tmp_path / "odd.json")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json: no such file"):
        read_json(tmp_path / "nowhere.json")
    with pytest.raises(DataError, match=rf"{tmp_path.name}: cannot be read"):
        read_json(tmp_path)
