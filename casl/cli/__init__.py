"""Command line, one file a group of verbs. The only room that reads environment variables.

Exit codes: 0 all is well; 1 some stages failed, or `data check` found errors; 2 the command, a spec, the data or the
store is wrong and nothing was started; 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from casl.cli import browse, data, plan, report, run, score
from casl.cli import store as store_verbs
from casl.cli.study import store_option, study_options
from casl.errors import CaslError


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(prog="casl", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")
    study = study_options()
    store = argparse.ArgumentParser(add_help=False)
    store_option(store)
    plan.add(verbs, study)
    run.add(verbs, study)
    report.add(verbs, study)
    browse.add(verbs, store)
    store_verbs.add(verbs, store)
    data.add(verbs)
    score.add(verbs)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors of the user's are printed without a traceback."""
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except CaslError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; repeat the command to go on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # piped into head
        return 0
