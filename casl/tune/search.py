"""The search: take a cohort of trials, run their stages step by step, judge, write down, until there are enough."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from casl.errors import SpecError
from casl.runner.plan import Plan, make_plan
from casl.runner.store import Store
from casl.spec.ablation import Cell
from casl.spec.run import PREDICTIONS
from casl.spec.search import FINAL, PROXY, WARMUP, Trial, spoken
from casl.spec.stage import Stage
from casl.tune.question import Chain, Labels, Question, label_figures, stages_of
from casl.tune.space import parse
from casl.tune.trials import Trials

ROLES = {PROXY: (), WARMUP: (WARMUP,), FINAL: (WARMUP, FINAL)}  # evaluations behind each objective
STARTUP = 5  # others needed before a median means something, as in Optuna


@dataclass(frozen=True)
class Tools:
    """What a search works with.

    work: runs what is missing of a plan. told: called after each cohort. say: prints one line.
    """

    store: Store
    labels: Labels
    work: Callable[[Plan], None]
    told: Callable[[], None]
    say: Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """A trial being worked on, and the stages behind it, one chain a seed."""

    trial: Trial
    chains: Sequence[Chain]


def search(trials: Trials, question: Question, pruner: str, tools: Tools, timeout_s: float) -> None:
    """Work until the study has as many trials as it may have, or all values are taken.

    Args:
        pruner: one of casl.spec.search.PRUNERS.
        timeout_s: begin no cohort after this time; 0 for none. One that is under way is finished.
    """
    began = time.monotonic()
    with trials.working() as me:
        while taken := trials.take(me, new=not timeout_s or time.monotonic() - began < timeout_s):
            _Cohort(trials, question, pruner, tools).run(taken)
            tools.told()
            numbers = {one.number for one in taken}
            if all(t.state == "failed" for t in trials.all() if t.number in numbers):
                tools.say("every trial of these failed; nothing more is begun. Repeating the command tries them again")
                return


class _Cohort:
    """Trials that are run and judged together."""

    def __init__(self, trials: Trials, question: Question, pruner: str, tools: Tools) -> None:
        self.trials, self.question, self.pruner, self.tools = trials, question, pruner, tools

    def run(self, taken: Sequence[Trial]) -> None:
        question, argument = self.question, self.question.argument
        values = ", ".join(spoken(t.value) for t in taken)
        self.tools.say(f"trials {taken[0].number}–{taken[-1].number}: {argument.name} {values}")
        alive = [Candidate(t, question.chains(parse(argument, t.value))) for t in taken]
        for one in alive:
            stages = stages_of(one.chains, question.objective)
            self.trials.note(one.trial.number, "stages", {role: s.name for role, s in stages.items()})
        self._need_predictions(alive)
        alive = self._filter(self._have(alive, lambda chain: [s for s in (chain.scoring, chain.labels) if s]))
        for step in self._steps(alive):
            alive = self._rung(step, alive)
        roles = ROLES[question.objective]
        self._finish(self._have(alive, lambda chain: [s for role in roles if (s := chain.measured(role))]))

    def _need_predictions(self, alive: Sequence[Candidate]) -> None:
        """
        Raises:
            SpecError: the store has a labeler's evaluation as numbers alone, and F1 of labels needs its predictions.
        """
        store = self.tools.store
        for name in (chain.scoring.name for one in alive for chain in one.chains if chain.scoring):
            if PREDICTIONS in store.run(name).left_out:
                raise SpecError(
                    f"{store.root} has {name} as numbers from elsewhere, without the predictions that F1 of held-out "
                    "labels is counted on: name a new store with --store."
                )

    def _steps(self, alive: Sequence[Candidate]) -> list[int]:
        if self.pruner == "none" or self.question.objective == PROXY:
            return []
        return sorted({k for one in alive for chain in one.chains for k in chain.rungs})

    def _filter(self, alive: list[Candidate]) -> list[Candidate]:
        """Proxy and counts at each trial's threshold; a trial without any label ends here."""
        kept = []
        for one in alive:
            figures = label_figures(one.chains, self.tools.labels)
            self.trials.note(one.trial.number, "figures", figures)
            if 0 in figures.get("labels", ()):
                self._end(one, "pruned", f"no label scores above {spoken(one.chains[0].threshold)}")
            else:
                kept.append(one)
        return kept

    def _rung(self, step: int, alive: list[Candidate]) -> list[Candidate]:
        """Warm up to a rung, then end the trials that did badly there."""
        alive = self._have(alive, lambda chain: [chain.rungs[step]] if step in chain.rungs else [])
        shown = [one for one in alive if all(step in c.rungs for c in one.chains)]
        for one in shown:
            self.trials.report(one.trial.number, step, [self._figure(c.rungs[step]) for c in one.chains])
        known = self.trials.all()
        cohorts = {one.trial.cohort for one in shown}
        judged = {t.number: t for t in known if t.cohort in cohorts and step in t.rungs}  # also those that ended here
        out = losers(self.pruner, step, judged, known)
        for one in shown:
            if one.trial.number in out:
                self._end(one, "pruned", f"warmup behind the others at {step}x")
        return [one for one in alive if one.trial.number not in out]

    def _finish(self, alive: list[Candidate]) -> None:
        objective = self.question.objective
        for one in alive:
            figures = label_figures(one.chains, self.tools.labels)
            for role in ROLES[objective]:
                if stages := [s for c in one.chains if (s := c.measured(role))]:
                    figures[role] = [self._figure(s, role) for s in stages]
            self.trials.note(one.trial.number, "figures", figures)
            self._end(one, "done", objective=sum(figures[objective]) / len(figures[objective]))

    def _figure(self, stage: Stage, role: str = WARMUP) -> float:
        """A figure of a finished evaluation; of the cell's own metric, the one that the cell shows."""
        name = self.question.cells[0].figure if role == FINAL else "AP"
        return float(self.tools.store.run(stage.name).metrics[name])

    def _end(self, one: Candidate, state: str, reason: str = "", objective: float | None = None) -> None:
        self.trials.end(one.trial.number, state, objective, reason)
        result = f"{objective:.2f}" if objective is not None else reason
        self.tools.say(f"  {self.question.argument.name} {spoken(one.trial.value)}: {state}, {result}")

    def _have(self, alive: list[Candidate], wanted: Callable[[Chain], Sequence[Stage]]) -> list[Candidate]:
        """Run what is missing of some stages of every trial; trials whose stages fail end here."""
        name, store = self.question.argument.name, self.tools.store
        stages = {one.trial.number: [s for c in one.chains for s in wanted(c)] for one in alive}
        cells = [
            Cell(f"{name} {spoken(one.trial.value)}", stage.name, stage.metric, stage)
            for one in alive
            for chain in one.chains
            for stage in chain.evaluations()
        ]
        plan = _needed(make_plan({"search": cells}, store), {s.name for some in stages.values() for s in some})
        if plan.todo:
            self.tools.work(plan)
        kept = []
        for one in alive:
            if failed := [s for s in stages[one.trial.number] if not store.is_done(s.name)]:
                self._end(one, "failed", self._why(failed[0], plan))
            else:
                kept.append(one)
        return kept

    def _why(self, stage: Stage, plan: Plan) -> str:
        """Why a stage of a trial was not done: the first failure on the way to it, shared beginnings included."""
        mine = _needed(plan, {stage.name}).nodes
        runs = [self.tools.store.run(name) for name in mine]
        return next((f"{r.name}: {r.error}" for r in runs if r.status == "failed"), f"{stage.name} was not done")


