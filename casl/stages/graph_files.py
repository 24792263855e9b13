"""What `casl convert --to onnx` and `--to torchscript` leave: a graph that finds objects without casl.

The tracer that TorchScript has is used for both: it follows images of any size, and its graphs were seen to be exact.
torch calls it outdated; the exporter of torch.export takes a minute for the smallest model and fixes sides of one cell.
So every graph is run on images of several sizes before it is written, and is not written where it differs from torch.
"""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from casl.catalog import load_place, row
from casl.errors import MissingPackageError, SpecError, StageError
from casl.files import write_atomic
from casl.models.graphs.graph import Graph
from casl.models.graphs.operators import OPSET, OnnxOperators, Operators, TorchOperators, register
from casl.spec.kinds import Train
from casl.stages.detectors import inference_of
from casl.stages.predict import Detector

PACKAGES = {"onnx": ("onnx", "onnxruntime"), "torchscript": ()}
TOLERANCE = 1e-4  # of scores, and of boxes relative to the image's longer side
PAIRED = 0.95  # share of objects that must be found by both: of two that nearly tie, either may be suppressed
FIRST = (96, 64)  # height and width of the image that is traced
SIZES = ((96, 64), (70, 101), (33, 200), (224, 150))  # of those that are compared
Run = Callable[[Tensor], Sequence[Any]]
Arrays = Sequence[NDArray[Any]]


def check_exported(stage: Train, to: str) -> None:
    """Refuse what cannot be written, before weights are read.

    Args:
        stage: a training.
        to: a key of PACKAGES.

    Raises:
        SpecError: the detector has no graph; says why.
        MissingPackageError: the extra `export` is not installed.
    """
    model, known = stage.model, row("detector", stage.model.detector)
    if not known.graph:
        raise SpecError(
            f"{stage.name} cannot be written as {to}: detector {model.detector!r} has no graph: {known.no_graph}."
        )
    if model.usage < 1.0:
        raise SpecError(
            f"{stage.name} cannot be written as {to}: its backbone chooses for each image which blocks run, which no "
            "graph can."
        )
    if missing := [name for name in PACKAGES[to] if find_spec(name) is None]:
        raise MissingPackageError(f"--to {to} needs {' and '.join(missing)}: `pip install 'casl[export]'`.")


def write_graph(detector: Detector, out: Path, to: str) -> dict[str, Any]:
    """Write the graph of a detector, after comparing it with torch.

    Args:
        detector: on the CPU. out: .onnx, or .pt of TorchScript. to: a key of PACKAGES.

    Returns:
        What the graph is, as JSON values: in the file's metadata too, but for "checked".

    Raises:
        SpecError, MissingPackageError: as `check_exported`.
        StageError: the graph does not find what torch finds. Nothing is written.
    """
    check_exported(detector.stage, to)
    kind: type[Graph] = load_place(row("detector", detector.stage.model.detector).graph)
    operators: Operators = OnnxOperators() if to == "onnx" else TorchOperators()
    settings = inference_of(detector.module, detector.settings)
    graph = kind(detector.module, settings, operators).eval().requires_grad_(False)
    about = _about(detector, graph)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of constants in the trace, which the comparison would show, and of age
        content, run = _onnx(graph, about) if to == "onnx" else _torchscript(graph, about)
        checked = _compared(detector, graph, run)
    write_atomic(out, content)
    return {**about, "checked": checked}


def _onnx(graph: Graph, about: dict[str, Any]) -> tuple[bytes, Run]:
    import onnx
    import onnxruntime

    register()
    sides: dict[str, dict[int, str]] = {"image": {1: "height", 2: "width"}}
    sides |= {name: {0: "objects"} for name in graph.outputs}
    sides |= {"masks": {0: "objects", 1: "height", 2: "width"}} if "masks" in graph.outputs else {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.onnx"
        torch.onnx.export(
            graph,
            (_image(*FIRST),),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=list(graph.outputs),
            dynamic_axes=sides,
        )
        model = onnx.load(str(file))
    onnx.helper.set_model_props(model, {f"casl.{name}": json.dumps(value) for name, value in about.items()})
    model.doc_string = about["about"]
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return content, lambda image: session.run(None, {"image": image.numpy()})


def _torchscript(graph: Graph, about: dict[str, Any]) -> tuple[bytes, Run]:
    traced: Any = torch.jit.trace(graph, (_image(*FIRST),), check_trace=False)  # type: ignore[no-untyped-call]
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer, _extra_files={"casl.json": json.dumps(about)})
    loaded: Run = torch.jit.load(io.BytesIO(buffer.getvalue()))  # type: ignore[no-untyped-call]
    return buffer.getvalue(), loaded


