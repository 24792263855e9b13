"""The story of a report, from the store: which runs it is about, and its pictures, drawn only when these are others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casl.cli.further import Further
from casl.spec.ablation import Cell
from casl.spec.stage import Stage
from casl.study.opened import Study
from casl.tracking.text import stage_of as recorded_stage

if TYPE_CHECKING:
    from casl.report.story_choice import Choice, Side
    from casl.report.table import Table
    from casl.report.written import Contents, Write


@dataclass(frozen=True)
class Storyteller:
    """Writes story.json and its pictures into a folder of reports.

    for_everyone: as of casl.report.story_told.tell. write: whether always, or only where they would be others.
    licence: as of casl.stages.story.Pictures.
    """

    study: Study
    folder: Path
    write: Write
    for_everyone: bool
    licence: str = ""

    def __call__(self, tables: Sequence[Table]) -> list[Path]:
        """Tell the story of the tables of the folder; nothing where nothing of it is measured.

        Returns:
            The record, and the strip where there is one; the single pictures are too many to name.

        Raises:
            StoreError: the folder cannot be written, or a record of the store is damaged.
        """
        from casl.report.story import RECORD
        from casl.report.story_choice import choose

        choice = choose(tables, self._stage_of())
        if choice is None or any(self.study.store.run(name).left_out for name in self._names(choice)):
            return []  # nothing measured, or as numbers alone, whose pictures are elsewhere
        written = self.write(self.folder, RECORD, self._inputs(choice), lambda: self._told(choice))
        self._clear(written)
        return [path for path in written if path.parent == self.folder]

    def _stage_of(self) -> Callable[[str], Stage | None]:
        """The stage behind a name: of this command's tables as planned, of others as the store remembers it."""
        every = [c.stage for seeds in self.study.cells.values() for cells in seeds for c in cells if c.stage]
        known: dict[str, Stage | None] = {stage.name: stage for stage in every}

        def stage_of(name: str) -> Stage | None:
            if name not in known:
                known[name] = self._remembered(name)
            return known[name]

        return stage_of

    def _remembered(self, name: str) -> Stage | None:
        """None of a table from another store, and of a package that is not here: other tables may tell the story."""
        run = self.study.store.run(name)
        return recorded_stage(run) if run.status == "done" else None

    def _inputs(self, choice: Choice) -> object:
        """All that record and pictures follow from."""
        runs = [self.study.store.run(name) for name in self._names(choice)]
        made = [(run.name, sorted((name, known["sha256"]) for name, known in run.files.items())) for run in runs]
        return choice.table.name, choice.seed, made, sorted(self.study.roots.items()), self.for_everyone, self.licence

    def _names(self, choice: Choice) -> list[str]:
        sides = [choice.warm, *([choice.base] if choice.base else [])]
        seeds = [one.name for side in sides for one in side.cell.repetitions if one.status == "done"]
        return list(dict.fromkeys([*(stage.name for stage in choice.stages), *seeds]))

    def _told(self, choice: Choice) -> Contents:
        from casl.report.story_told import tell
        from casl.stages.story import Pictures

        store = self.study.store
        painter = Pictures(store.folder, self.study.data_folders, store.digests, self.licence)
        quality = store.run(choice.labelled.name).metrics
        private = [str(store.root), *self.study.roots.values()]
        return tell(choice, painter, self._by_class, quality, for_everyone=self.for_everyone, private=private)

    def _by_class(self, side: Side) -> list[Any]:
        """AP of each class, or why there is none, of each seed of a number."""
        store, cell, found = self.study.store, side.cell, []
        stage_of = self._stage_of()
        for one in cell.repetitions:
            stage: Any = stage_of(one.name)
            if stage is not None and one.status == "done":
                further = Further(store, {one.name: store.run(one.name)}, self.study.data_folders)
                found.append(further.by_class(Cell(cell.row, cell.column, cell.metric, stage)))
        return found

    def _clear(self, written: Sequence[Path]) -> None:
        """Remove pictures that an earlier story left: those of another choice, or of images that are to stay here."""
        from casl.report.story import FOLDER, STRIP

        kept = set(written)
        for path in [*(self.folder / FOLDER).glob("*.jpg"), *self.folder.glob(STRIP)]:
            if path not in kept:
                path.unlink()
