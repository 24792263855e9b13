"""What a study is asked for, as the options of most verbs and the arguments of `casl.Study` say it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from casl.spec.profile import Profile

STORE = "store"  # folder of all results, unless another is named


@dataclass(frozen=True)
class StudyRequest:
    """Tables, what differs from their profile, and which part of them; what is empty or None is not said.

    tables: names, words that stand for several, or files. values: PATH=VALUE, one value in every chain each.
    cell: row and column of the only cell. rows: the only ones. only_seed: the only repetition, counted from 0.
    """

    tables: tuple[str, ...]
    profile: str = "mini"
    data: Path | None = None
    crowds_are_objects: bool = False
    seeds: int = 1
    store: Path = Path(STORE)
    provider: str = Profile.provider
    size: int | None = None
    rule: str = ""
    batch_size: int | None = None
    iters_1x: int | None = None
    values: tuple[str, ...] = ()
    cell: tuple[str, str] | None = None
    rows: tuple[str, ...] = ()
    only_seed: int | None = None

    @property
    def part(self) -> str:
        """Which cells and seeds of the tables are asked for, "" for all. Names of studies in stores hold its digest."""
        if not self.cell and not self.rows and self.only_seed is None:
            return ""
        place = list(self.cell) if self.cell else None
        return f"{place} {self.only_seed}{list(self.rows) or ''}"
