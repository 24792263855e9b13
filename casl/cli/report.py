"""Verb `report`: tables from what is in the store."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casl.cli.further import Further
from casl.cli.reports import folder_of, pages_of, place_of, reports_options, runs_shown, where_of
from casl.cli.story import Storyteller
from casl.cli.study import mlflow_option, open_study
from casl.cli.workers import next_command
from casl.errors import StoreError
from casl.runner.gc import remember_roots
from casl.runner.plan import outcomes
from casl.runner.store import need_store
from casl.spec.ablation import Cell
from casl.spec.run import Run
from casl.study.opened import Study

if TYPE_CHECKING:
    from casl.report.setting import Setting
    from casl.report.table import Table
    from casl.report.today import Today
    from casl.report.written import Write
    from casl.tracking.mirror import Mirror


def add(verbs: Any, study: argparse.ArgumentParser) -> None:
    """Verb `report`."""
    report = verbs.add_parser("report", parents=[study], help="write tables from what is in the store")
    mlflow_option(report)
    reports_options(report)
    report.add_argument(
        "--as-measured", action="store_true", help="write each table with as many seeds as all of its cells have"
    )
    report.add_argument(
        "--paper",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="print the paper's numbers beside ours (default: not in a small profile on a data set on disk)",
    )
    report.add_argument(
        "--per-class", action="store_true", help="also write classes-TABLE.*: AP of each class in every cell of AP"
    )
    report.add_argument(
        "--errors",
        action="store_true",
        help="also write errors-TABLE.*: what kinds of errors cost each cell of AP how much",
    )
    report.add_argument(
        "--curves", action="store_true", help="also write curves-TABLE.*: the loss of every training behind a table"
    )
    report.add_argument(
        "--licence",
        default="",
        metavar="TEXT",
        help="of all photographs of the data set, for --publish where its annotations name none: 'MIT https://...'",
    )
    report.add_argument("--json", action="store_true", help="print what was written, and counts of cells, as JSON")
    report.set_defaults(command=report_command)


def report_command(options: argparse.Namespace) -> int:
    """Write tables from the store, and the index and claims of their folder; cells without a result say why.

    Pages that are there as they would be written stay, and are named like the others. 1 where nothing is measured.
    """
    from casl.report.labels import write_labels
    from casl.report.setting import Setting
    from casl.report.today import Today
    from casl.report.written import anew, renew

    need_store(Path(options.store))
    if options.licence:
        from casl.stages.licence import check_stated

        check_stated(options.licence)
    study = open_study(options)
    mirror = _mirror(options, study)
    plan = study.plan()
    try:
        remember_roots(study.store, study.name, plan)
    except StoreError as error:  # a store that can only be read is never cleaned up either
        print(f"note: the store does not remember this study: {error}", file=sys.stderr)
    runs = outcomes(plan, study.store)
    folder = folder_of(options, study.profile, study.store)
    write = anew if options.publish else renew  # what is shipped holds pages and nothing about them
    tables = _tables(options, study, runs, mirror)
    pages = _Pages(study, runs, folder, write, Setting(where_of(options), pages_of(options)))
    wanted = {"classes": options.per_class, "errors": options.errors, "curves": options.curves}
    written = [path for table in tables for path in pages.of_table(table, **wanted)]
    if "all" in options.tables:
        written += write_labels(runs, folder, study.profile.small, write)
    tell = Storyteller(study, folder, write, for_everyone=options.publish, licence=options.licence)
    today = Today(None if options.set else study.profile)  # one value of many cells is no other profile
    written += pages.of_folder(mirror, tell, today)
    if options.json:
        counts = {t.name: {"measured": t.measured, "measurable": t.measurable} for t in tables}
        print(json.dumps({"files": [str(path) for path in written], "cells": counts}, indent=1))
    else:
        print("\n".join(map(str, written)))
    status = _unmeasured(tables, options)
    if not status and not options.json:  # not on stdout, which lists files
        print(f"next     open {folder / 'index.html'} in a browser; {runs_shown(options)}", file=sys.stderr)
    return status


def _unmeasured(tables: Sequence[Table], options: argparse.Namespace) -> int:
    """1, after a sentence with the command that measures, where no cell that is to be measured is; else 0."""
    from casl.report.index import states

    cells = [cell for table in tables for cell in table.cells]
    if any(cell.status in ("done", "partial") for cell in cells) or not any(table.measurable for table in tables):
        return 0
    names = ", ".join(table.name for table in tables)
    said = f"nothing of {names} is measured: {states(cells)}. The pages say why; this runs what is missing:"
    print(f"{said}\n  {next_command('run', options)}", file=sys.stderr)
    return 1


@dataclass(frozen=True)
class _Pages:
    """The pages of a command. runs: what is known of the study's stages. write: whether always, or only where a page is
    another. setting: of pages that are made from the store now, of which none is of older code."""

    study: Study
    runs: Mapping[str, Run]
    folder: Path
    write: Write
    setting: Setting

    @cached_property
    def further(self) -> Further:
        return Further(self.study.store, self.runs, self.study.data_folders)

    def of_table(self, table: Table, *, classes: bool, errors: bool, curves: bool) -> list[Path]:
        """A table with the recall of its labelers and warmups; AP of classes, errors, curves if asked for."""
        from casl.report.curves_page import write_curves
        from casl.report.error_kinds import write_errors
        from casl.report.per_class import write_classes
        from casl.report.recall import recall_lines
        from casl.report.render import write_table

        further, folder = self.further, self.folder
        measured = {c.stage.name: c for cells in self.study.cells[table.name] for c in cells if c.stage}
        recall = recall_lines(table, lambda name: further.recall(measured[name]))
        by_class = write_classes(table, lambda name: further.by_class(measured[name]), folder) if classes else []
        kinds = write_errors(table, lambda name: further.errors(measured[name]), folder) if errors else []
        stages = {name: cell.measurement for name, cell in measured.items()}
        drawn = write_curves(table, stages, self.runs, folder, self.write) if curves else []
        whole = write_table(table, folder, recall, self.write, self.setting)
        return whole + by_class + kinds + drawn  # the table is written last, since it links what is there

    def of_folder(self, mirror: Mirror, tell: Storyteller, today: Today) -> list[Path]:
        """Story, index and claims from all tables of the folder, so that all say the same; what is unreadable is said.

        Args:
            today: to tell which of those tables are of older code.
        """
        from casl.report.claims import registered
        from casl.report.index import refresh_index
        from casl.report.stored import stored_tables

        said: dict[str, None] = {}

        def read() -> list[Table]:
            run_id = mirror.run_id if self.setting.mlflow else lambda _: None
            tables, unread = stored_tables(self.folder, self.study.store.folder, run_id)
            said.update(dict.fromkeys(unread))
            return tables

        setting = replace(self.setting, today=today)
        written = refresh_index(registered(), self.folder, read, self.write, tell, setting)
        print(*(f"note: {line}\n" for line in said), sep="", end="", file=sys.stderr)
        return written


def _mirror(options: argparse.Namespace, study: Study) -> Mirror:
    from casl.tracking.mirror import Mirror

    return Mirror(study.store.root, options.mlflow or None, study.experiment)


def _tables(options: argparse.Namespace, study: Study, runs: Mapping[str, Run], mirror: Mirror) -> list[Table]:
    """The tables that were asked for, as their pages are to show them."""
    from casl.report.paper import joined

    ids = {} if options.publish else {n: i for n in runs if (i := mirror.run_id(n))}
    found = []
    for name, ablation in study.tables.items():
        cells = _measured(study.cells[name], runs) if options.as_measured else study.cells[name]
        table = joined(ablation, study.profile, cells, runs, ids, options.paper)
        found.append(replace(table, folder=place_of(options, study.profile)))
    return found


def _measured(seeds: Sequence[tuple[Cell, ...]], runs: Mapping[str, Run]) -> list[tuple[Cell, ...]]:
    """The first seeds that are measured in every cell, at least one seed."""
    whole = [all(c.stage is None or runs[c.stage.name].status == "done" for c in cells) for cells in seeds]
    return list(seeds[: max(1, whole.index(False) if False in whole else len(seeds))])
