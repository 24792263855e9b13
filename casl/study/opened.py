"""Study: the tables, profile, data and store that most verbs work on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from casl import catalog
from casl.runner.plan import Plan, make_plan
from casl.runner.store import Store
from casl.spec.ablation import Ablation, Cell
from casl.spec.profile import Profile
from casl.words import number_of

# words that stand for several tables
GROUPS = {"all": [*catalog.OF_THE_PAPER], "dissertation": [*catalog.DISSERTATION]}


@dataclass(frozen=True)
class Study:
    """The tables of one command under one profile: cells for every seed, and where data on disk lies.

    part: which cells and seeds of them, empty for all.
    """

    profile: Profile
    tables: dict[str, Ablation]
    cells: dict[str, list[tuple[Cell, ...]]]
    roots: dict[str, str]
    store: Store
    part: str = ""

    @property
    def data_folders(self) -> dict[str, Path]:
        """Digest -> folder of a data set on disk."""
        return {digest: Path(root) for digest, root in self.roots.items()}

    def plan(self) -> Plan:
        every_seed = {name: [c for cells in seeds for c in cells] for name, seeds in self.cells.items()}
        units = {name: table.unit for name, table in self.tables.items()}
        return make_plan(every_seed, self.store, units, self.profile.epochs)

    @property
    def name(self) -> str:
        """Name of the study, under which the store remembers it."""
        group = next((word for word, names in GROUPS.items() if [*self.tables] == names), "")
        tables = group or "+".join(map(_distinct, self.tables.values()))
        part = [hashlib.sha256(self.part.encode()).hexdigest()[:8]] if self.part else []
        data, seeds = self.profile.data.name, str(self.profile.seeds)
        changed = [words.replace(" ", "") for words in self.profile.variant]
        return "-".join([tables, self.profile.name, data, seeds, *changed, *part])

    @property
    def heading(self) -> str:
        """Its tables for people: words that stand for several instead of their names."""
        left, words = [*self.tables], []
        for word, names in GROUPS.items():
            if set(names) <= set(left):
                words.append(f"{word} ({number_of(len(names), 'table')})")
                left = [name for name in left if name not in names]
        return ", ".join([*words, *left])

    @property
    def experiment(self) -> str:
        """Name of the experiment in MLflow; says what was changed, so that two providers or sizes have one each."""
        return " ".join(["casl", self.profile.name, self.profile.data.name, *self.profile.variant])


def _distinct(table: Ablation) -> str:
    """Its name; of a table from a file with the path, since another file may have one of the same name."""
    path = table.origin.typed if table.origin and table.origin.sha256 else ""
    return f"{table.name} of {Path(path).absolute()}" if path else table.name