def losers(pruner: str, step: int, cohort: Mapping[int, Trial], all_trials: Sequence[Trial]) -> list[int]:
    """Numbers of the trials that go no further.

    Optuna's pruners judge one trial when it asks, and SuccessiveHalvingPruner loses a verdict if killed between its two
    writes. Here a verdict depends on what the whole cohort showed, so neither the order in which stages end nor a kill
    between two verdicts changes any.

    Args:
        pruner: "none"; "median", which stops what is below the median of all others at this rung, once there are five;
            "halving", which keeps the better half of the cohort, rounded up.
        cohort: number -> trial, all that came to this rung together, also those whose verdict was carried out already.
        all_trials: of the study, the cohort included.
    """
    shown = {t.number: fmean(t.rungs[step]) for t in all_trials if step in t.rungs}
    if pruner == "median":
        others = {n: [v for m, v in shown.items() if m != n] for n in cohort}
        return [n for n in cohort if len(others[n]) >= STARTUP and shown[n] < median(others[n])]
    if pruner == "halving":
        best_first = sorted(cohort, key=lambda n: (-shown[n], n))
        return sorted(best_first[math.ceil(len(cohort) / 2) :])
    return []


def _needed(plan: Plan, names: set[str]) -> Plan:
    """The part of a plan that some of its stages need."""
    kept, wanted = {}, set(names)
    for name, node in reversed(list(plan.nodes.items())):
        if name in wanted:
            kept[name] = node
            wanted.update(node.needs)
    return replace(plan, nodes=dict(reversed(kept.items())))
