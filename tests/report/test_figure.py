"""Pictures of every kind, drawn from full, partial and empty tables."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from casl.errors import SpecError
from casl.report.figure import picture
from casl.report.figure_scatter import points
from casl.report.layout import panels
from casl.report.table import Table
from casl.spec.ablation import FIGURES, Ablation
from tests.report.sample import Numbers, Spot, tabled

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
    return tabled("made", spots, figure=figure, baseline="a $1")


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


def test_pictures_are_the_same_bytes_every_time() -> None:
    assert [picture(made(f)) for f in FIGURES] == [picture(made(f)) for f in FIGURES]


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
