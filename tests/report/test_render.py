"""The files of a table, read back by other tools: json, csv, an HTML parser, Pillow, pdflatex."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from casl.errors import DataError, StoreError
from casl.report.figure import picture
from casl.report.images import covariance
from casl.report.latex import DOCUMENT, document, escape, to_latex
from casl.report.render import csv_field, to_csv, to_json, write_table
from casl.report.setting import Setting
from casl.report.stored import read_table
from casl.report.style import SCRIPT
from casl.report.table import Table
from casl.report.table_page import to_html, to_markdown
from casl.report.wording import best, headline, missing, number, ours, processors
from tests.report.sample import Numbers, Spot, cells, done, full, gappy, stage_of, table, tabled

WARNING = "SMALL PROFILE: does not test the paper's claim"
FIELDS = [
    *("row", "column", "metric", "figure", "paper", "value", "std", "difference", "seeds", "values", "status", "note"),
    *(
        "key",
        "name",
        "mlflow_run_id",
        "commit",
        "dirty",
        "gain",
        "gain_interval",
        "gain_p",
        "gain_images",
        "paper_gain",
    ),
]


def pairs() -> Table:
    """Two numbers at each place, the second metric half as large."""
    one = cells(metrics=("ap_det", "ap_seg"))
    return table([one], [done(stage_of(c), AP=40.0 if c.metric == "ap_det" else 20.0) for c in one])


def spread() -> Table:
    """Three seeds, in the first cell one is missing."""
    seeds = [cells(seed) for seed in range(3)]
    runs = [
        done(stage_of(c), AP=20.0 + s) for s, one in enumerate(seeds) for i, c in enumerate(one) if (s, i) != (2, 0)
    ]
    return table(seeds, runs)


def test_all_files_are_written_twice_with_the_same_bytes(tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in write_table(full(), tmp_path / "a" / "mini")}
    assert sorted(first) == [f"table4.{suffix}" for suffix in ("csv", "html", "json", "md", "png", "svg", "tex")]
    assert first == {path.name: path.read_bytes() for path in write_table(full(), tmp_path / "b")}
    assert len(list((tmp_path / "b").iterdir())) == 7, "nothing is left aside"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/mini.*--reports"):
        write_table(full(), tmp_path / "file" / "mini")


def test_json_is_one_object_with_a_list_of_cells() -> None:
    found = json.loads(to_json(full()))
    assert (found["name"], found["title"], found["profile"], found["data"]) == ("table4", "Schedules", "mini", "my_set")
    assert (found["small"], found["seeds"], found["source"], found["notes"]) == (True, 1, "Paper, Table 4", [])
    assert len(found["cells"]) == 4
    assert set(FIELDS) <= found["cells"][0].keys()
    third = found["cells"][2]
    assert (third["row"], third["column"], third["value"], third["paper"]) == ("F 2x", "W 1x", 30.04, 47.0)
    assert (third["values"], third["mlflow_run_id"], third["std"]) == ([30.04], "abc123", None)
    assert json.loads(to_json(gappy()))["cells"][3]["value"] is None


def test_csv_has_one_line_a_cell() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(gappy()))))
    assert list(lines[0]) == [*FIELDS, "warning"]
    assert [line["status"] for line in lines] == ["done", "failed", "blocked", "not run"]
    assert (lines[0]["value"], lines[1]["value"], lines[0]["std"]) == ("20.0", "", "")
    assert "bad & <b>worse</b> 5%_x" in lines[1]["note"]


def test_markdown_shows_ours_the_paper_and_the_difference() -> None:
    text = to_markdown(full())
    assert "| F 1x | 20.0 (45.3) | 21.5 (46.3) |" in text
    assert "| F 2x | **30.0** (47.0) | 25.0 |" in text
    assert "| F 1x | -25.3 | -24.8 |" in text
    assert "Difference, ours − paper (not a claim)" in text


def test_two_numbers_at_one_place_share_it() -> None:
    assert "| F 1x | (40.0, 20.0), paper (45.3, 45.3) | (40.0, 20.0), paper (46.3, 46.3) |" in to_markdown(pairs())
    assert r"F 1x & (40.0, 20.0) & (40.0, 20.0) \\" in to_latex(pairs())
    assert "(ap_det AP, ap_seg AP), in percent" in to_html(pairs(), b"")


def test_empty_cells_say_why_and_where_to_look() -> None:
    text = to_markdown(gappy())
    assert "| failed (46.3) |" in text
    assert "| blocked (47.0) | not run |" in text
    assert re.search(r"F 1x, W 2x: failed: evaluate-[0-9a-f]+: bad & .*log: work/evaluate-[0-9a-f]+/log.txt", text)
    assert re.search(r"F 2x, W 1x: blocked by labeler-[0-9a-f]+: no disk", text)


def literature() -> Table:
    """A row that is only quoted, a row that is measured, gains over the first column."""
    return tabled(
        "table8",
        {
            ("STAC", "before", "ap_det", "AP"): (None, 39.5),
            ("STAC", "after", "ap_det", "AP"): (None, 39.2),
            ("CA-SSL", "before", "ap_det", "AP"): ([20.0, 21.0, 22.0], 46.8),
            ("CA-SSL", "after", "ap_det", "AP"): ([21.0, 23.0, 25.0], 50.8),
        },
        baseline="before",
        note="published by its authors",
    )


def test_a_cell_with_fewer_seeds_counts_as_measured_and_what_that_does_to_gains_is_said() -> None:
    """Of two rows the fit is over the seeds that both have: 22 - 21 of the first two; 23 and 21 are printed."""
    uneven = tabled(
        "rivals",
        {
            ("one", "AP", "ap_det", "AP"): ([20.0, 22.0, None], None),
            ("another", "AP", "ap_det", "AP"): ([21.0, 23.0, 25.0], None),
        },
        baseline="one",
    )
    text = to_markdown(uneven)
    assert "2 of 2 cells measured, 1 of them in fewer seeds." in text
    assert "| another | 23.0 ± 2.0 (+1.0) |" in text and "may differ from the difference of the printed means" in text
    assert "printed means" not in to_markdown(literature())


def test_a_seed_alone_is_not_the_best_of_means() -> None:
    places: dict[Spot, Numbers] = {
        ("one", "AP", "ap_det", "AP"): ([99.0, None, None], None),
        ("another", "AP", "ap_det", "AP"): ([21.0, 23.0, 25.0], None),
        ("third", "AP", "ap_det", "AP"): ([20.0, 22.0, 24.0], None),
    }
    uneven = tabled("rivals", places)
    assert best(uneven)[0] == {1} and "A frame marks the best of those with the most seeds." in to_html(uneven, b"")
    even = tabled("rivals", {place: (values[:1], paper) for place, (values, paper) in places.items() if values})
    assert best(even)[0] == {0} and "A frame marks the best." in to_html(even, b"")


def test_numbers_of_unlike_processors_are_told_of_and_portable_bits_are_one() -> None:
    def on(*kernels: str) -> Table:
        made = full()
        cells = tuple(
            replace(c, repetitions=tuple(replace(r, kernels=kernels[n % len(kernels)]) for r in c.repetitions))
            for n, c in enumerate(made.cells)
        )
        return replace(made, cells=cells)

    assert processors(full()) == processors(on("native, AVX2 of A")) == ""
    assert processors(on("portable, AVX512 of A", "portable, AVX2 of B")) == ""
    both = on("native, AVX512 of A", "native, AVX2 of B")
    assert "(AVX2 of B: 2 numbers; AVX512 of A: 2 numbers)" in processors(both) and processors(both) in to_markdown(
        both
    )
    assert "portable: 2 numbers" in processors(on("native, AVX512 of A", "portable, AVX512 of A"))


def test_quoted_numbers_stand_apart_in_every_format() -> None:
    made = literature()
    text = to_markdown(made)
    assert "| STAC | *39.5 (published)* | *39.2 (published)* |" in text
    assert "- STAC: published by its authors" in text.split("## Quoted, not measured")[1]
    assert "2 of 2 cells measured, 2 only quoted" in text
    assert r"STAC & \textit{39.5 (published)} & \textit{39.2 (published)} \\" in to_latex(made)
    assert "only quoted" in to_latex(made).split(r"\caption")[1]
    page = to_html(made, b"")
    assert page.count('class="quoted"') == 2
    assert "Grey italics on stripes: published figures that are only quoted" in page
    first = json.loads(to_json(made))["cells"][0]
    assert (first["status"], first["value"], first["paper"], first["seeds"]) == ("published", None, 39.5, 0)
    assert set(FIELDS) <= first.keys()
    line = next(csv.DictReader(io.StringIO(to_csv(made))))
    assert (line["status"], line["value"], line["paper"], line["key"]) == ("published", "", "39.5", "")


def test_gains_are_paired_by_seed_and_tested() -> None:
    """Differences 1, 2, 3: mean 2, deviation 1, t = 2 sqrt 3 with 2 degrees of freedom, p = 1 - t / sqrt(2 + t^2).

    The interval of 95 % is 2 +- 4.303 / sqrt 3 = 2 +- 2.484.
    """
    made = literature()
    last = json.loads(to_json(made))["cells"][3]
    assert last["gain"] == pytest.approx(2.0)
    assert last["gain_interval"] == pytest.approx([2 - 2.484, 2 + 2.484], abs=1e-3)
    assert last["gain_p"] == pytest.approx(1 - math.sqrt(12 / 14))
    assert last["paper_gain"] == pytest.approx(4.0)
    assert json.loads(to_json(made))["cells"][2]["gain"] is None, "the baseline has no gain over itself"
    text = to_markdown(made)
    assert "| CA-SSL | +2.0 ± 2.5 (p 0.074), paper +4.0 |" in text
    assert "| STAC | *-0.3 (published)* |" in text
    assert "gain +2.0 ± 2.5 (p 0.074), paper +4.0" in to_html(made, b"")
    assert r"23.0 $\pm$ 2.0} {\scriptsize($+$2.0)}" in to_latex(made)


def test_what_plus_minus_means_stands_in_every_form_of_a_table_with_spreads() -> None:
    made, without = literature(), spread()
    for form in (to_markdown, to_latex, lambda found: to_html(found, b"")):
        words = " ".join(form(made).replace("\\%", "%").replace(r"$\pm$", "±").split())
        assert "Behind a mean, ± is the sample standard deviation over seeds" in words
        assert "Behind a difference, ± is half of its 95 % interval, over seeds alone" in words
        assert "mean ± sample standard deviation" in form(without).replace(r"$\pm$", "±")


def test_what_images_alone_means_stands_above_a_table_of_one_seed_with_gains() -> None:
    one = tabled(
        "table10",
        {("one", "AP", "ap_det", "AP"): ([20.0], None), ("two", "AP", "ap_det", "AP"): ([23.0], None)},
        baseline="one",
    )
    drawn = replace(one, image_covariance=((1.0, 0.0), (0.0, 1.0)))
    text = to_markdown(drawn)
    assert "+3.0 (images alone: " in text and "95 % interval over bootstrap draws of the images" in text
    assert "images alone" not in to_markdown(one)


def test_a_small_profile_beside_published_numbers_says_whose_the_names_are() -> None:
    """Otherwise "3.66M, Swin-L" stands over a few thousand drawn scenes."""
    said = "keep their published names; data, sizes and backbones are this profile's"
    assert said in to_markdown(full()) and said not in to_markdown(full(small=False))
    assert said not in to_markdown(tabled("mine", {("one", "AP", "ap_det", "AP"): ([20.0], None)}))


def test_a_cell_with_nothing_to_measure_is_counted_apart() -> None:
    made = tabled("t", {(row, "AP", "ap_det", "AP"): ([value], None) for row, value in (("one", 20.0), ("two", -1.0))})
    assert "1 of 2 cells measured, 1 undefined." in to_markdown(made)


def test_a_table_is_read_back_from_its_json_as_it_was(tmp_path: Path) -> None:
    draws = tuple(20.0 + n % 7 for n in range(40))
    made = spread()
    repeated = [replace(c, repetitions=tuple(replace(r, draws=draws) for r in c.repetitions)) for c in made.cells]
    made = replace(made, cells=tuple(repeated), image_covariance=covariance([c.draws for c in repeated]))
    write_table(made, tmp_path)
    found = read_table(tmp_path / "table4.json")
    bare = [replace(c, repetitions=tuple(replace(r, draws=()) for r in c.repetitions)) for c in made.cells]
    assert found == replace(made, cells=tuple(bare))
    (tmp_path / "table4.json").write_text("{}")
    with pytest.raises(DataError, match="is no table of casl"):
        read_table(tmp_path / "table4.json")
    (tmp_path / "table4.json").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "table4.json")


def test_columns_that_begin_alike_are_grouped_and_letters_raised() -> None:
    columns = [("warmup AP^det-a", "ap_det_a", "AP"), ("warmup AP^e_50", "ap_e", "AP50"), ("AP^det", "ap_det", "AP")]
    made = tabled("table2", {("a", c, m, f): ([1.0], None) for c, m, f in columns})
    page, tex = to_html(made, b""), to_latex(made)
    assert '<th class="group" colspan="2">warmup</th><th rowspan="2">AP<sup>det</sup></th>' in page
    assert "<tr><th>AP<sup>det-a</sup></th><th>AP<sup>e</sup><sub>50</sub></th></tr>" in page
    assert r" & \multicolumn{2}{c}{warmup} & \multicolumn{1}{c}{} \\" in tex
    assert r" & AP\textsuperscript{det-a} & AP\textsuperscript{e}\textsubscript{50} & AP\textsuperscript{det} \\" in tex
    assert "| row / column | warmup AP<sup>det-a</sup> | warmup AP<sup>e</sup><sub>50</sub> |" in to_markdown(made)


def test_notes_name_whole_rows_and_columns_once() -> None:
    one = tuple(replace(c, note="a stand-in") if c.row == "F 1x" else c for c in cells())
    assert missing(table([one], [])) == ["F 1x: a stand-in"]
    two = tuple(replace(c, note="a stand-in") if c.column == "W 2x" else c for c in cells())
    assert missing(table([two], [])) == ["W 2x: a stand-in"]


def test_spread_and_missing_seeds_are_printed() -> None:
    found = spread()
    assert [ours(c, found.seeds) for c in found.cells[:2]] == ["20.5 ± 0.7 [2/3]", "21.0 ± 1.0"]


def test_numbers_have_one_decimal_and_no_negative_zero() -> None:
    assert [number(v) for v in (45.25, 45.349, -0.04, None)] == ["45.2", "45.3", "0.0", "–"]
    assert [number(v, signed=True) for v in (0.26, -0.04, -1.26)] == ["+0.3", "0.0", "-1.3"]


def test_best_is_by_metric_as_printed_and_not_where_all_are_equal() -> None:
    assert best(full()) == ({2}, {2})
    assert best(pairs())[0] == set()


@pytest.mark.parametrize("render", [to_json, to_csv, to_markdown, to_latex, lambda t: to_html(t, b"")])
def test_a_small_profile_is_headed_as_such_and_the_full_one_is_not(render: object) -> None:
    assert callable(render)
    small, whole = (str(render(full(small=s))).replace("&#x27;", "'").replace("\\", "") for s in (True, False))
    assert WARNING in small
    assert WARNING not in whole
    assert "not a claim" not in whole


class Reader(HTMLParser):
    """Tags opened and not closed, links, and visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "img", "hr"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_html_is_well_formed_self_contained_and_links_to_runs() -> None:
    found = read(to_html(full(), b"picture", setting=Setting(mlflow="http://127.0.0.1:5000/")))
    assert found.open == []
    embedded = f"data:image/png;base64,{base64.b64encode(b'picture').decode()}"
    files = {f"table4.{suffix}" for suffix in ("csv", "json", "tex", "md", "png", "svg")}
    assert set(found.links) == {"http://127.0.0.1:5000/#/runs/abc123", "index.html", embedded, *files}
    assert "paper 47.0 (-17.0)" in found.words


