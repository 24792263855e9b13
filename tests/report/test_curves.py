"""Curves of the trainings behind a table: which, under which names, whole, and the numbers of every written form."""

from __future__ import annotations

import csv
import io
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablations import rivals
from casl import catalog
from casl.report import html
from casl.report.blocks import Link, visible
from casl.report.curves import POINTS, Panel, panels, running_mean, trainings
from casl.report.curves_figure import COLOURS, drawing
from casl.report.curves_page import notes, page, to_csv, write_curves
from casl.report.index import write_index
from casl.report.render import others_of
from casl.report.table import build_table
from casl.report.written import Contents, renew
from casl.spec import Profile
from tests.report.made_curves import DROPS, LENGTHS, Made, cells
from tests.report.odd_names import ODD
from tests.report.sample import inked, tabled
from tests.report.test_odd_names import Parsed

LINE = re.compile(r'<path d="([^"]+)"[^>]*style="fill: none; stroke: (#\w+)')


def made(folder: Path, count: int = 1) -> Made:
    return Made(folder, [cells(seed=seed) for seed in range(count)])


def panels_of(store: Made) -> dict[str, Panel]:
    found = panels(store.table, trainings(store.table, store.stages), store.runs)
    return {panel.heading: panel for panel in found}


def rows_of(store: Made) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv([*panels_of(store).values()]))))


def written(store: Made, name: str) -> list[dict[str, str]]:
    """What a training's own file says, a line an iteration."""
    return list(csv.DictReader(store.curve(name).open()))


def test_every_training_is_in_the_panel_of_its_kind_and_named_by_what_its_cells_share(tmp_path: Path) -> None:
    found = panels_of(made(tmp_path))
    names = {heading: [line.name for line in panel.lines] for heading, panel in found.items()}
    assert names == {
        "Labelers": ["labeler 60 it · fcos resnet_micro · class-agnostic"],  # all cells rest on it
        "Warmups": ["W 1x", "W 2x"],
        "Finetunes": ["F 1x / W 1x", "F 1x / W 2x", "F 2x / W 1x", "F 2x / W 2x"],
    }
    assert {line.label for line in found["Finetunes"].lines} == {"F 1x", "F 2x"}
    assert [panel.counted for panel in found.values()] == ["Labelers: 1", "Warmups: 2", "Finetunes: 4"]


