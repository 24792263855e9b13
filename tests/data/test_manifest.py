"""A list of images is the same split as a manifest and as JSON; what is no manifest is refused with a sentence."""

from __future__ import annotations

import pickle
import shutil
import struct
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casl.cli import main
from casl.data.check import check_split
from casl.data.coco import CocoSplit, load_split, subset
from casl.data.digest import digest
from casl.data.layout import SplitFiles, find_splits
from casl.data.manifest import LISTED, SCHEMA, write_manifest
from casl.data.scenes import write_scene_set
from casl.data.stream import image_at
from casl.errors import DataError
from casl.stages.dataset import inspect, open_data
from tests.data.listed import to_manifest, write_rows
from tests.data.tiny import HEIGHT, WIDTH, Json, write_json, write_set

MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
ROW: Json = {"id": 3, "file_name": "c.png", "width": WIDTH, "height": HEIGHT}
NAMES = ["c.png", "a.png", "b.png", "C.png", "none.png", "images/c.png", "", "../images/c.png", "/c.png", "a..b.png"]
rows = st.fixed_dictionaries(
    {
        "id": st.one_of(st.integers(1, 6), st.sampled_from([0, -1, 2**63 - 1, -(2**63), None])),
        "file_name": st.one_of(
            st.sampled_from(NAMES), st.sampled_from(["c\0.png", "a\n/b.png", "…/é.png", "..", None])
        ),
        "width": st.sampled_from([WIDTH, WIDTH, WIDTH, 5, 0, -1, 10**6, 10**6 + 1, None]),
        "height": st.sampled_from([HEIGHT, HEIGHT, HEIGHT, 0, 10**9, None]),
    }
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("listed") / "set")


def both(root: Path, listed: list[Json], batch: int = 2) -> tuple[SplitFiles, SplitFiles]:
    """An unlabeled split whose list is JSON, and the same as a manifest in another folder."""
    other = root.with_name("columns") / "annotations"
    other.mkdir(parents=True, exist_ok=True)
    write_json(root, "unlabeled", {"images": listed})
    path = write_rows(other / "unlabeled.arrow", listed, batch=batch)
    json_list = root / "annotations" / "unlabeled.json"
    return tuple(SplitFiles("unlabeled", root / "images", listing=p) for p in (json_list, path))  # type: ignore[return-value]


def outcome(work: Callable[[], Any], files: SplitFiles) -> Any:
    """What work gives, or the sentence it refuses with; the list is called the same in both containers."""
    assert files.listing is not None
    try:
        return work()
    except DataError as error:
        return str(error).replace(str(files.listing), "list")


@given(listed=st.lists(rows, max_size=5), batch=st.integers(1, 3))
@MANY
def test_both_containers_are_read_and_refused_alike(root: Path, listed: list[Json], batch: int) -> None:
    found = []
    for files in both(root, listed, batch):
        split = outcome(lambda files=files: load_split(files, "images"), files)  # type: ignore[misc]
        facts: Any = split
        if isinstance(split, CocoSplit):
            paths = [split.path(i) for i in range(len(split))]
            facts = (list(split.images), paths, len(split.annotations), split.classes, split.has_masks)
        report = check_split(files, decode=False)
        errors = [error.replace("unlabeled.arrow", "unlabeled.json") for error in report.errors]
        found.append((facts, errors, report.warnings, report.counts))
    assert found[0] == found[1]
    assert bool(isinstance(found[0][0], str)) <= bool(found[0][1])  # what reading refuses, the check finds


def test_a_name_that_leaves_the_folder_of_the_images_is_refused_in_both(root: Path) -> None:
    for name in ("../images/c.png", str(root / "images" / "c.png"), "a/../../images/c.png"):
        for files in both(root, [ROW | {"file_name": name}]):
            with pytest.raises(DataError, match="image 3: 'file_name' must stay inside the folder of the images, is "):
                load_split(files, "images")
            assert "must stay inside the folder" in check_split(files).errors[0]


def test_a_set_with_a_manifest_is_planned_and_trained_as_one_with_json(tmp_path: Path) -> None:
    write_scene_set(tmp_path / "set", 4, 12, 2, 64, 0)
    shutil.copytree(tmp_path / "set", tmp_path / "columns" / "set")
    to_manifest(tmp_path / "columns" / "set", batch=5)
    opened = [open_data(tmp_path / place, tmp_path / f"{place[:3]}-memory") for place in ("set", "columns/set")]
    assert opened[0].data == opened[1].data  # so every key is the same, shares of the split included
    assert opened[0].warnings == opened[1].warnings
    batches = []
    for place in ("set", "columns/set"):
        split = subset(load_split(find_splits(tmp_path / place)["unlabeled"], "images"), 7)
        read = [split.images[image_at(position, len(split), seed=1)].file_name for position in range(20)]
        batches.append((read, [len(split.labels(i).labels) for i in range(7)], repr(split).split(":")[1]))
    assert batches[0] == batches[1]


