"""The description of an experiment, with links to its tables, best runs, comparisons and searches, as Markdown.

No MLflow here. A search is a filter and an order; its address carries both, MLflow stores nothing of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from casl.spec.freeze import kind_named, kinds
from casl.spec.stage import Stage, split_name
from casl.tracking.address import START, Address, compare_page, model_page, run_page, search_page

NOTE_TAG = "mlflow.note.content"


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


@dataclass(frozen=True)
class Search:
    """A filter and an order over the runs of an experiment, as in `search_page`. name: for `casl ui --search`."""

    name: str
    heading: str
    what: str
    where: str
    order: str = START
    ascending: bool = True

    def address(self, experiment: str) -> str:
        """Its page in an experiment."""
        return search_page(experiment, self.where, self.order, ascending=self.ascending)


def heading(table: str) -> str:
    """table4 -> Table 4; delta -> delta."""
    return re.sub(r"^table(\d+)$", r"Table \1", table)


def main_metric(table: str, runs: Iterable[Listed]) -> str | None:
    """The metric most cells of a table print, as "ap_det/AP"; None before any is measured."""
    headlines = Counter(figure for r in runs if table in r.places for figure in headline(r))
    return max(sorted(headlines), key=headlines.__getitem__) if headlines else None


def headline(run: Listed) -> list[str]:
    """Of an evaluation the one figure that stands for it; of another run none."""
    return [figure for figure in run.figures if run.facts.is_headline(figure)]


def best(table: str, figure: str, runs: Iterable[Listed]) -> Listed | None:
    """The evaluation with the highest figure among those of a table; of equal ones the first by name."""
    measured = [r for r in runs if table in r.places and figure in headline(r)]
    return min(measured, key=lambda r: (-r.figures[figure], r.name)) if measured else None


def tables_of(runs: Iterable[Listed]) -> list[str]:
    """Every table that some run feeds, table2 before table10."""
    names = {table for run in runs for table in run.places}
    return sorted(names, key=lambda t: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", t)])


def searches(runs: Sequence[Listed]) -> list[Search]:
    """The searches of an experiment: two a table, and some over all tables."""
    return [*(search for table in tables_of(runs) for search in _of_table(table, runs)), *_of_kinds()]


def _of_table(table: str, runs: Sequence[Listed]) -> tuple[Search, Search]:
    """The cells of a table, best first, and every run it needs."""
    has, figure = f"tags.`{table}` LIKE '%'", main_metric(table, runs) or "ap_det/AP"
    measuring = next(name for name, kind in kinds().items() if kind.measures)
    cells = Search(
        table,
        f"{heading(table)}: cells, best first",
        f"the evaluations of {heading(table)}, highest {figure} first",
        f"{has} AND tags.`casl.kind` = '{measuring}'",
        f"metrics.`{figure}`",
        ascending=False,
    )
    needed = f"every run that {heading(table)} needs, in the order of the work"
    return cells, Search(f"{table}-all", f"{heading(table)}: all runs", needed, has)


def _of_kinds() -> list[Search]:
    listed = [(name, kind) for name, kind in kinds().items() if kind.plural]
    found = [Search(f"{n}s", kind.plural, kind.about, f"tags.`casl.kind` = '{n}'") for n, kind in listed]
    about = "stages that failed and were not done since"
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
    parts = [first, "\n".join(grid), "**Models**", "\n".join(registered), "**Searches**", "\n".join(listed)]
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
    return f"[{run.places[table][0]}: {run.figures[figure]:.1f} {figure}]({run_page(run.address)})"


def _row(table: str, runs: Sequence[Listed], experiment: str) -> str:
    cells, whole = _of_table(table, runs)
    count = sum(table in r.places for r in runs)
    links = [f"[{heading(table)}]({cells.address(experiment)})", _best_words(table, runs) or "–"]
    links += [f"[{count} runs]({whole.address(experiment)})", _pair_words(table, runs)]
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
