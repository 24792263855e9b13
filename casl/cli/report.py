"""Verb `report`: tables from what is in the store."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casl import catalog
from casl.cli.places import claim_reports
from casl.cli.study import open_study
from casl.errors import StoreError
from casl.runner.gc import remember_roots
from casl.runner.plan import outcomes
from casl.spec.ablation import Cell
from casl.spec.run import Run


def add(verbs: Any, study: argparse.ArgumentParser) -> None:
    """Verb `report`."""
    report = verbs.add_parser("report", parents=[study], help="write tables from what is in the store")
    report.add_argument("--reports", default="reports", help="folder for reports (default reports)")
    report.add_argument(
        "--as-measured", action="store_true", help="write each table with as many seeds as all of its cells have"
    )
    report.add_argument("--json", action="store_true", help="print what was written, and counts of cells, as JSON")
    report.set_defaults(command=report_command)


def report_command(options: argparse.Namespace) -> int:
    """Write tables from the store; works at any time, cells without a result say why."""
    from casl.report.index import write_index
    from casl.report.labels import write_labels
    from casl.report.render import write_table
    from casl.report.table import build_table
    from casl.tracking.mirror import Mirror

    study = open_study(options)
    mirror = Mirror(study.store.root, options.mlflow or None, study.experiment)
    plan = study.plan()
    try:
        remember_roots(study.store, study.name, plan)
    except StoreError as error:  # a store that can only be read is never cleaned up either
        print(f"note: the store does not remember this study: {error}", file=sys.stderr)
    runs = outcomes(plan, study.store)
    ids = {n: i for n in runs if (i := mirror.run_id(n))}
    folder = Path(options.reports) / study.profile.folder
    claim_reports(folder, study.profile, study.store.root)
    cells = {n: _measured(c, runs) if options.as_measured else c for n, c in study.cells.items()}
    tables = [build_table(a, study.profile, cells[n], runs, ids) for n, a in study.tables.items()]
    written = [path for table in tables for path in write_table(table, folder)]
    if "all" in options.tables:
        claims = [claim for name in catalog.CLAIMS for claim in catalog.load("claims", name)]
        written += write_labels(runs, folder, study.profile.small)
        written += write_index(tables, claims, folder)
    if options.json:
        counts = {t.name: {"measured": t.measured, "measurable": t.measurable} for t in tables}
        print(json.dumps({"files": [str(path) for path in written], "cells": counts}, indent=1))
        return 0
    print("\n".join(map(str, written)))
    return 0


def _measured(seeds: list[tuple[Cell, ...]], runs: Mapping[str, Run]) -> list[tuple[Cell, ...]]:
    """The first seeds that are measured in every cell, at least one seed."""
    whole = [all(c.stage is None or runs[c.stage.name].status == "done" for c in cells) for cells in seeds]
    return seeds[: max(1, whole.index(False) if False in whole else len(seeds))]
