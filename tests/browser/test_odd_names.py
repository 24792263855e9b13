"""Pages with names that are markup, as a browser shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from casl.report.table_page import to_html
from tests.browser.driver import Browser, browser, missing
from tests.report.odd_names import ODD, named

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.skipif(bool(missing()), reason=missing())]

ACTIVE = "script, iframe, object, [onerror], [onmouseover], [href^='javascript:']"


def active(window: Browser) -> int:
    """How many elements of a page could run something."""
    return int(window.run(f'return document.querySelectorAll("{ACTIVE}").length'))


def test_nothing_of_a_name_runs_and_all_of_it_is_seen(tmp_path: Path) -> None:
    with browser(tmp_path) as window:
        plain = tmp_path / "plain.html"
        plain.write_text(to_html(named("plain"), b""))
        window.go(plain.as_uri())
        own = active(window)  # what sorts columns
        assert own <= 1
        for key, name in ODD.items():
            page = tmp_path / f"{key}.html"
            page.write_text(to_html(named(name), b""))
            window.go(page.as_uri())
            assert active(window) == own
            assert window.run("return document.title") != "taken"
            shown = " ".join(window.run("return document.body.textContent").split())
            if key not in ("controls", "backwards", "separators"):
                assert " ".join(name.split()) in shown, key