def _about(detector: Detector, graph: Graph) -> dict[str, Any]:
    """What someone who has the file alone must know."""
    settings, sides = graph.settings, detector.settings
    return {
        "model": detector.stage.name,
        "about": detector.about,
        "classes": list(detector.names.classes),
        "category_ids": list(detector.names.category_ids),
        "input": "image: (3, height, width) float32, RGB on 0..255, of any size; one image a call",
        "resize_to": {"short_side": sides.size, "longest_side": sides.max_size},
        "outputs": list(graph.outputs),
        "boxes": "x1, y1, x2, y2 in pixels of the input",
        "suppression": f"inside, per class, IoU > {settings.nms:g}; at most {settings.max_detections} objects",
        "score_threshold": settings.score_threshold,
    }


def _image(height: int, width: int) -> Tensor:
    """(3, height, width) of soft blots, the same in every call: untrained and trained detectors find something."""
    made = torch.rand(1, 3, height // 8 + 1, width // 8 + 1, generator=torch.Generator().manual_seed(height))
    return torch.nn.functional.interpolate(255 * made, (height, width))[0]


def _compared(detector: Detector, graph: Graph, run: Run) -> dict[str, Any]:
    """How the graph and torch agree: objects of torch, those that the graph does not find, the largest difference."""
    objects, unpaired, worst = 0, 0, 0.0
    module: Any = detector.module
    for size in SIZES:
        image = _image(*size)
        found = _ran(detector, run, image)
        (wanted,) = module.predict([image], [size], graph.settings)
        lacking, differing = differences([wanted[name].numpy() for name in graph.outputs], found, max(size))
        objects, unpaired, worst = objects + len(wanted["boxes"]), unpaired + lacking, max(worst, differing)
    if unpaired > (1 - PAIRED) * objects:
        raise StageError(
            f"the graph of {detector.stage.name} finds {objects - unpaired} of the {objects} objects that torch finds "
            f"in {len(SIZES)} images, so it is not written.\n  use `casl predict`, or another version of torch."
        )
    return {"images": len(SIZES), "objects": objects, "unpaired": unpaired, "largest_difference": worst}


def _ran(detector: Detector, run: Run, image: Tensor) -> Arrays:
    try:
        return [np.asarray(value) for value in run(image)]
    except Exception as error:  # runtimes have no kind of their own for it that both share
        raise StageError(
            f"the graph of {detector.stage.name} does not run on an image of {image.shape[2]} x {image.shape[1]}, and "
            f"is not written: {str(error).splitlines()[0]}"
        ) from error


def differences(wanted: Arrays, found: Arrays, side: int) -> tuple[int, float]:
    """How two sets of detections differ; objects of one score may come in any order.

    Args:
        wanted, found: boxes (N, 4), scores (N,), labels (N,), and of some masks (N, h, w) or keypoints (N, K, 3).
        side: of the image, longer one, pixels.

    Returns:
        Objects of one that are not in the other, within TOLERANCE; and the largest difference of the others: of scores,
        of coordinates in sides, of masks as a share of the image's pixels.
    """
    if not len(wanted[0]) or not len(found[0]):
        return max(len(wanted[0]), len(found[0])), 0.0
    total = np.zeros((len(wanted[0]), len(found[0])))
    for n, (mine, other) in enumerate(zip(wanted, found, strict=True)):
        total = np.maximum(total, _apart(mine, other, 1.0 if n == 1 else float(side)))
    pairs = _paired(total)
    return max(total.shape) - len(pairs), max((float(total[pair]) for pair in pairs), default=0.0)


def _paired(far: NDArray[np.float64]) -> list[tuple[int, int]]:
    """As many pairs (row, column) within TOLERANCE as there can be, each row and column in one; near ones are tried
    first. Equal objects of one image are many pairs, and not one."""
    mine: dict[int, int] = {}  # column -> its row

    def place(at: int, tried: set[int]) -> bool:
        for column in (c for c in np.argsort(far[at], kind="stable").tolist() if far[at, c] <= TOLERANCE):
            if column not in tried:
                tried.add(column)
                if column not in mine or place(mine[column], tried):
                    mine[column] = at
                    return True
        return False

    for at in range(len(far)):
        place(at, set())
    return [(at, column) for column, at in mine.items()]


def _apart(mine: NDArray[Any], other: NDArray[Any], scale: float) -> NDArray[np.float64]:
    """(N, M) largest difference of each pair; of labels 0 or infinite, of masks the share of pixels."""
    if mine.dtype == bool:
        return np.array([(row[None] != other).reshape(len(other), -1).mean(axis=1) for row in mine])
    if mine.dtype == np.int64:
        return np.where(mine[:, None] == other[None], 0.0, np.inf)
    far: NDArray[np.float64] = np.abs(mine[:, None].astype(np.float64) - other[None]) / scale
    return np.asarray(far.reshape(*far.shape[:2], -1).max(axis=2), np.float64)
