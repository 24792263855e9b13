"""Two models beside each other, where they have learned enough that it says something; else a sentence that says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from casl import catalog
from casl.look.pictures import mistakes
from casl.look.plots import plot_errors, plot_precision, plot_sizes, plot_table
from casl.look.questions import errors, recall_curves, sizes
from casl.look.results import Markdown, Results
from casl.report.table import Table
from casl.report.table_page import to_markdown
from casl.runner.store import Store
from casl.spec.kinds import Evaluate
from casl.spec.recipe import evaluate, finetune, warmup

LEAST = 5.0  # AP in percent; below it a handful of lucky boxes decides, and differences are chance
Shown = Image.Image | Markdown


def suggested_profile(store: str | Path) -> str:
    """The profile that a notebook looks at: PROFILE of the environment, or `mini` where the store has its default
    chain, or `smoke`, which is computed in half a minute."""
    if asked := os.environ.get("PROFILE"):
        return asked
    mini = catalog.load("profile", "mini")
    final = evaluate(mini, finetune(mini, warmup(mini)), "ap_det")
    there = Path(store).is_dir() and Store(Path(store)).run(final.name).status == "done"
    return "mini" if there else "smoke"


def compare_precision(results: Results, models: Mapping[str, Evaluate]) -> Shown:
    """Precision against recall. models: label -> evaluation, as in all of these."""
    return _too_little(results, models) or plot_precision({n: recall_curves(results, e) for n, e in models.items()})


def compare_errors(results: Results, models: Mapping[str, Evaluate]) -> Shown:
    """Kinds of errors, and what mending all of a kind would give."""
    return _too_little(results, models) or plot_errors({n: errors(results, e) for n, e in models.items()})


def compare_sizes(results: Results, models: Mapping[str, Evaluate]) -> Shown:
    """AP by the size of objects."""
    return _too_little(results, models) or plot_sizes({n: sizes(results, e) for n, e in models.items()})


def surest_mistakes(results: Results, scored: Evaluate, kind: str) -> Shown:
    """A model's errors of one kind with the highest scores, see `mistakes`."""
    return _too_little(results, {"it": scored}) or mistakes(results, scored, errors(results, scored), kind)


def table_page(table: Table) -> Markdown:
    """A table as `casl report` writes it, with a warning above it where its numbers must not be compared."""
    warning = _nothing_learned(table)
    return Markdown(f"> {warning}\n\n{to_markdown(table)}" if warning else to_markdown(table))


def table_picture(table: Table) -> Shown:
    """A table's own picture, where its numbers can be compared."""
    return _nothing_learned(table) or plot_table(table)


def _too_little(results: Results, models: Mapping[str, Evaluate]) -> Markdown | None:
    figures = [results.run(e).metrics.get(catalog.row("metric", e.metric).headline, -1.0) for e in models.values()]
    return None if max(figures) >= LEAST else _sentence("these models")


def _nothing_learned(table: Table) -> Markdown | None:
    values = [cell.value for cell in table.cells if cell.value is not None]
    return None if max(values, default=0.0) >= LEAST else _sentence(f"the models of {table.name}")


def _sentence(what: str) -> Markdown:
    return Markdown(
        f"**Nothing to compare:** {what} have not learned to find objects (AP below {LEAST:g}), so their differences "
        "are chance. Profile `smoke` shows that everything runs; after `make table4` open this notebook with "
        "`PROFILE=mini`."
    )
