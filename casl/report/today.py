"""How what a folder of reports holds stands to the code of today: whether that would measure other stages for it.

Keys tell it, so it is known where they can be computed: in a profile on its own data, on a data set at hand, and on one
that the folder of reports describes (casl.spec.described).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from casl import catalog
from casl.errors import SpecError, StoreError
from casl.files import read_json_object
from casl.report.table import Table
from casl.spec.ablation import Ablation, Cell
from casl.spec.data_sets import FolderData
from casl.spec.described import read_described
from casl.spec.kinds import PseudoLabel
from casl.spec.profile import Profile
from casl.spec.run import REPORTED
from casl.spec.search import SEARCHES, Value
from casl.spec.stage import ancestors
from casl.spec.varied import resolve

OLDER = "OLDER THAN THE CODE"
_OLDER_PICTURE = f"{OLDER}. Today other stages would be trained for this"
LABELS = "labels"  # of labels.json
STAGES_OF_TRIALS = ("labels", "final")  # roles of a trial whose stages lie in the chain of its cell


@dataclass(frozen=True)
class Today:
    """What the code of today asks for in a profile; None where that is not known, and then nothing counts as older.

    why: why it is not known, "" for a folder of which nothing is said.
    """

    profile: Profile | None = None
    why: str = ""

    def is_older(self, table: Table) -> bool:
        """Whether a number is of a stage that no cell asks for now; a table that is not casl's is not judged."""
        if table.name not in catalog.ABLATIONS:
            return False
        measured = {one.name for cell in table.cells for one in cell.repetitions if one.value is not None}
        for seed in range(table.seeds if self.profile else 0):
            if measured:
                measured -= {cell.stage.name for cell in self._cells(table.name, seed) if cell.stage}
        return bool(measured and self.profile)

    def of_table(self, table: Table) -> str:
        """What stands above a table on its own page; "" for one of today."""
        if self.is_older(table):
            return f"{OLDER}. Today other stages would be trained for this table. {_numbers_of([table])}"
        return f"{self._not_known}. {_numbers_of([table])}" if self.why else ""

    def on_picture(self, said: str) -> str:
        """What stands on a picture whose page says that of it: only that it is older than the code; "" elsewhere."""
        return _OLDER_PICTURE if said.startswith(OLDER) else ""

    def over(self, tables: Sequence[Table], folder: Path) -> str:
        """What stands above pages over a whole folder: the sentences that name what in it is older, or may be.

        tables: all of the folder, those that have no section of their own too.
        """
        if self.why:
            return f"{self._not_known}. {_numbers_of(tables)}"
        names, unsaid = [table.name for table in tables if self.is_older(table)], []
        for name, older in self._records(folder).items():
            if older is None:
                unsaid.append(name)
            elif older:
                names.append(name)
        said = []
        if names:
            said.append(
                f"{OLDER}: {', '.join(names)}. Today other stages would be trained for them: their "
                "numbers, and verdicts that rest on them, are those of the commits that stand with them"
            )
        if unsaid:
            said.append(f"NOT COMPARED WITH THE CODE OF TODAY: {', '.join(unsaid)}, which does not name its stages")
        return ". ".join(said)

    def of_record(self, path: Path) -> str:
        """What stands above quality of labels, or a search, on its own page; "" for one of today."""
        if self.why:
            return self._not_known
        older = self._records(path.parent).get(path.stem, False)
        if older is None:
            return "NOT COMPARED WITH THE CODE OF TODAY: which stages this is of is not recorded"
        return _OLDER_PICTURE if older else ""

    @property
    def _not_known(self) -> str:
        return f"NOT COMPARED WITH THE CODE OF TODAY: {self.why}"

    def _records(self, folder: Path) -> dict[str, bool | None]:
        """Whether what is no table, quality of labels and searches, is older; None where its stages are not known."""
        found: dict[str, bool | None] = {}
        for path in [*folder.glob(f"{LABELS}.json"), *sorted(folder.glob(f"{SEARCHES}*.json"))] if self.profile else []:
            try:
                record = read_json_object(path)
                if path.stem == LABELS:
                    found[path.stem] = self.is_older_quality(record, (beside.stem for beside in folder.glob("*.json")))
                else:
                    found[path.stem] = self.is_older_search(record)
            except (StoreError, KeyError, TypeError, ValueError):  # of an earlier version, or damaged
                found[path.stem] = None
        return found

    def is_older_quality(self, record: Mapping[str, Any], tables: Iterable[str] = ()) -> bool:
        """Whether quality of labels is of a labelling that no table asks for now.

        Args:
            tables: names of tables that may have asked for it beside the paper's; others than casl's ask for none.

        Raises:
            KeyError: the record does not name its stages.
        """
        lines = record["labels"]
        named = {name for line in lines for name in line["stages"]}
        seeds = max((len(line["stages"]) for line in lines), default=0)
        asking = dict.fromkeys([*catalog.OF_THE_PAPER, *(name for name in tables if name in catalog.ABLATIONS)])
        cells = [c for seed in range(seeds) for name in asking for c in self._cells(name, seed)]
        ends = {cell.stage.name: cell.stage for cell in cells if cell.stage}.values()
        return bool(named - {s.name for end in ends for s in ancestors(end) if isinstance(s, PseudoLabel)})

    def is_older_search(self, record: Mapping[str, Any]) -> bool:
        """Whether some trial of a search is of stages that its cell would not have now, or the cell is gone."""
        table = str(record["cell"]).partition(":")[0]
        if table not in catalog.ABLATIONS:
            return False
        for seed in range(int(record["seeds"])):
            here = (
                c for c in self._cells(table, seed) if c.stage and f"{table}: {c.row} / {c.column}" == record["cell"]
            )
            cell = next(here, None)
            for trial in record["trials"]:
                stages = trial["stages"]
                named = {stages[role] for kind in STAGES_OF_TRIALS if (role := f"{kind}, seed {seed}") in stages}
                if named - (self._chain(cell, str(record["target"]), trial["value"]) if cell else set()):
                    return True
        return False

    def _chain(self, cell: Cell, target: str, value: Value) -> set[str]:
        """Names of the stages of a cell with another value; none where no stage takes it any more."""
        assert self.profile is not None
        try:
            argument = resolve(target, cell.measurement, self.profile)
            end = argument.put(cell.measurement, _typed_as(argument.current, value))
        except SpecError:
            return set()
        return {stage.name for stage in ancestors(end)}

    def _cells(self, table: str, seed: int) -> Sequence[Cell]:
        assert self.profile is not None
        if seed not in self._profiles:
            self._profiles[seed] = self.profile.with_seed(seed)
        if (table, seed) not in self._built:
            ablation: Ablation = catalog.load("ablation", table)
            self._built[table, seed] = ablation.build(self._profiles[seed])
        return self._built[table, seed]

    @cached_property
    def _profiles(self) -> dict[int, Profile]:
        return {}

    @cached_property
    def _built(self) -> dict[tuple[str, int], Sequence[Cell]]:
        return {}


