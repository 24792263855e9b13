"""What a search is asked for: every option of `casl tune` that decides which trials come out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from casl.durations import seconds_of
from casl.errors import SpecError, unknown
from casl.spec.search import FINAL, GRID, OBJECTIVES, PRUNERS, SAMPLERS

DEFAULT_CELLS = {"table4": ("F 3x", "W 5x")}  # row and column: the paper's default setting

MOST_VALUES = 100_000  # of one grid
_LIMITS = (
    *(("trials", 1, 1_000_000), ("batch", 1, 10_000), ("points", 2, MOST_VALUES)),
    ("sampler_seed", 0, 2**32 - 1),
)
_RUNG = re.compile(r"0*[1-9]\d{0,5}")


def _option(default: Any, said: str) -> Any:
    """A field that is an option of the command line too, with what is said of it there, in argparse's terms."""
    return field(default=default, metadata={"help": said})


@dataclass(frozen=True)
class SearchRequest:
    """A search. What is empty or None is not said; lists are separated by commas. cell: row and column.

    Raises:
        SpecError: a name that does not exist, or a number that is too small.
    """

    argument: str = "delta"
    table: str = _option("table4", "table whose cell is varied, or its file (default %(default)s)")
    cell: tuple[str, ...] = _option((), "one cell of it, by its headings (default of table4: 'F 3x' 'W 5x')")
    low: float | None = _option(None, "lowest value")
    high: float | None = _option(None, "highest value")
    step: float | None = _option(None, "distance of values; delta: 0.05")
    points: int = _option(12, "values of a grid over a range without --step (default %(default)s)")
    log: bool = _option(False, "search on the logarithm")
    choices: str = _option("", "values to compare, A,B,C, where they are no numbers")
    objective: str = _option(
        FINAL, "final: the cell's metric, AP^det in table4; warmup: AP^e of the warmup; proxy: F1 of held-out labels"
    )
    trials: int = _option(12, "trials of the study in all (default %(default)s)")
    budget: str = _option("0", "begin no trials after this time, such as 3h; 0 for none (default)")
    sampler: str = _option(GRID, f"{', '.join(SAMPLERS)} (default %(default)s)")
    sampler_seed: int = _option(0, "of the sampler (default %(default)s)")
    batch: int = _option(4, "trials chosen and judged together (default %(default)s)")
    pruner: str = _option("median", f"{', '.join(PRUNERS)} (default %(default)s)")
    rungs: str = _option("1,3", "lengths of the warmup in x at which to prune (default %(default)s)")
    study: str = _option("", "name of the study; default: made from what is searched, and how")
    storage: str = _option("", "Optuna storage; default: optuna.db in the store")

    def __post_init__(self) -> None:
        for what, known in (("objective", OBJECTIVES), ("sampler", SAMPLERS), ("pruner", PRUNERS)):
            if getattr(self, what) not in known:
                raise SpecError(unknown(what, getattr(self, what), known))
        for name, least, most in _LIMITS:
            value = getattr(self, name)
            if not value >= least:  # nan is no number to compare
                raise SpecError(f"--{name.replace('_', '-')} must be at least {least}, got {value}")
            if value > most:
                raise SpecError(f"--{name.replace('_', '-')} must be at most {most:,}, got {value}")
        if not all(_RUNG.fullmatch(part) for part in _parts(self.rungs)):
            raise SpecError(f"--rungs are lengths in x, such as 1,3; got {self.rungs!r:.80}")
        seconds_of(self.budget, "--budget")

    @property
    def budget_s(self) -> float:
        """Seconds after which no trial is begun; 0 for none."""
        return seconds_of(self.budget, "--budget")

    @property
    def values(self) -> tuple[str, ...]:
        """The choices, one by one."""
        return _parts(self.choices)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The rungs as numbers, shorter first."""
        return tuple(sorted(set(map(int, _parts(self.rungs)))))


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
