"""`casl convert` of what is more than weights: a detector as a graph, the labels of a stage as a COCO file."""

from __future__ import annotations

import argparse
import json
import mmap
from pathlib import Path
from typing import Any

from casl.cli.label import account, told
from casl.cli.predict import check_threshold
from casl.cli.study import say
from casl.files import refuse_foreign
from casl.spec.profile import check_side

# option -> the formats that it is about
OF_OTHERS = {"threshold": ("coco",), "size": ("onnx", "torchscript")}
SUFFIXES = {"coco": ".json", "onnx": ".onnx", "torchscript": ".pt"}  # format -> of a result that --out does not name


def graph_command(options: argparse.Namespace) -> int:
    """Write a detector as ONNX or TorchScript, and say what the graph is and how it was compared."""
    from casl.api.opened import open_detector, stage_meant
    from casl.stages.graph_files import check_exported, write_graph

    if options.size is not None:
        check_side(options.size)
    store = Path(options.store)
    if (stage := stage_meant(options.source, store)) is not None:
        check_exported(stage, options.to)
    detector = open_detector(options.source, store, options.mlflow or None, "cpu", size=options.size)
    out = Path(options.out or f"{detector.stage.name}{SUFFIXES[options.to]}")
    refuse_foreign(out, _is_graph, "graph of `casl convert`")
    about = write_graph(detector, out, options.to)
    say(options, *_graph(about, out))
    if options.json:
        print(json.dumps({**about, "out": str(out), "to": options.to}, indent=1))
    return 0


def labels_command(options: argparse.Namespace) -> int:
    """Write the labels of a pseudolabel stage as one file of COCO's."""
    check_threshold(options.threshold)
    from casl.api.delta import Delta, stored_labels
    from casl.stages.labelling import Wish, labels_as_coco

    store = Path(options.store)
    stored = stored_labels(options.source, store)
    asked = options.threshold
    delta = stored.delta if asked is None else Delta(asked, "as asked")
    wish = Wish("coco", Path(options.out or f"{stored.name}{SUFFIXES['coco']}"), delta.value)
    found = labels_as_coco(stored.labels, stored.images, stored.name, wish)
    about = {"model": stored.name, **account(found, wish, delta.why)}
    say(options, *told(about))
    if options.json:
        print(json.dumps(about, indent=1))
    return 0


def _is_graph(path: Path) -> bool:
    """Whether a file has what our graphs say of themselves: ONNX in its metadata, TorchScript in a file inside."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(mark) >= 0 for mark in (b"casl.about", b"extra/casl.json"))
    except (OSError, ValueError):  # ValueError: it is empty
        return False


def _graph(about: dict[str, Any], out: Path) -> list[str]:
    checked, sides = about["checked"], about["resize_to"]
    return [
        f"{out}: {about['about']}",
        f"  takes    {about['input']}",
        f"           resized to a short side of {sides['short_side']} px, a longer of {sides['longest_side']} at most",
        f"  gives    {', '.join(about['outputs'])}; boxes are {about['boxes']}",
        f"  selects  scores above {about['score_threshold']:g}; suppression {about['suppression']}",
        f"  checked  {checked['objects'] - checked['unpaired']} of {checked['objects']} objects in {checked['images']} "
        f"images as torch finds them, largest difference {checked['largest_difference']:.1e}",
    ]
