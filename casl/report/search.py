"""The answer of a search: the best value, the values within noise of it, and whether a proxy orders values alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev

from casl.report.significance import LEVEL, NO_SPREAD, Rank, critical, paired, roughness, spearman
from casl.spec.search import FINAL, OBJECTIVES, PROXY, WARMUP, Search, Trial, Value, spoken

LEAST = 5  # points needed to tell noise from shape
PAIRS = ((PROXY, FINAL), (PROXY, WARMUP), (WARMUP, FINAL))
GOOD = 0.5  # rank correlation from which on we call an order the same


@dataclass(frozen=True)
class Verdict:
    """The best value by the objective, and how sure that is.

    within: values whose difference to the best is within noise, the best included. noise: standard deviation of one
    number that is blamed on chance, in percent, None if unknown. how: the test in words. edge: whether the best lies at
    an end of what was tried.
    """

    best: Trial
    score: float
    spread: float | None
    within: tuple[Value, ...]
    noise: float | None
    how: str
    edge: bool


@dataclass(frozen=True)
class Trust:
    """Two objectives side by side.

    lost: percent of `b` given up by choosing with `a`; None if `b` was not measured there. chosen: that value.
    """

    a: str
    b: str
    rank: Rank | None
    lost: float | None
    chosen: Value | None

    @property
    def word(self) -> str:
        """ "yes", "no" or "undecided": whether a ranks values as b does."""
        if self.rank is None or self.rank.low is None or self.rank.high is None:
            return "yes" if self.rank and self.rank.rho == 1 and self.rank.p < LEVEL else "undecided"
        if self.rank.low >= GOOD:
            return "yes"
        return "no" if self.rank.high < GOOD else "undecided"


def shown(search: Search) -> list[Trial]:
    """Finished and pruned trials, by value."""
    return sorted(
        (t for t in search.trials if t.state in ("done", "pruned")), key=lambda t: (str(type(t.value)), t.value)
    )


def measured(search: Search, figure: str) -> list[Trial]:
    """Trials with a figure, by value."""
    return [t for t in shown(search) if t.mean(figure) is not None]


def verdict(search: Search) -> Verdict | None:
    """The best value by the search's objective; None while no trial is done. Of equal ones, the first by value."""
    points = [t for t in measured(search, search.objective) if t.state == "done"]
    if not points:
        return None
    best = max(points, key=lambda t: _mean(t, search.objective))
    within, noise, how = _as_good(best, points, search)
    values = best.figures[search.objective]
    tried = [t.value for t in shown(search)]
    edge = not isinstance(best.value, str) and len(tried) > 2 and best.value in (tried[0], tried[-1])
    spread = stdev(values) if len(values) > 1 else None
    return Verdict(best, _mean(best, search.objective), spread, tuple(t.value for t in within), noise, how, edge)


def _as_good(best: Trial, points: Sequence[Trial], search: Search) -> tuple[list[Trial], float | None, str]:
    if search.seeds > 1:
        how = f"paired t-test over {search.seeds} seeds against the best, two-sided, level {LEVEL} each"
        return [t for t in points if t is best or _undecided(best, t, search.objective)], None, how
    numbers = [(float(t.value), _mean(t, search.objective)) for t in points if not isinstance(t.value, str)]
    if len(numbers) < max(LEAST, len(points)):
        return list(points), None, "one seed, and too few points to tell noise from shape: repeat with more seeds"
    noise, freedom = roughness(numbers), len(numbers) - 2
    margin = critical(freedom) * math.sqrt(2) * noise
    how = (
        f"one seed: noise is guessed from how rough the curve is, ±{noise:.2f} a point; "
        f"differences below {margin:.2f} are within it. More seeds measure it"
    )
    top = _mean(best, search.objective)
    return [t for t in points if top - _mean(t, search.objective) <= margin], noise, how


def _undecided(best: Trial, other: Trial, figure: str) -> bool:
    pairs = zip(best.figures[figure], other.figures[figure], strict=True)
    test = paired([a - b for a, b in pairs])
    return test.mean <= NO_SPREAD if test.p is None else test.p >= LEVEL


