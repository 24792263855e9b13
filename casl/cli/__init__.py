"""Command line, one file a group of verbs.

What a person sets by environment variables is read here, but for PROFILE of notebooks (casl/look/compare.py) and
CUDA_VISIBLE_DEVICES (casl/runner/launch/local.py). The other variables that casl/runner and casl/tracking read are
set by launchers, or by these rooms themselves for the libraries and processes that they start.

Exit codes are in docs/cli.md, which is made by casl/cli/reference.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from casl.cli import (
    complete,
    convert,
    costs,
    data,
    doctor,
    label,
    plan,
    predict,
    report,
    reproduce,
    run,
    score,
    show,
    store,
    tune,
    ui,
)
from casl.cli.boundary import bounded
from casl.cli.parser import Parser, Version
from casl.cli.study import store_option, study_options

DESCRIPTION = """Class-agnostic semi-supervised learning for detection and segmentation, and its ablations.

Exit codes: 0 all is well; 1 something in the work is wrong (failed stages, errors in data, a damaged store);
2 the command, a spec, the data, the store or this machine is wrong, so the work was not begun or not finished;
130 stopped with Ctrl-C; 141 stopped, since nothing read the output any more."""

# verbs that change nothing
READS = (
    "plan",
    "costs",
    "ui",
    "show",
    "score",
    "doctor",
    "complete",
    "store ls",
    "store explain",
    "store verify",
    "data check",
)


def parser() -> Parser:
    """The whole command line."""
    root = Parser(prog="casl", description=DESCRIPTION)
    root.add_argument("--version", action=Version, help="print the version and stop")
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")
    study = study_options()
    where = argparse.ArgumentParser(add_help=False)
    store_option(where)
    plan.add(verbs, study)
    run.add(verbs, study)
    report.add(verbs, study)
    reproduce.add(verbs, where)
    costs.add(verbs, study)
    tune.add(verbs, where)
    ui.add(verbs, where)
    show.add(verbs, where)
    predict.add(verbs, where)
    label.add(verbs, where)
    convert.add(verbs, where)
    store.add(verbs, where)
    data.add(verbs)
    score.add(verbs)
    doctor.add(verbs, where)
    complete.add(verbs)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; see casl.cli.boundary for how it ends."""
    options = argparse.Namespace(verb="", what="")
    return bounded(lambda: _command(arguments, options), lambda: not _only_reads(options))


def _command(arguments: Sequence[str] | None, options: argparse.Namespace) -> int:
    """options: where what was typed is put."""
    root = parser()
    complete.answer_shell(root)
    root.parse_args(arguments, options)
    return int(options.command(options))


def _only_reads(options: argparse.Namespace) -> bool:
    """Whether a command changes nothing, so that there is nothing that it could go on from."""
    return options.verb in READS or f"{options.verb} {options.what}" in READS or getattr(options, "dry_run", False)
