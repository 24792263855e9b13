"""The web site of the docs: built without a warning, whole, and with every public name."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import casl
import casl.spec
from tests.docs.pages import EVERY, ROOT

LISTED = re.findall(r"^- \[`([\w.]+)`\]\(([^)]+)\)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)


class Links(HTMLParser):
    """What a page leads to and shows, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.places.append(value)
            if name == "id" and value:
                self.anchors.add(value)


def test_the_reference_lists_every_public_name_with_its_place() -> None:
    names = [name for name, _ in LISTED]
    assert len(names) == len(set(names))
    assert {f"casl.{n}" for n in casl.__all__} | {f"casl.spec.{n}" for n in casl.spec.__all__} <= set(names)
    for name, place in LISTED:
        source = (ROOT / "docs" / place).read_text()
        assert re.search(
            rf"^(?:def|class) {name.rpartition('.')[2]}\b|^{name.rpartition('.')[2]}\b.* = ", source, re.MULTILINE
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("sphinx") is None or importlib.util.find_spec("furo") is None:
        pytest.skip("Sphinx is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "html", "-c", "docs", "."]
    places = [str(folder / "html"), "-d", str(folder / "doctrees")]
    no_network = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    built = subprocess.run([*command, *places], cwd=ROOT, env=no_network, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "html"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(site: Path) -> None:
    for page in EVERY:
        assert (site / page.relative_to(ROOT).with_suffix(".html")).is_file()
    reference = Links((site / "docs" / "reference.html").read_text())
    assert {name for name, _ in LISTED} <= reference.anchors


@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_file_of_it(site: Path) -> None:
    wrong = []
    for page in sorted(site.rglob("*.html")):
        if page.is_relative_to(site / "reports" / "published"):
            continue  # they are as they are shipped
        for place in Links(page.read_text()).places:
            parts = urlsplit(place)
            if not parts.scheme and parts.path and not (page.parent / unquote(parts.path)).exists():
                wrong.append(f"{page.relative_to(site)}: {place}")
            assert parts.scheme or not place.startswith("//"), f"{page.name} wants the network: {place}"
    assert not wrong