def test_html_shows_markup_in_messages_as_text() -> None:
    text = to_html(gappy(), b"")
    found = read(text)
    assert text.count("<script") == 1 and text.rstrip().endswith(f"<script>{SCRIPT}</script></body></html>")
    assert any("bad & <b>worse</b> 5%_x" in words for words in found.words)
    assert any("a <small> one & 100 % made up" in words for words in found.words)


def test_latex_escapes_and_balances() -> None:
    assert escape("50% of a_b & {c} #1 ~ ^ \\ $") == (
        r"50\% of a\_b \& \{c\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{} \$"
    )
    text = to_latex(gappy())
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert [*re.findall(r"\\begin\{(\w+)\}", text)] == [*re.findall(r"\\end\{(\w+)\}", text)][::-1]
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    assert {line.replace(r"\&", "").count("&") for line in body.splitlines() if " & " in line} == {2}


def broad(rows: int, columns: int) -> Table:
    """Long headings, numbers with spreads, gains in brackets: far wider, or taller, than a page."""
    name = "a heading that is longer than most of them"
    spots: dict[Spot, Numbers] = {
        (f"{name} {r}", f"column {c}", "ap_det", "AP"): ([20.0 + r, 21.5 + c], 40.0)
        for r in range(rows)
        for c in range(columns)
    }
    return tabled("broad", spots, baseline="column 0")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not on this machine")
