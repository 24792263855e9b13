"""The search: take a cohort of trials, run their stages step by step, judge, write down, until there are enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from casl.runner.plan import Plan, make_plan
from casl.runner.store import Store
from casl.spec.ablation import Cell
from casl.spec.kinds import Evaluate, PseudoLabel
from casl.spec.search import FINAL, PROXY, WARMUP, Trial, spoken
from casl.spec.stage import Stage, ancestors
from casl.tune.argument import Argument
from casl.tune.ledger import Ledger
from casl.tune.owner import owner
from casl.tune.pruning import losers
from casl.tune.question import Chain, Question, stages_of
from casl.tune.space import parse

ROLES = {PROXY: (), WARMUP: (WARMUP,), FINAL: (WARMUP, FINAL)}  # evaluations behind each objective


class Labels(Protocol):
    """What can be known of labels above a threshold without any training."""

    def quality(self, scoring: Evaluate, threshold: float) -> Mapping[str, float]:
        """ "precision", "recall" and "f1" of held-out labels, in percent."""

    def counts(self, scored: PseudoLabel, threshold: float) -> tuple[int, int]:
        """Images and labels that are left to warm up on."""


@dataclass(frozen=True)
class Means:
    """What a search works with. work: runs what is missing of a plan. told: called after each cohort, with all trials.

    say: one line for people.
    """

    store: Store
    labels: Labels
    work: Callable[[Plan], None]
    told: Callable[[], None]
    say: Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """A trial being worked on, and the stages behind it."""

    trial: Trial
    chains: Sequence[Chain]


def search(ledger: Ledger, question: Question, pruner: str, means: Means, timeout_s: float) -> None:
    """Work until the study has as many trials as it may have, or all values are taken.

    Args:
        timeout_s: begin no cohort after this time; 0 for none. One that is under way is finished.
    """
    began = time.monotonic()
    with owner(ledger.folder) as me:
        while cohort := ledger.take(me, new=not timeout_s or time.monotonic() - began < timeout_s):
            _Cohort(ledger, question, pruner, means).run(cohort)
            means.told()
            if all(t.state == "failed" for t in ledger.trials() if t.number in {one.number for one in cohort}):
                means.say("every trial of these failed; nothing more is begun. Repeating the command tries them again")
                return


class _Cohort:
    """Trials that are run and judged together."""

    def __init__(self, ledger: Ledger, question: Question, pruner: str, means: Means) -> None:
        self.ledger, self.question, self.pruner, self.means = ledger, question, pruner, means

    def run(self, trials: Sequence[Trial]) -> None:
        values = ", ".join(spoken(t.value) for t in trials)
        self.means.say(f"trials {trials[0].number}–{trials[-1].number}: {self.question.argument.name} {values}")
        argument = self.question.argument
        alive = [Candidate(t, self.question.chains(parse(argument, t.value))) for t in trials]
        for one in alive:
            stages = stages_of(one.chains, self.question.objective)
            self.ledger.note(one.trial.number, "stages", {role: s.name for role, s in stages.items()})
        alive = self._filter(self._have(alive, _scores))
        for step in self._steps(alive):
            alive = self._rung(step, alive)
        roles = ROLES[self.question.objective]
        self._finish(self._have(alive, lambda chain: [s for role in roles if (s := _measured(chain, role))]))

    def _steps(self, alive: Sequence[Candidate]) -> list[int]:
        if self.pruner == "none" or self.question.objective == PROXY:
            return []
        return sorted({k for one in alive for chain in one.chains for k in chain.rungs})

    def _filter(self, alive: list[Candidate]) -> list[Candidate]:
        """Proxy and counts at each trial's threshold; a trial without any label ends here."""
        kept = []
        for one in alive:
            figures = label_figures(one.chains, self.means.labels)
            self.ledger.note(one.trial.number, "figures", figures)
            if 0 in figures.get("labels", ()):
                self._end(one, "pruned", f"no label scores above {spoken(one.chains[0].threshold)}")
            else:
                kept.append(one)
        return kept

    def _rung(self, step: int, alive: list[Candidate]) -> list[Candidate]:
        alive = self._have(alive, lambda chain: [chain.rungs[step]] if step in chain.rungs else [])
        shown = [one for one in alive if all(step in c.rungs for c in one.chains)]
        for one in shown:
            self.ledger.report(one.trial.number, step, [self._figure(c.rungs[step]) for c in one.chains])
        known = self.ledger.trials()
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
            figures = label_figures(one.chains, self.means.labels)
            for role in ROLES[objective]:
                if stages := [s for c in one.chains if (s := _measured(c, role))]:
                    figures[role] = [self._figure(s, role) for s in stages]
            self.ledger.note(one.trial.number, "figures", figures)
            mean = sum(figures[objective]) / len(figures[objective])
            self._end(one, "done", objective=mean)

    def _figure(self, stage: Evaluate, role: str = WARMUP) -> float:
        """A figure of a finished evaluation; of the cell's own metric, the one that the cell shows."""
        name = self.question.cells[0].figure if role == FINAL else "AP"
        return float(self.means.store.run(stage.name).metrics[name])

    def _end(self, one: Candidate, state: str, reason: str = "", objective: float | None = None) -> None:
        self.ledger.end(one.trial.number, state, objective, reason)
        result = f"{objective:.2f}" if objective is not None else reason
        self.means.say(f"  {self.question.argument.name} {spoken(one.trial.value)}: {state}, {result}")

    def _have(self, alive: list[Candidate], wanted: Callable[[Chain], list[Stage]]) -> list[Candidate]:
        """Run what is missing of some stages of every trial; trials whose stages fail end here."""
        cells: list[Cell] = []
        names: set[str] = set()
        for one in alive:
            for chain in one.chains:
                cells += [_cell(self.question.argument, one.trial, c) for c in _cells_for(chain, wanted(chain))]
                names.update(s.name for s in wanted(chain))
        plan = make_plan({"search": cells}, self.means.store) if cells else None
        if plan and (missing := _needed(plan, names)).todo:
            self.means.work(missing)
        kept = []
        for one in alive:
            failed = [s for c in one.chains for s in wanted(c) if not self.means.store.is_done(s.name)]
            if failed:
                self._end(one, "failed", self._why(failed[0], plan))
            else:
                kept.append(one)
        return kept

    def _why(self, stage: Stage, plan: Plan | None) -> str:
        errors = [self.means.store.run(s.name) for s in ancestors(stage)]
        errors += [self.means.store.run(n) for n in (plan.nodes if plan else ())]
        return next((f"{r.name}: {r.error}" for r in errors if r.status == "failed"), f"{stage.name} was not done")


