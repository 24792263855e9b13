"""Shipped pages and pictures look as this code makes them, and follow from the JSON beside them."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casl.report.again import write_again
from casl.report.error_kinds import error_kinds, read_errors
from casl.report.error_kinds import to_json as errors_json
from casl.report.per_class import per_class, read_classes
from casl.report.per_class import to_json as classes_json
from casl.report.today import OLDER, Today
from casl.report.wording import MEAN_AND_SPREAD
from tests.report import test_error_kinds, test_per_class

PUBLISHED = sorted((Path(__file__).resolve().parents[2] / "reports" / "published").iterdir())
LARGE = ("mini", "photos-voc_animals")  # a minute of pictures, of the same kinds as the others and more
MINI = next(path for path in PUBLISHED if path.name == "mini")
DRAWN = (".png", ".svg")


def part(folder: Path, *names: str) -> Path:
    """A copy of some files of the shipped reports of `mini`, by the beginnings of their names."""
    copy = folder / "mini"
    copy.mkdir()
    for path in MINI.iterdir():
        if path.is_file() and path.stem in names:
            shutil.copy(path, copy)
    return copy


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_shipped_pages_are_those_of_this_code(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    written = write_again(copy, pictures=False)
    assert any(path.name == "index.html" for path in written)
    stale = [path.name for path in written if path.read_bytes() != (folder / path.name).read_bytes()]
    assert not stale, f"`make docs` writes {', '.join(stale)} anew"


@pytest.mark.parametrize(
    "page",
    [page for folder in PUBLISHED for page in sorted(folder.glob("*.md"))],
    ids=lambda page: f"{page.parent.name}-{page.stem}",
)
def test_pages_explain_a_spread_where_they_show_one_and_nowhere_else(page: Path) -> None:
    text = page.read_text()
    said = any(s in text for s in (MEAN_AND_SPREAD, "Errors of each kind, the mean over seeds", "± is half of its"))
    assert re.search(r"\d\s±\s\d", text) or not said


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder",
    [pytest.param(path, marks=[pytest.mark.long] * (path.name in LARGE)) for path in PUBLISHED],
    ids=lambda path: path.name,
)
def test_shipped_pictures_are_those_of_this_code(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    drawn = [path for path in write_again(copy) if path.suffix in DRAWN]
    there = {path.name for path in folder.iterdir() if path.suffix in DRAWN} - {"story.png"}
    assert {path.name for path in drawn} == there, "every picture but that of the store is drawn"
    stale = [path.name for path in drawn if _seen(path) != _seen(folder / path.name)]
    assert not stale, f"`make docs` draws {', '.join(stale)} anew"


def _seen(path: Path) -> bytes:
    """Of a PNG its pixels."""
    if path.suffix == ".png":
        return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGBA")).tobytes()
    return path.read_bytes()


def test_pictures_of_tables_searches_and_labels_follow_their_record(tmp_path: Path) -> None:
    copy = part(tmp_path, "table5", "search-delta", "labels")
    for path in copy.iterdir():
        if path.suffix in DRAWN:
            path.write_bytes(b"an older picture")
    drawn = {path.name for path in write_again(copy) if path.suffix in DRAWN}
    assert drawn == {"table5.png", "table5.svg", "search-delta.png", "search-delta.svg", "labels.png"}
    assert all(b"an older picture" not in (copy / name).read_bytes() for name in drawn)


def test_a_picture_changes_where_its_record_is_older_than_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = part(tmp_path, "table5", "search-delta")
    seen = []
    for older in (False, True):
        monkeypatch.setattr(Today, "is_older", lambda self, table, older=older: older)
        monkeypatch.setattr(Today, "is_older_search", lambda self, record, older=older: older)
        write_again(copy)
        assert (OLDER in (copy / "table5.md").read_text()) == older
        seen.append({name: _seen(copy / name) for name in ("table5.png", "search-delta.png")})
    assert all(seen[0][name] != seen[1][name] for name in seen[0])


def test_a_picture_says_only_that_it_is_older() -> None:
    said = f"{OLDER}. Today other stages would be trained for this table. Numbers are those of commit 0123456789"
    assert Today().on_picture(said) == f"{OLDER}. Today other stages would be trained for this"
    assert Today().on_picture("NOT COMPARED WITH THE CODE OF TODAY: the data set x is not here") == ""


def test_errors_and_classes_are_read_as_they_were_written() -> None:
    table = test_error_kinds.made()
    kinds = error_kinds(table, test_error_kinds.figures(table).__getitem__)
    assert kinds is not None and read_errors(json.loads(errors_json(kinds)), table) == kinds
    table = test_per_class.made()
    classes = per_class(table, test_per_class.figures(table).__getitem__)
    assert classes is not None and read_classes(json.loads(classes_json(classes)), table) == classes
