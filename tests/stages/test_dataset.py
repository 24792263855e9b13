from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from ablations.profiles import PAPER
from casl.data.coco import load_split
from casl.data.digest import digest
from casl.data.layout import find_splits
from casl.data.pseudo import read_pseudo_labels
from casl.data.scenes import write_scene_set
from casl.errors import DataError, SpecError
from casl.runner.job import Placement
from casl.spec import Cell, Scenes, evaluate, finetune, labeler, pseudo_label, warmup
from casl.spec.profile import typed
from casl.spec.run import PREDICTIONS
from casl.stages.dataset import OpenedData, inspect, open_data
from casl.stages.sources import LABELS
from tests.runner.stores import NANO, chain, new_store, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scene_set(tmp_path / "set", 4, 4, 2, 64, 0)
    return tmp_path / "set"


def opened(folder: Path, tmp_path: Path) -> OpenedData:
    memory = tmp_path / "memory"
    memory.mkdir(exist_ok=True)
    return open_data(folder, memory)


def rewrite(folder: Path, name: str, change: object) -> None:
    path = folder / "annotations" / name
    data = json.loads(path.read_text())
    change(data)  # type: ignore[operator]
    path.write_text(json.dumps(data))


def test_the_scenes_have_as_many_classes_as_the_spec_says(folder: Path) -> None:
    assert len(load_split(find_splits(folder)["labeled"]).classes) == Scenes.classes


def test_classes_of_a_folder_are_named_by_rising_id_whatever_the_order_of_the_file(
    folder: Path, tmp_path: Path
) -> None:
    first = [c["name"] for c in json.loads((folder / "annotations/instances_labeled.json").read_text())["categories"]]
    for split in ("labeled", "unlabeled_gt", "val"):
        rewrite(folder, f"instances_{split}.json", lambda data: data["categories"].reverse())
    assert opened(folder, tmp_path).data.names == tuple(first)


def test_the_whole_chain_runs_on_a_folder(folder: Path, tmp_path: Path) -> None:
    data = opened(folder, tmp_path)
    store = new_store(tmp_path)
    _, summary, watcher = run([chain(NANO.with_data(data.data))], store, Placement(roots=data.roots))
    assert not summary.failed, watcher.ended


@pytest.mark.parametrize("derived", [True, False], ids=["panoptic", "entity file"])
def test_boxes_of_entities_are_counted_as_in_the_data_from_labeler_to_evaluation(
    folder: Path, tmp_path: Path, derived: bool
) -> None:
    for name in ("entity_labeled.json", "entity_val.json") if derived else ():
        (folder / "annotations" / name).unlink()
    data = opened(folder, tmp_path)
    counted = {kind: data.data.folders["labeled", kind].boxes for kind in ("entities", "objects")}
    assert counted == {"entities": "inclusive" if derived else "exact", "objects": "exact"}
    profile, store = NANO.with_data(data.data), new_store(tmp_path)
    labels = pseudo_label(profile, labeler(profile))
    judged, warm = (evaluate(profile, m, "ap_e") for m in (labels.labeler, warmup(profile, pseudo=labels, schedule=1)))
    cells = [Cell("r", stage.model.kind, "ap_e", stage) for stage in (judged, warm)]
    _, summary, watcher = run(cells, store, Placement(roots=data.roots))
    assert not summary.failed, watcher.ended

    made = read_pseudo_labels(store.folder(labels.name) / LABELS, folder / "images", 0.0)
    records = [record for i in range(len(made)) for record in made.annotations[i]]
    ends = [[x, y, w - 1, h - 1] for x, y, w, h in (rle_tools.toBbox(r["segmentation"]).tolist() for r in records)]
    assert ends and ([list(r["bbox"]) for r in records] == ends) == derived
    found = [r["bbox"] for r in json.loads((store.folder(judged.name) / PREDICTIONS).read_text())]
    assert found and (np.array(found) == np.round(found)).all() == derived


def test_labeled_and_val_that_count_boxes_of_entities_differently_are_warned_of(folder: Path, tmp_path: Path) -> None:
    assert not any("boxes of entities" in line for line in opened(folder, tmp_path).warnings)
    (folder / "annotations" / "entity_val.json").unlink()
    assert any("exact in labeled and inclusive in val" in line for line in opened(folder, tmp_path).warnings)
    assert any("exact in labeled and inclusive in val" in line for line in inspect(folder)[0].warnings)