def test_images_are_a_sequence_that_other_processes_may_read(tmp_path: Path) -> None:
    listed = [ROW | {"id": n, "file_name": f"{n}.png"} for n in range(1, 8)]
    path = write_rows(tmp_path / "unlabeled.arrow", listed, batch=3)
    images = load_split(SplitFiles("unlabeled", tmp_path, listing=path), "images").images
    assert [image.id for image in images] == list(range(1, 8))
    assert [image.id for image in images[2:][::2]] == [3, 5, 7]
    assert (images[-1].file_name, images[-1]) == ("7.png", pickle.loads(pickle.dumps(images))[6])
    with pytest.raises(IndexError):
        images[7]
    sent = pickle.dumps(images)
    write_rows(path, listed[:3])
    with pytest.raises(DataError, match="changed while it was used"):
        pickle.loads(sent)[5]


def test_a_list_in_two_containers_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_rows(tmp_path / "annotations" / "unlabeled.arrow", [ROW])
    with pytest.raises(DataError, match=r"both unlabeled\.arrow and unlabeled\.json .* Remove one of them"):
        find_splits(tmp_path)


def test_rows_come_in_portions_of_any_size_and_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path, total = tmp_path / "list.arrow", 150_000
    unknown = dict.fromkeys(("sha256", "size", "mtime_ns", "inode"))
    one = pa.Table.from_pylist(
        [{"id": n, "file_name": f"{n}", "width": 1, "height": 1} | unknown for n in range(total)], SCHEMA
    )
    write_manifest(path, (one.slice(first, 7_001) for first in range(0, total, 7_001)))
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        assert [len(reader.get_batch(n)) for n in range(reader.num_record_batches)] == [65_536, 65_536, 18_928]
        assert reader.read_all().equals(one)

    def cut() -> Any:
        yield from islice((one for _ in range(2)), 1)
        raise KeyboardInterrupt

    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_manifest(path, cut())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["list.arrow"]


def shorter(share: float) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def with_type(name: str, kind: pa.DataType, value: Any) -> Callable[[Path], object]:
    schema = pa.schema([pa.field(field.name, kind if field.name == name else field.type) for field in LISTED])
    return lambda path: write_rows(path, [ROW | {name: value}], schema)


def with_categories(text: str) -> Callable[[Path], object]:
    return lambda path: write_rows(path, [ROW], LISTED.with_metadata({"categories": text}))


def without(name: str) -> Callable[[Path], object]:
    return lambda path: write_rows(path, [ROW], pa.schema([field for field in LISTED if field.name != name]))


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def twice(path: Path) -> None:
    schema = pa.schema([*LISTED, pa.field("id", pa.int64())])
    batch = pa.record_batch([pa.array([v]) for v in (3, "c.png", WIDTH, HEIGHT, 3)], schema=schema)
    with pa.ipc.new_file(str(path), schema) as writer:
        writer.write_batch(batch)


def with_bytes(old: bytes, new: bytes) -> Callable[[Path], object]:
    """A manifest of the names "abc" and "x...x" (4,096), with some bytes as no writer makes them."""

    def write(path: Path) -> None:
        write_rows(path, [ROW | {"file_name": "abc"}, ROW | {"id": 4, "file_name": "x" * 4096}])
        content = path.read_bytes()
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))

    return write


OFFSETS = struct.pack("<3i", 0, 3, 4099)  # where the two names begin and end


