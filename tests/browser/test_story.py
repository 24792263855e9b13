"""The first page of the shipped report in a browser: three widths, light and dark; nothing sticks out, all is shown."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from casl.report.again import write_again
from tests.browser.driver import PATIENCE_S, Browser, browser, missing

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.skipif(bool(missing()), reason=missing())]

SHIPPED = Path(__file__).resolve().parents[2] / "reports" / "published" / "mini"
WIDE = "return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, pre, details') && "
WIDE += "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
LOADED = "[...document.images].forEach(i => i.loading = 'eager'); return [...document.images].length"
BROKEN = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
WAITING = "return [...document.images].filter(i => !i.complete).length"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as this code writes it."""
    copy = tmp_path_factory.mktemp("shipped") / "mini"
    shutil.copytree(SHIPPED, copy)
    write_again(copy, pictures=False)
    return (copy / "index.html").as_uri()


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def screen(window: Browser, width: int, theme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    for command, told in (("setDeviceMetricsOverride", size), ("setEmulatedMedia", media)):
        window._post("goog/cdp/execute", {"cmd": f"Emulation.{command}", "params": told})


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1400])
def test_the_story_fits_every_screen(window: Browser, page: str, width: int, theme: str, tmp_path: Path) -> None:
    screen(window, width, theme)
    window.go(page)
    assert window.run(LOADED) > 30
    end = time.monotonic() + PATIENCE_S
    while window.run(WAITING) and time.monotonic() < end:
        time.sleep(0.1)
    assert window.run(WAITING) == 0
    assert window.run(BROKEN) == []
    assert window.run(WIDE) == []
    assert window.run("return document.documentElement.scrollWidth <= innerWidth")
    steps = window.run("return [...document.querySelectorAll('.steps li')].map(e => e.getBoundingClientRect().top)")
    assert len(steps) == 4
    assert len(set(steps)) == (2 if width == 390 else 1), "two by two on a telephone, else in one line"
    dark = window.run("return getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (theme == "dark")
    window.picture(tmp_path / f"{width}-{theme}.png")
