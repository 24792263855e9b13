"""Where reports go, what they agree on, and where their links lead, over a store of made-up results."""

from __future__ import annotations

import argparse
import contextlib
import html
import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casl import catalog
from casl.cli import main
from casl.cli.reports import runs_shown
from casl.report.layout import gains
from casl.report.paper import has_paper_beside, without_paper
from casl.report.table import SMALL, build_table
from casl.report.table_page import to_html, to_markdown
from casl.runner.store import Store
from casl.spec.data_sets import FolderData
from casl.spec.profile import Profile
from casl.tracking.index import Entry, Index
from tests.golden.studies import on_disk, write_store
from tests.report.sample import done, stage_of

ROOT = Path(__file__).resolve().parents[2]
SERVER = "http://ada:secret@flow.example:8000/x"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of every table with two seeds; MLflow, in the store and on a server, has a run of each evaluation."""
    root = tmp_path_factory.mktemp("made up") / "store"
    write_store(root)
    (root / "mlflow.db").touch()
    for uri in (None, SERVER):
        index = Index(root, uri)
        for path in (root / "stages").glob("evaluate-*"):
            name = path.name
            index.write(name, Entry(f"run-of-{name}", "1", "", "", {}, {}, "", {}, []))
    return root


def report(store: Path, folder: Path, *words: str) -> int:
    with contextlib.chdir(folder):  # as typed, the folder is one for all, since pages name it
        return main(["report", *words, "--profile", "smoke", "--store", str(store), "--reports", "."])


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def written(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of every table with two seeds; to read only."""
    folder = tmp_path_factory.mktemp("written")
    assert report(store, folder, "all", "--seeds", "2") == 0
    return folder


def test_writing_one_table_brings_index_and_claims_up_to_it(store: Path, written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written, tmp_path, dirs_exist_ok=True) / "smoke"
    assert report(store, tmp_path, "table4") == 0
    assert (read(folder / "table4.json")["seeds"], read(folder / "table7.json")["seeds"]) == (1, 2)
    index = (folder / "index.html").read_text()
    assert "1 to 2 seeds" in index
    assert index.count("<td>1</td><td>2") + index.count("<td>1</td><td>1") + index.count("<td>1</td><td>0") >= 1
    seeds = {
        (place["table"], evidence["seeds"])
        for claim in read(folder / "claims.json")["claims"]
        for evidence in claim["evidence"]
        for place in evidence["better"]
        if evidence["difference"] is not None
    }
    assert ("table4", 1) in seeds and ("table4", 2) not in seeds and ("table7", 2) in seeds
    for claim in read(folder / "claims.json")["claims"]:
        for evidence in claim["evidence"]:
            if evidence["difference"] is not None and evidence["seeds"] == 1 and len(evidence["better"]) == 1:
                (place,) = evidence["better"]
                cells = read(folder / f"{place['table']}.json")["cells"]
                same = [c for c in cells if all(c[n] == place[n] for n in ("row", "column", "metric", "figure"))]
                assert evidence["better_value"] in same[0]["values"]


def test_commands_on_pages_name_the_folders_that_were_typed(store: Path, written: Path) -> None:
    page = (written / "smoke" / "table4.md").read_text()
    assert f"`make table4 PROFILE=smoke SEEDS=2 STORE={shlex.quote(str(store))} REPORTS=.`" in page
    assert "casl reproduce ./smoke/table4.json" in page
    assert "--store" in next(line for line in page.splitlines() if "casl reproduce" in line)


@pytest.mark.parametrize("measured", [True, False])
def test_a_table_of_other_code_is_named_on_the_pages_over_all(
    store: Path, written: Path, tmp_path: Path, measured: bool
) -> None:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    pages = [tmp_path / "smoke" / name for name in ("index.html", "claims.html", "claims.md")]
    assert not any("OLDER THAN THE CODE" in page.read_text() for page in pages)
    path = tmp_path / "smoke" / "table3.json"
    record = read(path)
    one = next(r for cell in record["cells"] for r in cell["repetitions"] if r["value"] is not None)
    one["name"] = f"evaluate-{'0' * 16}"
    one["value"] = one["value"] if measured else None
    path.write_text(json.dumps(record))
    assert report(store, tmp_path, "table4", "--seeds", "2") == 0
    assert all(("OLDER THAN THE CODE: table3. " in page.read_text()) == measured for page in pages)


def test_labels_and_suspects_of_other_code_are_named_too(store: Path, written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written, tmp_path, dirs_exist_ok=True) / "smoke"
    labels = read(folder / "labels.json")
    labels["labels"][0]["stages"][0] = f"pseudolabel-{'0' * 16}"
    (folder / "labels.json").write_text(json.dumps(labels))
    reasons = {**read(folder / "table3.json"), "name": "reasons"}  # stages of table3, none of which it asks for
    (folder / "reasons.json").write_text(json.dumps(reasons))
    assert report(store, tmp_path, "table4", "--seeds", "2") == 0
    assert "OLDER THAN THE CODE: reasons, labels. " in (folder / "index.html").read_text()


