"""Verb `costs`: parameters, multiply-adds and speed of the detectors of some tables."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from casl.cli.study import open_study
from casl.errors import SpecError, need_detectron2
from casl.spec.data_sets import SceneData
from casl.spec.kinds import Train
from casl.spec.profile import PROVIDERS, Profile
from casl.spec.records import Model
from casl.spec.stage import ancestors
from casl.study.opened import Study

HEADS = ("detector", "backbone", "classes", "image, px", "parameters, M", "multiply-adds, G", "images a second")


def add(verbs: Any, study: argparse.ArgumentParser) -> None:
    """Verb `costs`."""
    costs = verbs.add_parser("costs", parents=[study], help="what the detectors of tables cost to run")
    costs.add_argument(
        "--measure",
        type=int,
        default=0,
        metavar="N",
        help="also images a second here, the median of N repetitions, which differs from run to run (default 0: not)",
    )
    costs.add_argument("--device", default="auto", help="for --measure: auto, cpu, cuda, cuda:1 (default auto)")
    costs.add_argument("--json", action="store_true", help="everything, as JSON")
    costs.set_defaults(command=costs_command)


def costs_command(options: argparse.Namespace) -> int:
    """Print one line for each detector, backbone and number of classes, as Markdown or JSON; writes nothing."""
    if options.measure < 0:
        raise SpecError(f"--measure takes a number of repetitions, 0 for none, got {options.measure}")
    device, name = _device(options.device) if options.measure else ("", "")
    study = open_study(options, make=False)
    models = models_of(study)
    found = []
    for number, (model, size) in enumerate(models, start=1):
        print(f"{number}/{len(models)} {model.detector} {model.backbone}", file=sys.stderr)
        found.append(_costs(model, *size, device, options.measure))
    about = {"profile": study.profile.name, "device": name, "models": found}
    print(json.dumps(about, indent=1) if options.json else "\n".join(_lines(about)))
    return 0


def image_size(profile: Profile, trained: Train) -> tuple[int, int]:
    """Height and width of a test image of a detector, px: scenes are square, photos 3 to 4 as far as the long side
    allows."""
    short, longest = profile.sides(trained)
    if isinstance(profile.data, SceneData):
        return short, short
    from casl.stages.probe import photo_size

    return photo_size(short, longest)


def models_of(study: Study) -> list[tuple[Model, tuple[int, int]]]:
    """Every detector that the tables train and the size of its test images, by name."""
    ends = (cell.stage for seeds in study.cells.values() for cells in seeds for cell in cells if cell.stage)
    trained = [s for end in ends for s in ancestors(end) if isinstance(s, Train)]
    found = {(_plain(s.model), image_size(study.profile, s)) for s in trained}
    return sorted(found, key=lambda one: (one[0].detector, one[0].backbone, one[0].classes, one[1]))


def _plain(model: Model) -> Model:
    if model.detector.startswith(PROVIDERS["detectron2"]):
        need_detectron2(f"detector {model.detector!r}")
    free = Model(model.detector, model.backbone, model.classes)  # of what changes no cost
    return replace(model, weights="random", drop_path=0.0, frozen_stages=0, ranges=free.ranges, clip=free.clip)


def _costs(model: Model, height: int, width: int, device: str, repeats: int) -> dict[str, Any]:
    from casl.stages.costs import cost, images_a_second

    counted = cost(model, height, width)
    return {
        "detector": model.detector,
        "backbone": model.backbone,
        "classes": model.classes,
        "height": height,
        "width": width,
        "parameters": counted.parameters,
        "multiply_adds": counted.multiply_adds,
        "images_a_second": images_a_second(model, height, width, device, repeats) if repeats else None,
    }


def _device(asked: str) -> tuple[str, str]:
    """A device and what it is called."""
    import torch

    from casl.runner.bits import processor
    from casl.runner.devices import pick_device

    device = pick_device(asked, 0)
    threads = torch.get_num_threads()
    return device, torch.cuda.get_device_name(device) if "cuda" in device else f"{processor()}, {threads} threads"


def _lines(about: dict[str, Any]) -> Iterable[str]:
    """Markdown: what was counted, then a table."""
    yield f"Profile {about['profile']}, one image, 100 detections."
    if about["device"]:
        yield f"Speed on {about['device']}: median, one image at a time, without reading it."
    yield ""
    yield f"| {' | '.join(HEADS)} |"
    yield "| --- | --- | --: | --: | --: | --: | --: |"
    for m in about["models"]:
        speed = f"{m['images_a_second']:.3g}" if m["images_a_second"] else "–"
        size = f"{m['height']} x {m['width']}"
        counts = f"{m['parameters'] / 1e6:.2f} | {m['multiply_adds'] / 1e9:.3g}"
        yield f"| {m['detector']} | {m['backbone']} | {m['classes']} | {size} | {counts} | {speed} |"
