"""Verb `label`: pseudo labels of any images, for any trainer."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casl.cli.images import find_images
from casl.cli.predict import MODEL, check_threshold
from casl.cli.study import mlflow_option, say
from casl.errors import SpecError, unknown
from casl.words import number_of

OUT = {"coco": "labels.json", "voc": "labels", "yolo": "labels"}  # format -> result that --out does not name
LINE_S = 10.0  # between lines of progress where standard error is no terminal
LISTED = 10  # classes that are counted in a line


def add(verbs: Any, store: argparse.ArgumentParser) -> None:
    """Verb `label`."""
    verb = verbs.add_parser("label", parents=[store], help="write pseudo labels of images for any trainer")
    mlflow_option(verb)
    verb.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    verb.add_argument("--model", required=True, help=MODEL)
    verb.add_argument("--out", default="", metavar="PATH", help="default labels.json, or the folder labels")
    verb.add_argument("--format", default="coco", metavar="NAME", help=f"{', '.join(OUT)} (default coco)")
    verb.add_argument(
        "--threshold",
        type=float,
        metavar="DELTA",
        help="scores must exceed it (default: as known of the model, or 0.3)",
    )
    verb.add_argument("--keep-empty", action="store_true", help="also images without a label, as background")
    verb.add_argument("--size", type=int, metavar="PX", help="short side the detector sees, 32 to 4096")
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")
    verb.add_argument("--json", action="store_true", help="print what was written as JSON")
    verb.set_defaults(command=label_command)


def label_command(options: argparse.Namespace) -> int:
    """Label and write. Images that cannot be read are named at the end; the exit code is then 1."""
    if options.format not in OUT:
        raise SpecError(unknown("format of labels", options.format, OUT))
    check_threshold(options.threshold)
    images = find_images(options.images, None)
    from casl.api.delta import Delta, delta_of
    from casl.api.opened import open_detector
    from casl.stages.labelling import Wish, label_images

    store = Path(options.store)
    detector = open_detector(options.model, store, options.mlflow or None, options.device, size=options.size)
    asked = options.threshold
    delta = delta_of(detector.stage, store) if asked is None else Delta(asked, "as asked")
    wish = Wish(options.format, Path(options.out or OUT[options.format]), delta.value, options.keep_empty)
    found = label_images(detector, images.files, wish, Meter())
    about = {"model": detector.stage.name, "about": detector.about, **account(found, wish, delta.why)}
    say(options, *told(about), *([images.said] if images.said else []))
    if options.json:
        print(json.dumps({**about, "left_out": {"drawn": images.drawn, "hidden": images.hidden}}, indent=1))
    _warn(about, len(images.files))
    return 1 if found.unreadable else 0


def _warn(about: Mapping[str, Any], count: int) -> None:
    lines = [f"warning: {sentence}" for sentence in about["warnings"]]
    if unreadable := about["unreadable"]:
        lines.append(f"no labels for {len(unreadable)} of {number_of(count, 'image')}, which cannot be read:")
    print(
        *(f"{line}\n" for line in [*lines, *(f"  {sentence}" for sentence in unreadable)]),
        sep="",
        end="",
        file=sys.stderr,
    )


def account(found: Any, wish: Any, why: str) -> dict[str, Any]:
    """What was written, as JSON values.

    Args:
        found, wish: casl.stages.labelling's Labels and Wish.
        why: where the threshold is from.
    """
    from casl.stages.labelling import FORMATS

    values = {**vars(found), "out": str(wish.out), "format": wish.form}
    return {**values, "threshold": wish.threshold, "threshold_is": why, "scores_in": FORMATS[wish.form].scores_in}


def told(about: Mapping[str, Any]) -> list[str]:
    """What was written, for people."""
    objects: dict[str, int] = about["objects"]
    most = sorted(objects.items(), key=lambda pair: -pair[1])
    named = ", ".join(f"{name} {count}" for name, count in most[:LISTED]) + ", ..." * (len(most) > LISTED)
    masks = "boxes and masks" if about["masks"] else "boxes"
    empty = f"; {number_of(about['empty'], 'more has none and is', 'more have none and are')} left out"
    images = number_of(about["images"], "image")
    return [
        f"{about['out']}: {number_of(sum(objects.values()), 'pseudo label')} ({masks}) in {images}"
        f"{empty * (about['empty'] > 0)}: {named}",
        f"  scores above {about['threshold']:g}, {about['threshold_is']}; they stand in {about['scores_in']}",
        f"  names of images are relative to {about['root']}",
    ]


class Meter:
    """Progress of a labelling: images, images a second, time left. The first batch, which warms up, is not counted."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done and self._began is None:
            self._began = (now, done)
        since, first = self._began or (now, done)
        rate = (done - first) / (now - since) if done > first else 0.0
        left = f", {rate:.1f} images/s, {_clock((total - done) / rate)} left" if rate else ""
        text = f"labelling {done}/{total}{left}"
        if sys.stderr.isatty():
            print(f"\r{text:60}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif now - self._said > LINE_S:
            self._said = now
            print(text, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    """1:05:09, 5:09."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
