"""The index page: what it lists and links."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from casl.errors import StoreError
from casl.report.index import write_index
from casl.report.render import write_table
from casl.report.setting import Setting
from casl.spec.claim import Claim, Place
from tests.report.sample import full, gappy, tabled

CLAIMS = [
    Claim(
        "longer-helps",
        "W 2x beats W 1x & <more>",
        "Sec. 1",
        better=(Place("table4", "F 1x", "W 2x", "ap_det"),),
        worse=(Place("table4", "F 1x", "W 1x", "ap_det"),),
    )
]


class Page(HTMLParser):
    """Targets of links and pictures, names of places in the page, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.places: set[str] = set()
        self.words = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.targets |= {value or "" for name, value in attrs if name in ("href", "src")}
        self.places |= {value or "" for name, value in attrs if name == "id"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_files_are_written_twice_with_the_same_bytes(tmp_path: Path) -> None:
    write_table(full(), tmp_path)
    first = {path.name: path.read_bytes() for path in write_index([full()], CLAIMS, tmp_path)}
    assert list(first) == ["index.html", "tables.tex", "claims.html", "claims.md", "claims.json"]
    assert first == {path.name: path.read_bytes() for path in write_index([full()], CLAIMS, tmp_path)}
    assert len(list(tmp_path.iterdir())) == 7 + 5, "nothing is left aside"


def test_every_link_leads_somewhere(tmp_path: Path) -> None:
    write_table(full(), tmp_path)
    write_index(
        [full(), tabled("unwritten", {("a", "b", "ap_e", "AP"): ([1.0], 2.0)})],
        CLAIMS,
        tmp_path,
        setting=Setting(mlflow="http://ui"),
    )
    pages = {name: Page((tmp_path / name).read_text()) for name in ("index.html", "claims.html")}
    assert "http://ui/#/runs/abc123" in pages["index.html"].targets
    assert {"table4.html", "table4.svg", "table4.csv", "tables.tex", "claims.html"} <= pages["index.html"].targets
    assert "not written yet" in pages["index.html"].words
    for name, page in pages.items():
        assert page.open == []
        for target in page.targets - {"http://ui/#/runs/abc123", "unwritten.html"}:
            file, _, place = target.partition("#")
            assert (tmp_path / (file or name)).is_file(), target
            assert not place or place in pages[file or name].places, target


def test_states_seeds_and_commits_are_counted(tmp_path: Path) -> None:
    quoted = tabled("table8", {("a", "b", "ap_e", "AP"): (None, 2.0)}, note="published by its authors")
    write_index([gappy(), quoted], CLAIMS, tmp_path)
    page = Page((tmp_path / "index.html").read_text())
    for words in ("1 of 4", "1 blocked, 1 failed, 1 not run", "0 of 0", "1 quoted", "c0ffee", "1 seed."):
        assert words in page.words, words
    assert "SMALL PROFILE: does not test the paper's claim" in page.words
    assert "W 2x beats W 1x & <more>" in page.words


def test_a_report_without_tables_or_claims_is_a_page_all_the_same(tmp_path: Path) -> None:
    write_index([], [], tmp_path)
    assert Page((tmp_path / "index.html").read_text()).open == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/mini.*--reports"):
        write_index([full()], CLAIMS, tmp_path / "file" / "mini")


def test_suspects_are_linked_where_they_were_tried(tmp_path: Path) -> None:
    write_index([full()], CLAIMS, tmp_path)
    assert "reasons.html" not in Page((tmp_path / "index.html").read_text()).targets
    write_table(tabled("reasons", {("a", "this", "ap_det", "AP"): ([1.0], None)}), tmp_path)
    write_index([full()], CLAIMS, tmp_path)
    assert "reasons.html" in Page((tmp_path / "index.html").read_text()).targets


def test_claims_link_the_tables_of_the_folder_alone(tmp_path: Path) -> None:
    write_index([full()], CLAIMS, tmp_path)
    assert "table4.html" not in Page((tmp_path / "claims.html").read_text()).targets
    write_table(full(), tmp_path)
    write_index([full()], CLAIMS, tmp_path)
    page = Page((tmp_path / "claims.html").read_text())
    assert "table4.html" in page.targets and "table4: F 1x" in page.words
