from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from casl import files
from casl.errors import StoreError
from casl.runner.store import Store
from casl.spec.run import FAILURE, RESULT
from tests.runner.stores import RECORD, committed, new_store, scenes


def test_a_committed_stage_is_read_back_as_it_was(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    committed(store, scenes())
    run = store.run(scenes().name)
    assert (run.status, run.key, dict(run.metrics), run.commit) == ("done", scenes().key, {"AP": 12.5}, "0" * 40)
    assert run.files["file.bin"]["bytes"] == len(b"content")
    store.check(run.name)


def test_an_unfinished_folder_is_not_a_result(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    work = store.work(scenes().name)
    work.mkdir(parents=True)
    (work / RESULT).write_text("{}")  # even a marker does not count before the folder is renamed
    assert not store.is_done(scenes().name)
    assert store.run(scenes().name).status == "not run"


def test_a_failure_is_told_and_forgotten_by_a_later_success(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.fail(scenes(), "loss is nan")
    assert (store.run(scenes().name).status, store.run(scenes().name).error) == ("failed", "loss is nan")
    store.commit(scenes(), RECORD)
    assert store.run(scenes().name).status == "done"
    assert not store.work(scenes().name).exists()
    assert not (store.folder(scenes().name) / FAILURE).exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.unlink(), "is missing"),
        (lambda p: p.write_bytes(b"cont"), "4 bytes, 7 were committed"),
        (lambda p: p.write_bytes(b"CONTENT"), "content differs"),
    ],
)
def test_damage_is_found_and_the_file_named(tmp_path: Path, damage: object, message: str) -> None:
    store = new_store(tmp_path)
    committed(store, scenes())
    path = store.folder(scenes().name) / "file.bin"
    damage(path)  # type: ignore[operator]
    with pytest.raises(StoreError, match=message) as error:
        store.check(scenes().name)
    assert str(path) in str(error.value)
    moved = store.quarantine(scenes().name)
    assert moved.exists() and not store.is_done(scenes().name)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    committed(store, scenes())
    marker = store.folder(scenes().name) / RESULT
    marker.write_text(marker.read_text()[:50])
    with pytest.raises(StoreError, match=str(marker)):
        store.run(scenes().name)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    new_store(tmp_path)
    (tmp_path / "store" / "store.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(StoreError, match="newer version of casl"):
        new_store(tmp_path)


def test_a_full_disk_says_so_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "value.json"
    files.write_json(path, {"old": 1})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="the disk is full"):
        files.write_json(path, {"new": 2})
    assert files.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


@pytest.mark.parametrize(("name", "said"), [("pipe", "no file but a pipe or a device"), ("", "it is a folder")])
def test_what_is_no_file_is_not_replaced_by_one(name: str, said: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match=said):
        files.write_json(tmp_path / name, {})
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"] and (tmp_path / "pipe").is_fifo()


def test_a_place_without_a_name_is_a_sentence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"cannot write \.: it is a folder"):
        files.write_json(Path(), {})


def test_a_store_where_a_file_is_in_the_way_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the store"):
        Store(tmp_path / "file" / "store")


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "x"), False),
        (ValueError("x"), False),
    ],
)
def test_a_full_disk_is_known_whichever_library_met_it(error: Exception, full: bool) -> None:
    assert files.is_full(error) == full


def test_a_store_that_is_only_looked_at_is_not_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", make=False)
    assert store.names() == [] and store.run(scenes().name).status == "not run"
    assert not (tmp_path / "store").exists()
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="is a file; a store is a folder"):
        Store(tmp_path / "taken", make=False)


@pytest.mark.parametrize("other", ["paper.tex", "src/", "workshop.tex"])
def test_a_folder_of_other_things_is_not_made_a_store(tmp_path: Path, other: str) -> None:
    (tmp_path / other).mkdir() if other.endswith("/") else (tmp_path / other).write_text("")
    with pytest.raises(StoreError, match=f"is no store and holds {Path(other).name}"):
        Store(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [Path(other).name]


@pytest.mark.parametrize("before", ["weights/", "mlflow.db", "digests.json", ".gitkeep"])
def test_what_may_be_there_before_the_first_stage_is_no_hindrance(tmp_path: Path, before: str) -> None:
    (tmp_path / before).mkdir() if before.endswith("/") else (tmp_path / before).write_text("")
    Store(tmp_path)
    (tmp_path / "store.json").unlink()
    (tmp_path / "stray").write_text("")
    assert Store(tmp_path).names() == []  # stages/ says whose the folder is
