from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from casl.errors import StoreError
from casl.files import is_left
from casl.runner.archive import outside_git, read_archive, with_ancestors, write_archive
from casl.runner.provenance import read_code
from casl.runner.store import Store
from casl.spec import Scenes, Warmup, ancestors
from casl.spec.freeze import freeze
from casl.spec.schedule import times
from tests.runner.finished import commit, edited, finish, planned
from tests.runner.stores import NANO, RECIPE, chain, committed, nano, new_store, scenes

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


@pytest.mark.parametrize("far", [False, True])
def test_a_record_that_goes_in_a_circle_is_named(tmp_path: Path, far: bool) -> None:
    store = new_store(tmp_path)
    finish(planned([CELL], store), store)
    end = CELL.evaluation
    wrong = end.data if far else end
    edited(store, wrong.name, lambda record: record.update(inputs=[end.name]))
    with pytest.raises(StoreError, match=rf"record of {wrong.name} .*: it says that {end.name} was made from itself"):
        with_ancestors(store, [end.name])


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


def test_an_import_is_no_garbage_while_it_goes_on_and_leaves_nothing(tmp_path: Path) -> None:
    _, archive, names = exported(tmp_path)
    other, seen = new_store(tmp_path / "other"), []

    def look(done: int, total: int) -> None:
        seen.append([is_left(path) for path in (other.root / "incoming").iterdir()])
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_archive(other, archive, look)
    assert seen == [[False]] * len(names) and not list((other.root / "incoming").iterdir())


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


def test_a_stage_whose_numbers_were_edited_on_the_way_is_left_out(tmp_path: Path) -> None:
    store, archive, inside = exported(tmp_path)
    record = json.loads((store.folder(inside[-1]) / "result.json").read_text())
    edit = json.dumps({**record, "metrics": {**record["metrics"], "AP": 99.9}}).encode()
    edited_tar = rewritten(archive, tmp_path / "b.tar", {f"stages/{inside[-1]}/result.json": edit}, [])
    outcome = read_archive(Store(tmp_path / "other"), edited_tar)
    assert outcome.damaged == {inside[-1]: "its content differs from what was committed"}
    assert outcome.added == inside[:-1]


def test_a_missing_or_additional_file_is_damage(tmp_path: Path) -> None:
    _, archive, inside = exported(tmp_path)
    extra = tarfile.TarInfo(f"stages/{inside[1]}/more.bin")
    extra.size = 3
    broken = rewritten(archive, tmp_path / "b.tar", {f"stages/{inside[0]}/file.bin": None}, [extra])
    damaged = read_archive(Store(tmp_path / "other"), broken).damaged
    assert "file.bin is missing" in damaged[inside[0]] and "more.bin is not part" in damaged[inside[1]]


def refused(tmp_path: Path, archive: Path, said: str) -> None:
    """The import of an archive is an error that says this, and changes nothing in a store that holds something."""
    other = Store(tmp_path / "other")
    committed(other, scenes(7))
    before = {p: p.read_bytes() for p in other.root.rglob("*") if p.is_file()}
    with pytest.raises(StoreError, match=said):
        read_archive(other, archive, most=MOST)
    assert {p: p.read_bytes() for p in other.root.rglob("*") if p.is_file()} == before


MOST = 10_000_000
FORGED: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("key", lambda r: r.update(key="f" * 64), "that of another stage"),
    ("field", lambda r: r["stage"].update(count=99), "its fields give the key"),
    ("nested field", lambda r: r["stage"].update(size=True), "its fields (give the key|have wrong)"),
    ("kind", lambda r: r.update(stage=freeze(RECIPE)), "another kind"),
    ("type of a field", lambda r: r["stage"].update(split=["val"]), "its fields give the key|wrong types"),
    ("value of a field", lambda r: r["stage"].update(count=[{"type": "Recipe"}]), "wrong types|cannot be|give the key"),
    ("metrics", lambda r: r.update(metrics=[1]), "its 'metrics' is of a wrong type"),
    ("files", lambda r: r.update(files=["file.bin"]), "its 'files' is of a wrong type"),
    ("inputs", lambda r: r.update(inputs=["scenes-0123456789abcdef"]), "its inputs are not those"),
    ("no facts", lambda r: r.pop("facts"), "it has no 'facts'"),
]


