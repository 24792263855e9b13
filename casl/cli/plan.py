"""Verb `plan`: what a run would do, what it would cost, and why."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from casl.cli.study import open_study, part_options
from casl.errors import SpecError
from casl.runner.cost import Estimate, Spent, duration, estimate
from casl.runner.moved import by_kind, moved, plan_without_moved, unrecorded
from casl.runner.plan import Plan
from casl.study.opened import Study
from casl.words import noun, number_of

SLOWEST = 1e-6  # iterations a second, twelve days for one


def add(verbs: Any, study: argparse.ArgumentParser) -> None:
    """Verb `plan`."""
    plan = verbs.add_parser("plan", parents=[study], help="count what a run would do, its cost, and why")
    part_options(plan)
    plan.add_argument("--why", action="store_true", help="a line for every stage to run: why it has to")
    plan.add_argument("--json", action="store_true", help="everything, as JSON")
    plan.add_argument("--jobs", type=int, default=0, metavar="N", help="estimate for N stages at once")
    plan.add_argument(
        "--rate",
        type=float,
        metavar="IT/S",
        help="a device's iterations a second, where none was measured",
    )
    plan.add_argument(
        "--probe",
        type=_images,
        nargs="?",
        const=0,
        metavar="IMAGES",
        help="first try a few steps of every detector here, in whole batches or so many images, for the estimate",
    )
    plan.add_argument(
        "--rerun-moved", action="store_true", help="plan as if results of another version of the code were not there"
    )
    plan.set_defaults(command=plan_command)


def plan_command(options: argparse.Namespace) -> int:
    """Print what a run would do; changes nothing."""
    if options.rate is not None and not SLOWEST <= options.rate < math.inf:
        raise SpecError(
            f"--rate is a number of iterations a second above 0, {SLOWEST:g} at least; got {options.rate:g}"
        )
    if options.jobs < 0:
        raise SpecError(f"--jobs must not be negative, got {options.jobs}")
    study = open_study(options, make=False)
    plan = study.plan()
    gone: dict[str, list[str]] = {}
    if options.rerun_moved:
        plan, gone = plan_without_moved(lambda store: replace(study, store=store).plan(), study.store)
    tried: dict[str, dict[str, Any]] = {}
    if options.probe is not None:
        from casl.cli.probing import probe

        tried = probe(plan, study.store, options.probe or None)
    expected = estimate(plan, study.store, options.rate or 0.0, tried)
    jobs = options.jobs or default_jobs()
    if options.json:
        print(json.dumps(_everything(plan, study, expected, jobs, gone), indent=1))
        return 0
    print_counts(plan_counts(plan, study), study.heading)
    print_estimate(expected, jobs)
    if gone:
        print(f"{_work('moved', len(gone))} made by another version of the code, and from those: computed again")
    else:
        print_warnings(plan, study)
    if options.why:
        for name, why in _reasons(plan, study, gone).items():
            print(f"  {name}  {plan.nodes[name].iters or ''}  {why}")
    elif plan.todo:
        print("  --why says why each of them has to run")
    return 0


def _images(text: str) -> int:
    """Images that --probe tries a step with; argparse tells what is wrong with others."""
    try:
        count = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it takes a whole number, got {text!r}") from None
    if count < 1:
        raise argparse.ArgumentTypeError(f"it takes at least 1 image, or none for whole batches; got {count}")
    return count


def default_jobs() -> int:
    """Stages at once that a run would do here: one a GPU, or one a core."""
    from casl.runner.launch.local import visible_gpus

    return len(visible_gpus()) or len(os.sched_getaffinity(0))


def _reasons(plan: Plan, study: Study, gone: Mapping[str, list[str]]) -> dict[str, str]:
    from casl.runner.why import reasons

    return reasons(plan, study.store, gone) if plan.todo else {}


def _everything(
    plan: Plan, study: Study, expected: Estimate, jobs: int, gone: Mapping[str, list[str]]
) -> dict[str, Any]:
    why = _reasons(plan, study, gone)
    stages = [
        {
            "name": name,
            "kind": plan.nodes[name].stage.kind,
            "iterations": plan.nodes[name].iters,
            "seconds": round(expected.seconds[name], 3) if expected.basis[name] != "unknown" else None,
            "basis": expected.basis[name],
            "why": why[name],
            "needs": list(plan.nodes[name].needs),
            "feeds": [str(use) for use in plan.uses.get(name, ())],
        }
        for name in plan.todo
    ]
    return plan_counts(plan, study) | {
        "estimate": estimate_values(expected, jobs),
        "moved": gone or moved(plan, study.store),
        "unrecorded": len(unrecorded(plan, study.store)),
        "stages_to_run": stages,
    }


def estimate_values(expected: Estimate, jobs: int) -> dict[str, Any]:
    """An estimate as JSON values; seconds cover the stages whose rate is known."""
    return {
        "device_hours": round(expected.total_s / 3600, 4),
        "wall_seconds": round(expected.wall_s(jobs), 1),
        "critical_seconds": round(expected.critical_s, 1),
        "jobs": jobs,
        "basis": expected.counts,
    }


def print_estimate(expected: Estimate, jobs: int) -> None:
    """One line for people: how long, on what grounds, and what is not known."""
    if not expected.seconds:
        return
    unknown = expected.counts.get("unknown", 0)
    if unknown == len(expected.seconds):
        print("  estimate none: no rate was measured for such stages; --probe tries them here, --rate IT/S gives one")
        return
    grounds = ", ".join(f"{count} {basis}" for basis, count in expected.counts.items())
    least = "at least " if unknown else ""
    print(
        f"  estimate {least}{duration(expected.wall_s(jobs))} on {number_of(jobs, 'device')}, "
        f"{expected.total_s / 3600:,.2f} device-hours   ({grounds})"
    )


def print_warnings(plan: Plan, study: Study) -> None:
    """Results of code that changed since, and how many are too old to have recorded their code."""
    if gone := moved(plan, study.store):
        files = sorted({file for changed in gone.values() for file in changed})
        shown = ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")
        kinds = ", ".join(f"{count} {kind}" for kind, count in by_kind(gone).items())
        print(
            f"warning: {number_of(len(gone), 'result')} made by another version of the code ({kinds}): "
            f"{shown}; `--rerun-moved` computes them again",
            file=sys.stderr,
        )
    if old := unrecorded(plan, study.store):
        results = number_of(len(old), "result")
        print(f"  note: {results} from before sources were recorded; only the commit tells the code")


def print_spent(cost: Spent) -> None:
    """What finished stages took, for people."""
    print(f"  spent    {cost.shared / 3600:.3f} device-hours in all; a table with all that it shares:")
    for table, seconds in cost.tables.items():
        print(f"           {table:10} {seconds / 3600:.3f}")
    if cost.naive > cost.shared > 0:
        print(
            f"  saved    {(cost.naive - cost.shared) / 3600:.3f} device-hours by sharing: every experiment alone "
            f"{cost.naive / 3600:.3f}, equal stages once {cost.unique / 3600:.3f}"
        )


def plan_counts(plan: Plan, study: Study) -> dict[str, Any]:
    """Counts of a plan as JSON values; epochs are the paper's, 12 to 1x."""
    counts = plan.counts
    iterations = {"naive": counts.naive_iters, "unique": counts.unique_iters, "shared": counts.shared_iters}
    epochs = {"naive": counts.naive_epochs, "unique": counts.unique_epochs, "shared": counts.shared_epochs}
    todo = [plan.nodes[n] for n in plan.todo]
    method = [n for n in plan.nodes.values() if n.asked and n.stage.of_method]
    return {
        "tables": list(study.tables),
        "profile": study.profile.name,
        "data": study.profile.data.name,
        "seeds": study.profile.seeds,
        "cells": counts.cells,
        "stages": {
            "naive": sum(counts.naive_stages.values()),
            "unique": sum(counts.unique_stages.values()),
            "shared": len([n for n in plan.nodes.values() if n.stage.of_method]),
            "by_kind": {"naive": dict(counts.naive_stages), "unique": dict(counts.unique_stages)},
        },
        "iterations": iterations,
        "epochs": {name: round(length, 3) for name, length in epochs.items()},
        "done": {"stages": len([n for n in method if n.done])},
        "to_run": {
            "stages": len(todo),
            "data_and_starts": sum(not n.stage.of_method for n in todo),
            "iterations": sum(n.iters for n in todo),
        },
    }


