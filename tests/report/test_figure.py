"""Pictures of every kind, drawn from full, partial and empty tables."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from casl.errors import SpecError
from casl.report import figure_bars, figure_curves, figure_scatter
from casl.report.canvas import DPI, broken, headed, width_of
from casl.report.figure import drawing, picture
from casl.report.figure_curves import limits, spanning, steps_of, unmeasured
from casl.report.figure_scatter import points
from casl.report.figure_theme import DARK, FIXED, GROUND, INK
from casl.report.layout import panels, shown_rows, what_bars_are
from casl.report.table import Table
from casl.report.table_page import DEEP, PALE, readable
from casl.spec.ablation import FIGURES, Ablation
from tests.report.sample import Numbers, Spot, inked, tabled

FULL: list[float | None] = [20.0, 21.0]
BLUE, ORANGE = (24, 91, 158), (200, 100, 27)


def made(figure: str, ours: list[float | None] | None = FULL) -> Table:
    """Two rows, three columns that hold three kinds of numbers, one place empty."""
    kinds = {"warmup AP^e": ("ap_e", "AP"), "AP^det": ("ap_det", "AP"), "PQ": ("pq", "PQ")}
    places = [(row, column) for row in ("a $1", "b_c & d") for column in kinds if (row, column) != ("a $1", "PQ")]
    spots: dict[Spot, Numbers] = {}
    for i, (row, column) in enumerate(places):
        values = None if ours is None else [v if v is None else v + i for v in ours]
        spots[row, column, *kinds[column]] = (values, 40.0 + i)
    return tabled("made", spots, figure=figure, baseline="" if figure == "curves" else "a $1")


def pixels(picture: bytes, colour: tuple[int, int, int]) -> int:
    """How many pixels have exactly that colour; letters have few, their edges are blended."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    data = image.tobytes()
    return sum(data[i : i + 3] == bytes(colour) for i in range(0, len(data), 3))


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("ours", [FULL, [20.0, None], [None, None], None], ids=["full", "partial", "empty", "quoted"])
def test_every_kind_of_picture_can_be_drawn(figure: str, ours: list[float | None] | None) -> None:
    drawn = Image.open(io.BytesIO(picture(made(figure, ours))))
    assert drawn.format == "PNG"
    assert drawn.width > 600 and drawn.height > 400


@pytest.mark.parametrize(("figure", "drawn"), [("curves", 1000), ("scatter", 150)])
def test_ours_and_the_papers_points_have_their_colours_and_a_gap_draws_none(figure: str, drawn: int) -> None:
    full, empty = picture(made(figure)), picture(made(figure, [None, None]))
    assert pixels(full, BLUE) > pixels(empty, BLUE) + drawn / 2
    assert pixels(full, ORANGE) == pytest.approx(pixels(empty, ORANGE), rel=0.2)
    assert pixels(full, ORANGE) > drawn


def test_pictures_are_the_same_bytes_every_time_and_an_svg_has_no_date_and_no_fonts() -> None:
    assert drawing(made("bars")).png == picture(made("bars"))
    for figure in FIGURES:
        one = drawing(made(figure))
        assert one == drawing(made(figure))
        assert ElementTree.fromstring(one.svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert b"<dc:date>" not in one.svg and b"<text" not in one.svg


@pytest.mark.parametrize("figure", ["bars", "curves", "scatter"])
def test_every_colour_of_a_picture_has_another_in_the_dark(figure: str) -> None:
    parts = drawing(made(figure)).svg.decode().partition("</style>")[2]
    colours = set(re.findall(r"(?:fill|stroke)(?:: |=\")(#[0-9a-f]{6})", parts))
    assert colours and colours <= DARK.keys()


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    shares = [value / 255 for value in bytes.fromhex(colour[1:])]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_what_is_seen_in_the_light_is_seen_in_the_dark() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast(INK, GROUND) > 7
    pale = [light for light, dark in DARK.items() if contrast(light, "#ffffff") >= 3 and contrast(dark, GROUND) < 3]
    assert pale == []


def test_numbers_on_a_map_keep_their_colour_in_the_dark() -> None:
    root = ElementTree.fromstring(drawing(made("heat map")).svg)
    kept = [one for one in root.iter() if one.get("id", "").startswith(FIXED)]
    assert len(kept) == 10, "ours and the paper's five each; what is said in an empty place is not among them"
    assert len({one.get("id") for one in kept}) == 10


def test_letters_on_every_shade_of_a_table_can_be_read() -> None:
    for n in range(101):
        shade = [round(a + (b - a) * n / 100) for a, b in zip(PALE, DEEP, strict=True)]
        letters = {"#fff": "#ffffff", "#000": "#000000"}[readable(shade)]
        assert contrast(letters, "#" + bytes(shade).hex()) >= 4.5


def test_a_scatter_has_one_point_a_heading_with_both_numbers() -> None:
    x, y, found = points(made("scatter"))
    assert (x, y) == ("a $1", "b_c & d")
    assert [(name, a.value, b.value) for name, a, b in found] == [("warmup AP^e", 20.5, 22.5), ("AP^det", 21.5, 23.5)]


def test_a_scatter_of_three_by_three_is_refused() -> None:
    spots: dict[Spot, Numbers] = {(r, c, "ap_e", "AP"): ([1.0], None) for r in "abc" for c in "xyz"}
    with pytest.raises(SpecError, match=r"odd has 3 rows and 3 columns"):
        picture(tabled("odd", spots, figure="scatter"))


def test_an_unknown_kind_of_picture_is_named_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match=r"unknown picture of a table 'curve'; known: bars, curves, heat map, scatter"):
        Ablation("a", "b", "c", lambda _: [], figure="curve")


