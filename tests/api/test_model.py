"""`casl.load`: images of any form in, arrays, tensors and pictures out; the same as `casl predict` finds."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import casl
from casl.cli import main
from casl.data.pictures import colour
from casl.errors import DataError, MissingPackageError, SpecError
from tests.cli.test_predict import keep, training

SIDE = 64  # of the scenes that the detectors learned from


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api") / "store"


@pytest.fixture
def pixels() -> np.ndarray[Any, Any]:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((SIDE, SIDE)))


def opened(store: Path, kind: str = "fcos") -> casl.Model:
    return casl.load(keep(store, training(kind)), store=store, device="cpu")


def test_the_public_names_are_these() -> None:
    assert sorted(casl.__all__) == ["CaslError", "Detections", "Model", "Study", "load"]
    assert set(casl.__all__) <= set(dir(casl))
    assert casl.__version__
    with pytest.raises(AttributeError, match="lode"):
        casl.lode  # noqa: B018  # type: ignore[attr-defined]


def test_every_form_of_an_image_is_the_same_image(store: Path, pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    Image.fromarray(pixels).save(file)
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    forms: list[Any] = [pixels, file, str(file), Image.fromarray(pixels), tensor, tensor / 255.0]
    model = opened(store)
    found = [model.predict(form, threshold=0.0) for form in forms]
    assert len(found[0]) > 0
    for other in found[1:]:
        assert np.array_equal(found[0].boxes, other.boxes) and np.array_equal(found[0].scores, other.scores)
    grey = model.predict(pixels[:, :, 0], threshold=0.0)
    assert np.array_equal(grey.boxes, model.predict(pixels[:, :, [0, 0, 0]], threshold=0.0).boxes)


def test_an_image_of_sixteen_bit_is_the_same_image_from_pillow_as_from_its_file(
    store: Path, pixels: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    file, model = tmp_path / "deep.png", opened(store)
    Image.fromarray(pixels[:, :, 0].astype(np.uint16) << 8 | 3).save(file)
    with Image.open(file) as deep:
        found = [model.predict(form, threshold=0.0) for form in (file, deep, deep.convert("I"), pixels[:, :, 0])]
    assert len(found[0]) > 0
    for other in found[1:]:
        assert np.array_equal(found[0].boxes, other.boxes) and np.array_equal(found[0].scores, other.scores)
    with pytest.raises(DataError, match="mode F: its pixels are floating point"):
        model.predict(Image.fromarray(np.ones((8, 8), np.float32)))


def test_it_finds_what_the_command_line_finds(store: Path, pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    name, file, out = keep(store, training("condinst")), tmp_path / "image.png", tmp_path / "out"
    Image.fromarray(pixels).save(file)
    words = ["predict", str(file), "--model", name, "--store", str(store), "--out", str(out), "--device", "cpu"]
    assert main([*words, "--threshold", "0.1"]) == 0
    said = json.loads((out / "results.json").read_text())
    found = casl.load(name, store=store, device="cpu").predict(file, threshold=0.1)
    assert [s["score"] for s in said] == found.scores.tolist()
    assert np.allclose([s["bbox"][:2] for s in said], found.boxes[:, :2])
    assert found.masks is not None and found.masks.dtype == bool and found.masks.shape == (len(found), SIDE, SIDE)


@pytest.mark.parametrize("kind", ["condinst", "keypoint_rcnn", "panoptic_fpn"])
def test_shapes_are_as_documented(kind: str, store: Path, pixels: np.ndarray[Any, Any]) -> None:
    model = opened(store, kind)
    some, none = model.predict([pixels, pixels], threshold=0.0), model.predict(pixels, threshold=0.999)
    assert isinstance(some, list) and len(none) == 0
    for found in (*some, none):
        count, tensors = len(found), found.to_torch()
        assert found.boxes.shape == (count, 4) and found.scores.shape == found.labels.shape == (count,)
        assert found.names == tuple(model.classes[label] for label in found.labels)
        assert (found.masks is None) == (kind == "keypoint_rcnn")
        assert found.masks is None or found.masks.shape == (count, SIDE, SIDE)
        assert found.keypoints is None or found.keypoints.shape == (count, 7, 3)
        assert (found.semantic is None) == (kind != "panoptic_fpn")
        assert tensors["boxes"].shape == (count, 4) and ("masks" in tensors) == (found.masks is not None)


def test_detections_are_drawn(store: Path, pixels: np.ndarray[Any, Any]) -> None:
    model = opened(store)
    drawn = np.asarray(model.draw(pixels, model.predict(pixels, threshold=0.0)))
    assert drawn.shape[0] % SIDE == 0
    assert any((drawn == colour(label)).all(axis=2).any() for label in range(len(model.classes)))


@pytest.mark.parametrize("kind", ["condinst", "keypoint_rcnn", "panoptic_fpn"])
def test_detections_can_be_chosen_from_and_drawn(kind: str, store: Path, pixels: np.ndarray[Any, Any]) -> None:
    model = opened(store, kind)
    found = model.predict(pixels, threshold=0.0)
    assert len(found) > 3
    for chosen in (found.scores > np.median(found.scores), slice(1, 3), [2, 0], np.array([], int), 1, -1):
        places, some = np.atleast_1d(np.arange(len(found))[chosen]), found[chosen]
        assert np.array_equal(some.boxes, found.boxes[places]) and len(some.names) == len(some) == len(places)
        for name in ("masks", "keypoints"):
            whole, part = getattr(found, name), getattr(some, name)
            assert (whole is None) == (part is None) and (whole is None or np.array_equal(part, whole[places]))
        model.draw(pixels, some)
    assert sum(len(one) for one in found) == len(found)
    for wrong in (len(found), np.ones(len(found) + 1, bool)):
        with pytest.raises(IndexError):
            found[wrong]


def test_what_is_drawn_are_the_boxes_given(store: Path, pixels: np.ndarray[Any, Any]) -> None:
    model, box = opened(store), np.array([[4, 4, 40, 40]], np.float32)
    mine = casl.Detections(box, np.ones(1, np.float32), np.zeros(1, np.int64), (model.classes[0],))
    drawn = np.asarray(model.draw(np.zeros_like(pixels), mine))
    ours = (drawn == colour(0)).all(axis=2)
    assert ours.any()
    moved = np.asarray(model.draw(np.zeros_like(pixels), replace(mine, boxes=box + 8)))
    assert (drawn != moved).any()
    with pytest.raises(SpecError, match="labels 99 to 99 for the"):
        model.draw(pixels, replace(mine, labels=np.array([99])))
    with pytest.raises(SpecError, match=rf"masks are 3 x 5 and the image {SIDE} x {SIDE} pixels"):
        model.draw(pixels, replace(mine, masks=np.ones((1, 3, 5), bool)))


def test_supervision_gets_what_it_understands(
    store: Path, pixels: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(store, "condinst").predict(pixels, threshold=0.0)
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingPackageError, match="pip install supervision"):
        found.to_supervision()
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    given = found.to_supervision()
    assert given.xyxy is found.boxes and given.mask is found.masks and given.class_id is found.labels
    assert given.data["class_name"].tolist() == list(found.names)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((8, 8, 3), np.float32), r"float32.*uint8 in RGB"),
        (np.zeros((8, 8, 4), np.uint8), r"\(8, 8, 4\)"),
        (torch.zeros(1, 8, 8), r"\(1, 8, 8\)"),
        (torch.full((3, 8, 8), 2.0), "from 2 to 2"),
        (torch.full((3, 8, 8), float("nan")), "nan"),
        (np.zeros((0, 0, 3), np.uint8), r"no pixels: its shape is \(0, 0, 3\)"),
        (np.zeros((8, 0), np.uint8), r"\(8, 0\)"),
        (torch.zeros(3, 0, 8), r"\(3, 0, 8\)"),
        (Image.new("RGB", (0, 8)), r"\(0, 8\)"),
        ("nowhere.png", "nowhere.png"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, sentence: str, store: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        opened(store).predict(image)


@pytest.mark.parametrize("size", [-3, 0, 31, 4097, 100_000])
def test_a_size_that_no_detector_can_see_is_refused(size: int, store: Path) -> None:
    with pytest.raises(SpecError, match=f"from 32 to 4096 px, got {size}"):
        casl.load("finetune-1", store=store, device="cpu", size=size)


def test_a_threshold_is_a_score_and_names_suggest_the_near_miss(store: Path, pixels: np.ndarray[Any, Any]) -> None:
    model = opened(store)
    with pytest.raises(SpecError, match=r"1\.5"):
        model.predict(pixels, threshold=1.5)
    name = keep(store, training())
    with pytest.raises(casl.CaslError, match=f"did you mean .*{name}"):
        casl.load(name.replace("finetune", "finetuna"), store=store)


def test_a_model_of_drawn_scenes_says_so_of_photographs(
    store: Path, pixels: np.ndarray[Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = opened(store)
    assert "scenes labeled" in model.about and "fcos" in repr(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(pixels)
    wide = np.zeros((48, SIDE, 3), np.uint8)
    with pytest.warns(UserWarning, match="learned from drawn scenes of 64 px and is shown an image of 64 x 48"):
        model.predict(wide)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(wide)  # once in the life of a model
    Image.fromarray(wide).save(tmp_path / "wide.png")
    words = [
        "--model",
        keep(store, training()),
        "--store",
        str(store),
        "--out",
        str(tmp_path / "out"),
        "--device",
        "cpu",
    ]
    assert main(["predict", str(tmp_path / "wide.png"), *words]) == 0
    assert "warning: " in (said := capsys.readouterr().err) and "drawn scenes" in said
