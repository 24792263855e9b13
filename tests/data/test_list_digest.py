"""The digest of a manifest is that of the same list as JSON, and only what is not known is read for it."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from casl.data import list_digest, manifest
from casl.data.digest import changes, digest
from casl.data.layout import SplitFiles
from casl.data.manifest import LISTED, SCHEMA
from casl.errors import DataError
from tests.data.listed import write_rows
from tests.data.test_digest import age, overwrite_unseen
from tests.data.tiny import Json

NAMES = ["z.jpg", "a/b.jpg", "a-b.jpg", "a.jpg", "é.jpg", "🙂.jpg", "\uffff.jpg", '"quoted".jpg', "B.jpg", "a/é.jpg"]
NAMES += ["10.jpg", "9.jpg"]


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Json]:
    """Files an hour old, listed in an order that is not that of their names; runs and portions are tiny."""
    monkeypatch.setattr(manifest, "BATCH", 4)
    monkeypatch.setattr(list_digest, "PORTION", 2)
    found = []
    for number, name in enumerate(NAMES, start=1):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * number)
        found.append({"id": number, "file_name": name, "width": 8 * number, "height": 5})
    age(tmp_path / "images")
    return found


def lists(folder: Path, rows: list[Json], schema: pa.Schema = LISTED) -> tuple[SplitFiles, SplitFiles]:
    """The same split with a JSON list, and with a manifest of 5 rows a batch."""
    images = [{name: row[name] for name in LISTED.names} for row in rows]
    (folder / "list.json").write_text(json.dumps({"images": images}))
    split = SplitFiles("unlabeled", folder / "images", listing=folder / "list.json")
    return split, replace(split, listing=write_rows(folder / "list.arrow", rows, schema, batch=5))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_that_of_the_same_list_as_json(tmp_path: Path, listed: list[Json], seed: int) -> None:
    random.Random(seed).shuffle(listed)
    rows = listed[: len(listed) - 3 * seed] + [listed[0] | {"id": 99}] * (seed % 2)  # also a file that is there twice
    as_json, as_manifest = (digest(files, "images") for files in lists(tmp_path, rows))
    assert as_manifest == as_json
    remembered = digest(lists(tmp_path, rows)[1], "images", tmp_path / "cache.json")
    assert remembered == as_json
    assert changes(remembered, as_json) == []
    assert [remembered.files[name] for name in as_json.files] == list(as_json.files.values())
    with pytest.raises(KeyError):
        remembered.files["images/none.jpg"]


def test_an_empty_list_has_one_too(tmp_path: Path) -> None:
    as_json, as_manifest = (digest(files, "images") for files in lists(tmp_path, []))
    assert as_manifest == as_json


def test_unchanged_files_are_not_read_again_and_changed_ones_are(tmp_path: Path, listed: list[Json]) -> None:
    files, cache = lists(tmp_path, listed)[1], tmp_path / "made" / "cache.json"
    first = digest(files, "images", cache)
    for name in NAMES:
        overwrite_unseen(tmp_path / "images" / name)
    assert digest(files, "images", cache) == first
    changed = tmp_path / "images" / "a.jpg"
    changed.write_bytes(b"other")
    os.utime(changed, (0, 0))
    second = digest(files, "images", cache)
    assert second.value != first.value
    assert changes(first, second) == ["changed: images/a.jpg"]
    assert sorted(path.name.rpartition(".")[2] for path in cache.parent.rglob("*")) == ["arrow", "cache", "json"]


def test_of_a_longer_list_only_the_new_file_is_read(tmp_path: Path, listed: list[Json]) -> None:
    cache = tmp_path / "cache.json"
    digest(lists(tmp_path, listed[:-1])[1], "images", cache)
    expected = digest(lists(tmp_path, listed)[0], "images")
    for row in listed[:-1]:
        overwrite_unseen(tmp_path / "images" / row["file_name"])
    assert digest(lists(tmp_path, listed)[1], "images", cache).value == expected.value


def test_hashes_in_the_manifest_count_for_the_very_file_that_was_hashed(tmp_path: Path, listed: list[Json]) -> None:
    expected = digest(lists(tmp_path, listed)[0], "images")
    for row in listed:
        facts = (tmp_path / "images" / row["file_name"]).stat()
        row |= {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns, "inode": facts.st_ino}
        row["sha256"] = bytes.fromhex(expected.files[f"images/{row['file_name']}"])
    files = lists(tmp_path, listed, SCHEMA)[1]
    for name in NAMES[1:]:
        overwrite_unseen(tmp_path / "images" / name)  # so that reading one again would show
    copy = tmp_path / "copy"
    copy.write_bytes((tmp_path / "images" / NAMES[0]).read_bytes()[::-1])
    os.utime(copy, ns=(0, listed[0]["mtime_ns"]))
    copy.replace(tmp_path / "images" / NAMES[0])  # of that size and time, and another file
    for cache in (None, tmp_path / "cache.json"):
        assert changes(expected, digest(files, "images", cache)) == [f"changed: images/{NAMES[0]}"]


def test_a_file_written_just_now_is_read_again(tmp_path: Path, listed: list[Json]) -> None:
    files, cache = lists(tmp_path, listed)[1], tmp_path / "cache.json"
    (tmp_path / "images" / "9.jpg").write_bytes(b"young")
    first = digest(files, "images", cache)
    overwrite_unseen(tmp_path / "images" / "9.jpg")
    assert changes(first, digest(files, "images", cache)) == ["changed: images/9.jpg"]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.97])
def test_a_damaged_memory_is_made_anew(tmp_path: Path, listed: list[Json], share: float) -> None:
    files, cache = lists(tmp_path, listed)[1], tmp_path / "cache.json"
    first = digest(files, "images", cache).value
    (memory,) = (tmp_path / "cache").iterdir()
    memory.write_bytes(memory.read_bytes()[: int(memory.stat().st_size * share)])
    assert digest(files, "images", cache).value == first
    memory.write_text('{"format": 1}' * 100)
    assert digest(files, "images", cache).value == first


def test_a_missing_file_is_named_each_time(tmp_path: Path, listed: list[Json]) -> None:
    files, cache = lists(tmp_path, listed)[1], tmp_path / "cache.json"
    digest(files, "images", cache)
    (tmp_path / "images" / "B.jpg").unlink()
    for memory in (cache, None):
        with pytest.raises(DataError, match=r"images/B\.jpg: cannot be read .*, but the annotations name it"):
            digest(files, "images", memory)