def test_how_boxes_of_entities_are_counted_is_part_of_every_key_behind(folder: Path, tmp_path: Path) -> None:
    data = opened(folder, tmp_path).data
    derived = {k: replace(f, boxes="inclusive") if "entities" in k else f for k, f in data.folders.items()}
    keys = []
    for described, way in ((data, "exact"), (replace(data, folders=derived), "inclusive")):
        profile = NANO.with_data(described)
        teacher, warm, labels = labeler(profile), warmup(profile), pseudo_label(profile, labeler(profile))
        assert {teacher.boxes, labels.boxes, warm.boxes} == {way}
        assert finetune(profile, warm).boxes == "exact"
        judged = evaluate(profile, warm, "ap_e")
        keys.append([s.key for s in (teacher, labels, warm, judged, finetune(profile, warm))])
    assert not set(keys[0]) & set(keys[1])
    assert labeler(NANO).boxes == pseudo_label(NANO, labeler(NANO)).boxes == warmup(NANO).boxes == "exact"
    assert labeler(PAPER).boxes == warmup(PAPER).boxes == "inclusive"
    assert labeler(PAPER, labels="objects").boxes == "exact"


def test_where_a_set_lies_does_not_change_keys_and_its_content_does(folder: Path, tmp_path: Path) -> None:
    before = opened(folder, tmp_path).data
    moved = folder.rename(tmp_path / "elsewhere")
    assert {f.key for f in opened(moved, tmp_path).data.folders.values()} == {f.key for f in before.folders.values()}
    rewrite(moved, "instances_val.json", lambda d: d["annotations"].pop())
    after = opened(moved, tmp_path).data
    changed = {place for place in before.folders if before.folders[place].key != after.folders[place].key}
    assert changed == {("val", "objects"), ("val", "panoptic")}  # a panoptic set takes its things from the objects


def test_a_set_that_changes_while_a_run_uses_it_stops_the_stage(folder: Path, tmp_path: Path) -> None:
    data = opened(folder, tmp_path)
    profile = NANO.with_data(data.data)
    cell = Cell("r", "c", "ap_det", evaluate(profile, finetune(profile, None), "ap_det"))
    image = min((folder / "images").glob("labeled*"))
    image.write_bytes(image.read_bytes() + b"\0")
    _, summary, watcher = run([cell], new_store(tmp_path), Placement(roots=data.roots))
    assert any("changed on disk since this run was planned" in watcher.ended[n][1] for n in summary.failed)


def test_a_set_with_boxes_only_is_done_with_fcos_and_says_so(folder: Path, tmp_path: Path) -> None:
    for name in ("entity_labeled.json", "entity_val.json", "panoptic_labeled.json", "panoptic_val.json"):
        (folder / "annotations" / name).unlink()
    for name in ("instances_labeled.json", "instances_val.json"):
        rewrite(folder, name, lambda d: [a.pop("segmentation") for a in d["annotations"]])
    data = opened(folder, tmp_path).data
    profile = NANO.with_data(data)
    cell = chain(profile)
    warm = cell.evaluation.model.init
    assert warm is not None and warm.model.detector == "fcos"
    assert any("boxes but no masks" in note for note in profile.notes)
    assert any("learns objects" in note for note in profile.notes)


@pytest.mark.parametrize("split", ["labeled", "unlabeled", "val"])
def test_a_missing_split_is_named(folder: Path, tmp_path: Path, split: str) -> None:
    for path in (folder / "annotations").glob(f"*{split}*.json"):
        path.unlink()
    with pytest.raises(DataError, match=f"no {split}"):
        opened(folder, tmp_path)


def test_a_passed_check_is_remembered_by_content(folder: Path, tmp_path: Path) -> None:
    opened(folder, tmp_path)
    seen: list[int] = []
    memory = tmp_path / "memory"
    open_data(folder, memory, lambda done, total: seen.append(done))
    assert seen == []
    rewrite(folder, "instances_val.json", lambda d: d["images"][0].update(width=63))
    with pytest.raises(DataError, match="instances_val"):
        open_data(folder, memory)