def test_panels_hold_what_shares_a_scale() -> None:
    by_column = panels(made("bars"))
    assert [(p.heading, len(p.series)) for p in by_column] == [("warmup AP^e", 1), ("AP^det", 1), ("PQ", 1)]
    kinds = {"FCOS": ("ap_det", "AP"), "PanopticFPN": ("pq", "PQ")}
    frameworks: dict[Spot, Numbers] = {
        (row, c, *kind): ([1.0], None) for row, kind in kinds.items() for c in ("ImageNet", "ours")
    }
    assert [[s.heading for s in p.series] for p in panels(tabled("t", frameworks))] == [["ImageNet", "ours"]]
    twice: dict[Spot, Numbers] = {
        ("F weak", c, m, "AP"): ([1.0], None) for c in ("W weak", "W strong") for m in ("ap_e", "ap_det")
    }
    assert [(p.heading, len(p.series)) for p in panels(tabled("t", twice))] == [("ap_e AP", 2), ("ap_det AP", 2)]


def test_a_panel_without_a_number_says_why() -> None:
    undefined = tabled("t", {("a", "b", "ap_e", "APl"): ([-1.0], 3.0)}, figure="curves").cells
    missing = tabled("t", {("a", "b", "ap_e", "AP"): ([None], 3.0)}).cells
    assert [unmeasured(cells) for cells in (undefined, missing, (*undefined, None, *missing))] == [
        "undefined", "not run", "undefined, not run",
    ]  # fmt: skip


def painted(table: Table) -> list[Axes]:
    """The axes of a table's picture."""
    kind = {"bars": figure_bars, "curves": figure_curves, "scatter": figure_scatter}[table.figure]
    figure = Figure(figsize=kind.size(table))
    kind.paint(figure, table)
    return [axes for axes in figure.axes if axes.axison]


def shares(ours: dict[str, list[float | None]]) -> Table:
    """As the table `fractions`: shares as rows, two starts as columns; the second is half a point above."""
    spots: dict[Spot, Numbers] = {}
    for row, values in ours.items():
        spots[row, "none", "ap_det", "AP"] = (values, None)
        spots[row, "warmup", "ap_det", "AP"] = ([None if v is None else v + 0.5 for v in values], None)
    return tabled("fractions", spots, figure="curves")


def test_shares_stand_at_their_logarithm_and_columns_are_told_apart_by_colour() -> None:
    table = shares({"1 %": [0.4], "5 %": [None], "10 %": [3.0], "100 %": [13.0]})
    levels, differences = painted(table)
    assert steps_of(table).at == (0, 1, 2), "what is not run has no place, so that lines join what is measured"
    assert len({line.get_color() for line in levels.get_lines()}) == 2
    assert levels.get_ylim()[0] == 0
    (line,) = [one for one in differences.get_lines() if len(np.asarray(one.get_ydata())) == 3]
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), 0.5)


def test_a_baseline_and_its_variants_are_levels_and_no_steps() -> None:
    rows = {"none": 12.0, "none, as long": 13.0, "R-101": 10.0, "Swin-T": 11.0}
    spots: dict[Spot, Numbers] = {(row, "AP", "ap_det", "AP"): ([value], None) for row, value in rows.items()}
    (axes,) = painted(tabled("strength", spots, figure="curves", baseline="none"))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["R-101", "Swin-T"]
    across = {
        line.get_label(): set(np.asarray(line.get_ydata())) for line in axes.get_lines() if line.get_label() in rows
    }
    assert across == {"none": {12.0}, "none, as long": {13.0}}