def test_latex_compiles_and_no_table_is_wider_or_taller_than_a_page(tmp_path: Path) -> None:
    """What is shipped too, which is read back from its JSON."""
    odd = 'A_b & 50% <δ> "quoted" — 図 ü ^~\\'
    made = {"a": full(title=odd), "b": gappy(), "c": pairs(), "d": spread(), "e": literature()}
    made |= {"wide": broad(3, 14), "tall": broad(40, 2), "both_": broad(40, 14)}
    shipped = sorted((Path(__file__).resolve().parents[2] / "reports" / "published").glob("*/*.csv"))
    assert len(shipped) > 10
    made |= {f"{path.parent.name}-{path.stem}": read_table(path.with_suffix(".json")) for path in shipped}
    for name, table_of_it in made.items():
        (tmp_path / f"{name}.tex").write_text(to_latex(table_of_it))
    (tmp_path / DOCUMENT).write_text(document([*made, "not a file of #LaTeX"]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", DOCUMENT]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert result.returncode == 0, result.stdout[-1500:]
    log = (tmp_path / "tables.log").read_text(errors="replace")
    assert [line for line in log.splitlines() if "Overfull" in line or "Float too large" in line] == []
    assert f"({len(made)} pages" in log.replace("\n", "")


def test_a_latex_file_names_the_packages_that_it_needs() -> None:
    first = to_latex(full()).splitlines()[0]
    assert first == r"% Needs \usepackage{booktabs} and \usepackage{graphicx}."


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *((text, f"'{text}") for text in ("=1+1", "+A1", "-A1", "@SUM(1)", "-1+2", "-inf", "+1_0", "-1 -2", "\uff1d1")),
        *((text, f"'{text}") for text in ("\t1", "\r=1", "\n", "  =1", "-")),
        *((text, text) for text in ("-1.2", "+3", "-1e-05", "0.5", "a=1", "F 1x", "")),
        (-1.2, -1.2),
        (None, ""),
        (True, True),
    ],
)
def test_a_csv_field_is_no_formula_and_a_number_stays_one(value: object, written: object) -> None:
    assert csv_field(value) == written


