"""A search in files: JSON for scripts, Markdown and HTML for people, one picture."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from casl.report import blocks, html, markdown
from casl.report.canvas import Drawing
from casl.report.search import headlines, invitation, line_to_paste, notes, objectives, shown, trusts, verdict
from casl.report.search_figure import search_picture
from casl.report.setting import MLFLOW
from casl.report.table_page import run_link
from casl.report.wording import MEAN_AND_SPREAD
from casl.report.written import write_files
from casl.spec.search import Search, Trial, spoken

WARNING = "Profile {} is small: this shows which value suits it, and says nothing about the paper's scale"
_COLUMNS = {"labels": "labels left", "images": "images left", "precision": "precision", "recall": "recall"}


def write_search(
    search: Search, folder: Path, runs: Mapping[int, str] | None = None, mlflow: str = MLFLOW
) -> list[Path]:
    """Write <folder>/search-<argument>.json, .md, .html, .png and .svg; each file is whole or as it was.

    Args:
        runs: number of a trial -> id of its run in MLflow. mlflow: address that links to runs start with.

    Raises:
        StoreError: the folder cannot be written.
    """
    picture = drawing(search)
    pictures = {f"{search.slug}.png": picture.png, f"{search.slug}.svg": picture.svg}
    return write_files(folder, {**texts(search, picture.svg, runs or {}, mlflow), **pictures})


def drawing(search: Search, older: str = "") -> Drawing:
    """The picture of a search. older: what stands above one of other code than today's."""
    return search_picture(search, [_warning(search), older])


def texts(search: Search, image: bytes, runs: Mapping[int, str], mlflow: str, older: str = "") -> dict[str, str]:
    """JSON, Markdown and HTML by file name. older: what stands above a search of other code than today's."""
    made = page(search, image, runs, mlflow, older)
    return {
        f"{search.slug}.json": search_json(search),
        f"{search.slug}.md": markdown.write(made),
        f"{search.slug}.html": html.write(made),
    }


def read_search(record: Mapping[str, Any]) -> Search:
    """A search from its JSON. Raises KeyError or TypeError for another version's."""
    known = {f.name: record[f.name] for f in dataclasses.fields(Search) if f.name != "trials"}
    return Search(**known, trials=tuple(map(_trial, record["trials"])))


def _trial(record: Mapping[str, Any]) -> Trial:
    known = {f.name: record[f.name] for f in dataclasses.fields(Trial)}
    figures = {name: tuple(values) for name, values in record["figures"].items()}
    rungs = {int(length): tuple(values) for length, values in record["rungs"].items()}
    return Trial(**{**known, "figures": figures, "rungs": rungs})


def search_json(search: Search) -> str:
    """One object: the question, the answer, every trial. Numbers at full precision, null where there is none."""
    found = verdict(search)
    answer: dict[str, Any] | None = None
    if found:
        answer = {f.name: getattr(found, f.name) for f in dataclasses.fields(found) if f.name != "best"}
        answer |= {
            "value": found.best.value,
            "trial": found.best.number,
            "paste": line_to_paste(search, found.best.value),
        }
    trust = [{**dataclasses.asdict(t), "trusted": t.word} for t in trusts(search)]
    head = {f.name: getattr(search, f.name) for f in dataclasses.fields(search) if f.name != "trials"}
    trials = [{**dataclasses.asdict(t), "means": {n: t.mean(n) for n in t.figures}} for t in search.trials]
    said = {"headline": headlines(search), "notes": notes(search)}
    body = {**head, "best": answer, "agreement": trust, **said, "trials": trials}
    return json.dumps(body, indent=1, allow_nan=False) + "\n"


def _warning(search: Search) -> str:
    return WARNING.format(search.profile) if search.small else ""


def _title(search: Search) -> str:
    return f"Search over {search.argument} ({search.cell}, profile {search.profile}, data {search.data})"


def page(search: Search, image: bytes, runs: Mapping[int, str], mlflow: str, older: str = "") -> blocks.Page:
    """The answer, how to use it, the picture, every value, what is to be noted, the settings."""
    lines = [blocks.Raised(line) for line in headlines(search)]
    alt = f"Objectives and labels against {search.argument}"
    return blocks.Page(
        _title(search),
        [
            *blocks.caution(_warning(search)),
            *blocks.caution(older),
            blocks.Lines(lines, bullets=True),
            *_to_paste(search),
            blocks.Group([blocks.Picture(alt, f"{search.slug}.png")], "markdown"),
            blocks.Group([blocks.Picture(_title(search), image), blocks.Heading("Every value")], "html"),
            *_values(search, runs, mlflow),
            *([blocks.Paragraph(MEAN_AND_SPREAD)] if search.seeds > 1 else []),
            *blocks.section("To be noted", notes(search)),
            *blocks.section("Settings", [f"{name}: {value}" for name, value in _settings(search)]),
        ],
    )


def _to_paste(search: Search) -> list[blocks.Block]:
    if (found := verdict(search)) is None or not (said := invitation(search, found)):
        return []
    line = blocks.Preformatted(line_to_paste(search, found.best.value))
    short, long = f"{said}, in the profile:", f"{said}, write into the profile (ablations/profiles.py):"
    return [
        blocks.Group([blocks.Paragraph(short), line], "html", one_line=True),
        blocks.Group([blocks.Paragraph(long), line], "markdown"),
    ]


def _values(search: Search, runs: Mapping[int, str], mlflow: str) -> list[blocks.Block]:
    """The table of trials; in HTML, whose heads are plain, with links to their runs."""
    heads, lines = _table(search)
    entries = [[blocks.Raised(entry) for entry in line] for line in lines]
    links = [[run_link(mlflow, runs.get(t.number))] * bool(runs) for t in shown(search)]
    linked = [[*entry, *link] for entry, link in zip(entries, links, strict=True)]
    return [
        blocks.Group([blocks.Rows([*heads, *["MLflow"] * bool(runs)], linked)], "html"),
        blocks.Group([blocks.Rows([blocks.Raised(head) for head in heads], entries, words=2)], "markdown"),
    ]


def _table(search: Search) -> tuple[list[str], list[list[str]]]:
    """Headings of the table of trials, and one line a trial."""
    figures = [*objectives(search), *(c for c in _COLUMNS if any(c in t.figures for t in search.trials))]
    rungs = sorted({k for t in search.trials for k in t.rungs})
    heads = [search.argument, "state", *(search.labels.get(f, _COLUMNS.get(f, f)) for f in figures)]
    heads += [f"AP^e after {k}x" for k in rungs]
    return heads, [_line(t, figures, rungs) for t in shown(search)]


def _line(trial: Trial, figures: Sequence[str], rungs: Sequence[int]) -> list[str]:
    state = trial.state + (f": {trial.reason}" if trial.reason else "")
    cells = [_number(trial.figures.get(f, ()), whole=f in ("labels", "images")) for f in figures]
    return [spoken(trial.value), state, *cells, *(_number(trial.rungs.get(k, ())) for k in rungs)]


def _number(values: Sequence[float], *, whole: bool = False) -> str:
    """Mean, and spread over seeds."""
    if not values:
        return "–"
    digits = 0 if whole else 2
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def _settings(search: Search) -> list[tuple[str, str]]:
    known = {"study": search.name, "target": search.target, "seeds": str(search.seeds), **search.settings}
    return [(name, value) for name, value in known.items() if value]
