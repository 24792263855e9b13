"""Verb `data`: check a data set, or make one."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casl import catalog
from casl.cli import data_import
from casl.cli.data_options import jobs_of, place
from casl.cli.study import counter, crowds_option, known_names
from casl.errors import SpecError
from casl.spec.profile import Profile
from casl.study.places import check_folder
from casl.words import noun, number_of

NOT_MEASURED = "not measured"  # begins the note of a cell whose metric the data lack something for
CANNOT = "cannot run"  # begins what is said of a table of which no cell can be measured
MOST_UNSEEN = 0.1  # share of objects
MOST_CLASSES = 10  # that are named


def add(verbs: Any) -> None:
    """The verbs of `data`; `import` and `split` are in data_import.py."""
    data = verbs.add_parser("data", help="check a data set, or make one").add_subparsers(dest="what", required=True)
    check = data.add_parser("check", help="validate every file; print errors and warnings, then counts")
    check.add_argument("path", help="folder of the set")
    check.add_argument(
        "--json", action="store_true", help="print everything as JSON, every table and why it cannot run"
    )
    known_names(
        check.add_argument("--profile", default="mini", help="of the tables: %(known)s (default mini)"), "profile"
    )
    check.add_argument("--size", type=int, metavar="PX", help="short side of images (default the profile's)")
    crowds_option(check)
    check.set_defaults(command=data_check_command)
    prepare = data.add_parser("prepare", help="make one of COCO and unlabeled collections, as the paper's")
    prepare.add_argument("source", help="coco, openimages or places")
    prepare.add_argument("path", help="its folder as downloaded")
    prepare.add_argument("--out", required=True, metavar="SET", help="folder of the set, made if missing")
    prepare.add_argument("--jobs", type=int, default=0, metavar="N", help="processes that read (default one a core)")
    prepare.add_argument("--json", action="store_true", help="print the report as JSON")
    prepare.set_defaults(command=data_prepare_command)
    data_import.add(data)
    scenes = data.add_parser("scenes", help="write the built-in data set into a folder")
    scenes.add_argument("path", help="folder to make; must not be there, or be empty")
    scenes.add_argument("--json", action="store_true", help="print what was written as JSON")
    for name, default, what in (
        ("labeled", 100, "images"),
        ("unlabeled", 246, "images"),
        ("val", 100, "images"),
        ("size", 64, "side in pixels"),
        ("seed", 0, "of all that is drawn"),
    ):
        scenes.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{what} (default {default})")
    scenes.set_defaults(command=data_scenes_command)


def data_check_command(options: argparse.Namespace) -> int:
    """Validate a data set and print counts, and which tables can be run on it; 1 if planning would refuse it."""
    from casl.stages.dataset import inspect

    profile: Profile = catalog.load("profile", options.profile)
    check_folder(place(options.path, "PATH"))
    report, data = inspect(Path(options.path), counter("checking images"), options.crowds_are_objects)
    found: dict[str, Any] = {"counts": report.counts}
    if data is not None:
        profile = profile.with_data(data, options.crowds_are_objects)
        profile = profile if options.size is None else profile.with_size(options.size)
        found |= {"tables": _tables(profile), "detector": _detector(profile, options, report.warnings)}
    said = {"errors": report.errors, "warnings": report.warnings}
    if options.json:
        print(json.dumps({"ok": not report.errors, **found, **said}, indent=1))
    else:
        print("\n".join(_said(options.path, {**found, **said})))
    return 1 if report.errors else 0


def _said(path: str, found: Mapping[str, Any]) -> list[str]:
    """The check for people: what is wrong and what is suspicious first, then what is there."""
    errors, warnings = found["errors"], found["warnings"]
    lines = [*(f"error: {line}" for line in errors), *(f"warning: {line}" for line in warnings)]
    lines += [f"{name}: {_counted(split)}" for name, split in found["counts"].items()]
    if "detector" in found:
        lines += [_seen(found["detector"]), *_of_tables(found["tables"])]
    if errors:
        return [*lines, f"{path} cannot be used: {_several(len(errors), 'error')}"]
    again = f", {_several(len(warnings), 'warning')} above: read them before you train" if warnings else ""
    return [*lines, f"{path} is sound{again}; --json has every count and every table"]


def _several(count: int, what: str) -> str:
    return f"{count:,} {noun(count, what)}"


def _counted(split: Mapping[str, Any]) -> str:
    """One split: "4 images, 20 objects (disc 10, square 5), 34 entities"."""
    words = [_several(split.get("images", 0), "image")]
    if "annotations" in split:
        classes = sorted(split["per_class"].items(), key=lambda pair: -pair[1])
        named = [f"{name} {count:,}" for name, count in classes[:MOST_CLASSES]]
        left = len(classes) - len(named)
        named += [f"{left} more classes"] * bool(left)
        words.append(f"{_several(split['annotations'], 'object')} ({', '.join(named)})")
    others = ("masks", "crowds", "entities", "keypoints", "images_without_annotation")
    words += [f"{split[name]:,} {name.replace('_', ' ')}" for name in others if split.get(name)]
    return ", ".join(words)


def _seen(detector: Mapping[str, Any]) -> str:
    """How much of the objects the detector can see."""
    shares = [f"{detector[name]['share_without_location']:.1%} in {name}" for name in ("labeled", "val")]
    return f"objects that no location sees in {detector['profile']} at {detector['size_px']} px: {', '.join(shares)}"


def _of_tables(tables: Mapping[str, str]) -> list[str]:
    """How many tables run, and the names of those that do not, or not whole."""
    cannot = [name for name, said in tables.items() if said.startswith(CANNOT)]
    part = [name for name, said in tables.items() if name not in cannot and not _is_whole(said)]
    lines = [f"tables: {len(tables) - len(cannot) - len(part)} of {len(tables)} run with every cell"]
    lines += [f"  in part: {', '.join(part)}"] if part else []
    return [*lines, *([f"  not at all: {', '.join(cannot)}"] if cannot else [])]


def _is_whole(said: str) -> bool:
    counts = re.match(r"runs, (\d+) of (\d+) cell", said)
    return counts is not None and counts[1] == counts[2]


def _tables(profile: Profile) -> dict[str, str]:
    """Of every table, how much of it can be run on the profile's data, and why no more."""
    said = {}
    for name in catalog.names("ablation"):
        try:
            cells = catalog.load("ablation", name).build(profile)
        except SpecError as error:
            said[name] = f"{CANNOT}: {error}"
            continue
        runs = [cell for cell in cells if cell.stage is not None]
        lacks = list(dict.fromkeys(c.note for c in cells if c.stage is None and c.note.startswith(NOT_MEASURED)))
        why = f"; {'; '.join(lacks)}" if lacks else ""
        said[name] = f"runs, {len(runs)} of {number_of(len(cells), 'cell')}{why}" if runs else f"{CANNOT}{why}"
    return said


