from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from casl.errors import StoreError
from casl.runner.archive import read_archive, with_ancestors, write_archive
from casl.runner.store import Store
from casl.spec import ancestors
from casl.spec.schedule import times
from tests.runner.finished import finish, planned
from tests.runner.stores import NANO, chain, new_store

CELL = chain(NANO, 2)


def exported(tmp_path: Path) -> tuple[Store, Path, list[str]]:
    store = new_store(tmp_path)
    finish(planned([CELL], store), store)
    target = tmp_path / "out" / "results.tar"
    return store, target, write_archive(store, [CELL.evaluation.name], target)


def content(store: Store, name: str) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in store.folder(name).iterdir()}


def rewritten(source: Path, target: Path, change: Mapping[str, bytes | None], extra: list[tarfile.TarInfo]) -> Path:
    """The archive with some members' content changed (None: left out) and members added."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            file = old.extractfile(member)
            data = change.get(member.name, file.read() if file else b"")
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
        for member in extra:
            new.addfile(member, io.BytesIO(b"x" * member.size) if member.isreg() else None)
    return target


def test_a_stage_travels_with_all_it_was_made_from(tmp_path: Path) -> None:
    store, archive, inside = exported(tmp_path)
    assert inside == [s.name for s in ancestors(CELL.evaluation)]
    other = Store(tmp_path / "other")
    outcome = read_archive(other, archive)
    assert (outcome.added, outcome.skipped, outcome.damaged) == (inside, [], {})
    assert all(content(other, n) == content(store, n) for n in inside)
    assert [n for n in planned([CELL], other).todo if n in inside] == []
    source = store.run(inside[-1]).source
    assert (other.root / "sources" / f"{source}.json").read_bytes() == (
        store.root / "sources" / f"{source}.json"
    ).read_bytes()
    assert not list((other.root / "incoming").iterdir())


def test_what_is_there_is_skipped(tmp_path: Path) -> None:
    store, archive, inside = exported(tmp_path)
    assert read_archive(store, archive).skipped == inside


def test_equal_results_make_equal_archives(tmp_path: Path) -> None:
    store, archive, inside = exported(tmp_path)
    again = tmp_path / "again.tar"
    write_archive(store, [inside[-1]], again)
    assert again.read_bytes() == archive.read_bytes()


def test_an_imported_training_can_be_continued(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    finish(planned([chain(NANO, 1), chain(NANO, 2)], store), store)
    trunk = next(n.resume for n in planned([CELL], store).nodes.values() if n.resume and n.stage.kind == "warmup")
    write_archive(store, [trunk.name], tmp_path / "trunk.tar")
    other = Store(tmp_path / "other")
    read_archive(other, tmp_path / "trunk.tar")
    assert times(2, NANO.iters_1x)[: len(trunk.schedule)] == trunk.schedule
    assert trunk.name in {n.resume.name for n in planned([CELL], other).nodes.values() if n.resume}


@pytest.mark.parametrize("file", ["file.bin", "result.json"])
def test_a_damaged_stage_is_named_and_left_out_and_the_others_come(tmp_path: Path, file: str) -> None:
    _, archive, inside = exported(tmp_path)
    bad = inside[2]
    broken = rewritten(archive, tmp_path / "broken.tar", {f"stages/{bad}/{file}": b"flipped"}, [])
    other = Store(tmp_path / "other")
    outcome = read_archive(other, broken)
    assert list(outcome.damaged) == [bad] and outcome.added == [n for n in inside if n != bad]
    assert not other.is_done(bad)


def test_a_missing_or_additional_file_is_damage(tmp_path: Path) -> None:
    _, archive, inside = exported(tmp_path)
    extra = tarfile.TarInfo(f"stages/{inside[1]}/more.bin")
    extra.size = 3
    broken = rewritten(archive, tmp_path / "b.tar", {f"stages/{inside[0]}/file.bin": None}, [extra])
    damaged = read_archive(Store(tmp_path / "other"), broken).damaged
    assert "file.bin is missing" in damaged[inside[0]] and "more.bin is not part" in damaged[inside[1]]


def test_a_record_under_another_name_is_damage(tmp_path: Path) -> None:
    store, archive, inside = exported(tmp_path)
    record = json.loads((store.folder(inside[0]) / "result.json").read_text())
    record["key"] = "f" * 64
    changed = {f"stages/{inside[0]}/result.json": json.dumps(record).encode()}
    other = Store(tmp_path / "other")
    assert inside[0] in read_archive(other, rewritten(archive, tmp_path / "b.tar", changed, [])).damaged


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


NAME = "scenes-" + "0" * 16


@pytest.mark.parametrize(
    "intruder",
    [
        member("../outside.txt"),
        member("/absolute.txt"),
        member(f"stages/{NAME}/../../../outside.txt"),
        member(f"stages/{NAME}/..\\outside.txt"),
        member("stages/../../outside.txt"),
        member("stages/no-name/file"),
        member("store.json"),
        member(f"stages/{NAME}/link", tarfile.SYMTYPE, "/etc/passwd"),
        member(f"stages/{NAME}/hard", tarfile.LNKTYPE, "manifest.json"),
        member(f"stages/{NAME}/pipe", tarfile.FIFOTYPE),
        member(f"stages/{NAME}/device", tarfile.CHRTYPE),
        member("sources/evil.json"),
    ],
    ids=lambda m: f"{m.name} {m.type!r}",
)
def test_a_member_that_could_reach_outside_stops_the_import(tmp_path: Path, intruder: tarfile.TarInfo) -> None:
    _, archive, _ = exported(tmp_path)
    bad = rewritten(archive, tmp_path / "bad.tar", {}, [intruder])
    before = {p for p in tmp_path.rglob("*") if "other" not in p.parts}
    other = Store(tmp_path / "other")
    with pytest.raises(StoreError, match="no export writes"):
        read_archive(other, bad)
    assert other.names() == [] and {p for p in tmp_path.rglob("*") if "other" not in p.parts} == before


@pytest.mark.parametrize("data", [b"", b"no archive at all", b"\0" * 2048])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"x\.tar"):
        read_archive(Store(tmp_path / "other"), path)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_of_a_cut_archive_nothing_unsound_is_taken_over(tmp_path: Path, kept: float) -> None:
    _, archive, inside = exported(tmp_path)
    with tarfile.open(archive) as whole:
        end = max(m.offset_data + m.size for m in whole)  # up to 10 kB of padding follow
    cut = tmp_path / "cut.tar"
    cut.write_bytes(archive.read_bytes()[: int(kept * end)])
    other = Store(tmp_path / "other")
    with contextlib.suppress(StoreError):
        read_archive(other, cut)
    assert len(other.names()) < len(inside)
    for name in other.names():
        other.check(name)


def test_a_damaged_result_is_not_exported(tmp_path: Path) -> None:
    store, archive, inside = exported(tmp_path)
    archive.unlink()
    (store.folder(inside[0]) / "file.bin").write_bytes(b"flipped")
    with pytest.raises(StoreError, match="damaged"):
        write_archive(store, [inside[-1]], archive)
    assert list(archive.parent.iterdir()) == []


def test_a_lost_ancestor_is_named(tmp_path: Path) -> None:
    store, _, inside = exported(tmp_path)
    store.quarantine(inside[0])
    with pytest.raises(StoreError, match=f"no finished stage {inside[0]}, which"):
        with_ancestors(store, [inside[-1]])
