"""From tiny folders in the real layouts of COCO, Open Images and Places365 to a set that casl trains on."""

from __future__ import annotations

import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from casl.cli import main
from casl.data import inventory
from casl.data.check import check
from casl.data.coco import load_split
from casl.data.compose import TENTHS, compose
from casl.data.digest import digest
from casl.data.image_info import ImageInfo
from casl.data.inventory import groups_in, read_chunk, scan
from casl.data.layout import find_splits
from casl.errors import DataError, SpecError
from casl.stages.dataset import open_data
from tests.data.test_digest import age, overwrite_unseen


def photo(path: Path, seed: int, mode: str = "RGB") -> bytes:
    """A JPEG of 48 x 40, another for each seed; its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((48, 40)).convert(mode).save(path, format="JPEG", quality=90)
    return path.read_bytes()


def instances(folder: Path, names: list[str]) -> dict[str, Any]:
    images = [{"id": n, "file_name": name, "width": 48, "height": 40} for n, name in enumerate(names, start=1)]
    found = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [4, 4, 20, 20], "area": 400, "iscrowd": 0,
         "segmentation": [[4, 4, 24, 4, 24, 24, 4, 24]]}
        for n in range(1, len(names) + 1)
    ]  # fmt: skip
    content = {"images": images, "annotations": found, "categories": [{"id": 1, "name": "cat"}]}
    folder.mkdir(parents=True, exist_ok=True)
    return content


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """train2017 1..4, val2017 11..12, unlabeled2017: 21, 22, 22 again, 11 of val, 1 of train, one cut short."""
    root = tmp_path / "coco"
    for split, seeds in (("train2017", range(1, 5)), ("val2017", range(11, 13))):
        names = [f"{seed:012d}.jpg" for seed in seeds]
        for name, seed in zip(names, seeds, strict=True):
            photo(root / split / name, seed)
        file = root / "annotations" / f"instances_{split}.json"
        content = instances(file.parent, names)
        file.write_text(json.dumps(content))
    unlabeled = root / "unlabeled2017"
    for name, seed in (("a", 21), ("b", 22), ("c", 22), ("d", 11), ("e", 1)):
        photo(unlabeled / f"{name}.jpg", seed)
    (unlabeled / "f.jpg").write_bytes(photo(unlabeled / "f.jpg", 99)[:300])
    return root


@pytest.fixture
def openimages(tmp_path: Path) -> Path:
    """train_0 and train_f: 31, 32 gray, 33 CMYK, one of COCO's unlabeled, one of val, one that is text."""
    root = tmp_path / "open-images"
    photo(root / "train_0" / "31.jpg", 31)
    photo(root / "train_0" / "32.jpg", 32, "L")
    photo(root / "train_f" / "33.jpg", 33, "CMYK")
    photo(root / "train_f" / "34.jpg", 21)
    photo(root / "train_f" / "35.jpg", 12)
    (root / "train_f" / "36.jpg").write_text("not an image")
    return root


@pytest.fixture
def places(tmp_path: Path) -> Path:
    root = tmp_path / "places365"
    for n in range(40):
        photo(root / "data_256" / "a" / "abbey" / f"{n:08d}.jpg", 100 + n)
    photo(root / "data_256" / "z" / "zoo" / "00000001.jpg", 31)  # one of Open Images
    return root


def kept(out: Path, scale: str) -> list[str]:
    listed = load_split(find_splits(out)[f"unlabeled_{scale}"], "images").images
    assert [image.id for image in listed] == list(range(1, len(listed) + 1))
    assert {(image.width, image.height) for image in listed} == {(48, 40)}
    return [image.file_name for image in listed]


def prepared(out: Path, **roots: Path) -> dict[str, Any]:
    for source, root in roots.items():
        scan(source, root, out / "inventory", jobs=2)
    return compose(out, roots)


