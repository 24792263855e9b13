"""Curves of a table's trainings: a page, a picture and a CSV beside the table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from casl.files import sha256
from casl.report import blocks, html
from casl.report.beside import links_above
from casl.report.curves import LOSS, POINTS, RATE, Line, Panel, curves_name, panels, trainings
from casl.report.curves_figure import drawing
from casl.report.recall import by_note
from casl.report.render import csv_field
from casl.report.table import Table
from casl.report.wording import profile_and_data
from casl.report.written import Contents, Write, anew, suffixed
from casl.spec.run import CURVES, Run
from casl.spec.stage import Stage

HOW = (
    "The loss that each training minimised: for other detectors and other kinds of labels another quantity. A training "
    "that several cells rest on is one line. What a longer training shares with a shorter one was trained once and is "
    "in the colour of that one."
)
KEPT = (
    f"The CSV has about {POINTS} iterations of the longest trainings, with the rate and the parts of the loss; "
    f"{CURVES} in the folder of each stage has all."
)
_COLUMNS = ("stage", "training", "rows", "columns", "seed", "iteration", LOSS, "mean")


def write_curves(
    table: Table, stages: Mapping[str, Stage], runs: Mapping[str, Run], folder: Path, write: Write = anew
) -> list[Path]:
    """Write <folder>/curves-<table>.html, .svg, .png, .csv; nothing for a table that rests on no training.

    Args:
        stages: name of an evaluation of the table -> the stage.
        runs: by the name of a stage, as much of them as is known.
        write: whether always, or only what is another.

    Raises:
        StoreError: the folder cannot be written.
    """
    every = trainings(table, stages)
    if not every:
        return []

    def make() -> Contents:
        found = panels(table, every, runs)
        picture = drawing(_title(table), table.warning, said(found), found)
        contents: dict[str, str | bytes] = {
            "html": html.write(page(table, found)),
            "svg": picture.svg,
            "png": picture.png,
            "csv": to_csv(found),
        }
        return suffixed(curves_name(table), contents)

    known = [(training, _known(runs.get(training.stage.name))) for training in every]
    return write(folder, curves_name(table), (table, known), make)


def _known(run: Run | None) -> tuple[str, str]:
    """Status of a training, and what tells its curve from any other."""
    path = run.folder / CURVES if run else Path()
    return (run.status, sha256(path) if path.is_file() else "") if run else ("", "")


def _title(table: Table) -> str:
    return f"Training curves: {table.title} ({table.name})"


def said(found: Sequence[Panel]) -> list[str]:
    """What the picture shows, in sentences."""
    halves = {2 * panel.half + 1 for panel in found if panel.drawn}
    if not halves:
        return ["None of its trainings has a curve yet."]
    if halves == {1}:
        words = ["Every iteration as it is."]
    else:
        low, high = (f"{n:,}" for n in (min(halves), max(halves)))
        over = low if low == high else f"{low} to {high}"
        words = [f"Lines are running means over {over} iterations, a twenty-fifth of the longest training of a panel."]
    if any(panel.others for panel in found):
        words.append("Thin: other seeds.")
    return [HOW, " ".join(words)]


def page(table: Table, found: Sequence[Panel]) -> blocks.Page:
    """The page: the picture, then one line a training."""
    name = curves_name(table)
    files = blocks.between([blocks.Link(suffix.upper(), f"{name}.{suffix}") for suffix in ("csv", "png", "svg")], " ")
    parts: list[blocks.Block] = [
        *blocks.caution(table.warning),
        blocks.Paragraph(f"Profile {profile_and_data(table)}."),
        blocks.Paragraph(" ".join(said(found))),
        blocks.Picture(_described(found), f"{name}.svg", link=f"{name}.svg"),
        blocks.Paragraph(("Download: ", *files, f". {KEPT}")),
        blocks.Heading("Trainings", "trainings"),
        _list(found),
        *blocks.section("Without a whole curve", notes(found)),
    ]
    return blocks.Page(_title(table), parts, above=links_above(table))


def _described(found: Sequence[Panel]) -> str:
    """What a reader who does not see the picture is told."""
    drawn = ", ".join(panel.counted for panel in found if panel.drawn)
    return f"Loss over iterations, a line a training. {drawn or 'No curve yet'}. The list below has numbers."


def _list(found: Sequence[Panel]) -> blocks.Rows:
    heads = ("kind", "training", "cells", "seed", "iterations", "first loss", "last loss", "stage")
    return blocks.Rows(heads, [_entry(panel, line) for panel in found for line in panel.lines], words=3)


def _entry(panel: Panel, line: Line) -> Sequence[blocks.Text]:
    curve, training = line.curve, line.training
    ends = [f"{loss:.4g}" for loss in (curve.loss[0], line.smooth[-1])] if curve.steps else ["–", "–"]
    return (
        panel.heading,
        blocks.Raised(line.name),
        f"{len(training.places)}",
        f"{training.stage.seed}",
        f"{len(curve.steps):,}" if curve.steps else "–",
        *ends,
        blocks.Marked("code", training.stage.name),
    )


def notes(found: Sequence[Panel]) -> list[str]:
    """Trainings without a whole curve, by the reason."""
    return by_note(
        (f"{line.name} ({line.training.stage.name})", [line.note] if line.note else [])
        for panel in found
        for line in panel.lines
    )


def to_csv(found: Sequence[Panel]) -> str:
    """One line for each training and iteration that is shown, empty where a training has no such number."""
    lines = [line for panel in found for line in panel.lines]
    parts = sorted({name for line in lines for name in line.curve.values} - {LOSS, RATE})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, RATE, *(csv_field(name) for name in parts)])
    for panel in found:
        for line in panel.lines:
            writer.writerows(_records(line, panel.every, (RATE, *parts)))
    return text.getvalue()


def _records(line: Line, every: int, names: Sequence[str]) -> Iterator[list[object]]:
    training, curve = line.training, line.curve
    places = [csv_field("; ".join(of)) for of in (training.rows, training.columns)]
    head = [training.stage.name, csv_field(line.name), *places, training.stage.seed]
    columns = [curve.values.get(name) for name in names]
    for i in line.shown(every):
        rest = ["" if column is None or column[i] is None else f"{column[i]:.6g}" for column in columns]
        yield [*head, curve.steps[i], f"{curve.loss[i]:.6g}", f"{line.smooth[i]:.6g}", *rest]
