"""Pages that are written only where other ones lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from casl import files
from casl.report import written
from casl.report.written import renew

Make = Callable[[], Mapping[str, str | bytes]]
PAGES: Mapping[str, str | bytes] = {"a.md": "é", "b.png": b"\0"}


@pytest.fixture
def made() -> list[str]:
    """Grows with every making."""
    return []


@pytest.fixture
def make(made: list[str]) -> Make:
    def pages() -> Mapping[str, str | bytes]:
        made.append("made")
        return PAGES

    return pages


def test_the_same_inputs_make_nothing_and_others_do(tmp_path: Path, make: Make, made: list[str]) -> None:
    paths = renew(tmp_path, "a", ("inputs", 0.1), make)
    assert paths == renew(tmp_path, "a", ("inputs", 0.1), make) == [tmp_path / "a.md", tmp_path / "b.png"]
    assert len(made) == 1 and (tmp_path / "a.md").read_text() == "é"
    renew(tmp_path, "a", ("inputs", 0.2), make)
    assert len(made) == 2
    renew(tmp_path, "a", ("inputs", 0.1), make)
    assert len(made) == 3, "the last inputs count, not any earlier ones"


def test_other_code_makes_them_again(
    tmp_path: Path, make: Make, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    renew(tmp_path, "a", 1, make)
    monkeypatch.setattr(written, "code", lambda: "of another version")
    renew(tmp_path, "a", 1, make)
    assert len(made) == 2


def test_code_is_that_of_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "page.py").write_text("x = 1\n")
    monkeypatch.setattr(files, "PACKAGE", tmp_path)
    found = set()
    for text in ("x = 1\n", "x = 2\n"):
        (tmp_path / "report" / "page.py").write_text(text)
        for kept in (files.own_code, written.code):
            kept.cache_clear()
        found.add(written.code())
    for kept in (files.own_code, written.code):
        kept.cache_clear()
    assert len(found) == 2


@pytest.mark.parametrize("file", ["a.md", "b.png"])
def test_an_edited_and_a_removed_page_are_written_again(tmp_path: Path, make: Make, made: list[str], file: str) -> None:
    renew(tmp_path, "a", 1, make)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(b"edited")
    renew(tmp_path, "a", 1, make)
    (tmp_path / file).unlink()
    renew(tmp_path, "a", 1, make)
    assert len(made) == 3 and (tmp_path / file).read_bytes() == whole


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"made_of": 1, "files": 7}', '{"files": [["a.md"]]}', "null"])
def test_a_damaged_record_costs_one_writing(tmp_path: Path, make: Make, made: list[str], record: str) -> None:
    renew(tmp_path, "a", 1, make)
    (tmp_path / ".written" / "a").write_text(record)
    renew(tmp_path, "a", 1, make)
    renew(tmp_path, "a", 1, make)
    assert len(made) == 2


def test_a_kill_between_pages_and_record_costs_one_writing(tmp_path: Path, make: Make, made: list[str]) -> None:
    def other() -> Mapping[str, str | bytes]:
        return {"a.md": "of other inputs"}

    renew(tmp_path, "a", 1, make)
    record = (tmp_path / ".written" / "a").read_bytes()
    renew(tmp_path, "a", 2, other)
    (tmp_path / ".written" / "a").write_bytes(record)  # the pages of 2 lie there, the record is still that of 1
    renew(tmp_path, "a", 1, make)
    assert len(made) == 2 and (tmp_path / "a.md").read_text() == "é"