def test_every_scale_is_what_can_be_counted_by_hand(coco: Path, openimages: Path, places: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    report = prepared(out, coco=coco, openimages=openimages, places=places)["scales"]
    assert kept(out, "tiny") == ["coco/unlabeled2017/a.jpg", "coco/unlabeled2017/b.jpg"]
    expected = {"found": 6, "kept": 2, "damaged": 1, "in_val": 1, "in_labeled": 1, "duplicates": 1}
    assert {k: report["tiny"][k] for k in expected} == expected
    # what is COCO's too stays in base, which is Open Images alone
    sound = [f"openimages/train_{name}.jpg" for name in ("0/31", "0/32", "f/33", "f/34")]
    assert kept(out, "base") == sound
    assert (report["base"]["in_val"], report["base"]["damaged"], report["base"]["duplicates"]) == (1, 1, 0)
    of_places = [f"data_256/a/abbey/{n:08d}.jpg" for n in range(40)]
    assert kept(out, "large") == [*kept(out, "tiny"), *sound[:3], *(f"places/{name}" for name in of_places)]
    assert report["large"]["duplicates"] == 1 + 1 + 1  # c.jpg, 34.jpg, and the zoo's
    tenths = [n for n in [*of_places, "data_256/z/zoo/00000001.jpg"] if zlib.crc32(n.encode()) % 10 in TENTHS]
    assert kept(out, "small") == [*kept(out, "tiny"), *(f"places/{name}" for name in tenths)]
    assert report["large"]["planned"] == 3_660_000


def test_damaged_files_are_listed_with_the_reason(coco: Path, openimages: Path, tmp_path: Path) -> None:
    report = prepared(tmp_path / "set", coco=coco, openimages=openimages)
    listed = json.loads((tmp_path / "set" / "quarantine.json").read_text())
    assert [entry["file"] for entry in listed] == ["coco/unlabeled2017/f.jpg", "openimages/train_f/36.jpg"]
    assert all(entry["reason"] for entry in listed)
    assert (report["damaged"], report["damaged_labeled"], report["labeled_equal_to_val_or_another"]) == (2, 0, 0)


def test_the_set_can_be_checked_planned_with_and_has_its_scales(
    coco: Path, openimages: Path, places: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    prepared(out, coco=coco, openimages=openimages, places=places)
    assert check(out).errors == []
    data = open_data(out, tmp_path / "memory").data
    sizes = {scale: data.split("unlabeled", "images", scale).count for scale in ("tiny", "base", "large")}  # type: ignore[attr-defined]
    assert sizes == {"tiny": 2, "base": 4, "large": 45}
    assert data.split("labeled", "objects").count == 4  # type: ignore[attr-defined]


def test_a_scale_that_lacks_a_collection_is_not_written_and_says_so(coco: Path, places: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    report = prepared(out, coco=coco, places=places)["scales"]
    assert report["base"]["missing"] == report["large"]["missing"] == ["openimages train"]
    assert sorted(p.name for p in (out / "annotations").glob("unlabeled*")) == [
        "unlabeled_small.arrow",
        "unlabeled_tiny.arrow",
    ]


def test_the_lists_have_the_digest_of_json_lists_and_keep_the_hashes_of_the_scan(coco: Path, tmp_path: Path) -> None:
    age(coco)
    out, old = tmp_path / "set", tmp_path / "set" / "annotations" / "unlabeled_tiny.json"
    prepared(out, coco=coco)
    files = find_splits(out)["unlabeled_tiny"]
    listed = [vars_of(image) for image in load_split(files, "images").images]
    old.write_text(json.dumps({"categories": [], "annotations": [], "images": listed}))
    as_json = digest(replace(files, listing=old), "images")  # as earlier versions wrote the set
    prepared(out, coco=coco)
    assert not old.exists()
    for name in ("a", "b"):
        overwrite_unseen(coco / "unlabeled2017" / f"{name}.jpg")
    assert digest(files, "images") == as_json  # nothing was read again
    (coco / "unlabeled2017" / "a.jpg").touch()
    prepared_anew = digest(files, "images")
    assert prepared_anew.files["images/coco/unlabeled2017/b.jpg"] == as_json.files["images/coco/unlabeled2017/b.jpg"]
    assert prepared_anew.value != as_json.value


def vars_of(image: ImageInfo) -> dict[str, Any]:
    """An image as an entry of "images"."""
    return {"id": image.id, "file_name": image.file_name, "width": image.width, "height": image.height}


def chunks(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.parquet")}


def test_a_scan_that_was_cut_off_goes_on_and_ends_with_the_same_bytes(
    places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "CHUNK", 8)
    assert scan("places", places, tmp_path / "whole", jobs=1) == 41
    seen: list[int] = []

    def stop(done: int, rate: float) -> None:
        seen.append(done)
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan("places", places, tmp_path / "cut", 1, stop)
    assert seen == [8, 16]
    assert scan("places", places, tmp_path / "cut", jobs=2) == 41 - 16
    assert chunks(tmp_path / "cut") == chunks(tmp_path / "whole")
    assert scan("places", places, tmp_path / "cut", jobs=1) == 0


def test_changed_removed_and_damaged_things_are_noticed(
    places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "CHUNK", 8)
    out = tmp_path / "inventory"
    scan("places", places, out, jobs=1)
    changed = places / "data_256" / "a" / "abbey" / "00000003.jpg"
    photo(changed, 777)
    assert scan("places", places, out, jobs=1) == 1
    shutil.rmtree(places / "data_256" / "z")
    assert scan("places", places, out, jobs=1) == 0
    group = groups_in(out)["places"]["train"]
    assert len(group.chunks) == 5
    group.chunks[2].write_bytes(b"half")
    with pytest.raises(DataError, match="Delete it and prepare again"):
        read_chunk(group.chunks[2])
    assert scan("places", places, out, jobs=1) == 8


def test_a_folder_in_another_layout_is_explained(tmp_path: Path, places: Path) -> None:
    (tmp_path / "other" / "pictures").mkdir(parents=True)
    with pytest.raises(DataError, match=r"does not look like places.\n  wanted: data_large or .*\n  found:  pictures"):
        scan("places", tmp_path / "other", tmp_path / "inventory", 1)
    with pytest.raises(SpecError, match="did you mean 'openimages'"):
        scan("openimage", places, tmp_path / "inventory", 1)
    with pytest.raises(DataError, match="no train2017 and no val2017 yet"):
        compose(tmp_path / "set", {})


def test_the_command_scans_composes_and_reports(
    coco: Path, openimages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "set")
    assert main(["data", "prepare", "openimages", str(openimages), "--out", out, "--jobs", "1"]) == 0
    assert "`casl data prepare coco` makes the set" in capsys.readouterr().err
    assert main(["data", "prepare", "coco", str(coco), "--out", out, "--jobs", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[:5]] == ["scale", "tiny", "small", "base", "large"]
    assert printed[1].split()[1:] == ["123,403", "6", "2", "1", "1", "1", "1"]
    assert "needs places train" in printed[2]
    assert "2 damaged files" in printed[5]


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        (
            "annotations/instances_train2017.json",
            "annotations has no instances_train2017.json: unpack COCO's",
        ),
        ("annotations/instances_val2017.json", "annotations has no instances_val2017.json: unpack COCO's"),
        ("annotations", "annotations has no instances_train2017.json"),
        ("val2017", "coco has no val2017: labeled and val are COCO's"),
    ],
)
def test_what_coco_lacks_is_found_before_the_scan(
    gone: str, says: str, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (coco / gone).rename(tmp_path / "elsewhere")
    assert main(["data", "prepare", "coco", str(coco), "--out", str(tmp_path / "set"), "--jobs", "1"]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("coco", "coco: is the folder of coco itself; name another --out"),
        ("link", "link: is the folder of coco itself"),
        ("coco/train2017/set", "which is scanned; name another --out"),
        ("mine", "mine: holds something else than a set that `casl data prepare` began"),
        ("shop", "shop: holds something else than a set"),
        ("file", "file: is a file"),
    ],
)
def test_a_folder_that_is_no_place_for_a_set_stays_as_it_is(
    out: str, says: str, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(coco)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"")
    (tmp_path / "shop" / "inventory" / "shelf").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    before = everything(tmp_path)
    assert main(["data", "prepare", "coco", str(coco), "--out", str(tmp_path / out), "--jobs", "1"]) == 2
    assert says in capsys.readouterr().err
    assert everything(tmp_path) == before


def test_a_set_is_prepared_in_an_empty_folder_and_beside_the_images(coco: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", coco / "set", coco / "set"):
        assert main(["data", "prepare", "coco", str(coco), "--out", str(out), "--jobs", "1"]) == 0