def print_counts(counts: dict[str, Any], heading: str) -> None:
    """Print counts of a plan for people. heading: what its tables are called together."""
    stages, iterations, epochs = counts["stages"], counts["iterations"], counts["epochs"]
    print(f"{heading}: {number_of(counts['cells'], 'cell')}, profile {counts['profile']}, data {counts['data']}")
    for name, said in (
        ("naive", ""),
        ("unique", ""),
        ("shared", "   (trainings cut where they begin alike, each piece once)"),
    ):
        trained = f"{_iterations(iterations[name])}  {epochs[name]:8,g} {noun(epochs[name], 'epoch')}"
        print(f"{_work(name, stages[name])}  {trained}{said}")
    todo = counts["to_run"]
    others = todo["data_and_starts"]  # which the lines above leave out: they are no part of the method
    of_them = f"   ({todo['stages'] - others:,} of the shared, {others:,} data and starts)" if others else ""
    print(f"{_work('to run', todo['stages'])}  {_iterations(todo['iterations'])}{of_them}")


def _work(heading: str, stages: int) -> str:
    """The beginning of a line of counts, in columns."""
    return f"  {heading:8} {stages:5} {noun(stages, 'stage'):6}"


def _iterations(count: int) -> str:
    return f"{count:10,} {noun(count, 'iteration')}"