def trusts(search: Search) -> list[Trust]:
    """Every pair of objectives that was measured, over the trials that have both."""
    found = []
    for a, b in PAIRS:
        points = [t for t in measured(search, a) if t.mean(b) is not None]
        if not points or a not in search.labels or b not in search.labels:
            continue
        rank = spearman([_mean(t, a) for t in points], [_mean(t, b) for t in points])
        choice = max(measured(search, a), key=lambda t: _mean(t, a))
        top = max(_mean(t, b) for t in points)
        lost = top - _mean(choice, b) if choice.mean(b) is not None else None
        found.append(Trust(a, b, rank, lost, choice.value))
    return found


def _mean(trial: Trial, figure: str) -> float:
    value = trial.mean(figure)
    assert value is not None
    return value


def line_to_paste(search: Search, value: Value) -> str:
    """The line of code that makes tables use a value."""
    kind, *path = search.target.split(".")
    text = value if not isinstance(value, str) else repr(value)
    text = spoken(text) if isinstance(text, float) else str(text)
    if search.target == "warmup.threshold":
        return f"threshold={text},"
    if kind in ("warmup", "labeler", "finetune") and path[0] == "recipe":
        recipe = "finetune_recipe" if kind == "finetune" else "warmup_recipe"
        shared = "" if kind == "finetune" else "  # labeler and warmup share it"
        return f"{recipe}=replace({search.profile.upper()}.{recipe}, {path[1]}={text}),{shared}"
    return f"{search.target} = {text}  # no field of a profile: an argument of casl/spec/recipe.py"


def invitation(search: Search, found: Verdict) -> str:
    """What stands before the line to paste: where the profile's value is as good, nothing calls for another."""
    if search.current == found.best.value:
        return ""
    return "To try it all the same" if search.current in found.within else "To use it"


def headlines(search: Search) -> list[str]:
    """The answer in sentences, as plain text."""
    found = verdict(search)
    label = search.labels[search.objective]
    if found is None:
        return [f"No trial of {search.argument} is done yet."]
    spread = f" ± {found.spread:.2f} over {search.seeds} seeds" if found.spread is not None else ""
    lines = [f"Best: {search.argument} = {spoken(found.best.value)}, {label} {found.score:.2f}{spread}."]
    others = [spoken(v) for v in found.within if v != found.best.value]
    lines.append(f"As good as far as can be told: {', '.join(others) or 'none of the others'} ({found.how}).")
    if search.current in found.within and search.current != found.best.value:
        lines.append(f"The profile's {spoken(search.current)} is among them: nothing here says to change it.")
    if found.edge:
        lines.append("The best value is the last one tried at its end: search further out with --low and --high.")
    return [*lines, *(trust_line(search, t) for t in trusts(search))]


def trust_line(search: Search, trust: Trust) -> str:
    """One pair of objectives in a sentence."""
    a, b = search.labels[trust.a], search.labels[trust.b]
    if trust.rank is None:
        return f"Does {a} rank values as {b} does? Undecided: too few points."
    rank = trust.rank
    between = f", 95 % between {rank.low:.2f} and {rank.high:.2f}" if rank.low is not None else ""
    lost = (
        f"choosing by it ({search.argument} = {spoken(trust.chosen)}) costs {trust.lost:.2f} of {b}"
        if trust.lost is not None and trust.chosen is not None
        else "its own choice was not measured to the end"
    )
    return (
        f"Does {a} rank values as {b} does? {trust.word.capitalize()}: Spearman {rank.rho:.2f}{between}, "
        f"two-sided p {rank.p:.3f}, {rank.n} values; {lost}."
    )


def notes(search: Search) -> list[str]:
    """Limits of the answer: data it rests on, pruned and failed trials."""
    lines = [
        "The proxy compares the labeler's predictions on held-out labeled images (val) with their labels; the hidden "
        "truth of unlabeled images is not used.",
        "Val also measures the models, so the best number is a little too good: the maximum of noisy ones.",
    ]
    if not any(t.mean(PROXY) is not None for t in search.trials):
        lines.pop(0)
    if pruned := [spoken(t.value) for t in shown(search) if t.state == "pruned"]:
        lines.append(
            f"Stopped early: {', '.join(pruned)}. They have no number at the end, so comparisons with it leave out "
            "values that did badly at first; --pruner none finishes all."
        )
    lines += [f"Failed: {spoken(t.value)}: {t.reason}" for t in search.trials if t.state == "failed"]
    return lines


def objectives(search: Search) -> list[str]:
    """Objectives that some trial has."""
    return [name for name in OBJECTIVES if name in search.labels and measured(search, name)]