def test_negative_numbers_of_a_table_are_numbers_in_its_csv() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(literature()))))
    assert [float(part) for part in lines[3]["gain_interval"].split()] == pytest.approx([-0.484, 4.484], abs=1e-3)
    assert float(lines[3]["difference"]) == pytest.approx(23.0 - 50.8)


@pytest.mark.parametrize("made", [full(), gappy(), pairs(), spread(), literature(), table([cells()], [])])
def test_every_table_can_be_drawn(made: Table) -> None:
    opened = Image.open(io.BytesIO(picture(made)))
    assert opened.format == "PNG"
    assert opened.width > opened.height > 300
    assert len(set(opened.convert("RGB").resize((60, 40)).getdata())) > 20


def test_reports_are_imported_without_matplotlib_mlflow_or_torch() -> None:
    code = (
        "import sys, casl.report.render; print(sorted({'matplotlib', 'mlflow', 'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(("name", "made"), [("table2", True), ("reasons", True), ("held_out", True), ("delta", False)])
def test_what_make_can_make_again_says_how(name: str, made: bool) -> None:
    text = to_markdown(tabled(name, {("a", "b", "ap_det", "AP"): ([1.0], None)}))
    assert (f"`make {name} PROFILE=mini" in text) == made
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    assert (f"\n{name}:" in makefile or name.startswith("table")) == made


def test_warnings_about_the_data_are_folded_and_in_no_headline() -> None:
    warned = "annotations/instances_val.json: 72 boxes overlap the box around their mask by less than half"
    made = replace(full(), notes=("set has no masks", warned), source="not in the paper")
    assert headline(made)[0] == "Not in the paper." and headline(made)[-1] == "set has no masks"
    page, text = to_html(made, b""), to_markdown(made)
    assert f"<details><summary>1 warning about the data</summary>\n<ul><li>{warned}" in page and page.count(warned) == 1
    assert text.count("72 boxes") == 1 and text.index("72 boxes") > text.index("## Ours")