def compressed(path: Path) -> None:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(path), LISTED, options=options) as writer:
        writer.write_table(pa.Table.from_pylist([ROW | {"id": n} for n in range(5000)], LISTED))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (shorter(0), "not an image list in Arrow's file format"),
    "half": (shorter(0.5), "damaged or cut short"),
    "tail": (shorter(0.99), "damaged or cut short"),
    "text": (lambda path: path.write_text('{"images": []}' * 90), "not an image list in Arrow's file format"),
    "folder": (as_folder, "not an image list in Arrow's file format"),
    "no width": (without("width"), r"no column 'width'; a list has id int64, .* Its columns: file_name, height, id"),
    "id as text": (with_type("id", pa.string(), "3"), "column 'id' is string, but must be int64"),
    "id as float": (with_type("id", pa.float64(), 3.0), "column 'id' is double, but must be int64"),
    "name as bytes": (with_type("file_name", pa.binary(), b"c"), "column 'file_name' is binary, but must be string"),
    "name as list": (with_type("file_name", pa.list_(pa.string()), ["c"]), "'file_name' is list.*, but must be string"),
    "two ids": (twice, "two columns are called 'id'"),
    "categories": (with_categories("3"), "'categories' is missing or not a list"),
    "a class": (with_categories('[{"id": 1}]'), "a category is an object with an integer 'id' and a 'name'"),
    "no JSON": (with_categories('[{"id'), "damaged or cut short"),
    "deep JSON": (with_categories("[" * 99_999), "damaged or cut short"),
    "compressed": (compressed, "columns are compressed; write them without"),
    "null": (lambda path: write_rows(path, [ROW, ROW | {"id": None}]), "position 1: 'id' must be an integer, is None"),
    "negative": (lambda path: write_rows(path, [ROW | {"width": -24}]), "'width' must be a positive integer, is -24"),
    "huge": (lambda path: write_rows(path, [ROW | {"height": 2**40}]), "'height' must be a positive integer"),
    "same id": (lambda path: write_rows(path, [ROW] * 3), "image 3: this id is used twice"),
    "no name": (lambda path: write_rows(path, [ROW | {"file_name": ""}]), "'file_name' must be a name, is ''"),
    "leaves": (lambda path: write_rows(path, [ROW | {"file_name": "../../c.png"}]), "must stay inside the folder"),
    "absolute": (lambda path: write_rows(path, [ROW | {"file_name": "/etc/passwd"}]), "must stay inside the folder"),
    "wild offsets": (with_bytes(OFFSETS, struct.pack("<3i", 0, 3, 2**30)), "damaged or cut short"),
    "falling offsets": (with_bytes(OFFSETS, struct.pack("<3i", 0, -8, 4099)), "damaged or cut short"),
    "not text": (with_bytes(b"abcx", b"ab\xffx"), "damaged or cut short"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_no_sound_manifest_is_refused_before_any_work(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, sentence = DAMAGE[name]
    root = write_set(tmp_path / "set")
    damage(to_manifest(root))
    files = find_splits(root)["unlabeled"]
    with pytest.raises(DataError, match=sentence):
        load_split(files, "images")
    assert any("unlabeled.arrow" in error for error in inspect(root)[0].errors)
    plan = ["plan", "table4", "--profile", "smoke", "--data", str(root), "--store", str(tmp_path / "store")]
    assert main(plan) == 2
    said = capsys.readouterr().err
    assert "unlabeled.arrow" in said
    assert "Traceback" not in said
    assert main(["data", "check", str(root)]) == 1


def test_no_flipped_byte_ends_in_anything_but_a_sentence_or_a_legal_list(tmp_path: Path) -> None:
    listed = [ROW | {"id": n, "file_name": f"{n}.png"} for n in range(1, 9)]
    path = write_rows(tmp_path / "unlabeled.arrow", listed, batch=3)
    whole = path.read_bytes()
    for place in range(0, len(whole), 11):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            split = load_split(SplitFiles("unlabeled", tmp_path, listing=path), "images")
        except DataError:
            continue
        assert all(image.width >= 1 and image.file_name for image in split.images)


def test_a_manifest_of_another_writer_is_read_without_its_further_columns(root: Path) -> None:
    json_list, own = both(root, [ROW])
    assert own.listing is not None
    needed = [field.with_nullable(False).with_metadata({"unit": "px"}) for field in reversed(list(LISTED))]
    write_rows(own.listing, [ROW | {"licence": "CC"}], pa.schema([pa.field("licence", pa.string()), *needed]))
    image = load_split(own, "images").images[0]
    assert (image.id, image.file_name, image.width, image.height) == (3, "c.png", WIDTH, HEIGHT)
    assert digest(own, "images") == digest(json_list, "images")


def test_ids_may_come_in_any_order(root: Path) -> None:
    listed = [ROW | {"id": n, "file_name": f"{n}.png"} for n in (9, 2, 7, 1, 8)]
    assert [image.id for image in load_split(both(root, listed)[1], "images").images] == [9, 2, 7, 1, 8]


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    path = tmp_path / "unlabeled.arrow"
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"unlabeled\.arrow: no such file"):
        load_split(SplitFiles("unlabeled", tmp_path, listing=path), "images")
