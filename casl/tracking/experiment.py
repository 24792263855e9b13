"""The description of an experiment, with links to its tables, best runs, comparisons and searches, as Markdown.

No MLflow here. A search is a filter and an order; its address carries both, MLflow stores nothing of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from casl.spec.freeze import kind_named, kinds
from casl.spec.search import ranks
from casl.spec.stage import Stage, split_name
from casl.tracking.address import START, Address, compare_page, model_page, run_page, search_page, view_page
from casl.words import number_of

MOST_CELLS = 5  # of a table, in a description
NOTE_TAG = "mlflow.note.content"
VIEW_TAG = "mlflow.sharedViewState."  # and a key: how a list looks that is opened by an address with that key
KIND, CELL = "kind", "cell"  # tags of a run: kind of its stage, places of tables that it feeds
LANDING = "landing"


@dataclass(frozen=True)
class Listed:
    """A run in MLflow, as far as a description needs it.

    address: experiment and run id. places: table -> places in it. figures: final ones, "ap_det/AP". iters: of a
    training, else 0. whole: a training that is used as it is, not only as the beginning of longer ones.
    """

    name: str
    title: str
    address: Address
    places: Mapping[str, Sequence[str]]
    figures: Mapping[str, float] = field(default_factory=dict)
    iters: int = 0
    whole: bool = False
    failed: bool = False

    @property
    def kind(self) -> str:
        """Name of the kind of its stage."""
        return split_name(self.name).kind

    @property
    def facts(self) -> type[Stage]:
        """The class of that kind, with its facts."""
        return kind_named(self.kind)

    @cached_property
    def headlines(self) -> tuple[str, ...]:
        """Of an evaluation the figure that stands for it; of another run none. Every page asks it of every run."""
        return tuple(figure for figure in self.figures if self.facts.is_headline(figure))

    def ranked(self, table: str) -> tuple[str, ...]:
        """Places of a table whose best may be this run; of a search none for what is measured beside its objective."""
        return tuple(place for place in self.places.get(table, ()) if ranks(table, place))


@dataclass(frozen=True)
class Search:
    """A filter and an order over the runs of an experiment, as in `search_page`.

    name: for `casl ui --search`. columns: of the list, beside the name of a run; () leaves them to MLflow, whose
    addresses say nothing of columns: with some, the search is a view that is kept in the experiment.
    """

    name: str
    heading: str
    what: str
    where: str
    order: str = START
    ascending: bool = True
    columns: tuple[str, ...] = ()

    def address(self, experiment: str) -> str:
        """Its page in an experiment."""
        if self.columns:
            return view_page(experiment, self._key)
        return search_page(experiment, self.where, self.order, ascending=self.ascending)

    @property
    def view(self) -> tuple[str, str]:
        """Name and value of the experiment's tag that keeps it."""
        state = {"searchFilter": self.where, "orderByKey": self.order, "orderByAsc": self.ascending}
        return f"{VIEW_TAG}{self._key}", json.dumps({**state, "selectedColumns": self.columns})

    @property
    def _key(self) -> str:
        """Of letters that any address and any tag may have, whatever a table is called."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:16]


def heading(table: str) -> str:
    """table4 -> Table 4; delta -> delta."""
    return re.sub(r"^table(\d+)$", r"Table \1", table)


def main_metric(table: str, runs: Iterable[Listed]) -> str | None:
    """The metric most cells of a table print, as "ap_det/AP"; None before any is measured."""
    return next(iter(_figures(table, runs)), None)


def _figures(table: str, runs: Iterable[Listed]) -> list[str]:
    """The headlines of a table's cells, that of most cells first."""
    return _most_first(figure for r in runs if r.ranked(table) for figure in r.headlines)


def _most_first(figures: Iterable[str]) -> list[str]:
    counted = Counter(figures)
    return sorted(counted, key=lambda figure: (-counted[figure], figure))


def best_first(table: str, figure: str, runs: Iterable[Listed]) -> list[Listed]:
    """The evaluations of a table by falling figure; equal ones by name."""
    measured = [r for r in runs if r.ranked(table) and figure in r.headlines]
    return sorted(measured, key=lambda r: (-r.figures[figure], r.name))


def best(table: str, figure: str, runs: Iterable[Listed]) -> Listed | None:
    """The evaluation with the highest figure among those of a table; of equal ones the first by name."""
    return next(iter(best_first(table, figure, runs)), None)