def test_two_scales_span_as_many_points() -> None:
    spots: dict[Spot, Numbers] = {
        (f"{n}x", "AP^e", "ap_e", "AP"): ([20.0 + 3 * n], 38.0 + 0.5 * n) for n in range(1, 5)
    }
    ours, paper = (axes.get_ylim() for axes in painted(tabled("table3", spots, figure="curves")))
    assert ours[1] - ours[0] == pytest.approx(paper[1] - paper[0])
    assert paper[0] < 38.5 and paper[1] > 40


def test_a_scale_begins_at_zero_at_the_lowest_unless_a_number_is_below() -> None:
    assert limits([0.0, 10.0]) == (0.0, 12.0)
    assert limits([-2.0, 8.0]) == (-3.0, 9.0)
    assert limits([float("nan")]) is None
    assert spanning((1.0, 3.0), 10.0) == (0.0, 10.0)
    assert spanning((20.0, 22.0), 10.0) == (16.0, 26.0)


def test_a_bar_stands_beside_the_name_of_its_row_where_the_other_column_is_empty() -> None:
    spots: dict[Spot, Numbers] = {("one", "AP", "ap_det", "AP"): ([10.0], None)}
    for column in ("AP", "AP of the teacher"):
        spots["two", column, "ap_det", "AP"] = ([11.0], None)
    (axes,) = painted(tabled("rivals", spots, figure="bars"))
    middles = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches if isinstance(bar, Rectangle)]
    names = list(axes.get_yticks())
    assert middles[0] == pytest.approx(names[0]) and sum(middles[1:]) / 2 == pytest.approx(names[1])


def test_rows_that_are_not_run_are_left_out_of_bars_unless_none_is() -> None:
    spots: dict[Spot, Numbers] = {("one", "AP", "ap_det", "AP"): ([10.0], None)}
    spots |= {(row, "AP", "ap_det", "AP"): ([None], None) for row in ("two", "three")}
    spots["four", "AP", "ap_det", "AP"] = ([None], 45.0)
    table = tabled("rivals", spots, figure="bars")
    assert shown_rows(table) == ("one", "four"), "the paper's number is shown"
    (axes,) = painted(table)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["one", "four"]
    none = tabled("rivals", {("two", "AP", "ap_det", "AP"): ([None], None)}, figure="bars")
    assert shown_rows(none) == ("two",)


def test_error_bars_of_a_scatter_are_whole() -> None:
    spots: dict[Spot, Numbers] = {
        (row, column, "ap_e", "AP"): ([value - 3, value + 3], None)
        for row in ("labeler", "target") for column, value in (("R-101", 27.0), ("Swin-L", 31.0))
    }  # fmt: skip
    (axes,) = painted(tabled("table5", spots, figure="scatter"))
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert low < 27 - 3 * 2**0.5 and high > 31 + 3 * 2**0.5


@pytest.mark.parametrize("letters", [20, 90, 250])
def test_a_title_is_never_cut_off(letters: int) -> None:
    last, width = inked(headed("X" * letters, [], [], (6.0, 2.0), lambda figure: None))
    assert last < 0.985 * width
    assert (last > 0.9 * width) == (letters > 50), "a short one has one line"


def test_a_title_and_a_warning_of_several_lines_keep_their_size_and_cover_nothing() -> None:
    def ink(title: str, warning: str) -> list[int]:
        made = headed(title, [warning], [], (4.0, 1.0), lambda figure: figure.patch.set_facecolor("white"))
        dark = (np.asarray(Image.open(io.BytesIO(made)).convert("L")) < 200).any(axis=1)
        starts = np.flatnonzero(np.diff(dark.astype(int)) == 1)
        return [int(start) for start in starts]

    words = "EEEE " * 24
    title, warned = ink(words, ""), ink("E", words)
    assert len(title) >= 3 and min(np.diff(title)) > 0.2 * DPI, "lines of one size, apart from each other"
    assert len(warned) >= 3


@pytest.mark.parametrize("figure", FIGURES)
def test_no_kind_of_picture_reaches_its_right_end_however_long_its_title(figure: str) -> None:
    table = replace(made(figure), title="a title of many words, $ and ^ among them, " * 5)
    last, width = inked(picture(table))
    assert last < width - 3


def test_words_are_broken_only_where_they_must_be() -> None:
    assert broken("one two", 10.0, 9.0) == ["one two"] and broken("", 1.0, 9.0) == []
    assert broken("one two", width_of("one t", 9.0), 9.0) == ["one", "two"]
    parts = broken("a " + "W" * 50, 1.0, 9.0)
    assert parts[0] == "a" and "".join(parts[1:]) == "W" * 50 and max(width_of(p, 9.0) for p in parts) <= 1.0


