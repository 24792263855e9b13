"""Verbs `data import` and `data split`: a set from what annotation tools export, or from another set."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

from casl.cli.data_options import jobs_of, place
from casl.cli.parser import installed_version
from casl.cli.study import counter, crowds_option, say
from casl.errors import SpecError
from casl.study.places import check_folder
from casl.words import number_of


def add(data: Any) -> None:
    """Verbs `data import` and `data split`."""
    command = data.add_parser("import", help="make a set of what an annotation tool exported")
    command.add_argument("source", metavar="SRC", help="folder of VOC, YOLO, LabelMe, COCO or VIA files, or of images")
    command.add_argument("--unlabeled", metavar="DIR", help="folder of further images, without labels")
    command.add_argument("--format", metavar="NAME", help="where a folder has files of several: voc, yolo, coco ...")
    _shared(command)
    command.set_defaults(command=data_import_command)
    split = data.add_parser("split", help="draw the splits of a set anew, into another folder")
    split.add_argument("source", metavar="SET", help="folder of the set, which stays as it is")
    split.add_argument("--protocol", action="store_true", help="1, 2, 5 and 10 %% of the labels in five folds")
    _shared(split)
    split.set_defaults(command=data_split_command)


def _shared(command: argparse.ArgumentParser) -> None:
    crowds_option(command)
    command.add_argument("--out", required=True, metavar="SET", help="folder to make; must not be there, or be empty")
    command.add_argument("--labeled", metavar="N%", help="share or number of images that keep their labels")
    command.add_argument(
        "--val", metavar="N%", help="share or number of labeled images for val (default: the source's)"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn (default 0)")
    command.add_argument("--fold", type=int, metavar="K", help="another draw of labeled, with the same val (default 0)")
    command.add_argument("--near-copies-apart", action="store_true", help="near copies may be in different splits")
    command.add_argument("--copy", action="store_true", help="copy images instead of linking them")
    command.add_argument("--jobs", type=int, default=0, metavar="N", help="threads that read (default one a core)")
    command.add_argument("--json", action="store_true", help="print the manifest as JSON")


def data_import_command(options: argparse.Namespace) -> int:
    """Import a folder."""
    from casl.data.importing.make import import_set, read_source
    from casl.data.importing.write import refuse_if_there

    plan, out, how = _plan(options), place(options.out, "--out"), _how(options, "import")
    unlabeled = None if options.unlabeled is None else place(options.unlabeled, "--unlabeled")
    refuse_if_there(out)
    source = read_source(place(options.source, "SRC"), options.format, options.crowds_are_objects)
    manifest = import_set(source, out, plan, how, unlabeled)
    _show(options, manifest)
    return 0


def data_split_command(options: argparse.Namespace) -> int:
    """Draw a set's splits anew, once or as the literature does."""
    from casl.data.importing.make import import_set, protocol
    from casl.data.importing.native import read_set
    from casl.data.importing.write import refuse_if_there

    plan, out, how = _plan(options), place(options.out, "--out"), _how(options, "split")
    folder = place(options.source, "SET")
    check_folder(folder)
    refuse_if_there(out)
    source = read_set(folder, options.crowds_are_objects)
    if not options.protocol:
        _show(options, import_set(source, out, plan, how))
        return 0
    if any(value is not None for value in (options.labeled, options.val, options.fold)):
        raise SpecError("--protocol sets the shares and folds itself; leave out --labeled, --val and --fold.")
    made = protocol(source, out, options.seed, how)
    if options.json:
        print(json.dumps(made, indent=1))
        return 0
    for name, manifest in made.items():
        counts = ", ".join(f"{_count(manifest, split)} {split}" for split in ("labeled", "val", "unlabeled"))
        print(f"{out / name}: {counts}{_lacking(manifest)}")
    return 0


def _plan(options: argparse.Namespace) -> Any:
    from casl.data.importing.assign import Plan
    from casl.data.importing.draw import Share

    labeled, val = (None if text is None else Share(text) for text in (options.labeled, options.val))
    return Plan(labeled, val, options.seed, options.fold or 0)


def _how(options: argparse.Namespace, verb: str) -> Any:
    from casl.data.importing.make import How

    told = {"command": f"casl data {verb} {shlex.join(_words(options))}", "version": installed_version()}
    return How(told, options.copy, options.near_copies_apart, jobs_of(options), counter("reading images"))


def _words(options: argparse.Namespace) -> list[str]:
    """The options as they would be typed."""
    words = [options.source]
    for name, value in sorted(vars(options).items()):
        if name in ("source", "command", "verb", "what", "json", "jobs") or value is None or value is False:
            continue
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return words


def _count(manifest: dict[str, Any], split: str) -> int:
    return int(manifest["splits"].get(split, {}).get("images", 0))


def _lacking(manifest: dict[str, Any]) -> str:
    lacking = manifest["classes_lacking"].get("labeled", {})
    return f"; labeled lacks {len(lacking)} of {len(manifest['classes'])} classes" if lacking else ""


def _other_counts(manifest: dict[str, Any]) -> list[str]:
    """Where another number of images was drawn than was asked for, and why."""
    asked = {split: text.strip() for split, text in manifest["asked"].items() if text}
    odd = [split for split, text in asked.items() if text.isdecimal() and int(text) != _count(manifest, split)]
    why = "near copies stay together, and each class keeps an image outside val"
    return [f"asked for {number_of(int(asked[split]), 'image')} in {split}: {why}" for split in odd]


def _show(options: argparse.Namespace, manifest: dict[str, Any]) -> None:
    """The manifest for people, or as JSON."""
    if options.json:
        print(json.dumps(manifest, indent=1))
    for split in ("labeled", "val", "unlabeled"):
        found = manifest["splits"].get(split, {"images": 0, "objects": 0})
        objects = "" if split == "unlabeled" else f", {number_of(found['objects'], 'object')}"
        say(options, f"{split:>10}: {number_of(found['images'], 'image')}{objects}")
    for line in _other_counts(manifest):
        say(options, line)
    for split, names in manifest["classes_lacking"].items():
        listed = ", ".join(f"{name} ({count})" for name, count in list(names.items())[:10])
        say(options, f"no object in {split} of: {listed}{', ...' * (len(names) > 10)} (images that have one)")
    for what, count in manifest["left_out_or_changed"].items():
        say(options, f"left out or changed: {count} {what}")
    near = manifest["near_copies"]
    if near["groups"]:
        fate = "may be in different splits, as asked" if near["apart"] else "stay in one split each"
        groups = number_of(near["groups"], "group")
        say(options, f"{near['images']} images are near copies of another, in {groups}, which {fate}")
    for what, count in near.items():
        if what not in ("groups", "images", "apart"):
            say(options, f"{number_of(count, 'image')} {what}")
    say(options, f"next: casl data check {shlex.quote(options.out)}")
