"""The commands on pages that make numbers again, with all that the command behind the page was given."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from casl.report.table import Table
from casl.report.wording import REASONS, best
from casl.spec.profile import typed

MADE = (
    REASONS,
    "strength",
    "fractions",
    "held_out",
    "confusable",
    "finetune_length",
    "forgetting",
    "rivals",
    "ladder",
    "thresholds",
)  # targets of the Makefile that are no table of the paper
_BUILT_IN = "scenes"  # data that a profile has by itself
# of the Makefile
_VARIABLES = {
    "rule": "RULE",
    "batch-size": "BATCH",
    "iters-1x": "ITERS",
    "size": "SIZE",
    "provider": "PROVIDER",
    "crowds-are-objects": "CROWDS",
    "set": "SET",
}


@dataclass(frozen=True)
class Where:
    """Folders of results and of reports as they were typed, which commands on a page name unless they are the usual."""

    store: str = "store"
    reports: str = "reports"

    @property
    def store_words(self) -> list[str]:
        """The option of `casl` for the store."""
        return [] if self.store == Where.store else ["--store", self.store]

    @property
    def reports_words(self) -> list[str]:
        """The option of `casl report`."""
        return [] if self.reports == Where.reports else ["--reports", self.reports]

    @property
    def variables(self) -> str:
        """The same for `make`."""
        known = {"STORE": self.store_words, "REPORTS": self.reports_words}
        return "".join(f" {name}={shlex.quote(words[1])}" for name, words in known.items() if words)


USUAL = Where()


def commands(table: Table, where: Where = USUAL) -> list[tuple[str, str]]:
    """Commands that make these numbers again: (what it makes, command). The one number is the best of the table."""
    found = [("the whole table", whole(table, where))]
    shown = sorted(best(table)[0]) or [i for i, c in enumerate(table.cells) if c.value is not None]
    if shown:
        cell, data = table.cells[shown[0]], _data(table)
        file = f"{where.reports.rstrip('/')}/{table.folder}/{table.name}.json"
        words = ["reproduce", file, cell.row, cell.column, *(["--data", data] if data else []), *where.store_words]
        one = f"{_casl(table)} {shlex.join(words)}"
        found.append(("any one number, and whether it is the same bit for bit", one))
    return found


def whole(table: Table, where: Where = USUAL) -> str:
    """The command that makes a table: a target of the Makefile, or `casl` where none has its name."""
    if table.origin or not (table.name in MADE or table.name.startswith("table")):
        return _typed(table, where)
    data = f" DATA={shlex.quote(path)}" if (path := _data(table)) else ""
    seeds = f" SEEDS={table.seeds}" if table.seeds > 1 else ""
    values: dict[str, list[str]] = {}
    for option, value in table.options:  # `set` may be there several times
        values.setdefault(_VARIABLES[option], []).append(value)
    changed = "".join(f" {name}={shlex.quote(' '.join(given))}" for name, given in values.items())
    return f"make {table.name} PROFILE={table.profile}{seeds}{data}{changed}{where.variables}"


def another(table: Table, name: str, where: Where = USUAL) -> str:
    """The command that makes another table of casl's in the profile and on the data of this one."""
    return whole(replace(table, name=name, cells=(), origin=None), where)


def _data(table: Table) -> str:
    return "" if table.data == _BUILT_IN else f"path/to/{table.data}"


def _casl(table: Table) -> str:
    """How casl is called: a table of others is made where it is installed, ours in a clone after `make setup`."""
    return "casl" if table.origin else ".venv/bin/casl"


def _typed(table: Table, where: Where) -> str:
    """The commands behind a table that no target of the Makefile makes."""
    words = [table.origin.typed if table.origin else table.name, "--profile", table.profile]
    words += ["--seeds", str(table.seeds)] if table.seeds > 1 else []
    words += ["--data", data] if (data := _data(table)) else []
    words += [*typed(table.options), *where.store_words]
    called = _casl(table)
    both = {"run": words, "report": [*words, *where.reports_words]}
    return " && ".join(f"{called} {verb} {shlex.join(given)}" for verb, given in both.items())
