"""What a trial measures: the stages behind its numbers, in the steps in which they are run.

Labels are scored once for all trials, then a trial is a read-time filter, a warmup and a finetune. The warmup's rungs
are its shorter schedules, which share their beginnings with it and with the paper's tables through the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from casl.errors import SpecError
from casl.spec.ablation import Cell
from casl.spec.kinds import Evaluate, PseudoLabel, Warmup
from casl.spec.profile import Profile
from casl.spec.recipe import evaluate
from casl.spec.schedule import iterations, times
from casl.spec.search import FINAL, PROXY, WARMUP
from casl.spec.stage import Stage, ancestors
from casl.spec.varied import Argument


@dataclass(frozen=True)
class Chain:
    """One value under one seed. scoring: the labeler on the held-out split, whose predictions the proxy filters.

    warm: AP^e of the whole warmup. rungs: length in x -> AP^e after it. labels: scored labels the warmup reads. None
    and {} where the cell has no such stage.
    """

    final: Evaluate
    warm: Evaluate | None
    rungs: dict[int, Evaluate]
    scoring: Evaluate | None
    labels: PseudoLabel | None
    threshold: float

    def measured(self, role: str) -> Evaluate | None:
        """The evaluation behind an objective, "warmup" or "final"."""
        return self.warm if role == WARMUP else self.final

    def evaluations(self) -> list[Evaluate]:
        """All evaluations; their chains hold every stage of this one."""
        return [s for s in (self.scoring, *self.rungs.values(), self.warm, self.final) if s]


@dataclass(frozen=True)
class Question:
    """What is asked of every value.

    cells: the varied cell, one a seed; profiles: the profile with each seed. rungs: lengths in x after which the warmup
    is judged, for pruning. objective: "final", "warmup" or "proxy".
    """

    argument: Argument
    cells: Sequence[Cell]
    profiles: Sequence[Profile]
    objective: str
    rungs: tuple[int, ...] = ()

    def chains(self, value: Any) -> list[Chain]:
        """The stages for a value, one chain a seed."""
        pairs = zip(self.profiles, self.cells, strict=True)
        return [self._chain(profile, self.argument.put(cell.evaluation, value)) for profile, cell in pairs]

    def _chain(self, profile: Profile, end: Evaluate) -> Chain:
        warmup = next((s for s in reversed(list(ancestors(end))) if isinstance(s, Warmup)), None)
        if warmup is None:
            return Chain(end, None, {}, None, None, 0.0)
        labels = warmup.data if isinstance(warmup.data, PseudoLabel) else None
        length = profile.iters_1x_on(warmup.data)
        shorter = {k: times(k, length, profile.rule) for k in self.rungs}
        return Chain(
            final=end,
            warm=evaluate(profile, warmup, "ap_e"),
            rungs={
                k: evaluate(profile, warmup.until(s), "ap_e")
                for k, s in shorter.items()
                if iterations(s) < warmup.iters
            },
            scoring=_scoring(profile, labels) if labels else None,
            labels=labels,
            threshold=warmup.threshold,
        )

    def check(self) -> None:
        """Raise SpecError if the objective does not exist for this cell."""
        chain = self.chains(self.argument.current)[0]
        if (self.objective == PROXY and not chain.scoring) or (self.objective == WARMUP and not chain.warm):
            cell = self.cells[0]
            raise SpecError(
                f"{cell.row} / {cell.column} has no {'pseudo labels' if chain.warm else 'warmup'}, so there is no "
                f"objective {self.objective!r}; choose --objective final, or another cell"
            )

    def moves_warmup(self, low: Any, high: Any) -> bool:
        """Whether the argument changes the warmup: only then can rungs tell values apart."""
        a, b = (self.chains(v)[0].warm for v in (low, high))
        return a is not None and b is not None and a.key != b.key

    def fingerprint(self) -> str:
        """Hash of all that makes values of two trials comparable."""
        keys = [c.final.key for c in self.chains(self.argument.current)]
        what = [self.argument.target, self.objective, keys]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


class Labels(Protocol):
    """What can be known of labels above a threshold without any training."""

    def quality(self, scoring: Evaluate, threshold: float) -> Mapping[str, float]:
        """ "precision", "recall" and "f1" of held-out labels, in percent."""

    def counts(self, scored: PseudoLabel, threshold: float) -> tuple[int, int]:
        """Images and labels that are left to warm up on."""


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


def stages_of(chains: Sequence[Chain], objective: str) -> dict[str, Stage]:
    """Role and seed -> the stage behind a number, for links."""
    found: dict[str, Stage] = {}
    for seed, chain in enumerate(chains):
        roles: dict[str, Stage | None] = {"scores": chain.scoring, "labels": chain.labels}
        if objective != PROXY:
            roles |= {f"warmup {k}x": e for k, e in chain.rungs.items()} | {"warmup": chain.warm}
        if objective == FINAL:
            roles["final"] = chain.final
        found |= {f"{role}, seed {seed}": stage for role, stage in roles.items() if stage}
    return found


def _scoring(profile: Profile, labels: PseudoLabel) -> Evaluate:
    """The labeler on held-out labeled images, judged against the kind of labels that it learned."""
    return evaluate(profile, labels.labeler, "ap_e" if labels.labeler.labels == "entities" else "ap_det_a")
