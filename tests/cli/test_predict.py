"""`casl predict`: boxes and masks of any detector on any image, as pictures and as COCO results."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from casl.cli import main
from casl.data.scene_shapes import SHAPES
from casl.files import write_json
from casl.spec import Evaluate, Finetune, Folder, Labeler, Model, PseudoLabel, Scenes, Stage
from casl.spec.freeze import freeze
from casl.spec.kinds import Train
from casl.stages.predict import names_of
from tests.data.deep import write_deep
from tests.tracking.shelf import LABELED, RECIPE, VAL, untrained

SMALL: dict[str, Any] = {"backbone": "resnet_nano", "channels": 16, "mask_channels": 16}
SMALL["ranges"] = (16, 32, 64, 128)
DETECTORS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "fcos": (8, "objects", {"towers": 1}),
    "condinst": (8, "objects", {"towers": 1}),
    "entity": (1, "entities", {"entity_head": True, "towers": 1}),
    "retinanet": (8, "objects", {}),
    "faster_rcnn": (8, "objects", {}),
    "mask_rcnn": (8, "objects", {"towers": 1}),
    "keypoint_rcnn": (1, "keypoints", {"keypoints": 7, "towers": 1}),
    "panoptic_fpn": (8, "panoptic", {"stuff": 4, "towers": 1}),
}
WITH_MASKS = ("condinst", "entity", "mask_rcnn", "panoptic_fpn")


def training(kind: str = "fcos", data: Stage = LABELED) -> Finetune:
    classes, labels, more = DETECTORS[kind]
    detector = "condinst" if kind == "entity" else kind
    return Finetune(Model(detector=detector, classes=classes, **SMALL, **more), data, labels, RECIPE, ((10, 1.0),))


def keep(store: Path, stage: Stage, facts: dict[str, Any] | None = None) -> str:
    """Lay a finished stage into a store; a training gets untrained weights."""
    folder = store / "stages" / stage.name
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(stage, Train):
        untrained(stage.model, folder / "model.safetensors")
    write_json(folder / "result.json", {"stage": freeze(stage), "facts": facts or {}})
    return stage.name


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    Image.fromarray(noise).resize((64, 48)).save(path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "store"


def predict(store: Path, image: Path, model: str, *more: str) -> int:
    out = store.parent / "out"
    return main(
        ["predict", str(image), "--model", model, "--store", str(store), "--out", str(out), "--device", "cpu", *more]
    )


@pytest.mark.parametrize("kind", DETECTORS)
def test_every_kind_of_detector_draws_and_writes_coco_results(kind: str, store: Path, photo: Path) -> None:
    name = keep(store, training(kind))
    assert predict(store, photo, name, "--threshold", "0") == 0
    out = store.parent / "out"
    with Image.open(out / "photo.png") as picture:
        assert picture.width % 64 == 0
        assert picture.width * 48 == picture.height * 64
    results = json.loads((out / "results.json").read_text())
    known = {c["id"]: c["name"] for c in json.loads((out / "images.json").read_text())["categories"]}
    assert results
    assert {r["category_id"] for r in results} <= set(known)
    for result in results:
        x, y, width, height = result["bbox"]
        assert min(x, y, width, height) >= 0
        assert x + width <= 64.001
        assert y + height <= 48.001
        assert ("segmentation" in result) == (kind in WITH_MASKS)
        if "segmentation" in result:
            assert coco_mask.decode(result["segmentation"]).shape == (48, 64)
        assert len(result.get("keypoints", ())) == (21 if kind == "keypoint_rcnn" else 0)
    assert (out / "panoptic.json").exists() == (kind == "panoptic_fpn")


def test_json_says_what_and_where_and_nothing_else(
    store: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = keep(store, training())
    assert predict(store, photo, name[:15], "--threshold", "0", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == name
    (image,) = said["images"]
    assert image["file"] == str(photo)
    assert Path(image["picture"]).exists()
    assert {o["category"] for o in image["objects"]} & set(names_of(training(), {}).classes)


@pytest.mark.parametrize("shapes", ["things", "lookalikes"])
def test_detectors_of_scenes_name_the_classes_of_their_shapes(shapes: str) -> None:
    data = replace(LABELED, shapes=shapes)
    assert names_of(training(data=data), {}).classes == tuple(c.name for c in SHAPES[shapes])


def test_a_higher_threshold_leaves_the_higher_scores(store: Path, photo: Path) -> None:
    name = keep(store, training())
    found = []
    for threshold in (0.0, 0.51):
        assert predict(store, photo, name, "--threshold", str(threshold)) == 0
        results = json.loads((store.parent / "out/results.json").read_text())
        assert all(r["score"] > threshold for r in results)
        found.append([r["score"] for r in results])
    assert found[1] == [score for score in found[0] if score > 0.51]
    assert 0 < len(found[1]) < len(found[0])


def test_a_folder_is_taken_with_all_its_images_and_a_bad_one_is_named(
    store: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = keep(store, training())
    (photo.parent / "deep").mkdir()
    (photo.parent / "deep/photo.jpg").write_bytes(photo.read_bytes())
    (photo.parent / "broken.png").write_bytes(photo.read_bytes()[:100])
    (photo.parent / "notes.txt").write_text("no image")
    assert predict(store, photo.parent, name) == 1
    assert "broken.png" in capsys.readouterr().err
    assert {p.name for p in (store.parent / "out").glob("*.png")} == {"photo.png", "photo_2.png"}


def test_little_that_is_left_of_16_bit_is_said(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = keep(store, training())
    (tmp_path / "deep").mkdir()
    for n, suffix in enumerate(("png", "tif")):
        write_deep(tmp_path / "deep" / f"{n}.{suffix}", 64, 48, 4095)
    assert predict(store, tmp_path / "deep", name) == 0
    said = capsys.readouterr().err
    assert "warning: 2 images have 16-bit values that go to 4095 of 65535, of which 16 of 256 grey levels" in said
    write_deep(tmp_path / "eight.png", 64, 48, 255, colour=True)
    assert predict(store, tmp_path / "eight.png", name) == 1
    assert "eight.png is left out" in (said := capsys.readouterr().err) and "nothing is left of them in 8 bit" in said


def test_pictures_that_predict_drew_are_never_its_input(
    store: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", keep(store, training()), "--store", str(store), "--device", "cpu"]
    monkeypatch.chdir(photo.parent)
    for number in range(2):
        assert main(["predict", ".", *model]) == 0
        assert len(json.loads(Path("predictions/images.json").read_text())["images"]) == 1
        assert ("left out of the folders: 1 drawn" in capsys.readouterr().out) == (number == 1)
    assert main(["predict", ".", *model, "--out", "others", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (len(said["images"]), said["left_out"]) == (1, {"drawn": 1, "hidden": 0})
    assert main(["predict", "predictions", *model, "--out", "predictions"]) == 2
    assert "holds no images" in capsys.readouterr().err
    assert main(["predict", "predictions/photo.png", *model, "--out", "named"]) == 0, "a name is taken as it is"


def test_a_picture_takes_the_place_of_no_image_and_no_file_of_a_person(
    store: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", keep(store, training()), "--store", str(store), "--device", "cpu"]
    before, other = photo.read_bytes(), tmp_path / "others"
    other.mkdir()
    (other / "photo.png").symlink_to(photo)
    for out in (photo.parent, other):
        assert main(["predict", str(photo), *model, "--out", str(out)]) == 2
        assert f"{out}/photo.png is one of the images" in capsys.readouterr().err
    (other / "photo.png").unlink()
    for name in ("photo.png", "results.json", "panoptic.json"):
        (other / name).write_text("mine")
        assert main(["predict", str(photo), *model, "--out", str(other)]) == 2
        assert f"{name} is there and is no file of `casl predict`" in capsys.readouterr().err
        assert [(path.name, path.read_text()) for path in other.iterdir()] == [(name, "mine")]
        (other / name).unlink()
    assert photo.read_bytes() == before


def test_a_call_that_was_stopped_is_gone_on_with_in_its_folder(
    store: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, out = keep(store, training()), store.parent / "out"

    def stopped(path: Path, value: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("casl.stages.predict_files.write_json", stopped)
        assert predict(store, photo, name) == 130
    assert (out / "photo.png").exists() and not (out / "results.json").exists()
    assert [predict(store, photo, name) for _ in range(2)] == [0, 0]
    assert {path.name for path in out.iterdir()} == {"photo.png", "results.json", "images.json"}


def test_hidden_files_of_a_folder_are_left_out_and_a_bad_one_is_spoken_of_as_a_file(
    store: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, folder = keep(store, training()), photo.parent
    (folder / ".thumbs").mkdir()
    (folder / ".thumbs/photo.png").write_bytes(photo.read_bytes())
    (folder / "._photo.png").write_bytes(b"of a Mac")
    assert predict(store, folder, name) == 0
    assert "2 whose name or folder begins with a dot" in capsys.readouterr().out
    assert {p.name for p in (store.parent / "out").glob("*.png")} == {"photo.png"}
    assert predict(store, folder / "._photo.png", name) == 1
    said = capsys.readouterr().err
    assert "._photo.png is left out: it cannot be read as an image" in said and "annotations" not in said


@pytest.mark.parametrize("suffix", [".ppm", ".tga", ".jp2", ".jfif", ".TIF"])
def test_every_format_that_pillow_reads_is_taken_from_a_folder(suffix: str, store: Path, photo: Path) -> None:
    Image.open(photo).convert("RGB").save(photo.with_name(f"other{suffix}"))
    photo.unlink()
    assert predict(store, photo.parent, keep(store, training())) == 0


def test_an_evaluation_and_pseudo_labels_stand_for_their_detector(
    store: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = training()
    labeler = Labeler(trained.model, LABELED, "objects", RECIPE, ((10, 1.0),))
    for stage in (trained, labeler):
        keep(store, stage)
    used: list[tuple[Stage, Train]] = [
        (Evaluate(trained, VAL, "objects", "ap_det", 64, 96), trained),
        (PseudoLabel(labeler, Scenes("unlabeled", 9, 64), 64, 96), labeler),
    ]
    for user, meant in used:
        assert predict(store, photo, keep(store, user)) == 0
        assert meant.name in capsys.readouterr().out


def test_a_file_of_weights_is_enough(store: Path, photo: Path) -> None:
    name = keep(store, training())
    elsewhere = store.parent / "nothing here"
    assert predict(elsewhere, photo, str(store / "stages" / name / "model.safetensors")) == 0


def test_classes_of_a_data_set_on_disk_are_called_as_there(
    store: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Folder("labeled", "objects", "0" * 64, 8, 70)
    keep(store, data, {"classes": [f"cell {n}" for n in range(8)], "category_ids": list(range(20, 28))})
    assert predict(store, photo, keep(store, training(data=data)), "--threshold", "0", "--json") == 0
    objects = json.loads(capsys.readouterr().out)["images"][0]["objects"]
    assert objects
    assert all(o["category"] == f"cell {o['category_id'] - 20}" for o in objects)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("finetune-0000", "no stage 'finetune-0000' among the 3 of"),
        ("finetun-{key}", "did you mean finetune-{key}"),
        ("scenes", "is scenes, not a training"),
        ("finetune", "2 stages begin with 'finetune'"),
    ],
)
def test_a_name_that_is_no_detector_is_answered_with_what_is_there(
    model: str, message: str, store: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = keep(store, training()).partition("-")[2]
    for stage in (training("retinanet"), LABELED):
        keep(store, stage)
    assert predict(store, photo, model.format(key=key)) == 2
    assert re.search(message.format(key=key), capsys.readouterr().err)


def test_a_missing_image_an_empty_folder_and_an_odd_threshold_are_refused(
    store: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = keep(store, training())
    assert predict(store, photo.with_name("foto.png"), name) == 2
    assert "did you mean" in capsys.readouterr().err
    os.mkfifo(pipe := photo.with_name("pipe.png"))
    assert predict(store, pipe, name) == 2
    assert "no file but a pipe" in capsys.readouterr().err
    (link := photo.with_name("link.png")).symlink_to("gone.png")
    assert predict(store, link, name) == 2
    said = capsys.readouterr().err
    assert "a link to gone.png, and nothing is there" in said and "did you mean" not in said
    (empty := photo.parent / "empty").mkdir()
    assert predict(store, empty, name) == 2
    assert predict(store, photo, name, "--threshold", "30") == 2
    assert "[0, 1)" in capsys.readouterr().err


def test_weights_of_another_detector_are_refused(store: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [keep(store, training(kind)) for kind in ("fcos", "retinanet")]
    files = [store / "stages" / name / "model.safetensors" for name in names]
    files[1].write_bytes(files[0].read_bytes())
    assert predict(store, photo, names[1]) == 2
    assert "does not hold the weights" in capsys.readouterr().err
    files[1].write_bytes(b"cut short")
    assert predict(store, photo, names[1]) == 2