def test_numbers_of_the_csv_are_those_that_were_written_and_their_means(tmp_path: Path) -> None:
    store = made(tmp_path)
    rows = rows_of(store)
    assert list(rows[0]) == [
        *("stage", "training", "rows", "columns", "seed", "iteration", "loss", "mean", "lr", "loss_box")
    ]
    reach = {"labeler": LENGTHS[0] // 50, "warmup": LENGTHS[1] // 50, "finetune": LENGTHS[1] // 50}
    assert {row["stage"] for row in rows} == set(store.trained)
    for name, stage in store.trained.items():
        shown, wrote = [row for row in rows if row["stage"] == name], written(store, name)
        assert [row["iteration"] for row in shown] == [row["iteration"] for row in wrote]
        for column in ("loss", "lr", "loss_box"):
            assert [float(row[column]) for row in shown] == pytest.approx(
                [float(row[column]) for row in wrote], rel=1e-5
            )
        losses, half = np.array([float(row["loss"]) for row in wrote]), reach[stage.kind]
        inside = np.convolve(losses, np.ones(2 * half + 1) / (2 * half + 1), "valid")
        means = [float(row["mean"]) for row in shown]
        assert means[half : len(losses) - half] == pytest.approx(list(inside), rel=1e-5)
        assert means[0] == pytest.approx(losses[0]) and means[-1] == pytest.approx(losses[-1 - half :].mean(), rel=1e-5)
    (one,) = store.named("finetune", iters=LENGTHS[1], init=LENGTHS[0])
    told = next(row for row in rows if row["stage"] == one)
    assert (told["training"], told["rows"], told["columns"], told["seed"]) == ("F 2x / W 1x", "F 2x", "W 1x", "0")


@pytest.mark.parametrize("half", [0, 1, 3, 50])
def test_a_running_mean_is_that_of_the_numbers_on_both_sides(half: int) -> None:
    values = [math.cos(i) for i in range(20)]
    expected = [np.mean(values[i - min(i, half) : i + min(i, half) + 1]) for i in range(20)]
    assert running_mean(values, half) == pytest.approx(expected)
    assert running_mean([], half) == ()


def test_a_training_that_went_on_from_a_shared_beginning_is_whole_and_its_beginning_is_drawn_once(
    tmp_path: Path,
) -> None:
    found = panels_of(made(tmp_path))["Warmups"]
    short, long = found.lines
    assert long.curve.steps == tuple(range(LENGTHS[1])) and short.curve.steps == tuple(range(LENGTHS[0]))
    shared = DROPS[0] - found.half  # a mean that reaches no iteration behind the drop
    assert long.smooth[:shared] == short.smooth[:shared] and long.smooth[DROPS[0]] != short.smooth[DROPS[0]]
    svg = drawing("t", "", [], [found]).svg.decode()
    paths = {colour: path for path, colour in LINE.findall(svg) if colour in COLOURS and path.count("L") > 5}
    begin = {colour: float(path.split()[1]) for colour, path in paths.items()}  # x of the first point
    assert begin[COLOURS[0]] < begin[COLOURS[1]], "the longer one begins where it parts"
    assert all(line.note == "" for line in found.lines)


def test_long_trainings_are_shown_at_as_many_iterations_as_are_seen(tmp_path: Path) -> None:
    store = made(tmp_path)
    (name,) = store.named("labeler")
    lines = [f"{i},{1 + 1 / (1 + i)}" for i in range(1999)]
    store.curve(name).write_text("\n".join(["iteration,loss", *lines]) + "\n")
    panel = panels_of(store)["Labelers"]
    places = panel.lines[0].shown(panel.every)
    assert (panel.every, panel.half) == (8, 39) and len(places) <= POINTS + 1
    assert places[:2] == [0, 8] and places[-1] == 1998, "the last iteration is always there"


def test_other_seeds_are_fainter_and_a_first_seed_alone_is_counted(tmp_path: Path) -> None:
    store = made(tmp_path, 3)
    found = panels_of(store)
    assert {heading: (len(p.first), len(p.others)) for heading, p in found.items()} == {
        "Labelers": (1, 2),
        "Warmups": (2, 4),
        "Finetunes": (4, 8),
    }
    assert {line.training.stage.seed for line in found["Finetunes"].first} == {0}
    assert {row["seed"] for row in rows_of(store)} == {"0", "1", "2"}
    svg = drawing("t", "", [], [found["Warmups"]]).svg.decode()
    faint = re.findall(r"stroke-opacity: 0.35; stroke-width: 0.7", svg)
    assert len(faint) == 4
    assert "Thin: other seeds." in html.write(page(store.table, [*found.values()]))


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "said", "steps"),
    [
        (lambda path: path.unlink(), "{0} has no curves.csv", 0),
        (lambda path: path.write_bytes(bytes(range(256)) * 9), "{0}/curves.csv is damaged from line 2 on", 0),
        (lambda path: path.write_text(""), "{0}/curves.csv has no loss", 0),
        (lambda path: path.write_text("iteration,lr\n0,1\n"), "{0}/curves.csv has no loss", 0),
        (lambda path: path.write_text(path.read_text()[:-3]), "{0}/curves.csv is damaged from line 61 on", 59),
        (lambda path: path.write_text("iteration,loss\n0,3\n1,2\nx\n"), "{0}/curves.csv is damaged from line 4 on", 2),
        (
            lambda path: path.write_bytes(b"iteration,loss\n0,3\n1,\xff\xfe\n"),
            "{0}/curves.csv is damaged from line 3 on",
            1,
        ),
        (
            lambda path: path.write_text("iteration,loss\n9,3\n10,2\n"),
            "{0}/curves.csv has iterations 9 to 10 of a training of 60",
            2,
        ),
        (lambda path: (path.unlink(), path.mkdir()), "{0} has no curves.csv", 0),
    ],
)
def test_a_training_without_a_whole_curve_is_named_with_its_file(
    tmp_path: Path, damage: Damage, said: str, steps: int
) -> None:
    store = made(tmp_path)
    (name,) = store.named("labeler")
    damage(store.curve(name))
    found = panels_of(store)
    assert len(found["Labelers"].lines[0].curve.steps) == steps
    expected = said.format(f"stages/{name}")
    title = found["Labelers"].lines[0].name
    assert notes([*found.values()]) == [f"{title} ({name}): {expected}"]
    text = html.write(page(store.table, [*found.values()]))
    assert expected in text and str(tmp_path) not in text, "a page names no folder of a machine"


