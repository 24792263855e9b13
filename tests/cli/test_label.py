"""`casl label`: what a detector finds in images, as labels that other trainers read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import casl
from casl.cli import main
from casl.cli.label import Meter
from casl.data.importing.make import read_source
from casl.spec import Labeler, PseudoLabel, Scenes, Warmup
from tests.cli.test_predict import keep, training
from tests.tracking.shelf import LABELED, RECIPE, WARMUP


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("label") / "store"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images in folders, and a file that is no image."""
    folder = tmp_path / "photos"
    for n, name in enumerate(("a/one.png", "b/one.png")):
        noise = np.random.default_rng(n).integers(0, 255, (12, 16, 3), np.uint8)
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(noise).resize((64, 48)).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def label(store: Path, images: Path, model: str, *more: str) -> int:
    return main(["label", str(images), "--model", model, "--store", str(store), "--device", "cpu", *more])


def test_labels_are_what_predict_finds_and_unreadable_images_are_named(
    store: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = keep(store, training("condinst")), tmp_path / "labels.json"
    assert label(store, photos, name, "--out", str(out), "--threshold", "0.05", "--json") == 1
    said = capsys.readouterr()
    assert "no labels for 1 of 3 images, which cannot be read:\n" in said.err and "broken.jpg" in said.err
    about = json.loads(said.out)
    read, model = COCO(str(out)), casl.load(name, store=store, device="cpu")
    with pytest.warns(UserWarning):
        found = model.predict([photos / "a/one.png", photos / "b/one.png"], threshold=0.05)
    assert [i["file_name"] for i in read.dataset["images"]] == ["a/one.png", "b/one.png"]
    assert about["masks"] and sum(about["objects"].values()) == len(read.dataset["annotations"]) > 0
    assert len(about["unreadable"]) == 1 and about["images"] == 2
    for image, one in zip(read.dataset["images"], found, strict=True):
        annotations = read.imgToAnns[image["id"]]
        assert one.masks is not None
        some = [n for n in range(len(one)) if one.masks[n].any()]  # an empty mask teaches nothing
        assert [a["score"] for a in annotations] == one.scores[some].tolist()
        assert np.allclose([a["bbox"][:2] for a in annotations], one.boxes[some][:, :2])
        assert all((read.annToMask(a) == one.masks[n]).all() for a, n in zip(annotations, some, strict=True))


@pytest.mark.parametrize("form", ["coco", "yolo", "voc"])
def test_every_format_makes_a_set_that_casl_checks(form: str, store: Path, photos: Path, tmp_path: Path) -> None:
    name = keep(store, training("retinanet"))
    for n in range(8):  # enough to divide
        pixels = np.random.default_rng(10 + n).integers(0, 255, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{n}.png")
    (photos / "broken.jpg").unlink()
    out = photos / "labels.json" if form == "coco" else tmp_path / "out"
    assert label(store, photos, name, "--format", form, "--out", str(out), "--threshold", "0") == 0
    source = photos if form == "coco" else out
    labelled = [picture for picture in read_source(source).pictures if picture.shapes]
    assert len(labelled) == 10
    assert main(["data", "import", str(source), "--out", str(tmp_path / "set"), "--labeled", "50%"]) == 0
    assert main(["data", "check", str(tmp_path / "set")]) == 0


def test_a_class_agnostic_detector_labels_objects_and_says_so(
    store: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "l.json"
    assert label(store, photos / "a", keep(store, training("entity")), "--out", str(out), "--threshold", "0") == 0
    assert [c["name"] for c in json.loads(out.read_text())["categories"]] == ["object"]
    said = capsys.readouterr()
    assert "in 1 image: object " in said.out and "warning: " in said.err and "learned from drawn scenes" in said.err


def test_images_without_a_label_are_left_out_unless_they_are_wanted(
    store: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = keep(store, training()), tmp_path / "l.json"
    asked = ("--out", str(out), "--threshold", "0.99")
    assert label(store, photos / "a", name, *asked) == 2
    assert "nothing scores above 0.99 in 1 image;" in capsys.readouterr().err and not out.exists()
    assert label(store, photos / "a", name, *asked, "--keep-empty") == 0
    written = json.loads(out.read_text())
    assert len(written["images"]) == 1 and written["annotations"] == []
    assert label(store, photos / "broken.jpg", name, *asked) == 2
    assert "none of the images can be read" in capsys.readouterr().err


def labeler() -> Labeler:
    return Labeler(training("entity").model, LABELED, "entities", RECIPE, ((10, 1.0),))


def warm(threshold: float) -> Warmup:
    labels = PseudoLabel(labeler(), Scenes("unlabeled", 9, 64), 64, 96)
    return Warmup(WARMUP.model, labels, "pseudo", RECIPE, ((10, 1.0),), threshold=threshold)


@pytest.mark.parametrize(
    ("stored", "asked", "delta", "why"),
    [
        ((), (), 0.3, "the paper's"),
        ((0.2,), (), 0.2, "at which the warmups of"),
        ((0.2, 0.4), (), 0.3, "read its labels at 0.2, 0.4"),
        ((0.2,), ("--threshold", "0.05"), 0.05, "as asked"),
    ],
)
def test_the_threshold_is_the_one_that_is_known_and_is_said(
    stored: tuple[float, ...],
    asked: tuple[str, ...],
    delta: float,
    why: str,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, out = tmp_path / "store", tmp_path / "l.json"
    name = keep(store, labeler())
    for threshold in stored:
        keep(store, warm(threshold))
    assert label(store, photos / "a", name, "--out", str(out), "--keep-empty", *asked) == 0
    assert json.loads(out.read_text())["info"]["threshold"] == delta
    assert f"scores above {delta:g}, " in (said := capsys.readouterr().out) and why in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "cooc"), "did you mean 'coco'"),
        (("--threshold", "30"), "[0, 1)"),
        (("--format", "yolo", "--out", "."), "is there already"),
        (("--out", "."), "is one file: name it"),
    ],
)
def test_what_cannot_be_is_said(
    words: tuple[str, ...],
    message: str,
    store: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(photos)
    assert label(store, photos / "a", keep(store, training()), *words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a/one.png", "truth.json"])
def test_labels_take_the_place_of_no_image_and_no_annotations_of_people(
    name: str, store: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, model = photos / name, keep(store, training())
    (photos / "truth.json").write_text('{"images": [], "annotations": [{"id": 1}]}')
    before = out.read_bytes()
    assert label(store, photos / "a", model, "--keep-empty", "--out", str(out)) == 2
    assert "is there and is no file of pseudo labels, so it is left as it is" in capsys.readouterr().err
    assert out.read_bytes() == before
    ours = ("--keep-empty", "--out", str(photos / "labels.json"))
    assert [label(store, photos / "a", model, *ours) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("form", ["voc", "yolo"])
def test_a_folder_of_labels_may_be_the_empty_one_that_one_is_in(
    form: str, store: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    asked = ("--format", form, "--out", ".", "--threshold", "0")
    assert label(store, photos / "a", keep(store, training()), *asked) == 0
    assert len(read_source(tmp_path / "here").pictures) == 1


def test_progress_has_a_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 0.0, 100.0, 140.0])
    monkeypatch.setattr("casl.cli.label.time.monotonic", lambda: next(now))
    meter: Any = Meter()
    for done in (0, 16, 96):
        meter(done, 4096)
    assert capsys.readouterr().err == "labelling 16/4096\nlabelling 96/4096, 2.0 images/s, 33:20 left\n"
