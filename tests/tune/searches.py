"""Searches for tests: the command as people run it, on the smallest profile."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from casl import catalog
from casl.cli import tune
from casl.cli.study import store_option
from casl.errors import CaslError
from casl.tune.request import SearchRequest
from casl.tune.space import Space
from casl.tune.storage import default_url, open_storage
from casl.tune.trials import Trials

TENTHS = Space(low=0.1, high=0.9, step=0.1)


def casl_tune(*arguments: str) -> int:
    """`casl tune` with the profile `nano`; errors as the command line prints them."""
    catalog.PROFILES.setdefault("nano", "tests.runner.stores:NANO")
    root = argparse.ArgumentParser()
    store = argparse.ArgumentParser(add_help=False)
    store_option(store)
    tune.add(root.add_subparsers(), store)
    try:
        options = root.parse_args(["tune", *arguments])
        return int(options.command(options))
    except CaslError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2


def trials(root: Path, name: str = "study", measures: str = "m", space: Space = TENTHS, **changes: Any) -> Trials:
    """A study in an SQLite file, of tenths unless another space is given."""
    request = SearchRequest(**({"batch": 2, "trials": 9} | changes))
    return Trials(open_storage(default_url(root)), name, root / "studies" / "s", request, space, measures, {})


def result(reports: Path, profile: str = "nano", argument: str = "finetune.lr") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((reports / profile / f"search-{argument}.json").read_text())
    return found


if __name__ == "__main__":
    sys.exit(casl_tune(*sys.argv[1:]))