def test_trainings_that_are_not_done_are_named_with_their_state(tmp_path: Path) -> None:
    store = made(tmp_path)
    (failed,) = store.named("warmup", iters=LENGTHS[0])
    (unknown,) = store.named("finetune", iters=LENGTHS[0], init=LENGTHS[1])
    store.runs[failed] = replace(store.runs[failed], status="failed", error="no disk")
    del store.runs[unknown]
    found = panels_of(store)
    assert notes([*found.values()]) == [f"W 1x ({failed}): failed", f"F 1x / W 2x ({unknown}): not run"]
    assert found["Warmups"].counted == "Warmups: 1 of 2"


def test_where_nothing_was_trained_yet_the_files_say_so(tmp_path: Path) -> None:
    store = made(tmp_path)
    paths = write_curves(store.table, store.stages, {}, tmp_path / "out")
    assert [path.name for path in paths] == [f"curves-table4.{suffix}" for suffix in ("html", "svg", "png", "csv")]
    text = paths[0].read_text()
    assert "None of its trainings has a curve yet." in text and "all: not run" in text
    assert paths[3].read_text().splitlines() == ["stage,training,rows,columns,seed,iteration,loss,mean,lr"]


def test_a_table_that_only_quotes_has_no_page(tmp_path: Path) -> None:
    quoted = tabled("table8", {("a", "b", "ap_e", "AP"): (None, 2.0)}, note="published by its authors")
    assert write_curves(quoted, {}, {}, tmp_path) == [] and list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, list[Path]]:
    """A store and what was written of it, to look at only."""
    folder = tmp_path_factory.mktemp("shown")
    store = made(folder)
    return store, write_curves(store.table, store.stages, store.runs, folder / "out", renew)


def test_files_are_the_same_twice_and_are_written_again_only_after_a_change(shown: tuple[Made, list[Path]]) -> None:
    store, paths = shown
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in paths}
    again = write_curves(store.table, store.stages, store.runs, paths[0].parent, renew)
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in again} == before
    write_curves(store.table, store.stages, store.runs, paths[0].parent)
    assert {path: path.read_bytes() for path in paths} == {path: content for path, (_, content) in before.items()}
    assert Image.open(paths[2]).size[0] > 800


def test_pages_follow_a_curve_that_changes(tmp_path: Path) -> None:
    store, inputs = made(tmp_path), []

    def told(folder: Path, name: str, made_of: object, make: Callable[[], Contents]) -> list[Path]:
        inputs.append(repr(made_of))
        return []

    for content in (None, "iteration,loss\n0,3\n", "iteration,loss\n0,4\n"):
        if content is not None:
            store.curve(*store.named("labeler")).write_text(content)
        write_curves(store.table, store.stages, store.runs, tmp_path, told)
    write_curves(store.table, store.stages, {}, tmp_path, told)
    assert len(set(inputs)) == 4


def test_pages_of_a_table_and_the_index_link_curves_that_are_there(
    shown: tuple[Made, list[Path]], tmp_path: Path
) -> None:
    store, paths = shown
    assert others_of(store.table, tmp_path) == []
    assert others_of(store.table, paths[0].parent) == [Link("training curves", "curves-table4.html")]
    for folder, linked in ((tmp_path, False), (paths[0].parent, True)):
        write_index([store.table], [], folder)
        assert ('<a href="curves-table4.html">curves</a>' in (folder / "index.html").read_text()) == linked


