"""Hashes of short trainings, the same on every x86-64 processor with AVX2.

    python -m tests.golden.bits                     writes bits.json beside this file anew
    python -m tests.golden.bits --print CASE ...    prints hashes of some cases; --iterations 3 stops early

Anew only in a commit that moves numbers on purpose. The work is done in a process of its own, whose environment has the
variables of portable bits before torch is imported.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from casl import catalog
from casl.runner.bits import KERNELS
from casl.spec import Finetune, Model, Pretrain, Recipe, Scenes
from casl.spec.kinds import Train
from casl.spec.profile import PROVIDERS
from casl.spec.run import WEIGHTS

BITS = Path(__file__).with_name("bits.json")
ROOT = Path(__file__).resolve().parents[2]
STOPS = (1, 3, 20)  # iterations after which a training is hashed
VERSIONS_OF = ("numpy", "pillow", "pycocotools", "timm", "torch", "torchvision")
DATA = Scenes(split="labeled", count=8, size=64)
SEEN = Scenes(split="val", count=4, size=64)
RECIPE = Recipe(lr=1e-3, batch=4, sizes=(48, 64), max_size=96, augmentation="strong", ramp_iters=2)
Hashes = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Case:
    """A detector to train. labels: what it learns, where that is not objects; settings: fields of Model."""

    detector: str
    labels: str = "objects"
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def model(self) -> Model:
        fields: dict[str, Any] = {
            "detector": self.detector,
            "backbone": "resnet_nano",
            "classes": Scenes.classes,
            "channels": 16,
        }
        fields |= {"mask_channels": 8, "ranges": (16, 32, 64, 128), **dict(self.settings)}
        return Model(**fields)

    @property
    def stage(self) -> Finetune:
        """Its training for as long as the last stop."""
        return Finetune(self.model, DATA, self.labels, RECIPE, ((STOPS[-1], 1.0),))


_LIGHT: tuple[tuple[str, Any], ...] = (("rois", 16),)
_SETTINGS: dict[str, tuple[tuple[str, Any], ...]] = {
    "condinst": (("towers", 2),),
    "fcos": (("towers", 2),),
    "keypoint_rcnn": (*_LIGHT, ("towers", 1), ("classes", 1), ("keypoints", Scenes.keypoints)),
    "panoptic_fpn": (*_LIGHT, ("towers", 1), ("stuff", Scenes.stuff)),
    "mask_rcnn": (*_LIGHT, ("towers", 1)),
    "faster_rcnn": _LIGHT,
    "retinanet": (("head_norm", True),),
    "retinanet_noisy": (("head_norm", True),),
    "faster_rcnn_interval": _LIGHT,
    "faster_rcnn_noisy": _LIGHT,
    "cascade_rcnn": _LIGHT,
    "htc": (*_LIGHT, ("towers", 1), ("stuff", Scenes.stuff)),
}
_LEARNS = {name: getattr(row, "learns", "objects") or "objects" for name, row in catalog.DETECTORS.items()}
OURS = [name for name in catalog.DETECTORS if not name.startswith(PROVIDERS["detectron2"])]
CASES = {name: Case(name, _LEARNS[name], _SETTINGS.get(name, ())) for name in OURS} | {
    "labeler": Case("condinst", "entities", (("towers", 2), ("classes", 1), ("entity_head", True)))
}
PRETRAIN = "pretrain"
NAMES = (PRETRAIN, *CASES)


def in_own_process(names: Sequence[str] = NAMES, iterations: int = STOPS[-1], before: Sequence[str] = ()) -> Hashes:
    """Hashes of cases, computed by a process of one thread with portable bits.

    Args:
        before: words to begin its command with, such as an emulator's.
    """
    command = [*before, sys.executable, "-m", __name__ if __name__ != "__main__" else "tests.golden.bits", "--print"]
    command += [*names, "--iterations", str(iterations)]
    around = {**os.environ, **KERNELS, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=around, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: Hashes = json.loads(done.stdout.splitlines()[-1])
    return found


def versions() -> dict[str, str]:
    """Of what computes. A hash is of these and of no others."""
    return {name: metadata.version(name) for name in VERSIONS_OF}


def hashes(names: Sequence[str], iterations: int) -> Hashes:
    """Case -> what -> hash of it. Run with the environment of portable bits."""
    from casl.runner.job import fixed_arithmetic
    from tests.stages.ranks import carry_out

    fixed_arithmetic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for data in (DATA, SEEN):
            carry_out(data, root)
        trained = {n: _trained(CASES[n], root / n, root, iterations) for n in names if n != PRETRAIN}
        return ({PRETRAIN: _pretrained(root, iterations)} if PRETRAIN in names else {}) | trained


def _pretrained(root: Path, iterations: int) -> dict[str, str]:
    from casl.train.checkpoint import load_weights
    from tests.stages.ranks import carry_out

    found: dict[str, str] = {}
    for stop in (s for s in STOPS if s <= iterations):
        stage = Pretrain("resnet_nano", DATA, size=32, batch=8, iters=stop, lr=1e-3)
        carry_out(stage, root)
        found[f"weights after {stop}"] = _digest(load_weights(root / stage.name / WEIGHTS))
    return found


def _trained(case: Case, folder: Path, root: Path, iterations: int) -> dict[str, str]:
    """Weights, buffers, moments and losses at every stop, and what the detector predicts there."""
    from casl.stages.training import STATE
    from casl.train.checkpoint import load_weights
    from tests.stages.ranks import carry_out

    found: dict[str, str] = {}
    before: Train | None = None
    inputs = {DATA.name: root / DATA.name}
    for stop in (s for s in STOPS if s <= iterations):
        stage = case.stage.until(((stop, 1.0),))
        carry_out(stage, folder, resume=before, inputs=inputs)
        inputs[stage.name] = folder / stage.name
        found[f"state after {stop}"] = _digest(load_weights(folder / stage.name / STATE))
        weights = load_weights(folder / stage.name / WEIGHTS)
        found[f"predictions after {stop}"] = _digest(_predictions(case, weights, root))
        before = stage
    return found


def _predictions(case: Case, weights: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Twenty objects an image, however small their scores are after so few iterations."""
    from casl.stages.detectors import build_detector
    from casl.stages.feed import image_tensor
    from casl.stages.sources import IMAGES, open_split
    from tests.stages.ranks import context

    ctx = context(case.stage, root, root / "predict", inputs={SEEN.name: root / SEEN.name})
    split = open_split(SEEN, "objects", ctx)
    images = [image_tensor(IMAGES.read(split.path(i))) for i in range(len(split))]
    detector: Any = build_detector(case.stage.model, ctx, pretrained=False, non_overlap=case.model.entity_head)
    detector.load_state_dict(weights)
    inference = replace(detector.settings.inference, score_threshold=0.0, max_detections=20)
    seen = detector.eval().predict(images, [(SEEN.size, SEEN.size)] * len(images), inference)
    assert any(len(found["boxes"]) for found in seen) or case.model.entity_head, case
    return {f"{n}/{name}": tensor for n, found in enumerate(seen) for name, tensor in found.items()}


def _digest(tensors: Mapping[str, Any]) -> str:
    """Of names, types, shapes and bits."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].contiguous().numpy()
        whole.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return whole.hexdigest()[:16]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--print", nargs="+", choices=NAMES)
    parser.add_argument("--iterations", type=int, default=STOPS[-1])
    options = parser.parse_args()
    if options.print:
        print(json.dumps(hashes(options.print, options.iterations)))
    else:
        BITS.write_text(json.dumps({"versions": versions(), "hashes": in_own_process()}, indent=1) + "\n")