NOT_KNOWN = Today()


def of_folder(folder: Path, tables: Sequence[Table]) -> Today:
    """The profile whose reports a folder has, made again from what its tables and its data.json record."""
    if not tables:
        return NOT_KNOWN
    if len(kinds := {(t.profile, t.data, t.options) for t in tables}) > 1:
        return Today(why=f"{folder.name} has tables of {len(kinds)} profiles or data sets")
    [(name, data, options)] = kinds
    profile: Profile = catalog.load("profile", name)
    try:
        described = None if data == profile.data.name else _described(folder / REPORTED, data)
        return Today(profile.as_recorded(options, described))
    except (SpecError, StoreError) as error:
        return Today(why=str(error).partition("\n")[0].rstrip("."))


def _described(path: Path, data: str) -> FolderData:
    """
    Raises:
        SpecError: the file is not there, of an earlier version or of another set. StoreError: it is damaged.
    """
    if not path.is_file():
        raise SpecError(f"the data set {data} is not here, and no {REPORTED} beside the tables describes it")
    try:
        found = read_described(read_json_object(path))
    except SpecError as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise SpecError(f"the data set {data} is not here, and {REPORTED} does not describe it: {why}") from error
    if found.name != data:
        raise SpecError(f"the data set {data} is not here, and {REPORTED} describes {found.name}")
    return found


def _numbers_of(tables: Iterable[Table]) -> str:
    commits = dict.fromkeys(commit for table in tables for commit in table.commits)
    return f"Numbers are those of commit {', '.join(commits)}" if commits else "Their commit is not recorded"


def _typed_as(current: Any, value: Value) -> Any:
    """A value of a record as a stage has it; a search writes names of parts as one word."""
    return tuple(str(value).split("+")) if isinstance(current, tuple) else value
