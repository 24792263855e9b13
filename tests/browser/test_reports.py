"""Pages of reports as a browser shows them: at the width of a telephone, a tablet and a screen, light and dark.

Accessibility is judged by axe-core, a package of npm, which lies in build/node_modules after

    npm install --prefix build axe-core
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from casl.report.curves_page import write_curves
from casl.report.figure_theme import GROUND
from casl.report.index import write_index
from casl.report.per_class import write_classes
from casl.report.render import write_table
from casl.report.search_pages import write_search
from casl.report.setting import Setting
from casl.report.table import Table
from tests.browser.driver import Browser, browser, missing
from tests.golden.studies import search
from tests.report.made_curves import Made, cells
from tests.report.sample import full, gappy, tabled
from tests.report.test_index import CLAIMS
from tests.report.test_per_class import figures

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.skipif(bool(missing()), reason=missing())]

AXE = Path(__file__).resolve().parents[2] / "build" / "node_modules" / "axe-core" / "axe.min.js"
NO_AXE = "axe-core is not here: npm install --prefix build axe-core"
WIDTHS, THEMES = (390, 800, 1400), ("light", "dark")
PAGES = (
    "index.html",
    "table4.html",
    "gappy.html",
    "wide.html",
    "classes-table4.html",
    "curves-lengths.html",
    "claims.html",
    "search-delta.html",
)
JUDGED = """
const found = await axe.run(document, {resultTypes: ['violations']});
return found.violations.filter(v => ['serious', 'critical'].includes(v.impact)).map(
  v => [v.id, v.help, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + ' ' + n.failureSummary)]);
"""


def wide() -> Table:
    """More columns than a screen takes, of three kinds, some quoted, with gains over a baseline and three seeds."""
    spots: Any = {}
    for r in range(5):
        for c in range(14):
            kind = ("ap_e", "ap_det", "ap_seg")[c % 3]
            value = None if (r, c) == (4, 13) else [20.0 + (r * 7 + c * 5) % 17 + s * 0.7 for s in range(3)]
            spots[f"row {r}", f"column {c} AP^e_50", kind, "AP"] = (value, 40.0 + r if c % 2 else None)
    spots["row 4", "column 13 AP^e_50", "ap_det", "AP"] = (None, 44.0)
    return tabled("wide", spots, figure="bars", baseline="row 0", note="published by others")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all that a page can hold."""
    root = tmp_path_factory.mktemp("report")
    tables = [full(), replace(gappy(), name="gappy"), wide()]
    write_classes(tables[0], figures(tables[0]).__getitem__, root)
    lengths = Made(tmp_path_factory.mktemp("store"), [cells(seed=seed) for seed in range(2)])
    write_curves(replace(lengths.table, name="lengths"), lengths.stages, lengths.runs, root)
    tables.append(replace(lengths.table, name="lengths"))
    for table in tables:
        write_table(table, root)
    write_search(search(), root)
    write_index(tables, CLAIMS, root, setting=Setting(mlflow="http://127.0.0.1:5000"))
    return root


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_no_wider_than_any_screen_and_its_tables_scroll_in_themselves(
    window: Browser, folder: Path, page: str
) -> None:
    for width in WIDTHS:
        window.show(width, "light")
        window.go((folder / page).as_uri())
        assert window.run("return document.documentElement.scrollWidth") <= width
        assert window.run("return document.querySelectorAll('h1').length") == 1
        broken = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.alt)"
        assert window.run(broken) == []
    window.show(390, "light")
    window.go((folder / "wide.html").as_uri())
    assert window.run("let box = document.querySelector('.grid').parentNode; return box.scrollWidth > box.clientWidth")


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_are_as_light_or_dark_as_the_page(window: Browser, folder: Path, tmp_path: Path, theme: str) -> None:
    window.show(1400, theme)
    window.go((folder / "table4.html").as_uri())
    place = "document.querySelector('.picture img')"
    window.run(f"{place}.scrollIntoView()")
    box = window.run(f"let b = {place}.getBoundingClientRect(); return [b.left, b.top]")
    window.picture(tmp_path / "page.png")
    shown = Image.open(io.BytesIO((tmp_path / "page.png").read_bytes())).convert("RGB")
    corner = shown.getpixel((round(box[0]) + 4, round(box[1]) + 4))
    ground = tuple(bytes.fromhex(GROUND[1:])) if theme == "dark" else (255, 255, 255)
    assert corner == ground


@pytest.mark.skipif(not AXE.is_file(), reason=NO_AXE)
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing_serious(window: Browser, folder: Path, page: str, theme: str) -> None:
    for width in (WIDTHS[0], WIDTHS[-1]):
        window.show(width, theme)
        window.go((folder / page).as_uri())
        window.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        window.run(AXE.read_text())
        assert window.wait(JUDGED) == []


@pytest.mark.skipif(not AXE.is_file(), reason=NO_AXE)
def test_axe_finds_what_is_wrong_on_a_page_that_is(window: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<p style='color: #ccc; background: #fff'>pale</p><img src='x.png'>")
    window.go((tmp_path / "bad.html").as_uri())
    window.run(AXE.read_text())
    assert {"color-contrast", "image-alt"} <= {found[0] for found in window.wait(JUDGED)}


def test_a_click_on_a_heading_sorts_a_list_by_its_numbers(window: Browser, folder: Path) -> None:
    window.show(1400, "light")
    window.go((folder / "table4.html").as_uri())
    for order in (1, -1):
        window.click("//table[contains(@class, 'list')]//th/button[.='value']")
        cells = "[...document.querySelectorAll('table.list tr')].slice(1).map(r => Number(r.cells[4].textContent))"
        values = window.run(f"return {cells}")
        assert values == sorted(values, key=lambda v: order * v) and len(values) == 4


def test_every_download_of_a_table_is_there(window: Browser, folder: Path) -> None:
    window.go((folder / "table4.html").as_uri())
    links = window.run("return [...document.querySelectorAll('main a[href]')].map(a => a.getAttribute('href'))")
    files = {link for link in links if "://" not in link}
    assert {f"table4.{suffix}" for suffix in ("csv", "json", "tex", "md", "png", "svg")} <= files
    assert "classes-table4.html" in files and all((folder / file).is_file() for file in files)
