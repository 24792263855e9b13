"""Splits are seeded, nested and stratified, near copies stay together, and the protocol is the literature's."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from casl.data.check import check
from casl.data.importing.assign import Plan
from casl.data.importing.draw import Group, Share, beginning, held_out, ordered
from casl.data.importing.make import import_set, protocol, read_source
from casl.data.importing.native import read_set
from casl.data.importing.near import groups_of, look
from casl.errors import DataError, SpecError
from tests.data.importing import exports
from tests.data.importing.exports import Photo, Thing
from tests.data.importing.test_formats import HOW
from tests.data.tiny import REAL, needs_real

OFTEN = {"person": 400, "car": 150, "dog": 40, "owl": 3}


def thousand() -> list[Group]:
    """1,000 single images: a class each with the counts of OFTEN, every tenth image a dog more, the rest empty."""
    names = [name for name, count in OFTEN.items() for _ in range(count)]
    names += [""] * (1000 - len(names))
    return [Group((i,), frozenset({name} - {""} | ({"dog"} if i % 10 == 0 else set()))) for i, name in enumerate(names)]


def images(groups: list[Group]) -> list[int]:
    return [i for group in groups for i in group.members]


@pytest.mark.parametrize("seed", range(5))
def test_every_beginning_is_stratified_and_holds_the_smaller_ones(seed: int) -> None:
    order = ordered(thousand(), [seed, 1, 0])
    assert sorted(images(order)) == list(range(1000))
    often = Counter(name for group in order for name in group.classes)

    def rarest(group: Group) -> str:
        return min(group.classes, key=lambda name: often[name], default="")

    strata = Counter(map(rarest, order))
    last: set[int] = set()
    for percent in (1, 2, 5, 10, 50):
        chosen, rest = beginning(order, 10 * percent)
        here = set(images(chosen))
        assert len(here) == 10 * percent
        assert here > last and not here & set(images(rest))
        last = here
        found = Counter(map(rarest, chosen))
        for name, count in strata.items():
            assert abs(found[name] - count * percent / 100) <= 2, (percent, name)
        assert {name for group in chosen for name in group.classes} == set(OFTEN)


def test_another_seed_or_fold_is_another_draw_and_the_same_one_is_the_same() -> None:
    first, again, fold, seed = (
        images(ordered(thousand(), draw)[:100]) for draw in ([0, 1, 0], [0, 1, 0], [0, 1, 1], [1, 1, 0])
    )
    assert first == again
    assert len(set(first) & set(fold)) < 40
    assert len(set(first) & set(seed)) < 40


def test_val_never_takes_the_last_group_of_a_class_and_gets_one_of_each_other() -> None:
    groups = [*thousand(), Group((1000,), frozenset({"unicorn"})), Group((1001, 1002), frozenset({"yeti"}))]
    taken, rest = held_out(groups, 200, [3, 0])
    assert len(images(taken)) == 200
    assert {name for group in taken for name in group.classes} == set(OFTEN)
    assert {"unicorn", "yeti"} <= {name for group in rest for name in group.classes}


@pytest.mark.parametrize("text", ["0%", "101%", "-5%", "ten", "0.5", "0", ""])
def test_a_share_is_a_percentage_or_a_number(text: str) -> None:
    with pytest.raises(SpecError, match=r"give a percentage such as 10%, or a number such as 50"):
        Share(text)
    assert [Share(legal).of(250) for legal in ("10%", "0.1%", "2.5 %", "7")] == [25, 1, 6, 7]


def scene(number: int) -> Image.Image:
    """A picture with structure; no two numbers look alike."""
    cells = np.random.default_rng(number).integers(0, 255, (9, 12, 3), np.uint8)
    return Image.fromarray(cells).resize((240, 180), Image.Resampling.BICUBIC)


def test_near_copies_are_found_and_other_scenes_are_not(tmp_path: Path) -> None:
    for n in range(30):
        scene(n).save(tmp_path / f"s{n:02d}.png")
    scene(3).save(tmp_path / "t-jpeg.jpg", quality=30)
    scene(3).resize((120, 90)).save(tmp_path / "u-half.png")
    scene(4).point(lambda v: min(255, v + 4)).save(tmp_path / "v-bright.png")
    for n, grey in enumerate((60, 61, 200)):  # no structure at all: only those of about one grey are copies
        Image.new("RGB", (50, 50), (grey,) * 3).save(tmp_path / f"w-flat-{n}.png")
    scene(90).save(tmp_path / "x_jpg.rf.0123456789abcdef0123.jpg")
    scene(90).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "x_jpg.rf.fedcba98765432100123.jpg")
    paths = sorted(tmp_path.iterdir())
    names = [path.name for path in paths]
    numbers = groups_of([look(path) for path in paths], names).tolist()
    together: dict[int, set[str]] = {}
    for name, number in zip(names, numbers, strict=True):
        together.setdefault(number, set()).add(name.split(".")[0])
    assert sorted(sorted(group) for group in together.values() if len(group) > 1) == [
        ["s03", "t-jpeg", "u-half"],
        ["s04", "v-bright"],
        ["w-flat-0", "w-flat-1"],
    ]
    assert numbers[-1] == numbers[-2]  # mirrored, and near by Roboflow's name


def test_dark_scenes_of_twelve_bits_are_no_copies_of_each_other(tmp_path: Path) -> None:
    """12 bits in a file of 16 are sixteen levels of 8, on which a difference in grey is small everywhere."""
    for n in range(12):
        grey = np.full((48, 64), 2600)
        for y, x in np.random.default_rng(n).integers(0, (32, 44), (3, 2)):
            grey[y : y + 16, x : x + 20] = 600
        Image.fromarray(grey.astype(np.uint16)).save(tmp_path / f"{n:02d}.png")
    paths = sorted(tmp_path.iterdir())
    assert groups_of([look(path) for path in paths], [path.name for path in paths]).tolist() == list(range(12))


def with_copies(root: Path) -> Path:
    """LabelMe: 20 scenes, each also as a JPEG half as large."""
    root.mkdir(parents=True)
    for n in range(20):
        for name, picture in ((f"s{n:02d}.png", scene(n)), (f"s{n:02d}-small.jpg", scene(n).resize((120, 90)))):
            picture.save(root / name)
            shape = {"label": "cat", "points": [[1, 1], [30, 30]], "shape_type": "rectangle"}
            exports.write((root / name).with_suffix(".json"), {"shapes": [shape], "imagePath": name})
    return root


def split_of(root: Path) -> dict[str, str]:
    manifest = json.loads((root / "import.json").read_text())
    return {Path(entry["file"]).name: entry["split"] for entry in manifest["images"]}


def test_near_copies_come_into_one_split_and_are_counted(tmp_path: Path) -> None:
    source = with_copies(tmp_path / "src")
    manifest = import_set(read_source(source), tmp_path / "set", Plan(Share("30%")), HOW)
    assert manifest["near_copies"] == {"groups": 20, "images": 40, "apart": False}
    splits = split_of(tmp_path / "set")
    assert len(splits) == 40
    for n in range(20):
        assert splits[f"s{n:02d}.png"] == splits[f"s{n:02d}-small.jpg"]


def test_near_copies_of_a_given_val_and_of_labels_are_left_out(tmp_path: Path) -> None:
    source = exports.yolo(exports.boxes(), tmp_path / "src", ("train", "val"))
    train, val = source / "images" / "train", source / "images" / "val"
    for folder, name in ((val, "photo-01"), (train, "photo-02")):  # without labels
        Image.open(folder / f"{name}.png").resize((128, 96)).save(train / f"{name}-copy.png")
    Image.open(val / "photo-03.png").save(train / "photo-33.jpg", quality=60)  # with labels
    (source / "labels" / "train" / "photo-33.txt").write_text("0 0.5 0.5 0.1 0.1")
    manifest = import_set(read_source(source), tmp_path / "set", Plan(Share("100%")), HOW)
    assert manifest["near_copies"] == {
        "groups": 3,
        "images": 6,
        "apart": False,
        "left out as near copies of an image of val": 2,
        "without labels, left out as near copies of a labeled image": 1,
    }
    assert not {"photo-01-copy.png", "photo-02-copy.png", "photo-33.jpg"} & split_of(tmp_path / "set").keys()


def test_labels_that_are_all_copies_of_val_are_refused(tmp_path: Path) -> None:
    photos = [Photo(f"frame-{n}.png", 1, (Thing("cat", (n, 1, 9, 9)),)) for n in range(6)]
    source = exports.yolo(photos, tmp_path / "src", ("train", "val"))
    with pytest.raises(DataError, match=r"too few for both 'labeled' and 'val'"):
        import_set(read_source(source), tmp_path / "set", Plan(), HOW)


def test_too_few_groups_for_two_splits_are_refused_and_can_be_taken_apart(tmp_path: Path) -> None:
    root = tmp_path / "src"
    for n in range(6):
        exports.labelme([Photo(f"frame-{n}.png", 1, (Thing("cat", (n, 1, 9, 9)),))], root)
    with pytest.raises(DataError, match=r"6 labeled images are too few(.|\n)*--near-copies-apart"):
        import_set(read_source(root), tmp_path / "set", Plan(), HOW)
    manifest = import_set(read_source(root), tmp_path / "set", Plan(Share("100%")), replace(HOW, apart=True))
    assert manifest["near_copies"]["apart"]
    assert {split: found["images"] for split, found in manifest["splits"].items()} == {"labeled": 5, "val": 1}


def test_classes_that_a_split_could_not_get_are_said(tmp_path: Path) -> None:
    photos = [*exports.boxes(20), Photo("rare.png", 500, (Thing("unicorn", (1, 1, 9, 9)),))]
    manifest = import_set(read_source(exports.voc(photos, tmp_path / "src")), tmp_path / "set", Plan(Share("5")), HOW)
    assert manifest["classes_lacking"] == {"val": {"unicorn": 1}}
    assert manifest["splits"]["labeled"]["per_class"]["unicorn"] == 1


def linked(root: Path) -> Path:
    """A set of 200 images with val."""
    photos = [Photo(f"p{n:03d}.png", n, (Thing(("cat", "dog")[n % 2], (1, 1, 9, 9 + n % 5)),)) for n in range(250)]
    import_set(read_source(exports.voc(photos, root / "src")), root / "set", Plan(val=Share("50")), HOW)
    return root / "set"


def files_of(root: Path, split: str) -> list[str]:
    name = "unlabeled" if split == "unlabeled" else f"instances_{split}"
    return [image["file_name"] for image in json.loads((root / "annotations" / f"{name}.json").read_text())["images"]]


def test_the_protocol_makes_five_folds_of_nested_shares_with_one_val(tmp_path: Path) -> None:
    source = linked(tmp_path)
    made = protocol(read_set(source), tmp_path / "out", 0, HOW)
    assert len(made) == 20
    val = files_of(source, "val")
    folds = []
    for fold in range(5):
        last: set[str] = set()
        for percent, count in ((1, 2), (2, 4), (5, 10), (10, 20)):
            root = tmp_path / "out" / f"fold{fold}" / f"{percent}-percent"
            labeled = set(files_of(root, "labeled"))
            assert len(labeled) == count
            assert labeled >= last
            assert sorted(files_of(root, "val")) == sorted(val)
            assert labeled | set(files_of(root, "unlabeled")) == set(files_of(source, "labeled")) | set(
                files_of(source, "unlabeled")
            )
            assert not labeled & set(files_of(root, "unlabeled"))
            assert files_of(root, "unlabeled") == files_of(root, "unlabeled_gt")
            last = labeled
        folds.append(last)
    assert len({frozenset(fold) for fold in folds}) == 5
    report = check(tmp_path / "out" / "fold4" / "10-percent")
    assert not report.errors
    assert report.counts["val"]["images"] == 50


def test_a_split_of_a_set_keeps_every_label_and_its_val(tmp_path: Path) -> None:
    source = linked(tmp_path)
    import_set(read_set(source), tmp_path / "again", Plan(Share("40%"), seed=5), HOW)
    assert sorted(files_of(tmp_path / "again", "val")) == sorted(files_of(source, "val"))
    assert len(files_of(tmp_path / "again", "labeled")) == 80

    def boxes(root: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for split in ("labeled", "unlabeled_gt", "val"):
            data = json.loads((root / "annotations" / f"instances_{split}.json").read_text())
            names = {image["id"]: image["file_name"] for image in data["images"]}
            found |= {names[r["image_id"]]: (r["bbox"], r["category_id"], r["area"]) for r in data["annotations"]}
        return found

    assert boxes(source) == boxes(tmp_path / "again")


def test_crowds_of_a_set_become_objects_of_the_next_when_asked(tmp_path: Path) -> None:
    source = linked(tmp_path)
    path = source / "annotations" / "instances_labeled.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"annotations": [r | {"iscrowd": 1} for r in data["annotations"]]}))
    for crowds_are_objects, count in ((False, len(data["annotations"])), (True, 0)):
        out = tmp_path / f"out-{crowds_are_objects}"
        import_set(read_set(source, crowds_are_objects), out, Plan(Share("100%")), HOW)
        assert check(out).counts["labeled"]["crowds"] == count


@pytest.mark.parametrize("mask", [{"a": 1}, {"size": [1, 1], "counts": [1]}, [["1", 2, 3, 4, 5, 6]], "polygon"])
def test_an_illegal_mask_of_a_set_is_named(tmp_path: Path, mask: object) -> None:
    source = linked(tmp_path)
    path = source / "annotations" / "instances_val.json"
    data = json.loads(path.read_text())
    data["annotations"][0]["segmentation"] = mask
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match=rf"instances_val\.json: annotation {data['annotations'][0]['id']}: "):
        read_set(source)


def test_the_protocol_needs_a_val_split(tmp_path: Path) -> None:
    source = linked(tmp_path)
    (source / "annotations" / "instances_val.json").unlink()
    with pytest.raises(DataError, match=r"has no val split(.|\n)*casl data split .* --val 20% --labeled 100%"):
        protocol(read_set(source), tmp_path / "out", 0, HOW)


@needs_real
def test_two_photos_of_one_smear_in_bccd_are_near_copies() -> None:
    paths = sorted((REAL / "bccd" / "images").iterdir())
    numbers = groups_of([look(path) for path in paths], [path.name for path in paths])
    found = [paths[i].stem for i in range(len(paths)) if (numbers == numbers[i]).sum() > 1]
    assert found == ["BloodImage_00037", "BloodImage_00038"]
