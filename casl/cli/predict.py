"""Verb `predict`: a trained detector on images of the user's."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from casl.cli.images import find_images
from casl.cli.study import mlflow_option
from casl.errors import SpecError
from casl.words import number_of

EPILOG = """examples:
  casl predict photo.jpg --model finetune-48a4 --out found
  casl predict photos/ --model models:/casl-mini-scenes-table4@best --threshold 0.5
  casl predict photo.jpg --model store/stages/finetune-48a46dfeb7c1d2e3/model.safetensors --json

In the folder: one picture an image, results.json (COCO results), images.json (what their ids mean).
Of a folder every format that Pillow reads is taken, but no picture that predict drew, and nothing whose name begins
with a dot."""

MODEL = "a stage's name or the beginning of its key, models:/NAME@ALIAS, or a file"


def add(verbs: Any, store: argparse.ArgumentParser) -> None:
    """Verb `predict`."""
    verb = verbs.add_parser(
        "predict",
        parents=[store],
        help="draw what a trained detector finds in images",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mlflow_option(verb)
    verb.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    verb.add_argument("--model", required=True, help=MODEL)
    verb.add_argument("--out", default="predictions", metavar="FOLDER", help="default predictions")
    verb.add_argument("--threshold", type=float, default=0.3, help="lowest score to show (default 0.3)")
    verb.add_argument("--size", type=int, metavar="PX", help="short side the detector sees, 32 to 4096")
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")
    verb.add_argument("--json", action="store_true", help="print what was found as JSON")
    verb.set_defaults(command=predict_command)


def predict_command(options: argparse.Namespace) -> int:
    """Find, draw, write. Images that cannot be read are named at the end; the exit code is then 1."""
    check_threshold(options.threshold)
    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise SpecError(f"--out {out} is a file; name a folder, which is made if it is missing.")
    images = find_images(options.images, out)
    report, bad = _write(options, images.files, out)
    report["left_out"] = {"drawn": images.drawn, "hidden": images.hidden}
    for sentence in (*bad, *(f"warning: {dim}" for dim in report["warnings"])):
        print(sentence, file=sys.stderr)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        count = sum(len(image["objects"]) for image in report["images"])
        seen = f"{number_of(count, 'object')} in {number_of(len(report['images']), 'image')}"
        print(f"{report['model']}: {seen}; pictures and results.json: {out}")
        if images.said:
            print(images.said)
    return 1 if bad else 0


def check_threshold(threshold: float | None) -> None:
    """Raises SpecError where a threshold is no score; None stands for one that is found out later."""
    if threshold is not None and not 0.0 <= threshold < 1.0:
        raise SpecError(f"--threshold is a score in [0, 1), got {threshold:g}")


def _write(options: argparse.Namespace, images: list[Path], out: Path) -> tuple[dict[str, Any], list[str]]:
    from casl.api.opened import open_detector
    from casl.stages.predict_files import write

    detector = open_detector(
        options.model, Path(options.store), options.mlflow or None, options.device, size=options.size
    )
    return write(detector, images, out, options.threshold)
