"""Verb `convert`: weights to and from other projects; detectors as graphs of ONNX or TorchScript; labels as COCO."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from casl.cli.convert_stage import OF_OTHERS, SUFFIXES, graph_command, labels_command
from casl.cli.study import mlflow_option
from casl.errors import DataError, SpecError, unknown
from casl.files import instead, read_json, recalled, refuse_foreign
from casl.rows import PARTS
from casl.runner.results import find_stage
from casl.runner.store import Store, need_store
from casl.spec.freeze import trainings_for_people
from casl.spec.run import RESULT, WEIGHTS

# format -> suffix of a result that --out does not name
TO = dict(sorted({"detectron2": ".pth", "torchvision": ".safetensors", **SUFFIXES}.items()))
OTHERS = {"coco": labels_command, "onnx": graph_command, "torchscript": graph_command}  # those that are no weights
FROM = ("detectron2", "timm", "torchvision")
SHOWN = 6  # lines of each kind
REPORTED = frozenset(("source", "result", "from", "to", "tensors"))  # what every report of weights says


def add(verbs: Any, store: argparse.ArgumentParser) -> None:
    """Verb `convert`."""
    verb = verbs.add_parser(
        "convert", parents=[store], help="weights to and from other projects, detectors to ONNX, labels to COCO"
    )
    mlflow_option(verb)
    verb.add_argument(
        "source", metavar="SOURCE", help="a stage's name or the beginning of its key, or a file of weights"
    )
    way = verb.add_mutually_exclusive_group(required=True)
    way.add_argument("--to", default="", metavar="FORMAT", help=f"format to convert to: {', '.join(TO)}")
    way.add_argument("--from", dest="origin", default="", metavar="FORMAT", help=f"or from: {', '.join(FROM)}")
    verb.add_argument("-o", "--out", default="", metavar="FILE", help="result; FILE.json reports of weights")
    verb.add_argument("--into", default="", metavar="FRAMEWORK", help="of the target: fcos, retinanet, mask_rcnn ...")
    verb.add_argument("--parts", default="", metavar="PARTS", help=f"some of {', '.join(PARTS)} (default all that fit)")
    verb.add_argument("--classes", type=int, default=0, metavar="N", help="copy a class-agnostic classifier to N")
    verb.add_argument(
        "--input", default="", metavar="ORDER", help="of detectron2's model: bgr, its default, or rgb, ours"
    )
    verb.add_argument("--own-names", action="store_true", help="names of the backbones casl registers in detectron2")
    verb.add_argument(
        "--backbone", default="", metavar="NAME", help="ours that the weights are of, where a stage does not say it"
    )
    verb.add_argument(
        "--config",
        default="",
        metavar="FILE",
        help="of --from detectron2: the model's YAML, checked for what ours have not",
    )
    verb.add_argument(
        "--threshold",
        type=float,
        metavar="DELTA",
        help="of --to coco: scores must exceed it (default: as warmups, or 0.3)",
    )
    verb.add_argument(
        "--size", type=int, metavar="PX", help="of --to onnx and torchscript: short side, for its metadata"
    )
    verb.add_argument("--json", action="store_true", help="print the report as JSON")
    verb.set_defaults(command=convert_command)


def convert_command(options: argparse.Namespace) -> int:
    """Convert, and say what became of every tensor."""
    for name, known in ((options.to, TO), (options.origin, FROM)):
        if name and name not in known:
            raise SpecError(unknown(f"format to convert {'to' if known is TO else 'from'}", name, known))
    if options.origin:
        _refuse(
            options, ("into", "parts", "classes", "own_names"), "the target of --to; --from takes all that it knows"
        )
    else:
        _refuse(options, ("config",), "the source of --from detectron2")
    of = {name: formats for name, formats in OF_OTHERS.items() if getattr(options, name) is not None}
    if wrong := [name for name, formats in of.items() if options.to not in formats]:
        raise SpecError(f"--{wrong[0]} goes with --to {' or '.join(OF_OTHERS[wrong[0]])}.")
    if options.to in OTHERS:
        _refuse(
            options,
            ("into", "parts", "classes", "input", "own_names", "backbone", "config"),
            f"weights; --to {options.to} writes none",
        )
        return OTHERS[options.to](options)
    source = _source(options)
    out = Path(options.out) if options.out else _beside(options, source)
    if source.resolve() == out.resolve():
        raise SpecError(f"{out} is the source itself: name another file with --out.")
    _check_target(out)
    from casl.stages.convert_files import Wish, write_converted

    backbone = options.backbone or _backbone(source)
    parts = tuple(part.strip() for part in options.parts.split(",") if part.strip())
    wish = Wish(options.into, parts, options.classes, options.input, options.own_names, backbone)
    config = Path(options.config) if options.config else None
    account = write_converted(source, out, options.to, options.origin, wish, backbone, config)
    print(json.dumps(account, indent=1) if options.json else _table(account))
    return 0


def _refuse(options: argparse.Namespace, names: Sequence[str], about: str) -> None:
    """Refuse options that have no meaning here."""
    if wrong := [name for name in names if getattr(options, name)]:
        raise SpecError(f"--{wrong[0].replace('_', '-')} is about {about}.")


def _source(options: argparse.Namespace) -> Path:
    path = Path(options.source)
    if path.is_file():
        return path
    if path.is_dir() and (path / WEIGHTS).is_file():
        return path / WEIGHTS
    if path.exists() or path.suffix or options.origin:
        near = instead(path)
        raise DataError(f"no weights at {path}{near}" if not path.is_dir() else f"{path} has no {WEIGHTS}{near}")
    need_store(Path(options.store))
    store = Store(Path(options.store))
    found = store.folder(find_stage(store.names(), options.source, store.root)) / WEIGHTS
    if not found.is_file():
        raise SpecError(f"{found.parent.name} has no weights: name {trainings_for_people()}.")
    return found


def _check_target(out: Path) -> None:
    """Refuse a place of weights where anything is but weights of an earlier call, which have their report beside them.

    Raises:
        SpecError: something else is there, or where the report goes.
    """

    def reported(path: Path) -> bool:
        report = path if path.name.endswith(".json") else path.with_name(f"{path.name}.json")
        return report.is_file() and recalled(report).keys() >= REPORTED

    refuse_foreign(out, reported, "result of `casl convert` with its report beside it")
    refuse_foreign(out.with_name(f"{out.name}.json"), reported, "report of `casl convert`")


def _backbone(weights: Path) -> str:
    """Name of the backbone, where a training of a store left the weights; else empty."""
    record = weights.with_name(RESULT)
    if not record.is_file():
        return ""
    model = read_json(record).get("stage", {}).get("model", {})
    return str(model.get("backbone", ""))


def _beside(options: argparse.Namespace, source: Path) -> Path:
    """In the working folder: warmup-48a46dfeb7c1d2e3-detectron2.pth, photo-casl.safetensors."""
    stem = source.parent.name if source.name == WEIGHTS else source.stem
    return Path(f"{stem}-{options.to or 'casl'}{TO.get(options.to, '.safetensors')}")


def _table(account: Mapping[str, Any]) -> str:
    """The report for people: counts, and the first lines of all that is not a mere renaming."""
    lines = [f"{account['from']} -> {account['to']}: {account['tensors']} tensors in {account['result']}"]
    lines.append(f"  renamed         {len(account['renamed']):5}")
    for kind in ("adapted", "made", "left_in_source", "left_in_target"):
        entries = account[kind]
        lines.append(f"  {kind.replace('_', ' '):14}  {len(entries):5}")
        reasons: dict[str, list[str]] = {}
        for key, why in entries.items():
            reasons.setdefault(why["how"] if isinstance(why, dict) else why, []).append(key)
        for why, keys in list(reasons.items())[:SHOWN]:
            more = f" and {len(keys) - 1} more" if keys[1:] else ""
            lines.append(f"{'':26}{keys[0]}{more}: {why}")
    lines += [f"  needs  {need}" for need in account["needs"]]
    return "\n".join([*lines, f"  all of it: {account['result']}.json"])
