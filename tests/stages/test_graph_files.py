"""Graphs of ONNX and TorchScript find what torch finds, in images of any size, and say what they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from casl import catalog
from casl.api.opened import open_detector
from casl.errors import SpecError
from casl.rows import Detector as Row
from casl.spec import Finetune
from casl.stages.graph_files import PACKAGES, TOLERANCE, check_exported, differences, write_graph
from casl.stages.predict import Detector
from tests.cli.test_predict import DETECTORS, keep, training

NEEDS_ONNX = "needs onnx and onnxruntime: pip install 'casl[export]'"
EXPORTED = [name for name, row in catalog.names("detector").items() if isinstance(row, Row) and row.graph]
MARKS = {"fcos": [], "entity": [pytest.mark.slow]}  # CA-SSL's target and labeler
GRAPHS = [pytest.param(n, marks=MARKS.get(n, [pytest.mark.long])) for n in (*EXPORTED, "entity", "swin_t")]
SIZES = [(96, 64), (45, 130), (160, 160)]


def trained(kind: str) -> Finetune:
    """A detector of the catalog, a labeler of entities, or FCOS on the Swin of the paper's target."""
    if kind == "swin_t":
        stage = training("fcos")
        return replace(stage, model=replace(stage.model, backbone=kind))
    stage = training(kind if kind in DETECTORS else kind.removesuffix("_noisy"))
    return stage if kind in DETECTORS else replace(stage, model=replace(stage.model, detector=kind))


def opened(kind: str, store: Path) -> Detector:
    """A detector whose weights are moved a little, so that it finds objects, all with scores of their own."""
    name = keep(store, trained(kind))
    file = store / "stages" / name / "model.safetensors"
    generator = torch.Generator().manual_seed(1)
    state = load_file(file)
    for key, value in state.items():
        if value.is_floating_point() and not key.endswith(("running_mean", "running_var")):
            noise = torch.randn(value.shape, generator=generator) * (value.abs().mean() + 0.01)
            strength = 5.0 if key.endswith("cls_logits.weight") else 0.3  # scores that do not tie
            state[key] = value + strength * noise
        if "controller" in key and key.endswith("bias"):  # masks that are neither empty nor the whole image
            state[key] = value + 0.3 * torch.randn(value.shape, generator=generator)
    save_file(state, file)
    return open_detector(name, store, device="cpu")


def blots(height: int, width: int) -> torch.Tensor:
    made = torch.rand(1, 3, height // 8 + 1, width // 8 + 1, generator=torch.Generator().manual_seed(width))
    return torch.nn.functional.interpolate(255 * made, (height, width), mode="bilinear")[0]


def check(detector: Detector, outputs: list[str], run: Any) -> int:
    """Compare with what `casl predict` is made of; the number of objects."""
    module: Any = detector.module
    inference = replace(module.settings.inference, max_detections=100)
    count = 0
    for size in SIZES:
        image = blots(*size)
        (wanted,) = module.predict([image], [size], inference)
        found = [np.asarray(value) for value in run(image)]
        arrays = [wanted[name].numpy() for name in outputs]
        assert [f.shape for f in found] == [a.shape for a in arrays]
        assert [f.dtype for f in found] == [a.dtype for a in arrays]
        lacking, worst = differences(arrays, found, max(size))
        assert lacking == 0 and worst <= 1e-4
        count += len(found[0])
    return count


@pytest.mark.parametrize("kind", GRAPHS)
def test_onnxruntime_finds_what_torch_finds(kind: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason=NEEDS_ONNX)
    pytest.importorskip("onnx", reason=NEEDS_ONNX)
    detector, out = opened(kind, tmp_path / "store"), tmp_path / "graph.onnx"
    about = write_graph(detector, out, "onnx")
    assert about["checked"]["objects"] > 0 and about["checked"]["largest_difference"] <= 1e-4
    session = onnxruntime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    stored = session.get_modelmeta().custom_metadata_map
    assert {name.removeprefix("casl."): json.loads(text) for name, text in stored.items()} == {
        name: value for name, value in about.items() if name != "checked"
    }
    assert [i.shape for i in session.get_inputs()] == [[3, "height", "width"]]
    assert check(detector, about["outputs"], lambda image: session.run(None, {"image": image.numpy()})) > 0
    nothing = session.run(None, {"image": np.zeros((3, 32, 32), np.float32)})
    assert [len(part) for part in nothing] == [len(nothing[0])] * len(nothing)


@pytest.mark.parametrize("kind", GRAPHS)
def test_torchscript_finds_what_torch_finds(kind: str, tmp_path: Path) -> None:
    detector, out = opened(kind, tmp_path / "store"), tmp_path / "graph.pt"
    about = write_graph(detector, out, "torchscript")
    extra = {"casl.json": ""}
    graph = torch.jit.load(out, _extra_files=extra)  # type: ignore[no-untyped-call]
    assert json.loads(extra["casl.json"])["classes"] == list(detector.names.classes)
    assert check(detector, about["outputs"], graph) > 0


@pytest.mark.parametrize("name", [n for n in catalog.names("detector") if n not in EXPORTED])
def test_what_cannot_be_written_says_why_in_a_sentence(name: str) -> None:
    stage = training("fcos")
    object.__setattr__(stage.model, "detector", name)  # what else each of them must have does not matter here
    with pytest.raises(SpecError, match=rf"detector '{name}' has no graph: \w.*\.$"):
        check_exported(stage, "torchscript")
    assert set(PACKAGES) == {"onnx", "torchscript"}


def test_a_graph_that_differs_is_found_out() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [5, 5, 50, 50]], np.float32)
    wanted = [boxes, np.array([0.9, 0.4], np.float32), np.array([1, 2])]
    turned = [part[::-1] for part in wanted]
    assert differences(wanted, turned, 100) == (0, 0.0)
    lacking, worst = differences(wanted, [boxes + np.float32(0.009), *wanted[1:]], 100)
    assert lacking == 0 and worst == pytest.approx(9e-5, rel=0.01)
    assert differences(wanted, [boxes + np.float32(0.1), *wanted[1:]], 100)[0] == 2
    assert differences(wanted, [*wanted[:2], np.array([1, 3])], 100)[0] == 1
    assert differences(wanted, [part[:1] for part in wanted], 100)[0] == 1
    assert differences(wanted, [part[:0] for part in wanted], 100) == (2, 0.0)
    masks = np.zeros((2, 20, 20), bool)
    assert differences([*wanted, masks], [*wanted, ~masks], 100)[0] == 2


def test_equal_objects_are_as_many_pairs_as_there_are() -> None:
    """A set of columns had two equal objects for one; of a chain both ends are paired, whichever is nearer."""
    boxes = np.zeros((3, 4), np.float32)
    same: list[np.ndarray] = [boxes, np.full(3, 0.5, np.float32), np.ones(3, np.int64)]
    assert differences(same, same, 100) == (0, 0.0)
    assert differences(same, [part[:2] for part in same], 100)[0] == 1
    step = 0.9 * TOLERANCE
    scores = [np.array([0.5, 0.5 + 0.1 * step]), np.array([0.5 + 0.1 * step, 0.5 + 1.05 * step])]
    wanted, found = ([boxes[:2], each, np.ones(2, np.int64)] for each in scores)
    assert differences(wanted, found, 100)[0] == 0
    assert differences(found, wanted, 100)[0] == 0
