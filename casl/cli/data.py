"""Verb `data`: check a data set, or make one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from casl.cli.study import counter


def add(verbs: Any) -> None:
    """Verbs `data check` and `data scenes`."""
    data = verbs.add_parser("data", help="check a data set, or make one").add_subparsers(dest="what", required=True)
    check = data.add_parser("check", help="validate every file and print counts as JSON")
    check.add_argument("path", help="folder of the set")
    check.add_argument("--json", action="store_true", help="as always")
    check.set_defaults(command=data_check_command)
    scenes = data.add_parser("scenes", help="write the built-in data set into a folder")
    scenes.add_argument("path", help="folder of the set, made if missing")
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
    """Validate a data set and print counts."""
    from casl.data.check import check

    report = check(Path(options.path), progress=counter("checking images"))
    print(json.dumps({"ok": not report.errors, "counts": report.counts, **_problems(report)}, indent=1))
    return 1 if report.errors else 0


def _problems(report: Any) -> dict[str, list[str]]:
    return {"errors": list(report.errors), "warnings": list(report.warnings)}


def data_scenes_command(options: argparse.Namespace) -> int:
    """Write a built-in data set into a folder."""
    from casl.data.scenes import write_scene_set

    write_scene_set(Path(options.path), options.labeled, options.unlabeled, options.val, options.size, options.seed)
    if options.json:
        counts = {split: getattr(options, split) for split in ("labeled", "unlabeled", "val")}
        print(
            json.dumps({"path": options.path, "images": counts, "size": options.size, "seed": options.seed}, indent=1)
        )
        return 0
    print(f"{options.path}: try `make table4 DATA={options.path}`")
    return 0
