"""`casl run claims --until decided --budget 3h`: seeds where a verdict is open, until all are decided or time is up."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from casl.cli.plan import default_jobs
from casl.cli.study import PART_OPTIONS, open_study, request_of
from casl.durations import seconds_of
from casl.errors import SpecError
from casl.runner.cost import estimate
from casl.runner.plan import outcomes
from casl.runner.schedule import Summary
from casl.spec.claim import Claim
from casl.words import number_of

if TYPE_CHECKING:
    from casl.report.spending import Decision
    from casl.report.table import Table

WORD, DECIDED = "claims", "decided"
EXAMPLE = "casl run claims --until decided --budget 3h"
MOST = 10  # seeds planned for, unless said otherwise

Run = Callable[[argparse.Namespace], dict[str, list[str]]]


def options_of(run: argparse.ArgumentParser) -> None:
    """Options of `run` for claims."""
    run.add_argument(
        "--until",
        default="",
        metavar="decided",
        help="with the word `claims` for TABLE: add seeds where a claim is open",
    )
    run.add_argument("--budget", default="", metavar="3h", help="of --until: no seed is begun that would take longer")
    run.add_argument(
        "--most", type=int, default=MOST, metavar="N", help=f"of --until: seeds planned for at most (default {MOST})"
    )


def refuse_alone(options: argparse.Namespace) -> None:
    """Refuse words that only --until heeds, where it was not given.

    Raises:
        SpecError: one of them was given; a run under a budget that nothing keeps would take as long as it likes.
    """
    given = [f"--{name}" for name, default in (("budget", ""), ("most", MOST)) if getattr(options, name) != default]
    given = [WORD] * (WORD in options.tables) + given
    if given:
        raise SpecError(f"{given[0]} goes with --until alone, which adds seeds where a claim is open:\n  {EXAMPLE}")


def decide(options: argparse.Namespace, run: Run) -> dict[str, Any]:
    """Run what open claims need, one seed more at a time.

    Args:
        run: runs what one study lacks, with the options of `casl run`; names of stages by how they ended.

    Returns:
        As `run`, all seeds together, and "claims": id -> verdict, "seeds": table -> seeds, "why": what ended it.
    """
    if options.until != DECIDED:
        raise SpecError(f"--until takes the word {DECIDED!r}, got {options.until!r:.80}:\n  {EXAMPLE}")
    if list(options.tables) != [WORD]:
        raise SpecError(f"seeds are added for all claims together: {EXAMPLE}")
    if not options.budget:
        raise SpecError(f"--until needs a time after which no seed is begun: {EXAMPLE}")
    if options.dry_run or options.detach or request_of(options).part:
        raise SpecError(f"--until looks at results of whole tables: not with --dry-run, --detach, {PART_OPTIONS}")
    if options.most < max(options.seeds, 2):
        raise SpecError(f"--most {options.most}: seeds planned for are at least 2 and at least --seeds")
    from casl.report.claims import registered

    claims = registered()
    until, open_claims = time.monotonic() + seconds_of(options.budget, "--budget"), claims
    seeds, count = dict.fromkeys(_named(claims), 0), max(options.seeds, 2)
    ended: dict[str, list[str]] = {"to_run": [], **vars(Summary())}
    decisions: list[Decision] = []
    while True:
        now = _with(options, _named(open_claims), count)
        if why := _too_long(now, until, count):
            break
        for how, names in run(now).items():
            ended.setdefault(how, []).extend(names)
        seeds |= dict.fromkeys(now.tables, count)
        if ended["failed"] or ended["stopped"]:
            why = "a stage failed" if ended["failed"] else "stopped"
            break
        decisions = _look(options, claims, count)
        open_claims = [d.verdict.claim for d in decisions if d.is_open]
        if not open_claims or count == options.most:
            most = f"at {number_of(count, 'seed')}, the most planned for"
            why = most if open_claims else "every claim that can be run is decided"
            break
        count += 1
    _say(decisions, seeds, why)
    judged = {d.verdict.claim.id: d.verdict.verdict for d in decisions}
    return {**ended, "claims": judged, "seeds": seeds, "why": why}


def _with(options: argparse.Namespace, tables: Sequence[str], seeds: int) -> argparse.Namespace:
    changed = copy(options)
    changed.tables, changed.seeds = list(tables), seeds
    return changed


def _named(claims: Sequence[Claim]) -> list[str]:
    """Tables that claims compare cells of, in order."""
    from casl.report.claims import tables_of

    return sorted(tables_of(claims), key=lambda name: (len(name), name))


def _too_long(options: argparse.Namespace, until: float, count: int) -> str:
    """Why the next seeds are not begun; "" if they are. What nothing tells the cost of is begun while time is left."""
    study = open_study(options)
    plan = study.plan()
    if not plan.todo:
        return ""
    needed = estimate(plan, study.store).wall_s(options.jobs or default_jobs())
    left = until - time.monotonic()
    if left > 0 and needed <= left:
        return ""
    asked = f"{number_of(count, 'seed')} would take about {needed / 60:.0f} min more"
    return f"{asked}, and {max(left, 0.0) / 60:.0f} min are left"


def _look(options: argparse.Namespace, claims: Sequence[Claim], count: int) -> list[Decision]:
    from casl.report.spending import level_of, look
    from casl.report.table import build_table

    study = open_study(_with(options, _named(claims), count))
    runs = outcomes(study.plan(), study.store)  # of a table that needs no more seeds the last ones are not run

    def tables(most: int) -> list[Table]:
        return [build_table(t, study.profile, study.cells[n][:most], runs, {}) for n, t in study.tables.items()]

    decisions = look(claims, tables, count, options.most)
    decided = sum(d.seeds > 0 for d in decisions)
    still = [d.verdict.claim.id for d in decisions if d.is_open]
    level = level_of(count, options.most)
    print(f"look at {number_of(count, 'seed')}, level {level:.2g}: {decided} decided, {len(still)} open")
    print("\n".join(f"  open: {name}" for name in still))
    return decisions


def _say(decisions: Sequence[Decision], seeds: Mapping[str, int], why: str) -> None:
    print(f"ended: {why}")
    for d in decisions:
        at = f", decided at {number_of(d.seeds, 'seed')}" if d.seeds else ""
        print(f"  {d.verdict.verdict}{at}: {d.verdict.claim.id}")
    if most := max(seeds.values(), default=0):
        print(f"`casl report all --seeds {most} --as-measured` shows the numbers; its own verdicts know of no looks")
