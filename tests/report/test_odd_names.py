"""Names that mean something to HTML, LaTeX, Markdown or a spreadsheet are shown by each of them, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from casl.report import blocks, html, markdown
from casl.report.blocks import visible
from casl.report.latex import PACKAGES, to_latex
from casl.report.render import to_csv, to_json, write_table
from casl.report.table_page import to_html, to_markdown
from tests.report.odd_names import ODD, named

odd = pytest.mark.parametrize("name", ODD.values(), ids=ODD.keys())


class Parsed(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@odd
def test_html_has_the_tags_of_a_plain_name_and_the_text_of_this_one(name: str) -> None:
    plain, found = Parsed(to_html(named("plain"), b"")), Parsed(to_html(named(name), b""))
    assert found.tags <= plain.tags | {"sup", "sub"} and found.attributes == plain.attributes
    assert visible(name) in found.text


@odd
def test_pages_hold_no_character_that_is_not_seen(name: str) -> None:
    made = named(name)
    for page in (to_html(made, b""), to_markdown(made)):
        assert page == visible(page)


@odd
def test_no_field_of_the_csv_is_a_formula_and_each_is_on_its_line(name: str) -> None:
    made = named(name)
    rows = list(csv.DictReader(io.StringIO(to_csv(made))))
    assert len(rows) == len(made.cells)
    assert {row["row"] for row in rows} <= {mark + name for name in made.rows for mark in ("", "'")}
    numbers = {"paper", "value", "std", "difference", "values", "gain", "gain_interval", "gain_images", "paper_gain"}
    for row in rows:
        assert not [v for n, v in row.items() if n not in numbers and v.lstrip()[:1] in tuple("=+-@\uff1d")]
        assert all(float(part) or True for n in numbers for part in row[n].split())


@odd
def test_json_keeps_the_name_as_it_is(name: str) -> None:
    assert json.loads(to_json(named(name)))["title"] == name


@odd
def test_a_markdown_table_has_its_rows_and_columns(name: str) -> None:
    plain, found = to_markdown(named("plain")).splitlines(), to_markdown(named(name)).splitlines()
    assert len(found) == len(plain)
    bars = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in found if line.startswith("|")]
    assert bars == [line.count("|") for line in plain if line.startswith("|")]
    kinds = r"#+ |> |[-+=]+(\s|$)|\d+[.)]\s"
    assert [m[0] for m in (re.match(kinds, x) for x in found) if m] == [
        m[0] for m in (re.match(kinds, x) for x in plain) if m
    ]
    assert not re.search(r"(?<!\\)<(?!/?(sup|sub|i|br)\b)", re.sub(r"(`+).*?\1", "", "\n".join(found)))


def test_backticks_in_code_and_in_lines_to_copy_end_neither() -> None:
    page = blocks.Page(
        "t", [blocks.Paragraph(blocks.Marked("code", "a ``` b\nc")), blocks.Preformatted("```\n<b>\n````")]
    )
    assert "```` a ``` b c ````" in markdown.write(page)
    assert "\n`````\n```\n<b>\n````\n`````\n" in markdown.write(page)
    assert "<pre>```\n&lt;b&gt;\n````</pre>" in html.write(page)


@odd
def test_every_file_of_a_table_is_written(tmp_path: Path, name: str) -> None:
    assert len(write_table(named(name), tmp_path)) == 7


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not on this machine")
def test_latex_compiles_and_reads_no_file(tmp_path: Path) -> None:
    for i, name in enumerate(ODD.values()):
        write_table(named(name), tmp_path / str(i))
    inputs = "".join(rf"\input{{{i}/mine}}" for i in range(len(ODD)))
    document = rf"\documentclass{{article}}{''.join(PACKAGES)}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "all.tex").write_text(document)
    command = ["pdflatex", "-recorder", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert result.returncode == 0, result.stdout[-1500:]
    assert "hostname" not in (tmp_path / "all.fls").read_text() and not (tmp_path / "taken").exists()


@odd
def test_latex_has_the_commands_of_a_plain_name(tmp_path: Path, name: str) -> None:
    text = to_latex(named(name))
    known = set(re.findall(r"\\[a-zA-Z]+", to_latex(named("plain"))))
    shown = {r"\textbackslash", r"\textasciicircum", r"\textasciitilde", r"\textless", r"\textgreater", r"\textbar"}
    commands = [line for line in text.splitlines() if not line.startswith("%")]
    more = {
        r"\scriptsize",
        r"\textsuperscript",
        r"\textsubscript",
        r"\times",
        r"\multicolumn",
        r"\cmidrule",
    }
    assert set(re.findall(r"\\[a-zA-Z]+", "\n".join(commands))) <= known | shown | more
    assert len(commands) == len([x for x in to_latex(named("plain")).splitlines() if not x.startswith("%")])
    assert not [line for line in commands if line.startswith(("[", "*"))]