@pytest.mark.parametrize(("change", "said"), [f[1:] for f in FORGED], ids=[f[0] for f in FORGED])
def test_a_record_that_no_export_writes_stops_the_import(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    store, archive, inside = exported(tmp_path)
    name = next(n for n in inside if n.startswith("scenes"))
    record = json.loads((store.folder(name) / "result.json").read_text())
    change(record)
    changed = {f"stages/{name}/result.json": json.dumps(record).encode()}
    refused(tmp_path, rewritten(archive, tmp_path / "b.tar", changed, []), f"{name}: .*({said})")


@pytest.mark.parametrize("text", ["null", "[]", "{}", "7", '"text"', "[" * 1_000_000 + "]" * 1_000_000], ids=range(6))
def test_a_record_of_another_shape_stops_the_import(tmp_path: Path, text: str) -> None:
    _, archive, inside = exported(tmp_path)
    changed = {f"stages/{inside[0]}/result.json": text.encode()}
    refused(tmp_path, rewritten(archive, tmp_path / "b.tar", changed, []), f"{inside[0]}: ")


@pytest.mark.parametrize("text", ["null", "[]", "{}", "7", "[" * 100_000, '{"schema": 2}', '{"schema": []}'])
def test_a_manifest_of_another_shape_stops_the_import(tmp_path: Path, text: str) -> None:
    _, archive, _ = exported(tmp_path)
    refused(tmp_path, rewritten(archive, tmp_path / "b.tar", {"manifest.json": text.encode()}, []), "damaged|layout")


def test_a_stage_that_this_version_does_not_know_is_left_out(tmp_path: Path) -> None:
    store, archive, inside = exported(tmp_path)
    record = json.loads((store.folder(inside[0]) / "result.json").read_text())
    record["stage"]["later_field"] = 1
    changed = {f"stages/{inside[0]}/result.json": json.dumps(record).encode()}
    outcome = read_archive(Store(tmp_path / "other"), rewritten(archive, tmp_path / "b.tar", changed, []))
    assert "field 'later_field' of Scenes is unknown" in outcome.damaged[inside[0]]


def test_a_source_of_another_shape_is_left_out(tmp_path: Path) -> None:
    store, archive, inside = exported(tmp_path)
    source = f"sources/{store.run(inside[-1]).source}.json"
    other = Store(tmp_path / "other")
    outcome = read_archive(other, rewritten(archive, tmp_path / "b.tar", {source: b"[[1]]"}, []))
    assert outcome.added == inside and not (other.root / source).exists()


def test_results_of_an_earlier_version_of_their_kind_are_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(Scenes, "VERSION", Scenes.VERSION + 7)
        then.setattr(Warmup, "VERSION", Warmup.VERSION + 7)
        cell = chain(nano())
        store = new_store(tmp_path)
        finish(planned([cell], store), store)
        inside = write_archive(store, [cell.evaluation.name], tmp_path / "then.tar")
    outcome = read_archive(Store(tmp_path / "other"), tmp_path / "then.tar")
    assert (outcome.added, outcome.damaged) == (inside, {})


def test_a_damaged_result_in_place_is_replaced(tmp_path: Path) -> None:
    store, archive, inside = exported(tmp_path)
    (store.folder(inside[1]) / "result.json").write_text("[]")
    assert read_archive(store, archive).added == [inside[1]]
    store.check(inside[1])


def sparse(name: str, size: int) -> tarfile.TarInfo:
    """A member of some hundred bytes that unpacks to `size`, as GNU tar writes holes."""
    info = tarfile.TarInfo(name)
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,1",
        "GNU.sparse.name": name,
    }
    info.pax_headers["GNU.sparse.size"] = str(size)
    info.size = 1
    return info


