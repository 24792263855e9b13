"""Runs for tests of the mirror: results of a small chain, laid on a shelf that stands for a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from casl.spec import Evaluate, Finetune, Labeler, Model, PseudoLabel, Recipe, Scenes, Stage, Warmup
from casl.spec.context import Context
from casl.spec.freeze import freeze
from casl.spec.run import Run

RECIPE = Recipe(lr=1e-3, batch=4, sizes=(64,), max_size=96)
AGNOSTIC = Model(detector="condinst", backbone="resnet_micro", classes=1)
LABELED, VAL = Scenes("labeled", 10, 64), Scenes("val", 5, 64)
LABELER = Labeler(AGNOSTIC, LABELED, "entities", RECIPE, ((216, 1.0),))
PSEUDO = PseudoLabel(LABELER, Scenes("unlabeled", 246, 64), 64, 96)
WARMUP = Warmup(AGNOSTIC, PSEUDO, "pseudo", RECIPE, ((240, 1.0), (360, 0.1)), threshold=0.3)
FINETUNE = Finetune(
    replace(AGNOSTIC, detector="fcos", classes=8), LABELED, "objects", RECIPE, ((216, 1.0),), init=WARMUP
)
EVALUATE = Evaluate(FINETUNE, VAL, "objects", "ap_det", 64, 96)
RECORD: dict[str, Any] = {
    "metrics": {},
    "seconds": 90.0,
    "started": "2026-01-02T03:04:05+00:00",
    "host": "box",
    "commit": "c0ffee",
    "dirty": False,
    "versions": {"torch": "2.15.0"},
    "facts": {"images": 246},
}


def untrained(model: Model, path: Path) -> None:
    """Weights of a detector that was never trained, made to find something: classifiers begin at a probability of 1 %,
    below what is kept, so those start at one half instead."""
    import torch  # here: processes that tests start import this module, and need none of it

    from casl.stages.detectors import build_detector
    from casl.train.checkpoint import save_weights

    torch.manual_seed(0)
    context = Context(Path(), {}, {}, "cpu", progress=lambda *_: None, say=lambda _: None)
    detector = build_detector(model, context, pretrained=False)
    with torch.no_grad():
        for name, values in detector.named_parameters():
            if name.endswith("bias") and values.mean() < -4:
                values.zero_()
    save_weights(path, detector)


class Shelf:
    """A folder of results. What is put here is a Run, as a store would give it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(parents=True, exist_ok=True)
        self.runs: dict[str, Run] = {}

    def commit(self, stage: Stage, files: Mapping[str, bytes] | None = None, **record: object) -> Run:
        """A done stage with files."""
        folder = self.root / "stages" / stage.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text("{}")
        for name, content in (files or {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        entries = {n: {"sha256": "", "bytes": len(c)} for n, c in (files or {}).items()}
        values: dict[str, Any] = {**RECORD, **record}
        run = Run(stage.name, stage.key, stage.kind, "done", folder, files=entries, stage=freeze(stage), **values)
        self.runs[stage.name] = run
        return run

    def fail(self, stage: Stage, error: str) -> Run:
        """A failed stage."""
        folder = self.root / "work" / stage.name
        folder.mkdir(parents=True, exist_ok=True)
        return Run(stage.name, stage.key, stage.kind, "failed", folder, stage=freeze(stage), error=error)

    def run(self, name: str) -> Run:
        """What is known of a stage."""
        kind, _, key = name.partition("-")
        return self.runs.get(name) or Run(name, key, kind, "not run", self.root / "work" / name)
