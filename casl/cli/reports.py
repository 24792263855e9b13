"""Where the reports of a command go, and where links in them lead: options of `report` and `tune`.

<reports>/<profile>/             what a command writes by default, with links to the runs behind the numbers
<reports>/published/<profile>/   what is shipped, written with --publish and never without; no links to runs
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from casl.errors import SpecError
from casl.runner.store import Store
from casl.spec.profile import Profile
from casl.study.places import claim_reports
from casl.study.request import STORE
from casl.tracking.server import PORT

if TYPE_CHECKING:
    from casl.report.commands import Where

PUBLISHED = "published"


def reports_options(parser: argparse.ArgumentParser) -> None:
    """Options for where reports go."""
    parser.add_argument("--reports", default="reports", help="folder for reports (default reports)")
    parser.add_argument(
        "--publish",
        action="store_true",
        help=f"write what is shipped: into the folder {PUBLISHED} of the reports, without links to runs",
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"of `casl ui`, for links to runs (default {PORT})")


def check_port(port: int) -> None:
    """Refuse a number that no port has."""
    if not 0 < port < 65536:
        raise SpecError(f"--port is a number from 1 to 65535, got {port}")


def folder_of(options: argparse.Namespace, profile: Profile, store: Store) -> Path:
    """The folder for the reports of a profile, which from now on says which data it is about.

    Raises:
        SpecError: links in it could lead nowhere; it would lie among what is published, and --publish was not given.
        DataError: it holds reports of another data set.
    """
    check_port(options.port)
    folder = Path(options.reports) / place_of(options, profile)
    if not options.publish and PUBLISHED in folder.parts[-2:]:
        advice = "write there with --publish, or choose another folder: --reports FOLDER."
        raise SpecError(f"{folder} is for what is published.\n  {advice}")
    claim_reports(folder, profile, store.root)
    return folder


def place_of(options: argparse.Namespace, profile: Profile) -> str:
    """The same folder within that of all reports."""
    return f"{PUBLISHED}/{profile.folder}" if options.publish else profile.folder


def where_of(options: argparse.Namespace) -> Where:
    """The folders that commands on a page name; what is shipped is made again in the usual ones."""
    from casl.report.commands import USUAL, Where

    return USUAL if options.publish else Where(options.store, options.reports)


def pages_of(options: argparse.Namespace) -> str:
    """Address that links to runs begin with; "" where no page may have one."""
    from casl.tracking.server import pages

    return "" if options.publish else pages(options.mlflow, options.port)


def runs_shown(options: argparse.Namespace) -> str:
    """Where people see the runs behind a report, in words, without a database's address, which may hold a password."""
    from casl.tracking.server import is_server, pages

    if is_server(options.mlflow):
        return f"the runs are at {pages(options.mlflow, options.port)}"
    command = ["casl", "ui", *(["--store", options.store] if options.store != STORE else [])]
    command += ["--port", str(options.port)] if options.port != PORT else []
    also = " with the same --mlflow" if options.mlflow else ""
    return f"`{shlex.join(command)}`{also} shows the runs"
