"""Verb `reproduce`: make one number of a shipped report again, and compare."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from casl import catalog
from casl.cli.study import bits_option, mlflow_option, open_study
from casl.errors import SpecError, unknown
from casl.files import json_value
from casl.runner import bits
from casl.runner.store import Store
from casl.spec.profile import YES
from casl.spec.run import PORTABLE
from casl.study.from_path import file_digest, is_path

# Measured on the 25 values of Table 4 of `mini` at commit 8e903ac, seed 0, native bits: on the processor that
# made the report, and on another one with AVX-512 and AMX.
KERNELS_DIFFER = (
    "25 values of Table 4 (mini, a seed) on two processors differed by 1.7 AP (rms), at most 3.3, as seeds do"
)
FLAG = "crowds-are-objects"
CHANGES = ("batch-size", FLAG, "iters-1x", "provider", "rule", "set", "size")  # the options that a Profile notes
LARGEST = 1e12  # of a figure; a whole number may have any number of digits in JSON
UNKNOWN = "kernels not recorded"
VERSIONS = "Equal bits need the versions of constraints.txt"


def add(verbs: Any, where: argparse.ArgumentParser) -> None:
    """Verb `reproduce`."""
    again = verbs.add_parser("reproduce", parents=[where], help="make one number of a report again, and compare")
    mlflow_option(again)
    again.add_argument("file", metavar="TABLE.json", help="a report, such as reports/published/mini/table2.json")
    again.add_argument("row", help="heading of the row, as in the file")
    again.add_argument("column", help="heading of the column")
    again.add_argument("--metric", default="", help="where a place holds several numbers: which one")
    again.add_argument("--seed", type=int, metavar="N", help="which repetition (default the first one measured)")
    again.add_argument("--data", default="", help="the data set on disk that the report was made on")
    bits_option(again, "default as the report was made")
    again.set_defaults(command=reproduce_command)


def reproduce_command(options: argparse.Namespace) -> int:
    """Run what the number needs and compare; 1 if it is another."""
    table = _read(Path(options.file))
    profile = catalog.load("profile", table["profile"])
    if not options.data and table["data"] != profile.data.name:
        raise SpecError(f"{options.file} was made on data set {table['data']}: give its folder with --data.")
    _check_origin(table, options.file)
    cell = _cell(table, options.row, options.column, options.metric)
    shipped = _repetition(cell, options.seed)
    seed = int(shipped["seed"])
    made = str(shipped.get("kernels", ""))
    mode, said = bits_of(made, options.bits)
    print(said and f"note: {said}\n", end="", file=sys.stderr)
    arguments = [
        *("run", table["typed"], "--profile", table["profile"], "--seeds", str(seed + 1)),
        *("--cell", options.row, options.column, "--only-seed", str(seed)),
        *("--store", options.store, "--mlflow", options.mlflow, "--bits", mode),
        *(("--data", options.data) if options.data else ()),
        *(f"--{option}" if value == YES else f"--{option}={value}" for option, value in table["options"]),
    ]
    place = f"{table['name']}: {options.row}, {options.column} ({cell['metric']} {cell['figure']}), seed {seed}"
    asked = _asked_for(arguments)
    if shipped["name"] not in asked:
        print(f"{place}\n  not made again: this code asks for another stage than {shipped['name']}, which was shipped.")
        print("  `git checkout` the commit of the report, or make the report anew.")
        return 1
    if cell["figure"] not in asked[shipped["name"]]:
        known = ", ".join(sorted(asked[shipped["name"]]))
        print(f"{place}\n  not made again: of that stage this code shows {known}, no {cell['figure']}.")
        print("  `git checkout` the commit of the report, or make the report anew.")
        return 1
    there = Store(Path(options.store), make=False).run(shipped["name"])
    if there.left_out:
        raise SpecError(
            f"{options.store} has {shipped['name']} as numbers from elsewhere, which would only be compared with "
            "themselves: name a new store with --store to make it again."
        )
    if there.status == "done":
        when = f"{there.started[:16].replace('T', ' ')} UTC on {there.host}"
        print(
            f"note: {options.store} has it since {when}, so nothing is computed now; where the report was made from "
            "this store, only another one tells: --store again",
            file=sys.stderr,
        )
    _run(arguments)
    run = Store(Path(options.store)).run(shipped["name"])
    value = float(run.metrics[cell["figure"]])
    print(f"{place}\n  shipped  {shipped['value']!r}  ({made or UNKNOWN})")
    print(f"  here     {value!r}  ({run.kernels or UNKNOWN})")
    if value == shipped["value"]:
        print("  equal, bit for bit")
        return 0
    print(f"  differs by {value - shipped['value']:+.4g}\n  {expected(made, run.kernels)}.")
    return 1


def expected(shipped: str, here: str) -> str:
    """What difference to expect between numbers of two kinds of kernels (`Run.kernels`), as a sentence."""
    if shipped == here == PORTABLE:
        return f"{VERSIONS}; with these, another number from portable bits is worth an issue"
    if shipped and shipped == here and not shipped.startswith(bits.MIXED):
        return f"{VERSIONS}; with these, another number from the same processor is worth an issue"
    return f"Not like with like: other kernels add in another order. Measured: {KERNELS_DIFFER}"


def bits_of(made: str, asked: str) -> tuple[str, str]:
    """The bits to compute with, like those of the report unless others are asked for; a sentence if that cannot be."""
    if asked:
        return asked, ""
    if made != PORTABLE:
        return bits.NATIVE, ""
    lack = bits.lacking()
    return (bits.NATIVE, f"{lack}: the number was made so and is made here otherwise") if lack else (PORTABLE, "")


def _check_origin(table: dict[str, Any], file: str) -> None:
    """Refuse a file of Python that is not the one that the report was made from: it would be run.

    Raises:
        SpecError: it has other content, or the report does not say which.
    """
    word, wanted = table["typed"], table["sha256"]
    if not is_path(word) or wanted == file_digest(word) != "":
        return
    found = file_digest(word)
    there = f"has sha256 {found}" if found else "is not there, or cannot be read"
    raise SpecError(
        f"{file} was made from {word}, of sha256 {wanted or 'that it does not say'}; {word} here {there}.\n"
        "  it is not run, since a report may come from anybody: put the file of that content there, or look at\n"
        f"  the one that is here and make a report of it: casl run {shlex.quote(word)}"
    )


def _asked_for(arguments: Sequence[str]) -> dict[str, set[str]]:
    """The evaluations that a run would ask for, so that one of other code is told before anything is trained: name ->
    the figures of it that are shown."""
    study = open_study(_parsed(arguments))
    found: dict[str, set[str]] = {}
    for cell in (c for seeds in study.cells.values() for cells in seeds for c in cells):
        if cell.stage:
            found.setdefault(cell.stage.name, set()).add(cell.figure)
    return found


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    from casl.cli import parser  # which holds this verb too

    return parser().parse_args(arguments)


def _run(arguments: Sequence[str]) -> None:
    options = _parsed(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    if command(options):
        raise SpecError("a stage failed; nothing to compare. The lines above name its log.")


def _read(path: Path) -> dict[str, Any]:
    try:
        table = json_value(path.read_bytes())
        origin = table.get("origin", {})  # of a table that is not one of casl's own
        return {
            **{field: _word(table, field) for field in ("name", "profile", "data")},
            "typed": _word({"typed": table["name"], **origin}, "typed"),
            "sha256": str(origin.get("sha256", "")),
            "cells": [_sound(cell) for cell in table["cells"]],
            "options": _changes(table["options"]),
        }
    except FileNotFoundError as error:
        near = ", ".join(sorted(p.name for p in path.parent.glob("table*.json"))) or "none"
        raise SpecError(f"{path} does not exist; reports in that folder: {near}.") from error
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            f"{path} is not a report of this casl: {_why(error)}.\n"
            f"  wanted: a table's JSON, as `casl report` writes it now; in that folder: {_reports_beside(path)}."
        ) from error


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON, from line {error.lineno} on"
    return str(error) if isinstance(error, ValueError) else "it is JSON, but not that of a table"


def _reports_beside(path: Path) -> str:
    return ", ".join(sorted(p.name for p in path.parent.glob("table*.json") if p != path)) or "no others"


def _word(owner: dict[str, Any], field: str) -> str:
    """A text that becomes a word of a command line. Raises KeyError, TypeError or ValueError."""
    word = owner[field]
    if not isinstance(word, str) or word.startswith("-"):
        raise ValueError(f"its {field!r} is {word!r:.80}")
    return word


def _changes(options: Any) -> list[tuple[str, str]]:
    """What the command of a report changed in its profile, and nothing else that a command can be told.

    Raises:
        ValueError: something else.
    """
    for pair in options:
        option, value = pair if isinstance(pair, list) and len(pair) == 2 else (pair, None)
        if option not in CHANGES or not isinstance(value, str) or (value == YES) != (option == FLAG):
            raise ValueError(f"its 'options' hold {pair!r:.80}, and a profile is changed by {', '.join(CHANGES)} alone")
    return [(option, value) for option, value in options]


def _sound(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell that has what is read of it. Raises KeyError, TypeError or ValueError."""
    for field in ("row", "column", "metric", "figure", "status"):
        _check(field, cell[field], isinstance(cell[field], str))
    for repetition in cell["repetitions"]:
        seed, value, kernels = repetition["seed"], repetition["value"], repetition.get("kernels", "")
        _check("name", repetition["name"], isinstance(repetition["name"], str))
        _check("kernels", kernels, isinstance(kernels, str))
        _check("seed", seed, type(seed) is int and seed >= 0)
        _check("value", value, value is None or (type(value) in (int, float) and abs(value) <= LARGEST))
    return cell


