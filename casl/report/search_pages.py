"""A search in files: JSON for scripts, Markdown and HTML for people, one picture."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from casl.files import write_atomic
from casl.report import markdown
from casl.report.heading import tagged
from casl.report.page import MLFLOW_PAGE, listed, page, rows_of, run_link, warned
from casl.report.search import headlines, line_to_paste, notes, objectives, shown, trusts, verdict
from casl.report.search_figure import draw_search
from casl.spec.search import Search, Trial, spoken

WARNING = "Profile {} is small: this shows which value suits it, and says nothing about the paper's scale"
_COLUMNS = {"labels": "labels left", "images": "images left", "precision": "precision", "recall": "recall"}


def write_search(
    search: Search, folder: Path, runs: Mapping[int, str] | None = None, mlflow_page: str = MLFLOW_PAGE
) -> list[Path]:
    """Write <folder>/search-<argument>.json, .md, .html and .png; each file is whole or as it was.

    Args:
        runs: number of a trial -> id of its run in MLflow. mlflow_page: address that links to runs start with.

    Raises:
        StoreError: the folder cannot be written.
    """
    picture = draw_search(search, _warning(search))
    contents = {
        "json": search_json(search).encode(),
        "md": _markdown(search).encode(),
        "png": picture,
        "html": _html(search, picture, runs or {}, mlflow_page).encode(),
    }
    paths = [folder / f"{search.slug}.{suffix}" for suffix in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_atomic(path, content)
    return paths


def search_json(search: Search) -> str:
    """Everything: what was asked, the answer, every trial. Numbers at full precision, null where there is none."""
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


def _markdown(search: Search) -> str:
    plain = _marked
    parts = [f"# {markdown.plain(_title(search))}"]
    parts += [f"> **{_warning(search)}.**"] if search.small else []
    parts += [_bullets(headlines(search))]
    if found := verdict(search):
        paste = line_to_paste(search, found.best.value)
        parts += [f"To use it, write into the profile (ablations/profiles.py):\n\n```\n{paste}\n```"]
    parts += [f"![Objectives and labels against {markdown.plain(search.argument)}]({search.slug}.png)"]
    heads, lines = _table(search)
    parts += [markdown.rows_of([[plain(h) for h in heads], *([plain(c) for c in line] for line in lines)], words=2)]
    parts += ["## To be noted", _bullets(notes(search))]
    parts += ["## Settings", _bullets([f"{name}: {value}" for name, value in _settings(search)])]
    return "\n\n".join(parts) + "\n"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_marked(line)}" for line in lines)


def _marked(text: str) -> str:
    """Markdown with raised letters as tags, and the spaces around them kept."""

    def plain(piece: str) -> str:
        before, after = piece[: len(piece) - len(piece.lstrip())], piece[len(piece.rstrip()) :]
        return f"{before}{markdown.plain(piece)}{after if piece.strip() else ''}"

    return tagged(text, plain)


def _html(search: Search, picture: bytes, runs: Mapping[int, str], mlflow_page: str) -> str:
    heads, lines = _table(search)
    numbers = [t.number for t in shown(search)]
    rows = [
        [*(tagged(c) for c in line), run_link(mlflow_page, runs.get(number))]
        for number, line in zip(numbers, lines, strict=True)
    ]
    found = verdict(search)
    paste = (
        f"<p>To use it, in the profile:</p><pre>{escape(line_to_paste(search, found.best.value))}</pre>"
        if found
        else ""
    )
    image = base64.b64encode(picture).decode()
    return page(
        _title(search),
        [
            warned(_warning(search)),
            *(f"<p>{tagged(line)}</p>" for line in headlines(search)),
            paste,
            f'<img alt="{escape(_title(search))}" src="data:image/png;base64,{image}">',
            "<h2>Every value</h2>",
            rows_of([*heads, "MLflow"], rows),
            listed("To be noted", notes(search)),
            listed("Settings", [f"{name}: {value}" for name, value in _settings(search)]),
        ],
    )


def _table(search: Search) -> tuple[list[str], list[list[str]]]:
    """Headings and one line a value."""
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