def test_the_index_of_one_table_is_that_of_all_written_at_once(store: Path, written: Path, tmp_path: Path) -> None:
    """The draws over images are in no report; they are found again in the store."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    assert report(store, tmp_path, "table4", "--seeds", "2") == 0
    assert contents(written) == contents(tmp_path)
    evidence = [e for c in read(written / "smoke" / "claims.json")["claims"] for e in c["evidence"]]
    assert any(e["error_images"] for e in evidence)


def test_pages_that_would_be_the_same_are_not_written_again(store: Path, written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    folder, study = tmp_path / "smoke", ("all", "--seeds", "2")

    def rewritten(*words: str) -> set[str]:
        """Names of the files that a command puts in the place of others."""
        before = {path.name: path.stat().st_ino for path in folder.glob("[!.]*")}
        assert report(store, tmp_path, *words) == 0
        return {path.name for path in folder.glob("[!.]*") if path.stat().st_ino != before.get(path.name)}

    assert rewritten(*study) == set()
    (folder / "table4.md").unlink()
    (folder / "table7.csv").write_text("edited\n")
    again = rewritten(*study)
    assert len(again) == 14 and {name.partition(".")[0] for name in again} == {"table4", "table7"}
    assert contents(folder) == contents(written / "smoke")
    (folder / ".written" / "table2").write_text("damaged")
    assert {name.partition(".")[0] for name in rewritten(*study)} == {"table2"}
    about_table4 = {name.partition(".")[0] for name in rewritten("table4")}  # with one seed
    assert about_table4 == {"table4", "index", "claims", "tables"}


def test_curves_are_asked_for_and_linked_by_the_table(store: Path, written: Path, tmp_path: Path) -> None:
    assert not [*written.rglob("curves-*")]
    folder = tmp_path / "smoke"
    trained = sorted((store / "stages").glob("warmup-*"))
    for stage in trained:
        (stage / "curves.csv").write_text("iteration,loss,lr\n0,3.5,0.1\n1,2.5,0.1\n")
    assert report(store, tmp_path, "table4", "--curves") == 0
    rows = (folder / "curves-table4.csv").read_text().splitlines()
    assert rows[0].endswith("iteration,loss,mean,lr") and {row.rpartition(",0,0,")[2] for row in rows[1::2]} == {
        "3.5,3.5,0.1"
    }
    assert len(rows) == 1 + 2 * 5, "of its five warmups; nothing else has a curve"
    assert "curves-table4.html" in (folder / "table4.html").read_text()
    for stage in trained:
        (stage / "curves.csv").unlink()


def test_a_report_ends_with_where_to_look(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(store, tmp_path, "table4") == 0
    out, err = capsys.readouterr()
    last = f"next     open smoke/index.html in a browser; `casl ui --store {shlex.quote(str(store))}` shows the runs"
    assert err.splitlines()[-1] == last and "next" not in out, "stdout lists files"
    assert "smoke/index.html" in out.splitlines() and (tmp_path / "smoke" / "index.html").is_file()
    assert report(store, tmp_path, "table4", "--json") == 0
    assert "next" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mlflow", "port", "said"),
    [
        ("", 5000, "`casl ui --store s` shows the runs"),
        ("", 6001, "`casl ui --store s --port 6001` shows the runs"),
        ("http://me:secret@db:5000/ml", 5000, "the runs are at http://db:5000/ml"),
        ("postgresql://me:secret@db/x", 5000, "`casl ui --store s` with the same --mlflow shows the runs"),
    ],
)
def test_where_runs_are_seen_names_no_password(mlflow: str, port: int, said: str) -> None:
    assert runs_shown(argparse.Namespace(store="s", mlflow=mlflow, port=port)) == said


def test_only_publishing_writes_among_what_is_published(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(store, tmp_path, "table4", "--publish") == 0
    published = contents(tmp_path / "published")
    assert "smoke/table4.json" in published and not (tmp_path / "smoke").exists()
    assert not any(".written" in name for name in published)
    assert report(store, tmp_path, "table4", "--seeds", "2") == 0
    among = str(tmp_path / "published")
    assert main(["report", "table4", "--profile", "smoke", "--store", str(store), "--reports", among]) == 2
    assert "--publish" in capsys.readouterr().err
    assert contents(tmp_path / "published") == published
    assert "casl reproduce reports/published/smoke/table4.json" in published["smoke/table4.md"].decode()


def test_links_lead_to_the_port_of_the_pages_and_none_is_published(store: Path, tmp_path: Path) -> None:
    assert report(store, tmp_path, "table4", "--port", "5055") == 0
    for name in ("table4.html", "index.html"):
        page = (tmp_path / "smoke" / name).read_text()
        assert '"http://127.0.0.1:5055/#/runs/run-of-evaluate-' in page and ":5000" not in page
    assert report(store, tmp_path, "table4", "--publish", "--port", "5055") == 0
    for name, held in contents(tmp_path / "published").items():
        assert b"run-of-" not in held and b"#/runs" not in held and b"127.0.0.1" not in held, name
        assert b"MLflow" not in held or not name.endswith(".html"), name


def test_links_to_runs_on_a_server_lead_there_and_hold_no_user(store: Path, tmp_path: Path) -> None:
    assert report(store, tmp_path, "table4", "--mlflow", SERVER) == 0
    page = (tmp_path / "smoke" / "table4.html").read_text()
    assert '"http://flow.example:8000/x/#/runs/run-of-evaluate-' in page
    assert "secret" not in page and "127.0.0.1" not in page


def test_numbers_of_runs_that_mlflow_does_not_have_link_nowhere(store: Path, tmp_path: Path) -> None:
    """As in a store whose runs were sent to another MLflow."""
    assert report(store, tmp_path, "table4", "--mlflow", "http://another.example") == 0
    assert "#/runs" not in (tmp_path / "smoke" / "table4.html").read_text()


def test_git_holds_published_reports_only(tmp_path: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "reports"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        pytest.skip("not a clone")
    files = set(listed.stdout.splitlines())
    assert {f for f in files if not f.startswith("reports/published/")} == {"reports/README.md"}
    made = ["reports/mini/table4.json", "reports/smoke-coins/index.html"]
    ignored = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == made
    kept = subprocess.run(["git", "check-ignore", "reports/published/mini/new.json"], cwd=ROOT)
    assert kept.returncode == 1


def on_data(data: FolderData) -> Profile:
    profile: Profile = catalog.load("profile", "mini")
    return profile.with_data(data)


def test_the_papers_numbers_stand_beside_those_on_its_kind_of_data_only() -> None:
    blood = on_disk("blood", masks=False)
    assert has_paper_beside(catalog.load("profile", "mini"))
    assert not has_paper_beside(on_data(blood))
    assert has_paper_beside(catalog.load("profile", "paper").with_data(blood)), "at its size, it is the paper's claim"


def test_on_data_on_disk_the_gain_over_no_warmup_stands_in_the_papers_place() -> None:
    profile, table2 = on_data(on_disk("blood", masks=False)), catalog.load("ablation", "table2")
    ablation, (cells,), notes = without_paper(table2, profile, [table2.build(profile)])
    assert notes == [
        "Not measured: blood has no entity or panoptic annotations.",
        "Not measured: blood has no masks.",
        "Not measured: blood has no panoptic annotations with stuff.",
    ]
    runs = [done(stage_of(c), AP=20.0 + n) for n, c in enumerate(cells)]
    found = build_table(ablation, profile, [cells], {r.name: r for r in runs}, {})
    assert {c.column for c in found.cells if c.column in ("AP^seg", "PQ")} == set()
    for text in (to_markdown(found), to_html(found, b"")):
        assert "paper" not in html.unescape(text).lower().replace(SMALL.lower(), "")
    markdown = to_markdown(found)
    gained = next(g.ours for i, g in gains(found).items() if found.cells[i].row == "Entities (P, A)")
    assert gained and "## Ours (gain over ImageNet)" in markdown
    line = next(x for x in markdown.splitlines() if x.startswith("| Entities"))
    assert f"(+{gained.value:.1f})" in line


def test_a_table_without_a_baseline_has_no_brackets_there() -> None:
    profile, table7 = on_data(on_disk("blood", masks=False)), catalog.load("ablation", "table7")
    ablation, (cells,), _ = without_paper(table7, profile, [table7.build(profile)])
    found = build_table(ablation, profile, [cells], {}, {})
    assert "## Ours\n" in to_markdown(found)
    assert "paper" not in to_markdown(found).lower().replace(SMALL.lower(), "")


def test_a_table_of_which_nothing_can_be_measured_says_why_and_quotes() -> None:
    profile, table2 = on_data(on_disk("blood", masks=False)), catalog.load("ablation", "table2")
    quoted = [tuple(c for c in table2.build(profile) if c.stage is None)]
    assert without_paper(replace(table2, baseline=""), profile, quoted)[1:] == (quoted, [])


@pytest.mark.parametrize(("more", "shown"), [([], False), (["--paper"], True), (["--no-paper"], False)])
def test_an_option_brings_the_papers_numbers_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], shown: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "scenes", "coins", "--labeled", "2", "--unlabeled", "2", "--val", "2"]) == 0
    Store(tmp_path / "store")
    assert main(["report", "table2", "--profile", "smoke", "--data", "coins", *more]) == 1, "nothing is measured"
    table = read(tmp_path / "reports" / "smoke-coins" / "table2.json")
    assert any(c["paper"] is not None for c in table["cells"]) == shown
    page = (tmp_path / "reports" / "smoke-coins" / "table2.md").read_text()
    assert ("ours − paper" in page) == shown


def test_without_data_on_disk_an_option_takes_them_away(store: Path, tmp_path: Path) -> None:
    assert report(store, tmp_path, "table2", "--no-paper") == 0
    assert all(c["paper"] is None for c in read(tmp_path / "smoke" / "table2.json")["cells"])
