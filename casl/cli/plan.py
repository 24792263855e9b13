"""Verb `plan`: what a run would do, and why."""

from __future__ import annotations

import argparse
import json
from typing import Any

from casl.cli.study import Study, open_study
from casl.runner.plan import DATA_KINDS, Plan


def add(verbs: Any, study: argparse.ArgumentParser) -> None:
    """Verb `plan`."""
    plan = verbs.add_parser("plan", parents=[study], help="count what a run would do, and why")
    plan.add_argument("--json", action="store_true", help="counts only, as JSON")
    plan.set_defaults(command=plan_command)


def plan_command(options: argparse.Namespace) -> int:
    """Count what a run would do."""
    from casl.runner.why import reasons

    study = open_study(options)
    plan = study.plan()
    counts = plan_counts(plan, study)
    if options.json:
        print(json.dumps(counts, indent=1))
        return 0
    print_counts(counts)
    for name, why in reasons(plan, study.store).items() if plan.todo else ():
        print(f"  {name}  {plan.nodes[name].iters or ''}  {why}")
    return 0


def plan_counts(plan: Plan, study: Study) -> dict[str, Any]:
    """Counts of a plan as JSON values; epochs are the paper's, 12 to 1x."""
    counts = plan.counts
    iterations = {"naive": counts.naive_iters, "unique": counts.unique_iters, "shared": counts.shared_iters}
    epochs = {"naive": counts.naive_epochs, "unique": counts.unique_epochs, "shared": counts.shared_epochs}
    todo = [plan.nodes[n] for n in plan.todo]
    method = [n for n in plan.nodes.values() if n.asked and n.stage.kind not in DATA_KINDS]
    return {
        "tables": list(study.tables),
        "profile": study.profile.name,
        "data": study.profile.data.name,
        "seeds": study.profile.seeds,
        "cells": counts.cells,
        "stages": {
            "naive": sum(counts.naive_stages.values()),
            "unique": sum(counts.unique_stages.values()),
            "shared": len([n for n in plan.nodes.values() if n.stage.kind not in DATA_KINDS]),
            "by_kind": {"naive": dict(counts.naive_stages), "unique": dict(counts.unique_stages)},
        },
        "iterations": iterations,
        "epochs": {name: round(length, 3) for name, length in epochs.items()},
        "done": {"stages": len([n for n in method if n.done])},
        "to_run": {"stages": len(todo), "iterations": sum(n.iters for n in todo)},
    }


def print_counts(counts: dict[str, Any]) -> None:
    """The same for people."""
    stages, iterations, epochs = counts["stages"], counts["iterations"], counts["epochs"]
    print(f"{', '.join(counts['tables'])}: {counts['cells']} cells, profile {counts['profile']}, data {counts['data']}")
    print(f"  naive    {stages['naive']:5} stages  {iterations['naive']:10,} iterations  {epochs['naive']:8,g} epochs")
    print(
        f"  unique   {stages['unique']:5} stages  {iterations['unique']:10,} iterations  {epochs['unique']:8,g} epochs"
    )
    print(
        f"  shared   {stages['shared']:5} stages  {iterations['shared']:10,} iterations  {epochs['shared']:8,g} epochs"
        "   (common beginnings trained once)"
    )
    print(f"  to run   {counts['to_run']['stages']:5} stages  {counts['to_run']['iterations']:10,} iterations")
