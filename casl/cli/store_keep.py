"""Verbs `store verify`, `gc`, `export` and `import`: keep a store sound and small, and move results between stores."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from casl import catalog
from casl.cli.study import PART_OPTIONS, counter, known_names, open_study, part_options, request_of, setting_options
from casl.cli.workers import next_command
from casl.errors import SpecError, StoreError, nearest
from casl.runner.archive import check_target, outside_git, read_archive, write_archive
from casl.runner.foreign import TOTAL_BYTES
from casl.runner.gc import Garbage, find, forget_roots, remove, roots
from casl.runner.record import DIGEST
from casl.runner.results import find_stage, record_of
from casl.runner.store import Store, need_store
from casl.study.request import STORE
from casl.words import noun, number_of

GB = 10**9
MOST_LISTED = 12  # archives that a message lists


def add(what: Any, store: argparse.ArgumentParser) -> None:
    """The verbs below `store`."""
    verify = what.add_parser("verify", parents=[store], help="compare every file with its checksum")
    verify.add_argument("--quarantine", action="store_true", help="move damaged stages away, to be computed again")
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(command=verify_command)
    gc = what.add_parser("gc", parents=[store], help="list what no study needs; with --yes, remove it")
    gc.add_argument("--segments", action="store_true", help="also shared beginnings that no table asks for")
    gc.add_argument(
        "--leftovers", action="store_true", help="also abandoned work and imports, quarantine/ and superseded/"
    )
    gc.add_argument(
        "--forget",
        action="append",
        default=[],
        metavar="STUDY",
        help="keep nothing for a study, as its names are listed",
    )
    how = gc.add_mutually_exclusive_group()
    how.add_argument("--yes", action="store_true", help="remove; without it nothing is touched")
    how.add_argument("--dry-run", action="store_true", help="list only (the default)")
    gc.add_argument("--json", action="store_true", help="print JSON")
    gc.set_defaults(command=gc_command)
    export = what.add_parser("export", parents=[store], help="write stages, or their numbers alone, to a tar file")
    export.add_argument("keys", nargs="*", metavar="KEY", help="names, or beginnings of names or keys")
    known_names(
        export.add_argument(
            "--tables", nargs="+", default=[], help="what is finished of these: all, dissertation, a file, or %(known)s"
        ),
        "ablation",
    )
    setting_options(export)
    part_options(export)
    export.add_argument(
        "--numbers",
        action="store_true",
        help="only what reports and their statistics read of evaluations, some kilobytes each: nothing to train on",
    )
    export.add_argument("-o", "--out", required=True, metavar="FILE.tar", help="the file to write")
    export.add_argument("--json", action="store_true", help="print JSON")
    export.set_defaults(command=export_command)
    take = what.add_parser("import", parents=[store], help="take over the stages of a tar file, checksums verified")
    take.add_argument("archive", metavar="FILE.tar", help="what `casl store export` wrote")
    most = TOTAL_BYTES // GB
    take.add_argument("--most-gb", type=int, default=most, metavar="N", help=f"refuse more, unpacked (default {most})")
    take.add_argument("--json", action="store_true", help="print JSON")
    take.set_defaults(command=import_command)


def verify_command(options: argparse.Namespace) -> int:
    """Check every finished stage; exit code 1 if one is damaged."""
    need_store(Path(options.store))
    store = Store(Path(options.store), make=options.quarantine)
    names, damaged = store.names(), {}
    show = counter("checking stages")
    for n, name in enumerate(names, start=1):
        try:
            store.check(name)
        except StoreError as error:
            damaged[name] = str(error)
        show(n, len(names))
    open_ = [name for name in names if name not in damaged and DIGEST not in record_of(store, name)]
    moved = {name: str(store.quarantine(name)) for name in damaged} if options.quarantine else {}
    if options.json:
        print(
            json.dumps({"checked": len(names), "damaged": damaged, "moved": moved, "without_digest": open_}, indent=1)
        )
        return 1 if damaged else 0
    for name, problem in damaged.items():
        print(f"{name}: {problem}" + (f"\n  moved to {moved[name]}" if name in moved else ""))
    advice = "" if moved or not damaged else "; --quarantine moves them away, and the next run computes them again"
    print(f"{number_of(len(names), 'stage')} checked, {len(damaged)} damaged{advice}")
    if open_:
        print(f"{len(open_)} of them have records of an earlier version, in which an edited number is not found")
    return 1 if damaged else 0


def gc_command(options: argparse.Namespace) -> int:
    """List what no study needs, or remove it."""
    need_store(Path(options.store))
    store = Store(Path(options.store))
    found = find(store, segments=options.segments, leftovers=options.leftovers, forgotten=options.forget)
    for study in options.forget if options.yes else ():
        forget_roots(store, study)
    gone = remove(store, found, segments=options.segments) if options.yes else []
    listed = gone if options.yes else found
    studies = [root.study for root in roots(store) if root.study not in options.forget]
    if options.json:
        print(
            json.dumps(
                {"removed": options.yes, "kept_for": studies, "garbage": [_values(item) for item in listed]}, indent=1
            )
        )
        return 0
    for item in listed:
        print(f"{item.name:28}  {item.why:11}  {human(item.bytes):>9}  {item.path}")
    size = human(sum(item.bytes for item in listed))
    print(f"kept for the studies {', '.join(studies)}")
    fate = "freed" if options.yes else f"would be freed; --yes removes {noun(len(listed), 'it', 'them')}"
    print(f"{number_of(len(listed), 'thing')}, {size} {fate}")
    return 0


def _values(item: Garbage) -> dict[str, Any]:
    return {"name": item.name, "why": item.why, "path": str(item.path), "bytes": item.bytes}


def export_command(options: argparse.Namespace) -> int:
    """Write an archive."""
    need_store(Path(options.store))
    store, target = Store(Path(options.store)), Path(options.out)
    check_target(target, folder=options.out.endswith("/"))
    names = _asked_for(store, options)
    about = _study_words(options) if options.tables else []
    inside = write_archive(store, names, target, counter("writing stages"), numbers=options.numbers, about=about)
    size, extra = target.stat().st_size, outside_git(store, inside)
    if options.json:
        print(json.dumps({"archive": str(target), "stages": inside, "bytes": size, "outside_git": extra}, indent=1))
        return 0
    if extra:
        print(f"with the content of files that git did not know when the results were made: {', '.join(extra)}")
    there = f"`casl store import {target}` takes {noun(len(inside), 'it', 'them')} over elsewhere"
    print(f"{target}: {number_of(len(inside), 'stage')}, {size:,} bytes; {there}")
    return 0


def _asked_for(store: Store, options: argparse.Namespace) -> list[str]:
    """The stages that a command names, by their keys or by tables."""
    if not options.keys and not options.tables:
        raise SpecError("name what to export: keys of stages (`casl store ls` lists them), or --tables such as table4.")
    if not options.tables and (given := _study_words(options)):
        raise SpecError(f"{' '.join(given)} says of which study --tables are; keys name stages by themselves.")
    if not options.tables and request_of(options).part:
        raise SpecError(f"{PART_OPTIONS} choose from --tables; keys name stages by themselves.")
    if mistaken := [word for word in options.keys if word in catalog.ABLATIONS]:
        raise SpecError(f"{mistaken[0]} is a table: name it with --tables {mistaken[0]}. Keys go before --tables.")
    if mistaken := [word for word in options.tables if word in store.folders()]:
        raise SpecError(f"{mistaken[0]} is a stage: keys go before --tables.")
    names = [find_stage(store.names(), key, store.root) for key in options.keys]
    return names + (_finished(store, options) if options.tables else [])


def _study_words(options: argparse.Namespace) -> list[str]:
    """Tables and options of the study of a command as they are typed, without those that say what is the default."""
    here = ("store", "data")  # places of this machine
    told = argparse.Namespace(**{name: value for name, value in vars(options).items() if name not in here})
    data = ["--data", f"path/to/{Path(options.data).name}"] if options.data else []
    return shlex.split(next_command("", told))[2:] + data


def _finished(store: Store, options: argparse.Namespace) -> list[str]:
    """The finished evaluations of tables; says where some are not finished.

    Raises:
        StoreError: none is.
    """
    study = open_study(options, make=False)
    ends = {c.stage.name: None for seeds in study.cells.values() for cells in seeds for c in cells if c.stage}
    done = [name for name in ends if store.is_done(name)]
    if not done:
        raise StoreError(
            f"{store.root} has none of {number_of(len(ends), 'result')} of {study.heading}; `casl run` makes "
            f"{noun(len(ends), 'it', 'them')}, and --profile, --data and --seeds say of which study."
        )
    if len(done) < len(ends):
        print(f"note: left out, since not finished: {len(ends) - len(done)} of {len(ends)} results", file=sys.stderr)
    return done


def import_command(options: argparse.Namespace) -> int:
    """Take over an archive; exit code 1 if something in it is damaged."""
    if not (archive := Path(options.archive)).is_file():
        what = "is a folder, and an archive is a file" if archive.is_dir() else "is not there"
        raise SpecError(f"{archive} {what}; `casl store export KEY -o FILE.tar` writes one.{_archives_near(archive)}")
    outcome = read_archive(Store(Path(options.store)), archive, counter("taking over stages"), options.most_gb * GB)
    if options.json:
        print(json.dumps(vars(outcome), indent=1))
        return 1 if outcome.damaged else 0
    for name, problem in outcome.damaged.items():
        print(f"{name} is damaged and was left out: {problem}")
    there = number_of(len(outcome.skipped), "was there", "were there")
    print(f"{number_of(len(outcome.added), 'stage')} added, {there}, {len(outcome.damaged)} damaged")
    if outcome.about:
        where = ["--store", options.store] if options.store != STORE else []
        print(f"next     casl report {shlex.join([*outcome.about, *where])}")
    print("`casl store gc` keeps what studies ask for that were run or reported: do either before it")
    return 1 if outcome.damaged else 0


def _archives_near(path: Path) -> str:
    """The archives in the folder of one that is not there, and the one that was probably meant."""
    there = sorted(p.name for p in (path if path.is_dir() else path.parent).glob("*.tar"))
    near = nearest(path.name, there)
    meant = f"\n  did you mean {str(path.parent / near)!r}?" if near else ""
    return f"\n  archives in that folder: {', '.join(there[:MOST_LISTED]) or 'none'}{meant}"


def human(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