def bars_of(ours: dict[str, dict[str, float]], papers: dict[str, float], baseline: str = "") -> Table:
    """One metric in every column. ours: column -> row -> number. papers: of rows, in every column."""
    spots: dict[Spot, Numbers] = {
        (row, column, "ap_det" if "seg" not in column else "ap_seg", "AP"): ([value], papers.get(row))
        for column, rows in ours.items() for row, value in rows.items()
    }  # fmt: skip
    return tabled("made", spots, figure="bars", baseline=baseline)


def heights(table: Table) -> set[float]:
    """Heights of all bars of a picture, in inches."""
    figure = Figure(figsize=figure_bars.size(table), dpi=100)
    figure_bars.paint(figure, table)
    return {round(bar.get_window_extent().height / 100, 3) for axes in figure.axes for bar in axes.patches}


def legend_of(table: Table) -> list[str]:
    figure = Figure(figsize=figure_bars.size(table))
    figure_bars.paint(figure, table)
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_baseline_is_in_the_legend_where_something_is_grey() -> None:
    columns = {"AP of boxes": {"none": 10.0, "ours": 12.0}, "AP of seg": {"ours": 13.0}}
    assert legend_of(bars_of(columns, {}, "none")) == ["ours, mini", "baseline: none"]
    assert legend_of(bars_of(columns, {"none": 40.0}, "none")) == ["ours, mini", "baseline: none", "paper"]
    assert legend_of(bars_of(columns, {})) == ["ours, mini"]
    two: dict[Spot, Numbers] = {("a", column, "ap_det", "AP"): ([10.0], None) for column in ("none", "warmup")}
    assert legend_of(tabled("made", two, figure="bars", baseline="none")) == ["none (baseline)", "warmup"]
    rows: dict[Spot, Numbers] = {(row, c, "ap_det", "AP"): ([9.0], None) for row in ("none", "b") for c in ("x", "y")}
    assert legend_of(tabled("made", rows, figure="bars", baseline="none")) == ["x", "y", "baseline: none"]


def test_all_bars_are_as_high_as_each_other_and_axes_as_their_rows() -> None:
    columns = {"AP of boxes": {"none": 10.0, "ours": 12.0, "third": 5.0}, "AP of seg": {"ours": 13.0}}
    table = bars_of(columns, {"none": 40.0, "ours": 41.0}, "none")
    assert len(heights(table)) == 1, "with and without a number of the paper"
    assert len(heights(bars_of({"AP": {"a name of very many words " * 4: 3.0, "b": 4.0}}, {}))) == 1
    three, one = (axes.get_position().height * figure_bars.size(table)[1] for axes in painted(table))
    assert three / one == pytest.approx(5 / 2, rel=0.25), "five bars in three rows beside two bars in one"


def test_numbers_of_one_metric_have_one_scale_and_stand_beside_each_other() -> None:
    row = {"none": 20.0, "ours": 40.0}
    easy, hard = {"easy AP": row, "easy AP of seg": row}, {"hard AP": {"none": 9.0, "ours": 8.0}}
    axes = painted(bars_of({**easy, **hard, "hard AP of seg": {"none": 70.0, "ours": 80.0}}, {}))
    assert [one.get_title() for one in axes] == ["easy AP", "hard AP", "easy AP of seg", "hard AP of seg"]
    limits = [one.get_xlim() for one in axes]
    assert limits[0] == limits[1] != limits[2] == limits[3]
    assert limits[0][0] == 0 and limits[0][1] > 40 and limits[2][1] > 80


@pytest.mark.parametrize("columns", [1, 3, 4, 7, 10])
def test_many_panels_stand_in_lines_that_can_be_read(columns: int) -> None:
    row = {"labels with classes, new classifier": 20.0, "none": 10.0}
    table = bars_of({f"of {n} seg" if n % 2 else f"of {n}": row for n in range(columns)}, {})
    axes = painted(table)
    assert len(axes) == columns and figure_bars.size(table)[0] < 13
    lines = Counter(round(one.get_position().y0, 3) for one in axes)
    assert max(lines.values()) <= 3 and max(lines.values()) - min(lines.values()) <= 1
    last, width = inked(picture(table))
    assert last < width - 3, "what is written behind the longest bar has room"


