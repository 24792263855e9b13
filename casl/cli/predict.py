"""Verb `predict`: a trained detector on images of the user's."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from casl.cli.images import find_images
from casl.errors import DataError, SpecError
from casl.files import read_json
from casl.runner.results import find_stage
from casl.runner.store import Store
from casl.spec.freeze import freeze, thaw, trainings_for_people
from casl.spec.kinds import Predict, Train

WEIGHTS = "model.safetensors"
EPILOG = """examples:
  casl predict photo.jpg --model finetune-48a4 --out found
  casl predict photos/ --model models:/casl-mini-scenes-table4@best --threshold 0.5
  casl predict photo.jpg --model store/stages/finetune-48a46dfeb7c1d2e3/model.safetensors --json

In the folder: one picture an image, results.json (COCO results), images.json (what their ids mean).
Of a folder every format that Pillow reads is taken, but no picture that predict drew, and nothing whose name begins
with a dot."""


def add(verbs: Any, store: argparse.ArgumentParser) -> None:
    """Verb `predict`."""
    verb = verbs.add_parser(
        "predict",
        parents=[store],
        help="draw what a trained detector finds in images",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    verb.add_argument(
        "--model", required=True, help="a stage's name or the beginning of its key, models:/NAME@ALIAS, or a file"
    )
    verb.add_argument("--out", default="predictions", metavar="FOLDER", help="default predictions")
    verb.add_argument("--threshold", type=float, default=0.3, help="lowest score to show (default 0.3)")
    verb.add_argument("--size", type=int, default=0, metavar="PX", help="short side the detector sees")
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")
    verb.add_argument("--json", action="store_true", help="print what was found as JSON")
    verb.set_defaults(command=predict_command)


def predict_command(options: argparse.Namespace) -> int:
    """Find, draw, write. Images that cannot be read are named at the end; the exit code is then 1."""
    if not 0.0 <= options.threshold < 1.0:
        raise SpecError(f"--threshold is a score in [0, 1), got {options.threshold:g}")
    out = Path(options.out)
    images = find_images(options.images, out)
    report, bad = _write(options, images.files, out)
    report["left_out"] = {"drawn": images.drawn, "hidden": images.hidden}
    for sentence in (*bad, *(f"warning: {dim}" for dim in report["warnings"])):
        print(sentence, file=sys.stderr)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        count = sum(len(image["objects"]) for image in report["images"])
        print(f"{report['model']}: {count} objects in {len(report['images'])} images; pictures and results.json: {out}")
        if images.said:
            print(images.said)
    return 1 if bad else 0


def _write(options: argparse.Namespace, images: list[Path], out: Path) -> tuple[dict[str, Any], list[str]]:
    from casl.stages.predict_files import write

    return write(_open(options), images, out, options.threshold)


def _open(options: argparse.Namespace) -> Any:
    """The casl.stages.predict.Detector that is meant."""
    from casl.runner.job import pick_device
    from casl.stages.predict import CARD, open_folder

    device = pick_device(options.device)
    if options.model.startswith("models:/"):
        from casl.tracking.models import fetch

        with fetch(Path(options.store), options.mlflow or None, options.model) as folder:
            return open_folder(folder, device)
    path = Path(options.model)
    folder = path if path.is_dir() else path.parent
    if path.exists() and (folder / CARD).exists():
        return open_folder(folder, device)
    if path.exists():
        return _open_result(folder.resolve(), device, options.size)
    store = Store(Path(options.store))
    return _open_result(store.folder(find_stage(store.names(), options.model)), device, options.size)


def _open_result(folder: Path, device: str, size: int) -> Any:
    """The detector of a committed stage: its own, or the one it measured or labelled with."""
    from casl.stages.predict import open_record, taught_by

    if not (folder / "result.json").exists():
        raise DataError(f"{folder} is no finished stage and no model: it lacks result.json and detector.json.")
    stage = thaw(read_json(folder / "result.json")["stage"])
    sides = (size, 0)
    if isinstance(stage, Predict):
        sides = sides if size else stage.sides
        folder, stage = folder.with_name(stage.trained.name), stage.trained
    if not isinstance(stage, Train):
        raise SpecError(f"{stage.name} is {stage.kind}, not a training: name {trainings_for_people()}.")
    data = taught_by(stage)[0].name
    known = folder.with_name(data) / "result.json"
    facts = {data: read_json(known).get("facts", {})} if known.exists() else {}
    return open_record(freeze(stage), folder / WEIGHTS, facts, device, sides)
