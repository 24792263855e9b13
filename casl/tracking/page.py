"""What an experiment shows first: a description with links, and saved views. Words only: no MLflow here.

A saved view is an experiment tag that MLflow's own pages read and write: the menu "Views" over the list of runs.
Those made here are made again at every sync; others, saved by hand, are left alone.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from casl.tracking.address import Address, compare_page, model_page, run_page, view_page

VIEW_TAG = "mlflow.sharedViewState."
NOTE_TAG = "mlflow.note.content"
OURS = "casl-"  # beginning of our views' keys
HEADLINES = ("AP", "PQ")  # the figure of a metric that a table is about
RUN_NAME = "attributes.`Run Name`"
NAME_WIDTH_PX = 460
COLUMN_WIDTH_PX = 150


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
        """Of the stage."""
        return self.name.partition("-")[0]


@dataclass(frozen=True)
class View:
    """A saved search: its key, name, filter, order and columns."""

    key: str
    name: str
    what: str
    filter: str
    order: str
    ascending: bool
    columns: tuple[str, ...]

    def state(self) -> str:
        """As MLflow's pages keep it; moments are fixed, so that an unchanged view is not written again."""
        widths = {"0": 80, RUN_NAME: NAME_WIDTH_PX, "runDateAndNestInfo": 120, "duration": 90}
        widths |= dict.fromkeys(self.columns, COLUMN_WIDTH_PX)
        state = {
            "searchFilter": self.filter,
            "orderByKey": self.order,
            "orderByAsc": self.ascending,
            "selectedColumns": list(self.columns),
            "columnOrder": list(widths),
            "columnWidths": widths,
        }
        return json.dumps({"name": self.name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})


def heading(table: str) -> str:
    """table4 -> Table 4; delta -> delta."""
    return re.sub(r"^table(\d+)$", r"Table \1", table)


def main_metric(table: str, runs: Iterable[Listed]) -> str | None:
    """The metric most cells of a table print, as "ap_det/AP"; None before any is measured."""
    headlines = Counter(figure for r in runs if table in r.places for figure in headline(r))
    return max(sorted(headlines), key=headlines.__getitem__) if headlines else None


def headline(run: Listed) -> list[str]:
    """Of an evaluation the one figure that stands for it; of another run none."""
    return [f for f in run.figures if run.kind == "evaluate" and f.partition("/")[2] in HEADLINES]


def best(table: str, figure: str, runs: Iterable[Listed]) -> Listed | None:
    """The evaluation with the highest figure among those of a table; of equal ones the first by name."""
    measured = [r for r in runs if table in r.places and figure in headline(r)]
    return min(measured, key=lambda r: (-r.figures[figure], r.name)) if measured else None


