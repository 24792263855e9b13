"""The built-in data set says the same thing in every file, and the same thing every time."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO

from casl.data.check import check
from casl.data.scene_paint import DIFFICULTY, Difficulty, paint_scene, plan_scene
from casl.data.scene_shapes import OTHERS, THINGS
from casl.data.scenes import UNLABELED_SCALES, new_scene_set, unlabeled_counts, write_scene_set, write_scenes
from casl.errors import DataError, SpecError

Json = dict[str, Any]
LABELED, UNLABELED, VAL = 60, 8, 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scene_set(folder, LABELED, UNLABELED, VAL, 64, 7)
    return folder


def read(root: Path, name: str) -> Json:
    content: Json = json.loads((root / "annotations" / f"{name}.json").read_text())
    return content


def hashes(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def by_image(file: Json) -> dict[int, list[Json]]:
    groups: dict[int, list[Json]] = {image["id"]: [] for image in file["images"]}
    for annotation in file["annotations"]:
        groups[annotation["image_id"]].append(annotation)
    return groups


def segment_ids(root: Path, split: str, record: Json) -> NDArray[np.int64]:
    pixels = np.asarray(Image.open(root / "annotations" / f"panoptic_{split}" / record["file_name"])).astype(np.int64)
    assert pixels.shape == (64, 64, 3)
    ids: NDArray[np.int64] = pixels @ np.array([1, 256, 65536])
    return ids


def box_of(mask: NDArray[np.bool_]) -> list[int]:
    y, x = np.nonzero(mask)
    return [int(x.min()), int(y.min()), int(x.max() - x.min() + 1), int(y.max() - y.min() + 1)]


# --- what the files say


@pytest.mark.parametrize("split", ["labeled", "unlabeled_gt", "val"])
def test_every_panoptic_pixel_is_a_listed_segment_or_void(root: Path, split: str) -> None:
    panoptic = read(root, f"panoptic_{split}")
    classes = {category["id"]: category for category in panoptic["categories"]}
    for record in panoptic["annotations"]:
        ids = segment_ids(root, split, record)
        areas = dict(zip(*(values.tolist() for values in np.unique(ids, return_counts=True)), strict=True))
        void = areas.pop(0, 0)
        assert void < 100
        assert {info["id"]: info["area"] for info in record["segments_info"]} == areas
        for info in record["segments_info"]:
            assert info["bbox"] == box_of(ids == info["id"])
            assert info["area"] >= 12 and info["iscrowd"] == 0 and info["category_id"] in classes
        assert sum(not classes[info["category_id"]]["isthing"] for info in record["segments_info"]) >= 1


@pytest.mark.parametrize("split", ["labeled", "unlabeled_gt", "val"])
def test_instances_and_entities_are_the_panoptic_segments(root: Path, split: str) -> None:
    panoptic = read(root, f"panoptic_{split}")
    things = {category["id"] for category in panoptic["categories"] if category["isthing"]}
    instances, entities = by_image(read(root, f"instances_{split}")), by_image(read(root, f"entity_{split}"))
    for record in panoptic["annotations"]:
        ids = segment_ids(root, split, record)
        segments = [(info["category_id"], (ids == info["id"]).tobytes()) for info in record["segments_info"]]
        masked = [
            (a["category_id"], rle_tools.decode(a["segmentation"]).astype(bool)) for a in instances[record["image_id"]]
        ]
        assert [(c, m.tobytes()) for c, m in masked] == [(c, m) for c, m in segments if c in things]
        sources = [
            (a["source_category_id"], rle_tools.decode(a["segmentation"]).astype(bool).tobytes())
            for a in entities[record["image_id"]]
        ]
        assert sources == segments
        assert all(a["isthing"] == (a["source_category_id"] in things) for a in entities[record["image_id"]])


@pytest.mark.parametrize("kind", ["instances", "entity", "person_keypoints"])
def test_boxes_and_areas_are_those_of_the_mask_and_ids_start_at_one(root: Path, kind: str) -> None:
    file = read(root, f"{kind}_labeled")
    assert [a["id"] for a in file["annotations"]] == list(range(1, len(file["annotations"]) + 1))
    for annotation in file["annotations"]:
        mask = rle_tools.decode(annotation["segmentation"]).astype(bool)
        assert annotation["bbox"] == box_of(mask)
        assert annotation["area"] == mask.sum()


def test_pycocotools_reads_every_annotation_file(root: Path) -> None:
    for split in ("labeled", "unlabeled_gt", "val"):
        for kind in ("instances", "entity", "person_keypoints"):
            file = COCO(root / "annotations" / f"{kind}_{split}.json")
            assert all(file.annToMask(annotation).any() for annotation in file.anns.values())
            assert all(annotation["category_id"] in file.cats for annotation in file.anns.values())


def test_visible_keypoints_lie_on_their_figure(root: Path) -> None:
    file = read(root, "person_keypoints_labeled")
    (category,) = file["categories"]
    figures = [a for a in read(root, "instances_labeled")["annotations"] if a["category_id"] == category["id"]]
    assert len(figures) == len(file["annotations"]) > 10
    seen: Counter[int] = Counter()
    for annotation in file["annotations"]:
        points = np.array(annotation["keypoints"]).reshape(len(category["keypoints"]), 3)
        seen.update(points[:, 2].tolist())
        assert annotation["num_keypoints"] == (points[:, 2] > 0).sum()
        assert (points[points[:, 2] == 0] == 0).all() and (points[:, :2] < 64).all() and (points >= 0).all()
        x, y, width, height = annotation["bbox"]
        mask = rle_tools.decode(annotation["segmentation"])
        for px, py, visibility in points:
            inside = x <= px < x + width and y <= py < y + height
            assert visibility < 2 or (inside and mask[py, px])
            assert visibility != 1 or not mask[py, px]
    assert seen[2] > 10 * seen[1] > 0


def test_left_and_right_trade_places_in_the_flip_pairs(root: Path) -> None:
    (category,) = read(root, "person_keypoints_val")["categories"]
    names = category["keypoints"]
    pairs = [(names[a], names[b]) for a, b in category["flip_pairs"]]
    assert pairs == [("left_hand", "right_hand"), ("left_foot", "right_foot")]
    assert all(1 <= joint <= len(names) for bone in category["skeleton"] for joint in bone)


def test_class_frequencies_have_a_long_tail(root: Path) -> None:
    file = read(root, "instances_labeled")
    counts = Counter(annotation["category_id"] for annotation in file["annotations"])
    frequencies = [counts[category["id"]] for category in file["categories"]]
    assert len(frequencies) >= 6 and min(frequencies) > 0
    assert frequencies[0] == max(frequencies) > 3 * min(frequencies)
    assert sum(frequencies[:3]) > sum(frequencies[3:])
    per_image = [len(annotations) for annotations in by_image(file).values()]
    assert min(per_image) >= 1 and max(per_image) <= 8 and len(set(per_image)) >= 5


def test_things_hide_parts_of_each_other(root: Path) -> None:
    overlapping = 0
    for things in by_image(read(root, "instances_labeled")).values():
        boxes = [thing["bbox"] for thing in things]
        ious = rle_tools.iou(np.array(boxes, float), np.array(boxes, float), [0] * len(boxes))
        overlapping += int((np.triu(ious, 1) > 0.05).sum())
    assert overlapping > LABELED / 10


# --- the splits


def test_unlabeled_images_come_without_annotations(root: Path) -> None:
    file = read(root, "unlabeled")
    assert file["annotations"] == [] and len(file["images"]) == UNLABELED
    truth = read(root, "instances_unlabeled_gt")
    assert truth["images"] == file["images"] and truth["categories"] == file["categories"] and truth["annotations"]


def test_splits_share_no_image_and_list_exactly_the_files(root: Path) -> None:
    splits = json.loads((root / "splits.json").read_text())
    assert {name: len(files) for name, files in splits.items()} == {
        "labeled": LABELED,
        "unlabeled": UNLABELED,
        "val": VAL,
    }
    listed = [name for files in splits.values() for name in files]
    assert len(set(listed)) == len(listed) and set(listed) == {path.name for path in (root / "images").iterdir()}
    images = [
        image for name in ("labeled", "unlabeled_gt", "val") for image in read(root, f"instances_{name}")["images"]
    ]
    assert len({image["id"] for image in images}) == len(images) == len(listed)
    for image in images:
        opened = Image.open(root / "images" / image["file_name"])
        assert (opened.mode, opened.size) == ("RGB", (image["width"], image["height"]))
    assert len({hashlib.sha256((root / "images" / name).read_bytes()).hexdigest() for name in listed}) == len(listed)


def test_two_runs_write_the_same_bytes_and_another_seed_other_ones(root: Path, tmp_path: Path) -> None:
    write_scene_set(tmp_path / "again", LABELED, UNLABELED, VAL, 64, 7)
    assert hashes(tmp_path / "again") == hashes(root)
    write_scenes(tmp_path / "other", "val", VAL, 64, 8)
    assert not hashes(tmp_path / "other").items() & hashes(root).items()


@pytest.mark.parametrize("held", ["annotations/instances_val.json", "images/mine.jpg", "notes.txt"])
def test_what_somebody_has_in_the_folder_of_a_new_set_stays(tmp_path: Path, held: str) -> None:
    (mine := tmp_path / "set" / held).parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(DataError, match=r"set: is there already; name another folder, or remove it\."):
        new_scene_set(tmp_path / "set", 1, 1, 1, 64, 0)
    assert [path for path in (tmp_path / "set").rglob("*") if path.is_file()] == [mine] and mine.read_text() == "mine"


def test_a_new_set_is_the_same_set_in_a_folder_that_is_there_and_empty(root: Path, tmp_path: Path) -> None:
    new_scene_set(tmp_path, LABELED, UNLABELED, VAL, 64, 7)
    assert hashes(tmp_path) == hashes(root)


@pytest.mark.parametrize("stops", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_new_set_that_is_interrupted_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: BaseException
) -> None:
    def stopping(path: Path, content: Json) -> None:
        raise stops

    with monkeypatch.context() as patched, pytest.raises(type(stops)) as ended:
        patched.setattr("casl.data.scenes._write_json", stopping)
        new_scene_set(tmp_path / "set", 1, 1, 1, 64, 0)
    assert not (tmp_path / "set").exists()
    assert not isinstance(ended.value, OSError) or ended.value.filename == str(tmp_path / "set")
    new_scene_set(tmp_path / "set", 1, 1, 1, 64, 0)


def test_splits_written_one_by_one_make_the_same_set(root: Path, tmp_path: Path) -> None:
    for split, count in (("val", VAL), ("unlabeled", UNLABELED), ("labeled", LABELED)):
        write_scenes(tmp_path, split, count, 64, 7)
    assert hashes(tmp_path) == hashes(root)


def test_a_smaller_split_is_the_beginning_of_a_larger_one(root: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path, "unlabeled", 3, 64, 7)
    small, large = read(tmp_path, "entity_unlabeled_gt"), read(root, "entity_unlabeled_gt")
    assert small["images"] == large["images"][:3]
    assert small["annotations"] == large["annotations"][: len(small["annotations"])]
    pictures = {name: digest for name, digest in hashes(tmp_path).items() if name.endswith(".png")}
    assert len(pictures) == 6 and pictures.items() <= hashes(root).items()


def test_unlabeled_scales_keep_the_ratios_of_the_paper() -> None:
    assert unlabeled_counts(123) == UNLABELED_SCALES == {"tiny": 123, "small": 660, "base": 1740, "large": 3660}
    assert unlabeled_counts(800) == {"tiny": 800, "small": 4293, "base": 11317, "large": 23805}


def test_asked_for_scales_are_nested_files_of_one_folder(tmp_path: Path) -> None:
    write_scene_set(tmp_path, 1, 2, 1, 32, 0, scales=("tiny", "small", "base"))
    names = ["unlabeled_tiny", "unlabeled_small", "unlabeled_base"]
    scales = [[image["file_name"] for image in read(tmp_path, name)["images"]] for name in names]
    assert [len(scale) for scale in scales] == [2, 11, 28]
    assert scales[2][:11] == scales[1] and scales[1][:2] == scales[0]
    assert [image["file_name"] for image in read(tmp_path, "unlabeled")["images"]] == scales[0]
    for name in names:
        assert read(tmp_path, name)["annotations"] == []
        for kind in ("instances", "entity"):
            assert read(tmp_path, f"{kind}_{name}_gt")["images"] == read(tmp_path, name)["images"]
    assert all((tmp_path / "images" / file).exists() for file in scales[2])


# --- scenes of other shapes, for the stand-in for ImageNet


def test_the_other_shapes_share_no_name_and_no_outline_with_the_things() -> None:
    things, others = ({c.name for c in classes} for classes in (THINGS, OTHERS))
    assert len(others) == len(OTHERS) >= 8 and not things & others
    assert len({c.draw for c in (*THINGS, *OTHERS)}) == len(THINGS) + len(OTHERS)
    outlines = [
        [tuple(map(tuple, np.round(points, 6))) for points, _ in c.draw(np.random.default_rng(0)).parts]
        for c in (*THINGS, *OTHERS)
    ]
    assert all(a != b for n, a in enumerate(outlines) for b in outlines[n + 1 :])


def test_scenes_of_other_shapes_are_a_sound_set_of_their_own_classes(tmp_path: Path) -> None:
    write_scenes(tmp_path, "labeled", 12, 64, 7, shapes="others")
    assert not check(tmp_path).errors
    names = [category["name"] for category in read(tmp_path, "instances_labeled")["categories"]]
    assert names == [c.name for c in OTHERS]
    stuff = [c["name"] for c in read(tmp_path, "panoptic_labeled")["categories"] if not c["isthing"]]
    assert stuff and not set(stuff) & set(names)
    entities = read(tmp_path, "entity_labeled")["annotations"]
    assert {a["isthing"] == (a["source_category_id"] <= len(OTHERS)) for a in entities} == {True}
    assert not (tmp_path / "annotations" / "person_keypoints_labeled.json").exists()
    with pytest.raises(SpecError, match="did you mean 'others'"):
        write_scenes(tmp_path, "labeled", 1, 64, 7, shapes="other")


def test_but_for_their_outlines_scenes_of_other_shapes_are_like_the_things(tmp_path: Path) -> None:
    """Over 60 scenes of one seed: as many things of every rank, channels within 8 levels, areas within a fifth."""
    pixels, counts, areas = [], [], []
    for shapes in ("things", "others"):
        write_scenes(tmp_path / shapes, "labeled", 60, 64, 2, shapes=shapes)
        pictures = [np.asarray(Image.open(path), float) for path in (tmp_path / shapes / "images").iterdir()]
        pixels.append(np.stack([np.mean(pictures, (0, 1, 2)), np.std(pictures, (0, 1, 2))]))
        things = read(tmp_path / shapes, "instances_labeled")["annotations"]
        counts.append(np.bincount([thing["category_id"] for thing in things]))
        areas.append(np.mean([thing["area"] for thing in things]))
    assert np.abs(pixels[0] - pixels[1]).max() < 8
    assert np.abs(counts[0] - counts[1]).max() <= 3  # what is all but hidden is left out
    assert areas[0] == pytest.approx(areas[1], rel=0.2)


# --- asking for something else


def test_the_same_scene_at_another_size_keeps_its_composition(root: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path, "val", VAL, 128, 7)
    large, small = by_image(read(tmp_path, "instances_val")), by_image(read(root, "instances_val"))
    agreeing = 0
    for image_id, things in small.items():
        boxes = np.array([thing["bbox"] for thing in things], float) * 2
        others = np.array([thing["bbox"] for thing in large[image_id]], float)
        agreeing += int((rle_tools.iou(boxes, others, [0] * len(others)).max(axis=1) > 0.8).sum())
    assert agreeing >= 0.9 * sum(map(len, small.values()))


def test_masks_are_neither_fat_nor_thin(tmp_path: Path) -> None:
    lone = Difficulty(num_things=(1, 1))
    areas = []
    for size in (64, 256):
        write_scenes(tmp_path / str(size), "val", 20, size, 3, lone)
        found = [thing["area"] for thing in read(tmp_path / str(size), "instances_val")["annotations"]]
        areas.append(np.array(found) / size**2)
    # Half a pixel more all around would add a fifth to a thing of twenty pixels.
    assert areas[0].sum() == pytest.approx(areas[1].sum(), rel=0.02)


def test_difficulty_changes_what_is_painted(tmp_path: Path) -> None:
    write_scenes(tmp_path, "val", 4, 64, 7, Difficulty(num_things=(1, 1), zipf=50.0))
    annotations = read(tmp_path, "instances_val")["annotations"]
    assert [annotation["category_id"] for annotation in annotations] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("split", "count", "size", "seed", "message"),
    [
        ("vall", 1, 64, 0, "did you mean 'val'"),
        ("val", 0, 64, 0, "count >= 1"),
        ("val", 1, 16, 0, "size >= 32"),
        ("val", 1, 64, -1, "seed >= 0"),
        ("val", 1, 4097, 0, "the side of a scene is 4096 px at most, got size 4,097"),
        ("val", 1, 99_999_999, 0, "the side of a scene is 4096 px at most, got size 99,999,999"),
        ("labeled", 1_000_001, 64, 0, "has ids for 1,000,000 images at most, got 1,000,001"),
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_written(
    tmp_path: Path, split: str, count: int, size: int, seed: int, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        write_scenes(tmp_path / "new", split, count, size, seed)
    assert not (tmp_path / "new").exists()


def test_an_impossible_set_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unlabeled scale"):
        write_scene_set(tmp_path / "new", 1, 1, 1, 64, 0, scales=("huge",))
    with pytest.raises(SpecError, match="'unlabeled' of the scenes needs count >= 1"):
        write_scene_set(tmp_path / "new", 1, 0, 1, 64, 0)
    with pytest.raises(SpecError, match="'val' of the scenes needs count >= 1"):
        write_scene_set(tmp_path / "new", 1, 1, 0, 64, 0)
    assert not (tmp_path / "new").exists()


def test_records_say_on_request_what_an_object_would_cover_and_nothing_else_changes(tmp_path: Path) -> None:
    write_scenes(tmp_path / "plain", "val", 20, 64, 3)
    write_scenes(tmp_path / "more", "val", 20, 64, 3, hidden=True)
    plain, more = hashes(tmp_path / "plain"), hashes(tmp_path / "more")
    assert {name for name in plain if plain[name] != more[name]} == {"annotations/instances_val.json"}
    bare, full = read(tmp_path / "plain", "instances_val"), read(tmp_path / "more", "instances_val")
    wholes = [a.pop("full_area") for a in full["annotations"]]
    assert full == bare
    shares = [1 - a["area"] / whole for a, whole in zip(full["annotations"], wholes, strict=True)]
    assert min(shares) == 0 and max(shares) < 1
    assert min(sum(0 < s < 0.25 for s in shares), sum(0.25 <= s < 0.5 for s in shares)) > 0
    assert not check(tmp_path / "more").errors


def test_a_full_area_is_that_of_the_thing_painted_alone() -> None:
    seen = 0
    for seed in range(12):
        plan = plan_scene(np.random.default_rng(seed))
        scene = paint_scene(plan, np.random.default_rng(0), 64, DIFFICULTY)
        if len(scene.full_areas) < len(plan.things):
            continue  # a thing that is too hidden was left out
        for number, (thing, full) in enumerate(zip(plan.things, scene.full_areas, strict=True), start=1):
            alone = paint_scene(replace(plan, things=(thing,)), np.random.default_rng(0), 64, DIFFICULTY)
            assert full == (alone.segments == 1).sum() >= (scene.segments == number).sum()
            seen += full > (scene.segments == number).sum()
    assert seen > 3
