"""From what is asked for to a study: first what has to be there, then what is made of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from casl import catalog
from casl.errors import SpecError
from casl.runner.store import Store
from casl.spec.ablation import Ablation
from casl.spec.profile import Profile
from casl.study.cells import chosen, of_a_part, values_of, with_values
from casl.study.from_path import load_tables
from casl.study.opened import GROUPS, Study
from casl.study.places import check_folder, placed
from casl.study.request import StudyRequest
from casl.words import number_of

MOST_SEEDS = 1000
Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Basis:
    """What a study stands on: tables, the profile on its data as it comes, and the store.

    roots: as of Study. said, warnings: lines for people about the data; they hold also where no study can be made.
    """

    request: StudyRequest
    tables: dict[str, Ablation]
    profile: Profile
    roots: dict[str, str]
    store: Store
    said: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def study(self) -> Study:
        """The study, with the changes and the part that are asked for.

        Raises:
            SpecError: a size, rule, batch, value or part is not possible.
        """
        request, profile = self.request, self._changed()
        values = values_of(request.values)
        for path, value in values.items():
            profile = profile.with_value(path, value)
        seeds = self._seeds()
        every = {n: [t.build(profile.with_seed(s)) for s in seeds] for n, t in self.tables.items()}
        cells = chosen(with_values(every, profile, values), request)
        tables = self.tables
        if request.cell or request.rows:
            tables = {n: of_a_part(tables[n], seeds_of[0]) for n, seeds_of in cells.items()}
        return Study(profile, tables, cells, self.roots, self.store, request.part)

    def _changed(self) -> Profile:
        request, profile = self.request, self.profile
        if request.size is not None:
            profile = profile.with_size(request.size)
        profile = replace(profile, seeds=request.seeds)
        if request.rule:
            profile = profile.with_rule(request.rule)
        if request.batch_size is not None:
            profile = profile.with_batch(request.batch_size)
        return profile if request.iters_1x is None else profile.with_iters_1x(request.iters_1x)

    def _seeds(self) -> Iterable[int]:
        only, count = self.request.only_seed, self.request.seeds
        if only is not None and only not in range(count):
            raise SpecError(f"--only-seed {only} is not among {number_of(count, 'seed')}, counted from 0")
        return range(count) if only is None else [only]


def basis_of(request: StudyRequest, progress: Progress = None, *, make: bool = True) -> Basis:
    """Resolve names, open the store, check the data; with `Basis.study` every error of the user's, before any work.

    Args:
        progress: (images done, images in all), while a data set is read for the first time.
        make: as of Store.

    Raises:
        SpecError: a table, profile or provider does not exist, or there cannot be so many seeds.
        DataError: the data set cannot be read.
        StoreError: the store cannot be opened.
    """
    tables = load_tables(n for word in request.tables for n in GROUPS.get(word, [word]))
    profile: Profile = catalog.load("profile", request.profile).with_provider(request.provider)
    if request.seeds < 1:
        raise SpecError(f"--seeds (make: SEEDS=) must be at least 1, got {request.seeds}")
    if request.seeds > MOST_SEEDS:
        raise SpecError(
            f"--seeds (make: SEEDS=) must be at most {MOST_SEEDS:,}, got {request.seeds}; each repeats every training"
        )
    basis = Basis(request, tables, profile, {}, Store(request.store, make=make))
    if request.data is not None:
        with _memory(basis.store.root, make) as memory:
            return _on_disk(basis, request.data, memory, progress)
    if request.crowds_are_objects:
        raise SpecError("--crowds-are-objects is about the annotations of a data set on disk: name one with --data.")
    return basis


def _on_disk(basis: Basis, root: Path, memory: Path, progress: Progress) -> Basis:
    """The same on the data set of a folder."""
    from casl.stages.dataset import open_data

    check_folder(root)
    crowds_are_objects = basis.request.crowds_are_objects
    opened = open_data(root, memory, progress, crowds_are_objects)
    here = placed(opened.data, root, memory)
    profile = basis.profile.with_data(here.data, crowds_are_objects).warned(opened.warnings)
    said, warnings = (*opened.said, *here.said), tuple(opened.warnings)
    return replace(basis, profile=profile, roots=opened.roots, said=said, warnings=warnings)


@contextmanager
def _memory(root: Path, make: bool) -> Iterator[Path]:
    """The folder in which hashes of data sets are remembered: the store, unless it is not there and is not to be."""
    if make or root.exists():
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
