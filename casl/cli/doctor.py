"""Verb `doctor`: what is missing on this machine, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from casl.cli.colour import coloured
from casl.cli.doctor_checks import BROKEN, Finding, machine, offers, optional, packages, python, tracking, weights
from casl.cli.doctor_probes import Probes
from casl.cli.study import mlflow_option
from casl.errors import CaslError
from casl.words import number_of

MARKS = {"ok": "ok    ", "note": "note  ", BROKEN: "BROKEN"}
COLOURS = {"ok": "green", "note": "yellow", BROKEN: "red"}
LEAST_FREE_GB, FREE_GB = 1.0, 10.0


def add(verbs: Any, store: argparse.ArgumentParser) -> None:
    """Verb `doctor`."""
    doctor = verbs.add_parser("doctor", parents=[store], help="what is missing on this machine, and what to do")
    mlflow_option(doctor)
    doctor.add_argument("--data", default="", help="also check a data set on disk")
    doctor.add_argument("--json", action="store_true", help="the findings as JSON")
    doctor.set_defaults(command=doctor_command)


def doctor_command(options: argparse.Namespace) -> int:
    """Look at everything a run needs. 1 if something needed is broken."""
    found = []
    for finding in findings(options):
        found.append(finding)
        if not options.json:
            print(_line(finding), flush=True)
    broken = [f.what for f in found if f.state == BROKEN]
    if options.json:
        print(json.dumps({"ok": not broken, "findings": [asdict(f) for f in found]}, indent=1))
    else:
        print(f"broken: {', '.join(broken)}" if broken else "all that is needed is there")
    return 1 if broken else 0


def findings(options: argparse.Namespace) -> Iterator[Finding]:
    """Everything, one after the other; slow imports are tried in processes of their own meanwhile."""
    with Probes() as probes:
        yield python()
        yield from packages()
        yield from offers()
        yield machine()
        yield from store_findings(Path(options.store))
        yield data_finding(options.data)
        yield tracking(Path(options.store), options.mlflow)
        yield weights()
        yield from optional()
        yield from probes.findings()


def store_findings(root: Path) -> Iterator[Finding]:
    """Whether results can be written, and who writes some now. Makes nothing that is not there."""
    there = next(p for p in (root.absolute(), *root.absolute().parents) if p.exists())
    if root.exists():
        yield _open_store(root)
    elif os.access(there, os.W_OK):
        yield Finding("store", "ok", f"{root} is not there yet; the first run makes it")
    else:
        yield Finding("store", BROKEN, f"{root} cannot be made: {there} is not yours to write", "--store names another")
    free = shutil.disk_usage(there).free / 1e9
    state = BROKEN if free < LEAST_FREE_GB else "note" if free < FREE_GB else "ok"
    advice = (
        ""
        if state == "ok"
        else "`casl store gc` lists what no study needs; --store (make: STORE=) puts results elsewhere"
    )
    yield Finding("disk", state, f"{free:.1f} GB free for {root}", advice)


def _open_store(root: Path) -> Finding:
    from casl.runner.store import Store, strangers

    if strangers(root):
        return Finding("store", BROKEN, f"{root} is a folder of something else", "name another one with --store")
    try:
        store = Store(root, make=False)
        store.check_writable()
        names = store.names()
    except (CaslError, OSError) as error:
        return Finding("store", BROKEN, str(error).splitlines()[0], "see that the folder is whole and yours to write")
    leased = store.leases.root.iterdir() if store.leases.root.exists() else ()
    worked_on = sorted(p.name for p in leased if store.leases.is_held(p.name))
    said = f"{root}: {number_of(len(names), 'finished stage')}"
    if worked_on:
        said += f", {len(worked_on)} being worked on ({', '.join(worked_on[:3])}{' ...' if worked_on[3:] else ''})"
    return Finding("store", "ok", said)


def data_finding(path: str) -> Finding:
    """Whether a data set is sound, without decoding its images."""
    if not path:
        return Finding("data", "ok", "built-in scenes need none", "--data PATH checks a set of yours")
    from casl.stages.dataset import inspect

    try:
        report, _ = inspect(Path(path), decode=False)
    except CaslError as error:
        return Finding("data", BROKEN, str(error).splitlines()[0], f"`casl data check {path}` says more")
    if report.errors:
        more = f" and {len(report.errors) - 1} more" if report.errors[1:] else ""
        return Finding("data", BROKEN, f"{path}: {report.errors[0]}{more}", f"`casl data check {path}` lists them all")
    splits = ", ".join(sorted(report.counts))
    return Finding("data", "ok", f"{path}: {splits}; files and headers are sound", f"`casl data check {path}` decodes")


def _line(finding: Finding) -> str:
    advice = f"\n{'':22}{finding.todo}" if finding.todo else ""
    mark = coloured(MARKS[finding.state], COLOURS[finding.state])
    return f"{mark}  {finding.what:12}  {finding.said}{advice}"
