"""Options that verbs of `data` share, checked before anything is read."""

from __future__ import annotations

import argparse
from pathlib import Path

from casl.cli.plan import default_jobs
from casl.errors import SpecError

MOST_JOBS = 10_000  # as of `casl run`


def jobs_of(options: argparse.Namespace) -> int:
    """How many threads or processes read: what --jobs says, or one a core where it is 0.

    Raises:
        SpecError: it is negative, or more than any machine has.
    """
    if not 0 <= options.jobs <= MOST_JOBS:
        bound = "least 0" if options.jobs < 0 else f"most {MOST_JOBS:,}"
        raise SpecError(f"--jobs must be at {bound}, got {options.jobs}")
    return options.jobs or default_jobs()


def place(text: str, named: str) -> Path:
    """The file or folder that an argument names.

    named: the argument, for the error: "--out".

    Raises:
        SpecError: the text is empty, as that of a variable of the shell that is not set, and would mean the working
            folder.
    """
    if not text:
        raise SpecError(f"{named} is empty; name a folder, or write . for the one you are in.")
    return Path(text)