def _detector(profile: Profile, options: argparse.Namespace, warnings: list[str]) -> dict[str, Any]:
    """How many objects no location of the detector sees at the profile's size; many are warned of."""
    from casl.data.coco import load_split
    from casl.data.layout import find_splits
    from casl.stages.visible import visibility

    splits = find_splits(Path(options.path), options.crowds_are_objects)
    short, long = profile.test_size
    said: dict[str, Any] = {"profile": profile.name, "size_px": short}
    for name in ("labeled", "val"):
        seen = visibility(load_split(splits[name]), short, long, profile.shape.ranges)
        unseen, without = seen.share(seen.without_location), seen.share(seen.without_positive)
        if unseen > MOST_UNSEEN:
            warnings.append(
                f"{unseen:.0%} of the objects in {name} have no location of the detector at {short} px, most often "
                "because they are too small, and cannot be found; a larger --size (make: SIZE=) may help"
            )
        shares = {"share_without_location": round(unseen, 4), "share_without_positive": round(without, 4)}
        said[name] = {"objects": seen.objects, **shares}
    return said


def data_prepare_command(options: argparse.Namespace) -> int:
    """Scan one collection, then write the set anew from all that were scanned."""
    from casl.data.compose import INVENTORY, ROOTS, check_places, compose
    from casl.data.inventory import scan
    from casl.files import read_json_object, write_json

    source, root, out, jobs = options.source, place(options.path, "PATH"), place(options.out, "--out"), jobs_of(options)
    check_places(source, root, out)
    read = scan(source, root, out / INVENTORY, jobs, _rate(options.path))
    known = out / INVENTORY / ROOTS
    roots = {**(read_json_object(known) if known.exists() else {}), source: str(root.resolve())}
    write_json(known, roots)
    print(f"{source}: {read:,} {noun(read, 'file')} read, others as before", file=sys.stderr)
    if "coco" not in roots:
        print("labeled and val are COCO's: `casl data prepare coco` makes the set", file=sys.stderr)
        return 0
    report = compose(out, {name: Path(folder) for name, folder in roots.items()})
    print(json.dumps(report, indent=1) if options.json else _prepared(out, report))
    return 0


def _rate(path: str) -> Any:
    def show(done: int, rate: float) -> None:
        if sys.stderr.isatty():
            print(f"\r{path}: {done:,} files, {rate:,.0f}/s", end="", file=sys.stderr, flush=True)

    return show


def _prepared(out: Path, report: dict[str, Any]) -> str:
    """The report for people."""
    head = ("scale", "in the paper", "found", "kept", "duplicates", "in val", "in labeled", "damaged")
    lines = [head]
    for name, scale in report["scales"].items():
        numbers = [scale[key] for key in ("found", "kept", "duplicates", "in_val", "in_labeled", "damaged")]
        words = ["needs " + ", ".join(scale["missing"])] if scale["missing"] else [f"{n:,}" for n in numbers]
        lines.append((name, f"{scale['planned']:,}", *words))
    widths = [max(len(line[i]) for line in lines if i < len(line) and len(line) > 3) for i in range(len(head))]
    rows = ["  ".join(word.rjust(width) for word, width in zip(line, widths, strict=False)) for line in lines]
    tail = [
        f"{report['damaged']} damaged files, listed in {out / 'quarantine.json'}",
        f"{report['labeled_equal_to_val_or_another']} labeled images equal to one of val or another; they stay",
        f"next: casl data check {out}",
    ]
    return "\n".join([*rows, *tail])


def data_scenes_command(options: argparse.Namespace) -> int:
    """Write a built-in data set into a folder."""
    from casl.data.scenes import new_scene_set

    new_scene_set(
        place(options.path, "PATH"), options.labeled, options.unlabeled, options.val, options.size, options.seed
    )
    if options.json:
        counts = {split: getattr(options, split) for split in ("labeled", "unlabeled", "val")}
        print(
            json.dumps({"path": options.path, "images": counts, "size": options.size, "seed": options.seed}, indent=1)
        )
        return 0
    print(f"{options.path}: try `make table4 DATA={options.path}`")
    return 0