def test_photographs_are_larger_than_scenes_and_level_ranges_follow(folder: Path, tmp_path: Path) -> None:
    profile = replace(NANO, photo_size=(128, 192)).with_data(opened(folder, tmp_path).data)
    assert profile.shape.ranges == (32, 64, 128, 256)
    assert profile.finetune_recipe.sizes == (128,) and profile.test_size == (128, 192)
    assert "scenes" not in profile.title


def test_a_scale_of_a_set_on_disk_labels_and_trains_on_that_share_of_its_images(folder: Path, tmp_path: Path) -> None:
    data = opened(folder, tmp_path)
    profile, store = NANO.with_data(data.data), new_store(tmp_path)
    made = [pseudo_label(profile, labeler(profile), scale=scale) for scale in ("small", "base", "large")]
    warmed = [warmup(profile, pseudo=labels, schedule=1, threshold=0.0) for labels in made]
    cells = [Cell("r", str(n), "ap_e", evaluate(profile, model, "ap_e")) for n, model in enumerate(warmed)]
    _, summary, _ = run(cells, store, Placement(roots=data.roots))
    assert not summary.failed
    assert [store.run(labels.name).facts["images"] for labels in made] == [1, 2, 4]
    assert [store.run(labels.data.name).facts["images"] for labels in made] == [1, 2, 4]


def test_small_profiles_keep_sides_alive_on_photographs_and_scenes_keep_the_references_clip(
    folder: Path, tmp_path: Path
) -> None:
    data = opened(folder, tmp_path).data
    assert NANO.with_data(data).shape.clip == "projected"
    assert NANO.shape.clip == PAPER.shape.clip == PAPER.with_data(data).shape.clip == "relu"


def test_another_size_scales_all_that_is_in_pixels_and_is_named(folder: Path, tmp_path: Path) -> None:
    profile = replace(NANO, photo_size=(128, 192)).with_data(opened(folder, tmp_path).data)
    small = profile.with_size(96)
    assert small.shape.ranges == (24, 48, 96, 192)
    assert small.warmup_recipe.sizes == small.finetune_recipe.sizes == (96,)
    assert small.test_size == (96, 144) and small.finetune_recipe.max_size == 144
    assert small.folder == f"{profile.folder}-size96" and small.notes[-1] == "images at 96 px, not 128"
    assert profile.with_size(128) is profile


def test_a_size_is_for_images_on_disk_that_are_not_tiny(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="for a data set on disk"):
        NANO.with_size(96)
    with pytest.raises(SpecError, match="from 32 to 4096 px, got 31"):
        NANO.with_data(opened(folder, tmp_path).data).with_size(31)


def test_panoptic_labels_that_do_not_fit_the_objects_are_left_out_and_that_is_said(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("panoptic_labeled.json", "panoptic_val.json"):
        rewrite(folder, name, lambda d: d["categories"][0].update(name="something else"))
    data = opened(folder, tmp_path)
    assert data.data.stuff == 0 and ("labeled", "panoptic") not in data.data.folders
    assert any("panoptic labels of labeled are not used" in line for line in data.warnings)


def all_crowds(data: dict[str, list[dict[str, object]]]) -> None:
    for record in data["annotations"]:
        record["iscrowd"] = 1


def without_area(data: dict[str, list[dict[str, object]]]) -> None:
    for record in data["annotations"]:
        record["bbox"] = [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("unlabeled.json", lambda d: d["images"].clear(), "annotations/unlabeled.json: 0 images in unlabeled"),
        ("instances_labeled.json", all_crowds, "are crowds (iscrowd 1). CVAT writes brush masks as crowds"),
        ("instances_labeled.json", without_area, "have no area or an empty mask. annotate at least one object"),
        ("instances_labeled.json", lambda d: d["annotations"].clear(), "there is no annotation, so there is no object"),
        ("instances_val.json", all_crowds, "instances_val.json: none of"),
        (
            "instances_labeled.json",
            lambda d: [d["annotations"].clear(), d["categories"].clear()],
            "instances_labeled.json: 'categories' is empty, so there is no class to learn",
        ),
    ],
)
def test_nothing_to_learn_is_said_before_planning_and_by_the_check_alike(
    folder: Path, tmp_path: Path, name: str, change: object, sentence: str
) -> None:
    for path in (p for pattern in ("panoptic*.json", "i*_gt.json") for p in (folder / "annotations").glob(pattern)):
        path.unlink()
    rewrite(folder, name, change)
    if "categories" in sentence:
        rewrite(folder, "instances_val.json", change)
    with pytest.raises(DataError) as error:
        opened(folder, tmp_path)
    report, data = inspect(folder)
    assert sentence in str(error.value)
    assert data is None and any(sentence in line for line in report.errors)
    assert str(error.value).splitlines()[1:] == [f"  {line}" for line in report.errors]


