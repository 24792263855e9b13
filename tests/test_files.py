"""What an error of the disk says: the file, and a way out that the caller has."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from casl.errors import StoreError
from casl.files import disk_errors, write_json


def failed(number: int, option: str = "") -> str:
    with pytest.raises(StoreError) as caught, disk_errors("write", Path("set"), option):
        raise OSError(number, os.strerror(number))
    return str(caught.value)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR])
def test_a_place_that_cannot_be_written_is_told_without_options_that_are_of_something_else(number: int) -> None:
    assert "cannot write set: " in failed(number) and "Choose another place" in failed(number)
    assert "store" not in failed(number).lower() and "=" not in failed(number)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTDIR])
def test_an_option_that_names_the_place_is_in_the_advice(number: int) -> None:
    assert "Choose another place with --store (make: STORE=)" in failed(number, "--store (make: STORE=)")


def test_a_full_disk_is_not_told_to_be_another_place() -> None:
    assert failed(errno.ENOSPC, "-o").endswith("nothing finished is lost.")


def test_a_file_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/labels\.json: .*Choose another place\.$"):
        write_json(tmp_path / "file" / "labels.json", {})