def tables_of(runs: Iterable[Listed]) -> list[str]:
    """Every table that some run feeds, table2 before table10."""
    names = {table for run in runs for table in run.places}
    return sorted(names, key=lambda t: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", t)])


def views(runs: Sequence[Listed]) -> list[View]:
    """The saved views of an experiment: two a table, and some over all tables."""
    found = [view for table in tables_of(runs) for view in _table_views(table, runs)]
    return [*found, *_general_views()]


def _table_views(table: str, runs: Sequence[Listed]) -> list[View]:
    has, figure = f"tags.`{table}` LIKE '%'", main_metric(table, runs) or "ap_det/AP"
    metrics = sorted({f for r in runs if table in r.places for f in headline(r)} | {figure})
    tag = f"tags.`{table}`"
    cells = View(
        f"{OURS}{table}",
        f"{heading(table)}: cells, best first",
        f"the evaluations of {heading(table)}, highest {figure} first",
        f"{has} AND tags.`casl.kind` = 'evaluate'",
        f"metrics.`{figure}`",
        ascending=False,
        columns=(tag, *(f"metrics.`{m}`" for m in metrics)),
    )
    whole = View(
        f"{OURS}{table}-all",
        f"{heading(table)}: all runs",
        f"every run that {heading(table)} needs, in the order of the work",
        has,
        "attributes.start_time",
        ascending=True,
        columns=("tags.`casl.kind`", tag, "metrics.`final/final_loss`", *(f"metrics.`{m}`" for m in metrics)),
    )
    return [cells, whole]


def _general_views() -> list[View]:
    def of_kind(kind: str, name: str, what: str, *columns: str) -> View:
        where = f"tags.`casl.kind` = '{kind}'"
        return View(f"{OURS}{kind}s", name, what, where, "attributes.start_time", ascending=True, columns=columns)

    model = ("params.`model.detector`", "params.`model.backbone`", "params.`iters`")
    loss = "metrics.`final/final_loss`"
    labels = tuple(f"metrics.`final/{f}_0.3`" for f in ("precision", "recall", "f1"))
    return [
        of_kind("labeler", "Labelers", "what labels the images", *model, "params.`recipe.augmentation`", loss),
        of_kind("pseudolabel", "Pseudo labels", "with precision and recall, where the truth is known", *labels),
        of_kind(
            "warmup", "Warmups", "on which labels, for how long", *model, "params.`threshold`", "params.`data`", loss
        ),
        of_kind("finetune", "Finetunes", "from which warmup", *model, "params.`init`", "params.`parts`", loss),
        View(
            f"{OURS}failed",
            "Failed",
            "stages that failed and were not done since",
            "attributes.status = 'FAILED'",
            "attributes.start_time",
            ascending=False,
            columns=("tags.`casl.kind`", "tags.`casl.host`"),
        ),
    ]


def description(experiment: str, runs: Sequence[Listed], models: Mapping[str, str]) -> str:
    """Markdown under an experiment's heading. MLflow shows its first line and unfolds the rest.

    Args:
        experiment: its id.
        models: registered name -> what it is.
    """
    tables = tables_of(runs)
    links = [_first_line(table, runs, experiment, short=len(tables) > 2) for table in tables]
    first = " · ".join([*links, f"[warmups]({view_page(experiment, f'{OURS}warmups')})"])
    rows = [_row(table, runs, experiment) for table in tables]
    grid = ["| table | best | everything | warmups |", "|---|---|---|---|", *rows]
    registered = [f"- [{name}]({model_page(name)}): {what}" for name, what in sorted(models.items())]
    searches = [f"- [{v.name}]({view_page(experiment, v.key)}): {v.what}" for v in _general_views()]
    parts = [first, "\n".join(grid), "**Models**", "\n".join(registered), "**Searches**", "\n".join(searches)]
    return "\n\n".join(p for p in parts if p and (registered or p != "**Models**"))


def _first_line(table: str, runs: Sequence[Listed], experiment: str, *, short: bool) -> str:
    name = heading(table)
    link = f"[{name}]({view_page(experiment, f'{OURS}{table}')})"
    if short:
        return link
    more = [f"[all its runs]({view_page(experiment, f'{OURS}{table}-all')})"]
    if found := _best_words(table, runs):
        more.append(f"best {found}")
    if pair := warmup_pair(table, runs):
        more.append(f"[two warmups compared]({compare_page([r.address for r in pair])})")
    return " · ".join([link, *more])


def _best_words(table: str, runs: Sequence[Listed]) -> str:
    figure = main_metric(table, runs)
    run = best(table, figure, runs) if figure else None
    if run is None or figure is None:
        return ""
    return f"[{run.places[table][0]}: {run.figures[figure]:.1f} {figure}]({run_page(run.address)})"


def _row(table: str, runs: Sequence[Listed], experiment: str) -> str:
    cells = f"[{heading(table)}]({view_page(experiment, f'{OURS}{table}')})"
    everything = f"[{sum(table in r.places for r in runs)} runs]({view_page(experiment, f'{OURS}{table}-all')})"
    pair = warmup_pair(table, runs)
    words = f"{pair[0].iters} and {pair[1].iters} it" if pair and pair[0].iters != pair[1].iters else "two of them"
    compared = f"[{words}]({compare_page([r.address for r in pair])})" if pair else "–"
    return f"| {cells} | {_best_words(table, runs) or '–'} | {everything} | {compared} |"


def warmup_pair(table: str, runs: Sequence[Listed]) -> tuple[Listed, Listed] | None:
    """The shortest and the longest warmup of a table; None if it has but one."""
    found = [r for r in runs if r.kind == "warmup" and table in r.places and r.whole and not r.failed]
    found.sort(key=lambda r: (r.iters, r.name))
    return (found[0], found[-1]) if len(found) > 1 else None


def tags_of(experiment: str, runs: Sequence[Listed], models: Mapping[str, str]) -> dict[str, str]:
    """Every tag of the experiment that makes up the page."""
    note: dict[str, Any] = {NOTE_TAG: description(experiment, runs, models)}
    return {**note, **{f"{VIEW_TAG}{view.key}": view.state() for view in views(runs)}}
