"""Search: what is known of a search over one argument. The Optuna study is the truth; reports and MLflow show this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

STATES = ("done", "pruned", "failed", "running")
FINAL, WARMUP, PROXY = "final", "warmup", "proxy"
OBJECTIVES = (FINAL, WARMUP, PROXY)
GRID = "grid"
SAMPLERS = (GRID, "tpe", "gp", "random")
PRUNERS = ("none", "median", "halving")

SEARCHES = "search-"  # begins the names under which searches stand beside tables, in reports and in MLflow
BESIDE = ": "  # between a value and the role of what is measured beside the objective

Value = int | float | str


@dataclass(frozen=True)
class Trial:
    """One value of the argument, measured with every seed.

    state: one of STATES. figures: name -> one number a seed: "final", "warmup" and "proxy" in percent; "precision" and
    "recall" of held-out labels in percent; "labels" and "images" left to warm up on. rungs: length of the warmup in x
    -> its AP^e, one a seed. stages: role and seed -> name of the stage behind a number. reason: why it ended early.
    started, ended: UTC, ISO 8601, "" if unknown. cohort: trials with the same one are chosen and judged together.
    """

    number: int
    value: Value
    state: str
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    rungs: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    started: str = ""
    ended: str = ""
    cohort: int = 0

    def mean(self, figure: str) -> float | None:
        """Mean of a figure over seeds; None if it was not measured."""
        values = self.figures.get(figure)
        return fmean(values) if values else None


@dataclass(frozen=True)
class Search:
    """A search and its trials, by number.

    name: of the study. argument: as a person calls it ("delta"); target: its dotted name ("warmup.threshold");
    current: its value in the profile. cell: the table's cell whose chain is varied. labels: objective -> what it is, in
    words. settings: everything that can change which trials come out (sampler, seed, range, Optuna's version ...).
    """

    name: str
    argument: str
    target: str
    current: Value
    profile: str
    data: str
    small: bool
    cell: str
    objective: str
    labels: Mapping[str, str]
    seeds: int
    settings: Mapping[str, str]
    trials: Sequence[Trial] = ()

    @property
    def slug(self) -> str:
        """Name of its report's files."""
        return f"{SEARCHES}{self.argument}"

    def place(self, trial: Trial, role: str) -> str:
        """Where the stage of a role, "warmup 1x, seed 0", stands in MLflow: "delta 0.3", beside the objective
        "delta 0.3: warmup 1x"."""
        name, value = role.partition(",")[0], f"{self.argument} {spoken(trial.value)}"
        return value if name == self.objective else f"{value}{BESIDE}{name}"


def ranks(table: str, place: str) -> bool:
    """Whether a number at a place of a table is one by which the table's best is chosen; of a search only those of its
    objective are."""
    return not (table.startswith(SEARCHES) and BESIDE in place)


def spoken(value: Value) -> str:
    """A value as people write it: 0.35, not 0.35000000000000003."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