def test_crowds_can_be_read_as_objects_and_their_results_are_others(folder: Path, tmp_path: Path) -> None:
    plain = opened(folder, tmp_path).data
    for name in ("instances_labeled.json", "instances_val.json"):
        rewrite(folder, name, all_crowds)
    memory = tmp_path / "memory"
    with pytest.raises(DataError, match="--crowds-are-objects"):
        open_data(folder, memory)
    data = open_data(folder, memory, crowds_are_objects=True)
    assert data.data.has_masks
    assert data.data.folders["unlabeled", "images"] == plain.folders["unlabeled", "images"]  # which has no annotations
    read = find_splits(folder, crowds_are_objects=True)["labeled"]
    marked = digest(find_splits(folder)["labeled"], "objects").value
    assert data.data.folders["labeled", "objects"].digest == digest(read, "objects").value != marked
    assert not load_split(read).labels(0).crowd.any()
    profile = NANO.with_data(data.data, crowds_are_objects=True)
    assert profile.variant == ("crowds-are-objects",) and typed(profile.options) == ["--crowds-are-objects"]
    cell = Cell("r", "c", "ap_det", evaluate(profile, finetune(profile, None), "ap_det"))
    _, summary, watcher = run([cell], new_store(tmp_path), Placement(roots=data.roots))
    assert not summary.failed, watcher.ended


def test_warnings_are_remembered_with_the_check(folder: Path, tmp_path: Path) -> None:
    images = sorted((folder / "images").glob("*"))
    val = next(p for p in images if p.name.startswith("val"))
    next(p for p in images if p.name.startswith("labeled")).write_bytes(val.read_bytes())
    first = opened(folder, tmp_path)
    again = open_data(folder, tmp_path / "memory", lambda done, total: pytest.fail("checked again"))
    assert any("also in 'val'" in line for line in first.warnings)
    assert first.warnings == again.warnings
    assert set(first.warnings) <= set(NANO.with_data(again.data).warned(again.warnings).notes)


def test_a_passed_check_says_nothing_of_the_same_splits_put_together_anew(folder: Path, tmp_path: Path) -> None:
    write_scene_set(tmp_path / "other", 4, 4, 2, 64, 1)
    opened(folder, tmp_path)
    opened(tmp_path / "other", tmp_path)
    for path in (folder / "annotations").glob("*val*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    val = json.loads((folder / "annotations" / "instances_labeled.json").read_text())
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(val))
    assert any("4 images of 'labeled' are also in 'val'" in line for line in opened(folder, tmp_path).warnings)


def test_a_split_named_almost_labeled_is_no_labeled_split(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "annotations").glob("*_labeled*"):
        path.rename(path.with_name(path.name.replace("labeled", "labeled_a")))
    with pytest.raises(DataError, match="has no labeled split"):
        opened(folder, tmp_path)


def test_keypoints_that_nothing_is_learned_from_are_left_out_with_a_warning(folder: Path, tmp_path: Path) -> None:
    def unlabel(data: dict[str, list[dict[str, object]]]) -> None:
        for record in data["annotations"]:
            record |= {"keypoints": [], "num_keypoints": 0}

    rewrite(folder, "person_keypoints_labeled.json", unlabel)
    data = opened(folder, tmp_path)
    assert data.data.keypoints == 0
    assert any("no object has a labeled keypoint" in line for line in data.warnings)