def label_figures(chains: Sequence[Chain], labels: Labels) -> dict[str, Any]:
    """Proxy, precision, recall, and images and labels left, one number a seed; {} without pseudo labels."""
    figures: dict[str, Any] = {}
    for chain in chains:
        if chain.scoring is None or chain.labels is None:
            return {}
        quality = labels.quality(chain.scoring, chain.threshold)
        left = dict(zip(("images", "labels"), labels.counts(chain.labels, chain.threshold), strict=True))
        for name, value in {PROXY: quality["f1"], **{n: quality[n] for n in ("precision", "recall")}, **left}.items():
            figures.setdefault(name, []).append(value)
    return figures


def _scores(chain: Chain) -> list[Stage]:
    return [s for s in (chain.scoring, chain.labels) if s]


def _measured(chain: Chain, role: str) -> Evaluate | None:
    return chain.warm if role == WARMUP else chain.final


def _cells_for(chain: Chain, wanted: Sequence[Stage]) -> list[Evaluate]:
    """Evaluations whose chains hold the wanted stages; scored labels are reached through the warmup's."""
    found = [s for s in wanted if isinstance(s, Evaluate)]
    return [*found, chain.warm] if chain.warm and len(found) < len(wanted) else found


def _cell(argument: Argument, trial: Trial, stage: Evaluate) -> Cell:
    return Cell(f"{argument.name} {spoken(trial.value)}", f"{stage.name}", stage.metric, stage)


def _needed(plan: Plan, names: set[str]) -> Plan:
    """The part of a plan that some of its stages need."""
    kept, wanted = {}, set(names)
    for name, node in reversed(list(plan.nodes.items())):
        if name in wanted:
            kept[name] = node
            wanted.update(node.needs)
    return replace(plan, nodes=dict(reversed(kept.items())))