def of_images(figure: str, variances: dict[str, float], **more: object) -> Table:
    """A table of one seed, whose numbers have a variance over images."""
    spots: dict[Spot, Numbers] = {(row, "AP", "ap_det", "AP"): ([20.0], None) for row in variances}
    known = [list(variances.values())[i] if i == j else 0.0 for i in range(len(spots)) for j in range(len(spots))]
    square = tuple(tuple(known[i * len(spots) : (i + 1) * len(spots)]) for i in range(len(spots)))
    return replace(tabled("t", spots, figure=figure), image_covariance=square, **more)  # type: ignore[arg-type]


def error_bars(axes: Axes, across: int) -> list[float]:
    """Halves of all error bars of axes, along x (0) or y (1), in order."""
    parts = [part for one in axes.containers if isinstance(one, ErrorbarContainer) for part in one.lines[2]]
    found = [np.asarray(segment)[:, across] for part in parts for segment in part.get_segments()]
    return [float(np.ptp(ends)) / 2 for ends in found]


def test_numbers_of_one_seed_have_error_bars_of_images_alone_and_the_picture_says_so() -> None:
    variances = {"a": 1.0, "b": 4.0}
    for figure, across in (("bars", 0), ("curves", 1)):
        table = of_images(figure, variances)
        (axes,) = painted(table)
        assert error_bars(axes, across) == pytest.approx([1.96, 3.92], abs=0.01)
        assert "images alone" in what_bars_are(table)
    seeds = tabled("t", {("a", "AP", "ap_det", "AP"): ([10.0, 14.0], None)}, figure="curves")
    assert error_bars(painted(seeds)[0], 1) == pytest.approx([8**0.5])
    assert "standard deviation over seeds" in what_bars_are(seeds)
    assert what_bars_are(tabled("t", {("a", "AP", "ap_det", "AP"): ([10.0], 40.0)})) == ""


def test_no_line_leads_to_a_row_apart() -> None:
    spots: dict[Spot, Numbers] = {
        (row, "AP", "ap_det", "AP"): ([value], None) for row, value in {"truth": 20.0, "R-101": 10.0, "L": 12.0}.items()
    }
    table = replace(tabled("strength", spots, figure="curves"), apart=("truth",))
    steps = steps_of(table)
    assert [table.rows[i] for i in steps.rows] == ["R-101", "L", "truth"] and steps.joined == 2
    (axes,) = painted(table)
    joined = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
    assert [list(np.asarray(line.get_ydata())) for line in joined] == [[10.0, 12.0]]
    alone = [line for line in axes.get_lines() if line.get_marker() == "o" and line not in joined]
    assert [list(np.asarray(line.get_ydata())) for line in alone] == [[20.0]]
    assert len({line.get_color() for line in (*joined, *alone)}) == 1


def test_curves_of_one_metric_have_one_scale_over_panels() -> None:
    spots: dict[Spot, Numbers] = {}
    for column, metric, values in (
        ("warmup", "ap_e", (30, 31)),
        ("later", "ap_e", (10, 11)),
        ("AP", "ap_det", (50, 51)),
    ):
        spots |= {(f"{n}x", column, metric, "AP"): ([float(v)], None) for n, v in enumerate(values)}
    warmup, later, other = (axes.get_ylim() for axes in painted(tabled("t", spots, figure="curves")))
    assert warmup == later != other and warmup[0] < 10 and warmup[1] > 31


def test_names_of_a_scatter_cover_no_error_bar_and_no_other_name() -> None:
    middles = {"R-101": (27.0, 29.0), "Swin-T": (29.5, 30.0), "Swin-S": (30.0, 30.4), "Swin-B": (30.0, 30.8)}
    spots: dict[Spot, Numbers] = {
        (row, column, "ap_e", "AP"): ([place[n] - 0.7, place[n] + 0.7], None)
        for n, row in enumerate(("labeler", "target")) for column, place in middles.items()
    }  # fmt: skip
    table = tabled("table5", spots, figure="scatter")
    figure = Figure(figsize=figure_scatter.size(table), dpi=100, layout="constrained")
    figure_scatter.paint(figure, table)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    names = [text.get_window_extent() for text in axes.texts]
    assert len(names) == 4 and all(axes.bbox.contains(*corner) for name in names for corner in name.corners())
    assert not any(a.overlaps(b) for n, a in enumerate(names) for b in names[:n])
    bars = [path for line in axes.collections for path in line.get_paths()]
    for path in bars:
        crossed = [name for name in names if path.transformed(axes.transData).intersects_bbox(name, filled=False)]
        assert not crossed


def test_a_picture_of_what_is_older_than_the_code_says_so() -> None:
    old = replace(made("bars"), title="t")
    plain, marked = picture(old), picture(old, "OLDER THAN THE CODE")
    red = (179, 38, 30)
    assert pixels(marked, red) > 1.5 * pixels(plain, red) > 0, "beside the warning of a small profile"