def test_the_picture_is_told_in_words_and_every_file_of_the_page_is_there(shown: tuple[Made, list[Path]]) -> None:
    _, paths = shown
    text = paths[0].read_text()
    assert re.findall(r'<img alt="([^"]+)"', text) == [
        "Loss over iterations, a line a training. Labelers: 1, Warmups: 2, Finetunes: 4. The list below has numbers."
    ]
    linked = set(re.findall(r'(?:href|src)="([^":#]+)"', text)) - {"index.html", "table4.html"}
    assert linked == {path.name for path in paths} - {paths[0].name}
    assert text.count("<h1>") == 1 and "SMALL PROFILE" in text
    assert paths[1].read_text().count("prefers-color-scheme: dark") == 1


def test_a_long_title_is_not_cut_off(tmp_path: Path) -> None:
    last, width = inked(drawing("a title of many words, " * 12, "", [], [panels_of(made(tmp_path))["Warmups"]]).png)
    assert last < width - 3


@pytest.mark.parametrize("name", ODD.values(), ids=ODD.keys())
def test_odd_names_are_shown_and_nothing_else(tmp_path: Path, name: str) -> None:
    store, plain = Made(tmp_path / "odd", [cells((name, "F 2x"), (name, "W 2x"))]), made(tmp_path / "plain")
    shown, usual = (Parsed(html.write(page(of.table, [*panels_of(of).values()]))) for of in (store, plain))
    assert shown.tags <= usual.tags | {"sup", "sub"} and shown.attributes == usual.attributes
    assert visible(name) in shown.text
    rows = rows_of(store)
    assert {row["stage"] for row in rows} == set(store.trained)
    words = [row[column] for row in rows for column in ("training", "rows", "columns")]
    assert not [word for word in words if word.lstrip()[:1] in tuple("=+-@\uff1d")]


def test_a_legend_of_odd_names_leaves_none_out(tmp_path: Path) -> None:
    """A name with a leading underscore is one that matplotlib would leave out, with a warning."""
    panel = panels_of(made(tmp_path))["Warmups"]
    lines = [replace(panel.lines[0], label=name) for name in (*ODD.values(), "_under", "AP^det")]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*excluded from the legend")
        picture = drawing("t", "", ["s"], [replace(panel, lines=tuple(lines))])
    assert Image.open(io.BytesIO(picture.png)).size[0] > 800


def test_the_finetunes_of_table_4_have_five_colours_and_25_names() -> None:
    profile: Profile = catalog.load("profile", "smoke")
    ablation = catalog.load("ablation", "table4")
    built = ablation.build(profile)
    table = build_table(ablation, profile, [built], {}, {})
    found = panels(table, trainings(table, {c.measurement.name: c.measurement for c in built}), {})
    by_heading = {panel.heading: panel.lines for panel in found}
    assert list(by_heading) == ["Pretrain", "Labelers", "Warmups", "Finetunes"]
    finetunes = by_heading["Finetunes"]
    assert list(dict.fromkeys(line.label for line in finetunes)) == [f"F {n}x" for n in range(1, 6)]
    assert len({line.name for line in finetunes}) == len(finetunes) == 25
    assert [line.name for line in by_heading["Warmups"]] == [f"W {n}x" for n in range(1, 6)]


def test_trainings_of_one_name_say_which_row_they_are_for(tmp_path: Path) -> None:
    """Of rivals, two labelers feed more rows than two, and not all of their column; the third feeds one."""
    profile: Profile = catalog.load("profile", "smoke")
    ablation = catalog.load("ablation", "rivals")
    built = ablation.build(profile)
    table = build_table(ablation, profile, [built], {}, {})
    found = panels(table, trainings(table, {c.measurement.name: c.measurement for c in built}), {})
    names = {panel.heading: [line.name for line in panel.lines] for panel in found}
    assert all(len(set(of)) == len(of) for of in names.values())
    assert "Soft Teacher" in names["Joint trainings"] and "no warmup" in names["Finetunes"]
    assert "CA-SSL + CA-SSL, then Soft Teacher" in names["Warmups"]
    assert [name for name in names["Labelers"] if not name.startswith("labeler")] == [rivals.OBJECTS]
    assert len(names["Labelers"]) == 3
