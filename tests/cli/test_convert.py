"""`casl convert`: files in, files and an account out."""

from __future__ import annotations

import argparse
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from pycocotools import mask as pycocotools_mask
from pycocotools.coco import COCO
from safetensors.torch import load_file, save_file

from casl.cli import main
from casl.data.image_info import ImageInfo
from casl.data.pseudo import Prediction, write_pseudo_labels
from casl.models.backbone import build_backbone
from tests.cli.test_predict import keep, training
from tests.tracking.shelf import LABELER, PSEUDO, WARMUP


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def convert(tmp_path: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Run the verb; returns its exit code and the report beside the result."""
    code = main(["convert", *words, "--store", str(tmp_path / "store")])
    reports = list(tmp_path.glob("*.json"))
    return code, json.loads(reports[0].read_text()) if reports else {}


def test_a_warmup_of_the_store_becomes_a_plain_dict_that_detectron2_reads(tmp_path: Path, store: Path) -> None:
    name = keep(store, WARMUP)
    out = tmp_path / "warm.pth"
    code, report = convert(tmp_path, name, "--to", "detectron2", "--into", "mask_rcnn", "-o", str(out))
    assert code == 0
    loaded = torch.load(out, weights_only=True)
    assert set(loaded) == {"model"} and len(loaded["model"]) == report["tensors"]
    ours = load_file(store / "stages" / name / "model.safetensors")
    assert torch.equal(loaded["model"]["backbone.fpn_lateral4.weight"], ours["fpn.lateral4.weight"])
    assert set(report["left_in_target"]) >= {"proposal_generator.*", "roi_heads.*", "backbone.fpn_lateral2.*"}
    told = {*report["renamed"].values(), *(a["from"] for a in report["adapted"].values()), *report["left_in_source"]}
    assert told == set(ours)


def test_the_stem_is_turned_for_bgr_unless_the_target_reads_rgb(tmp_path: Path, store: Path) -> None:
    name = keep(store, training("fcos"))
    ours = load_file(store / "stages" / name / "model.safetensors")["backbone.body.conv1.0.weight"]
    stem = "backbone.bottom_up.body.conv1.0.weight"
    out = tmp_path / "a.safetensors"
    assert convert(tmp_path, name, "--to", "detectron2", "-o", str(out))[0] == 0
    blue, green, red = load_file(out)[stem].unbind(1)
    std = (58.395, 57.12, 57.375)
    for found, wanted, deviation in zip((red, green, blue), ours.unbind(1), std, strict=True):
        torch.testing.assert_close(found, wanted / deviation)
    assert convert(tmp_path, name, "--to", "detectron2", "--input", "rgb", "-o", str(out))[0] == 0
    assert torch.equal(load_file(out)[stem], ours)


def test_a_class_agnostic_classifier_is_copied_to_as_many_classes_as_asked(tmp_path: Path, store: Path) -> None:
    name = keep(store, WARMUP)
    out = tmp_path / "a.safetensors"
    assert convert(tmp_path, name, "--to", "torchvision", "--into", "fcos", "--classes", "5", "-o", str(out))[0] == 0
    ours = load_file(store / "stages" / name / "model.safetensors")["head.cls_logits.weight"]
    found = load_file(out)["head.classification_head.cls_logits.weight"]
    assert len(found) == 5 and all(torch.equal(row, ours[0]) for row in found)


@pytest.mark.parametrize(
    ("name", "architecture"), [("resnet18", "resnet18"), ("swin_t", "swin_tiny_patch4_window7_224")]
)
def test_timms_weights_become_a_backbone_that_computes_the_same(tmp_path: Path, name: str, architecture: str) -> None:
    torch.manual_seed(0)
    source, out = tmp_path / "timm.safetensors", tmp_path / "ours.safetensors"
    save_file(timm.create_model(architecture, num_classes=3).state_dict(), source)
    code, report = convert(tmp_path, str(source), "--from", "timm", "--backbone", name, "-o", str(out))
    assert code == 0 and not report["left_in_target"]
    assert all(key.startswith(("fc.", "head.", "norm.")) for key in report["left_in_source"])
    image = torch.randn(1, 3, 64, 64)
    direct, through = (build_backbone(name, weights=path).eval() for path in (source, out))
    with torch.no_grad():
        for a, b in zip(direct(image), through(image), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--to detectron", "did you mean 'detectron2'"),
        ("--from tim", "did you mean 'timm'"),
        ("--to detectron2 --into mask_rcn", "did you mean 'mask_rcnn'"),
        ("--to detectron2 --into mask_rcnn --parts head", "cannot take the head of a fcos"),
        ("--to torchvision --parts bakcbone", "did you mean 'backbone'"),
        ("--to torchvision --into fcos --classes 9", "classifier has 8"),
        ("--to detectron2 --input bgrr", "did you mean 'bgr'"),
        ("--to torchvision --own-names", "--own-names changes nothing here"),
        ("--to torchvision -o x.onnx", ".pth or .safetensors"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(
    tmp_path: Path, store: Path, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = keep(store, training("fcos"))
    source = str(store / "stages" / name / "model.safetensors")
    out = [] if "-o" in words else ["-o", str(tmp_path / "x.pth")]
    assert convert(tmp_path, source, *words.split(), *out)[0] == 2
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("code of the file was run",))


@pytest.mark.parametrize(("name", "message"), [("a.pkl", "is a pickle"), ("a.pth", "no checkpoint of plain tensors")])
def test_a_file_with_code_in_it_is_refused(
    tmp_path: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / name
    source.write_bytes(pickle.dumps({"model": Bomb()}))
    assert main(["convert", str(source), "--from", "detectron2", "-o", str(tmp_path / "b.pth")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: "),
        (b"<!DOCTYPE html><html>Not found</html>", "is a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "`git lfs pull`"),
        (b"weights, truly", "was never written by torch.save"),
        (argparse.Namespace(lr=1e-3), "it holds Python objects (argparse.Namespace)"),
    ],
)
def test_what_is_no_weights_is_called_what_it_is(
    content: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.pth"
    if isinstance(content, bytes):
        source.write_bytes(content)
    else:
        torch.save({"model": {"w": torch.zeros(2)}, "args": content}, source)
    out = ["-o", str(tmp_path / "b.safetensors")]
    assert main(["convert", str(source), "--from", "timm", "--backbone", "resnet18", *out]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert not any(word in told for word in ("weights_only", "file an issue", "trust", "\x1b")) and told.count("\n") < 4


def test_a_file_of_nothing_known_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"encoder.weight": torch.zeros(2)}, tmp_path / "a.safetensors")
    assert main(["convert", str(tmp_path / "a.safetensors"), "--from", "detectron2", "-o", "b.pth"]) == 2
    assert "encoder.weight" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "b.safetensors"), "--from", "timm", "-o", "b.pth"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_the_backbone_of_a_stage_is_read_from_its_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = {f"backbone.{key}": value for key, value in build_backbone("lite0").state_dict().items()}
    stem = weights["backbone.body.conv_stem.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    asked = ["convert", str(tmp_path), "--to", "detectron2", "--into", "backbone", "-o", str(tmp_path / "out.pth")]
    assert main(asked) == 2
    assert "name the backbone with --backbone" in capsys.readouterr().err
    (tmp_path / "result.json").write_text(json.dumps({"stage": {"model": {"backbone": "lite0"}}}))
    assert main(asked) == 0
    found = torch.load(tmp_path / "out.pth", weights_only=True)["model"]
    torch.testing.assert_close(found["backbone.bottom_up.body.conv_stem.weight"], stem.flip(1) / 127.5)


def labelled(store: Path) -> str:
    """A pseudolabel stage of two images with three labels, scores 0.2, 0.5 and 0.9."""
    name = keep(store, PSEUDO)
    rows = np.zeros((2, 8, 8), np.uint8, order="F")
    rows[0, 1:4, 2:6], rows[1, 5:8, 0:2] = 1, 1
    masks = [pycocotools_mask.encode(np.asfortranarray(row)) for row in rows]
    boxes = np.array([[2, 1, 6, 4], [0, 5, 2, 8]], np.float32)
    two = Prediction(boxes, np.array([0.9, 0.2], np.float32), np.zeros(2, np.int64), masks)
    one = Prediction(boxes[:1], np.array([0.5], np.float32), np.zeros(1, np.int64), masks[:1])
    images = [ImageInfo(7, "b.png", 8, 8), ImageInfo(9, "sub/a.png", 8, 8)]
    write_pseudo_labels(store / "stages" / name / "labels", images, [two, one])
    return name


@pytest.mark.parametrize(
    ("words", "scores"),
    [((), [0.9, 0.5]), (("--threshold", "0.5"), [0.9]), (("--threshold", "0"), [0.9, 0.2, 0.5])],
)
def test_labels_of_a_stage_become_one_coco_file(
    words: tuple[str, ...], scores: list[float], tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(store, WARMUP)  # which read them at 0.3
    out = tmp_path / "out" / "labels.json"
    assert main(["convert", labelled(store), "--to", "coco", "-o", str(out), "--store", str(store), *words]) == 0
    said = capsys.readouterr().out
    assert words or "scores above 0.3, at which the warmups of" in said
    read = COCO(str(out))
    annotations = read.loadAnns(read.getAnnIds())
    assert [a["score"] for a in annotations] == pytest.approx(scores)
    names = {image["id"]: image["file_name"] for image in read.dataset["images"]}
    assert set(names.values()) == ({"b.png", "sub/a.png"} if 0.5 in scores else {"b.png"})
    assert names[annotations[0]["image_id"]] == "b.png" and annotations[0]["bbox"] == [2, 1, 4, 3]
    mask = read.annToMask(annotations[0])
    assert mask.sum() == 12 == annotations[0]["area"] and mask[1:4, 2:6].all()
    assert [c["name"] for c in read.dataset["categories"]] == ["object"]


def test_a_detector_becomes_torchscript_and_says_what_it_is(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = keep(store, training("fcos")), tmp_path / "a.pt"
    assert main(["convert", name[:14], "--to", "torchscript", "-o", str(out), "--store", str(store), "--json"]) == 0
    said = capsys.readouterr()
    about = json.loads(said.out)
    assert about["model"] == name and about["checked"]["unpaired"] == 0 and "of any size" in said.err
    graph = torch.jit.load(out)  # type: ignore[no-untyped-call]
    boxes, scores, labels = graph(torch.full((3, 40, 72), 90.0))
    assert boxes.shape == (len(scores), 4) and len(labels) == len(scores)


@pytest.mark.parametrize(
    ("form", "suffix"),
    [("detectron2", ".pth"), ("torchvision", ".safetensors"), ("torchscript", ".pt"), ("coco", ".json")],
)
def test_a_result_takes_the_place_of_an_earlier_one_and_of_nothing_else(
    form: str, suffix: str, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = labelled(store) if form == "coco" else keep(store, training("fcos")), tmp_path / f"a{suffix}"
    words = ["convert", name, "--to", form, "-o", str(out), "--store", str(store)]
    for content in (b"years of work", b""):
        out.write_bytes(content)
        assert main(words) == 2
        assert f"a{suffix} is there and is no " in capsys.readouterr().err and out.read_bytes() == content
    out.unlink()
    out.symlink_to(tmp_path / "elsewhere")
    assert main(words) == 2 and "is a link to" in capsys.readouterr().err and out.is_symlink()
    out.unlink()
    assert [main(words) for _ in range(2)] == [0, 0]


def test_a_report_of_weights_takes_the_place_of_no_other_file(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.pth.json").write_text('{"images": []}')
    name = keep(store, training("fcos"))
    assert main(["convert", name, "--to", "detectron2", "-o", str(tmp_path / "a.pth"), "--store", str(store)]) == 2
    assert "a.pth.json is there and is no report of `casl convert`" in capsys.readouterr().err
    assert (tmp_path / "a.pth.json").read_text() == '{"images": []}' and not (tmp_path / "a.pth").exists()


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        (
            "panoptic_fpn",
            "--to torchscript",
            "'panoptic_fpn' has no graph: none has been written for its map of stuff.",
        ),
        ("fcos", "--to onnx --into fcos", "--into is about weights; --to onnx writes none."),
        ("fcos", "--to onnx --input bgr", "--input is about weights; --to onnx writes none."),
        ("fcos", "--to onnx --threshold 0.3", "--threshold goes with --to coco."),
        ("fcos", "--to detectron2 --size 64", "--size goes with --to onnx or torchscript."),
        ("fcos", "--to coco", "has no labels: name a pseudolabel stage"),
        ("fcos", "--to coco --threshold 3", "[0, 1)"),
        ("fcos", "--to onnxx", "did you mean 'onnx'"),
    ],
)
def test_what_is_no_graph_and_no_label_is_said_before_weights_are_read(
    kind: str, words: str, message: str, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = keep(store, training(kind))
    (store / "stages" / name / "model.safetensors").unlink()
    assert main(["convert", name, *words.split(), "-o", str(tmp_path / "x"), "--store", str(store)]) == 2
    assert message in capsys.readouterr().err and [p.name for p in tmp_path.iterdir()] == ["store"]


def test_onnx_without_its_packages_names_the_extra(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("casl.stages.graph_files.find_spec", lambda name: None)
    assert main(["convert", keep(store, LABELER), "--to", "onnx", "--store", str(store)]) == 2
    assert "needs onnx and onnxruntime: `pip install 'casl[export]'`" in capsys.readouterr().err
