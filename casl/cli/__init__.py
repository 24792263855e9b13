"""Command line, one file a group of verbs. The only room that reads environment variables.

Exit codes are in docs/cli.md, which is made by casl/cli/reference.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from casl.cli import browse, complete, convert, data, doctor, plan, predict, report, reproduce, run, score, store, tune
from casl.cli.parser import WRONG, Parser, Version
from casl.cli.study import store_option, study_options
from casl.errors import CaslError

DESCRIPTION = """Class-agnostic semi-supervised learning for detection and segmentation, and its ablations.

Exit codes: 0 all is well; 1 something in the work is wrong (failed stages, errors in data, a damaged store);
2 the command, a spec, the data or the store is wrong and nothing was started; 130 stopped with Ctrl-C."""


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
    tune.add(verbs, where)
    browse.add(verbs, where)
    predict.add(verbs, where)
    convert.add(verbs, where)
    store.add(verbs, where)
    data.add(verbs)
    score.add(verbs)
    doctor.add(verbs, where)
    complete.add(verbs)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors of the user's are printed without a traceback."""
    root = parser()
    complete.answer_shell(root)
    try:
        options = root.parse_args(arguments)
        return int(options.command(options))
    except CaslError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("\nstopped; repeat the command to go on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # piped into head
        return 0
