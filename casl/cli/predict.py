"""Verb `predict`: a trained detector on images of the user's."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from casl.cli.images import RECORDS, find_images
from casl.cli.study import mlflow_option
from casl.errors import SpecError
from casl.files import disk_errors, refuse_foreign
from casl.words import number_of

EPILOG = """examples:
  casl predict photo.jpg --model finetune-48a4 --out found
  casl predict photos/ --model models:/casl-mini-scenes-table4@best --threshold 0.5
  casl predict photo.jpg --model store/stages/finetune-48a46dfeb7c1d2e3/model.safetensors --json

In the folder: one picture an image, results.json (COCO results), images.json (what their ids mean).
Of a folder every format that Pillow reads is taken, but no picture that predict drew, and nothing whose name begins
with a dot."""

# in a folder of predictions that is not whole, so that the same command, which goes on there, knows it for its own
BEGUN = ".predicting"
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
    check_pictures(images.files, out)
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
    begun = out / BEGUN
    with disk_errors("write", out, "--out"):
        out.mkdir(parents=True, exist_ok=True)
        begun.touch()
    found = write(detector, images, out, options.threshold)
    begun.unlink(missing_ok=True)
    return found


def check_pictures(images: Sequence[Path], out: Path) -> None:
    """Check that nothing of a person's is where pictures and records go; those of an earlier call are replaced.

    Raises:
        SpecError: one of the images is there, or a file that no earlier call has written.
    """
    if not out.exists():
        return
    ours = (out / BEGUN).is_file() or all((out / name).is_file() for name in RECORDS)
    looked_at = {(facts.st_dev, facts.st_ino) for facts in (path.stat() for path in images)}
    other = "name another folder with --out"
    for path in _written(images, out):
        if path.exists() and ((facts := path.stat()).st_dev, facts.st_ino) in looked_at:
            raise SpecError(f"{path} is one of the images, and a picture would take its place.\n  {other}.")
        refuse_foreign(path, lambda _: ours, "file of `casl predict`", other)


def _written(images: Sequence[Path], out: Path) -> Iterator[Path]:
    """The files that a call may write: a picture an image, with a number where several have one name, and records."""
    for stem, count in Counter(path.stem for path in images).items():
        names = [f"{stem}.png", *(f"{stem}_{number}.png" for number in range(2, count + 1))]
        yield from (folder / name for name in names for folder in (out, out / "panoptic"))
    yield from (out / name for name in (*RECORDS, "panoptic.json"))