def by_number(tables: Iterable[str]) -> list[str]:
    """Names of tables in order, table2 before table10."""
    return sorted(tables, key=lambda t: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", t)])


def tables_of(runs: Iterable[Listed]) -> list[str]:
    """Every table that some run feeds, in order."""
    return by_number({table for run in runs for table in run.places})


def searches(runs: Sequence[Listed]) -> list[Search]:
    """The searches of an experiment: two a table, and some over all tables."""
    return [*(search for table in tables_of(runs) for search in _of_table(table, runs)), *_of_kinds()]


def landing(runs: Sequence[Listed]) -> Search:
    """All runs of an experiment, the highest of the figure that most evaluations print first."""
    figures = _most_first(figure for run in runs for figure in run.headlines)
    columns = _columns(figures)
    if not figures:
        return Search(LANDING, "All runs", "every run, the latest first", "", ascending=False, columns=columns)
    what = f"every run, highest {figures[0]} first"
    return Search(LANDING, "All runs", what, "", f"metrics.`{figures[0]}`", ascending=False, columns=columns)


def views(runs: Sequence[Listed]) -> dict[str, str]:
    """Tags of an experiment that keep its searches with columns, the landing page among them."""
    return dict(search.view for search in (landing(runs), *searches(runs)) if search.columns)


def _columns(figures: Sequence[str]) -> tuple[str, ...]:
    """Columns of a list of runs, in MLflow's order: figures, what was varied most, tags."""
    params = ("delta", "warmup.iters", "finetune.iters")
    named = [*(("metrics", f) for f in figures), *(("params", p) for p in params), ("tags", CELL), ("tags", KIND)]
    return tuple(f"{group}.`{name}`" for group, name in named)


def _of_table(table: str, runs: Sequence[Listed]) -> tuple[Search, Search]:
    """The cells of a table, best first, and every run it needs."""
    has, figure = f"tags.`{table}` LIKE '%'", main_metric(table, runs) or "ap_det/AP"
    measuring = next(name for name, kind in kinds().items() if kind.measures)
    cells = Search(
        table,
        f"{heading(table)}: cells, best first",
        f"the evaluations of {heading(table)}, highest {figure} first",
        f"{has} AND tags.`{KIND}` = '{measuring}'",
        f"metrics.`{figure}`",
        ascending=False,
        columns=_columns(_figures(table, runs) or [figure]),
    )
    needed = f"every run that {heading(table)} needs, in the order of the work"
    return cells, Search(f"{table}-all", f"{heading(table)}: all runs", needed, has)


def _of_kinds() -> list[Search]:
    listed = [(name, kind) for name, kind in kinds().items() if kind.plural]
    found = [Search(f"{n}s", kind.plural, kind.about, f"tags.`{KIND}` = '{n}'") for n, kind in listed]
    about = "stages that failed the last time they were tried"
    return [*found, Search("failed", "Failed", about, "attributes.status = 'FAILED'", ascending=False)]


def description(experiment: str, runs: Sequence[Listed], models: Mapping[str, str]) -> str:
    """Markdown under an experiment's heading. MLflow shows its first line and unfolds the rest.

    Args:
        experiment: its id.
        models: registered name -> what it is.
    """
    tables, general = tables_of(runs), _of_kinds()
    links = [_first_line(table, runs, experiment, short=len(tables) > 2) for table in tables]
    compared = [s for s in general if any(s.heading == kind.plural for kind in kinds().values() if kind.is_compared)]
    first = " · ".join([*links, *(f"[{s.heading.lower()}]({s.address(experiment)})" for s in compared)])
    rows = [_row(table, runs, experiment) for table in tables]
    grid = ["| table | best | everything | compared |", "|---|---|---|---|", *rows]
    registered = [f"- [{name}]({model_page(name)}): {what}" for name, what in sorted(models.items())]
    listed = [f"- [{s.heading}]({s.address(experiment)}): {s.what}" for s in general]
    top = [line for table in tables if (line := _top(table, runs))]
    cells = ["**Cells, best first**", "\n".join(top)] if top else []
    parts = [first, "\n".join(grid), *cells, "**Models**", "\n".join(registered), "**Searches**", "\n".join(listed)]
    return "\n\n".join(p for p in parts if p and (registered or p != "**Models**"))


def _first_line(table: str, runs: Sequence[Listed], experiment: str, *, short: bool) -> str:
    cells, whole = _of_table(table, runs)
    link = f"[{heading(table)}]({cells.address(experiment)})"
    if short:
        return link
    more = [f"[all its runs]({whole.address(experiment)})"]
    if found := _best_words(table, runs):
        more.append(f"best {found}")
    if pair := compared_pair(table, runs):
        what = f"two {pair[0].facts.plural.lower()} compared"
        more.append(f"[{what}]({compare_page([r.address for r in pair])})")
    return " · ".join([link, *more])


def _best_words(table: str, runs: Sequence[Listed]) -> str:
    figure = main_metric(table, runs)
    run = best(table, figure, runs) if figure else None
    if run is None or figure is None:
        return ""
    return f"[{run.ranked(table)[0]}: {run.figures[figure]:.1f} {figure}]({run_page(run.address)})"


def _top(table: str, runs: Sequence[Listed]) -> str:
    """The highest cells of a table by the metric that most of them print, each with a link."""
    figure = main_metric(table, runs)
    found = best_first(table, figure, runs)[:MOST_CELLS] if figure else []
    cells = [f"[{r.ranked(table)[0]}]({run_page(r.address)}) {r.figures[figure or '']:.1f}" for r in found]
    return f"- {heading(table)}, {figure}: {', '.join(cells)}" if cells else ""


def _row(table: str, runs: Sequence[Listed], experiment: str) -> str:
    cells, whole = _of_table(table, runs)
    count = sum(table in r.places for r in runs)
    links = [f"[{heading(table)}]({cells.address(experiment)})", _best_words(table, runs) or "–"]
    links += [f"[{number_of(count, 'run')}]({whole.address(experiment)})", _pair_words(table, runs)]
    return f"| {' | '.join(links)} |"


def _pair_words(table: str, runs: Sequence[Listed]) -> str:
    if (pair := compared_pair(table, runs)) is None:
        return "–"
    short, long = pair
    many = short.facts.plural.lower()
    words = f"{many} of {short.iters} and {long.iters} it" if short.iters != long.iters else f"two {many}"
    return f"[{words}]({compare_page([short.address, long.address])})"


def compared_pair(table: str, runs: Sequence[Listed]) -> tuple[Listed, Listed] | None:
    """The shortest and the longest training of a table, of the first kind that is compared and has two there."""
    for kind in (name for name, facts in kinds().items() if facts.is_compared):
        found = [r for r in runs if r.kind == kind and table in r.places and r.whole and not r.failed]
        if len(found) > 1:
            found.sort(key=lambda r: (r.iters, r.name))
            return found[0], found[-1]
    return None