def test_a_sparse_member_stops_the_import(tmp_path: Path) -> None:
    _, archive, inside = exported(tmp_path)
    hole = sparse(f"stages/{inside[0]}/hole.bin", 10**15)
    refused(tmp_path, rewritten(archive, tmp_path / "b.tar", {}, [hole]), "no export writes")


@pytest.mark.parametrize("place", ["stages/{}/more.bin", "sources/" + "a" * 64 + ".json", "stages/{}/sub/result.json"])
def test_more_than_the_limit_stops_the_import(tmp_path: Path, place: str) -> None:
    _, archive, inside = exported(tmp_path)
    extra = [member(place.format(name)) for name in inside[:2]]
    for info in extra:
        info.size = MOST // 2
    refused(tmp_path, rewritten(archive, tmp_path / "b.tar", {}, extra), "more than 10,000,000 bytes|damaged")


def test_a_record_or_a_manifest_over_its_limit_stops_the_import(tmp_path: Path) -> None:
    _, archive, inside = exported(tmp_path)
    large = {"manifest.json": b" " * ((1 << 24) + 1)}
    refused(tmp_path, rewritten(archive, tmp_path / "b.tar", large, []), "manifest.json of 16,777,217 bytes")
    large = {f"stages/{inside[0]}/result.json": b" " * ((1 << 26) + 1)}
    shutil.rmtree(tmp_path / "other")
    refused(tmp_path, rewritten(archive, tmp_path / "c.tar", large, []), "a record has at most")


@pytest.mark.parametrize(("kind", "size"), [(b"x", 10**12), (b"L", 10**12), (b"x", -(10**6)), (b"0", -512)])
def test_a_header_with_a_false_length_ends_the_import_at_once(tmp_path: Path, kind: bytes, size: int) -> None:
    _, archive, inside = exported(tmp_path)
    info = member(f"stages/{inside[0]}/more.bin", kind)
    info.size = size
    bad = tmp_path / "b.tar"
    with tarfile.open(archive) as whole:
        end = max(m.offset_data + 512 * -(-m.size // 512) for m in whole)
    with bad.open("wb") as file:
        file.write(archive.read_bytes()[:end] + info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10240)
    refused(tmp_path, bad, "no export writes|damaged")


def test_many_headers_before_one_member_end_in_a_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "b.tar"
    long_name = member("././@LongLink", b"L")
    long_name.size = 5
    bad.write_bytes((long_name.tobuf(tarfile.GNU_FORMAT) + b"name\0".ljust(512, b"\0")) * 5000)
    refused(tmp_path, bad, "damaged")


def test_a_file_and_a_folder_of_one_name_stop_the_import(tmp_path: Path) -> None:
    _, archive, inside = exported(tmp_path)
    extra = [member(f"stages/{inside[0]}/a"), member(f"stages/{inside[0]}/a/b")]
    refused(tmp_path, rewritten(archive, tmp_path / "b.tar", {}, extra), "damaged")


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


def test_files_that_git_does_not_know_are_named(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "casl").mkdir(parents=True)
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=b"]
    (repository / "casl" / "known.py").write_text("a = 1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    (repository / "casl" / "known.py").write_text("a = 2\n")
    (repository / "casl" / "my keys.py").write_text("secret = 1\n")
    (repository / "casl" / "staged.py").write_text("b = 1\n")
    subprocess.run([*git, "add", "casl/staged.py"], check=True)
    state = read_code(repository)
    store = new_store(tmp_path)
    diff = store.root / "sources" / f"{state.digest}.diff"
    diff.parent.mkdir()
    diff.write_text(state.diff)
    commit(store, scenes(), diff=state.digest)
    assert outside_git(store, [scenes().name]) == ["casl/my keys.py"]


def test_a_lost_ancestor_is_named(tmp_path: Path) -> None:
    store, _, inside = exported(tmp_path)
    store.quarantine(inside[0])
    with pytest.raises(StoreError, match=f"no finished stage {inside[0]}, which"):
        with_ancestors(store, [inside[-1]])