def _check(field: str, value: Any, is_sound: bool) -> None:
    if not is_sound:
        raise ValueError(f"the {field!r} of a cell is {value!s:.80}")


def _cell(table: dict[str, Any], row: str, column: str, metric: str) -> dict[str, Any]:
    rows = list(dict.fromkeys(c["row"] for c in table["cells"]))
    if row not in rows:
        raise SpecError(unknown(f"row of {table['name']}", row, rows))
    columns = [c["column"] for c in table["cells"] if c["row"] == row]
    if column not in columns:
        raise SpecError(unknown(f"column of {table['name']} in row {row!r}", column, columns))
    here = [c for c in table["cells"] if (c["row"], c["column"]) == (row, column)]
    if metric and metric not in (metrics := [c["metric"] for c in here]):
        raise SpecError(unknown(f"metric of {row!r}, {column!r}", metric, metrics))
    found: dict[str, Any] = next(c for c in here if metric in ("", c["metric"]))
    return found


def _repetition(cell: dict[str, Any], seed: int | None) -> dict[str, Any]:
    measured = [r for r in cell["repetitions"] if r["value"] is not None]
    if not measured:
        raise SpecError(f"{cell['row']}, {cell['column']} was not measured in that report: {cell['status']}")
    if seed is None:
        return dict(measured[0])
    found = [r for r in measured if r["seed"] == seed]
    if not found:
        raise SpecError(f"seed {seed} was not measured; seeds there: {', '.join(str(r['seed']) for r in measured)}")
    return dict(found[0])
