"""An ablation of a file: `casl plan ./mine.py`."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import pytest

from ablations.profiles import SMOKE
from casl import catalog
from casl.cli import main
from casl.errors import SpecError
from casl.runner.gc import roots
from casl.runner.store import Store
from casl.study.from_path import load_tables
from tests.outside.folder import TABLE, write


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user with mine.py and an empty store, as the working directory."""
    Store(tmp_path / "store")
    monkeypatch.chdir(write(tmp_path, {"mine.py": TABLE}))
    return tmp_path


def test_a_file_and_an_attribute_of_it_are_tables_beside_those_of_the_paper(here: Path) -> None:
    write(here, {"two.py": TABLE.replace("ABLATION =", "OTHER =").replace('"mine"', '"two"')})
    tables = load_tables(["./mine.py", "table4", "two.py:OTHER"])
    assert list(tables) == ["mine", "table4", "two"]
    assert [c.column for c in tables["two"].build(SMOKE)] == ["W 1x", "W 2x"]


def test_two_spellings_of_one_file_are_one_table(here: Path) -> None:
    assert list(load_tables(["./mine.py", "mine.py:ABLATION", str(here / "mine.py")])) == ["mine"]


def test_a_file_imports_from_its_own_folder_and_not_from_that_of_another(here: Path) -> None:
    for folder, length in (("one", 1), ("two", 2)):
        text = TABLE.replace("(1, 2)", "lengths()").replace("def cells", LATER).replace('"mine"', f'"{folder}"')
        write(here / folder, {"mine.py": text, "late.py": f"LENGTH = {length}\n"})
    tables = load_tables(["one/mine.py", "two/mine.py"])
    assert {name: [c.column for c in table.build(SMOKE)] for name, table in tables.items()} == {
        "one": ["W 1x"],
        "two": ["W 2x"],
    }


LATER = """
def lengths():
    from late import LENGTH

    return (LENGTH,)


def cells"""


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("./mne.py", r"no such file: mne.py; files of Python in its folder: .*\n  did you mean './mine.py'"),
        ("mine", r"unknown ablation 'mine'; known: .*\n  Your own is a file, .*For the file here write \./mine.py"),
        ("nowhere/mine.py", "no such file: nowhere/mine.py; the folder nowhere does not exist"),
        ("../", "is a folder; a table is a file of Python"),
        ("mine.py:ABLATON", r"unknown ablation in mine.py 'ABLATON'; known: ABLATION.\n  did you mean 'ABLATION'"),
        (
            "mine.py:cells",
            "mine.py:cells is of type function, and a table is a casl.spec.Ablation; ablations there",
        ),
        ("broken.py", r"broken.py cannot be imported: ModuleNotFoundError: No module named 'absent' \(line 2\)"),
        ("wrong.py", "wrong.py cannot be imported: SyntaxError"),
        ("exits.py", "exits.py cannot be imported: SystemExit: 3"),
        ("named.py", "two ablations are named 'table4', those of casl and named.py"),
        ("odd.py", "the name '../x' of the ablation in odd.py is not legal"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(here: Path, typed: str, said: str) -> None:
    files = {"broken.py": "\nimport absent\n", "wrong.py": "a b\n", "exits.py": "raise SystemExit(3)\n"}
    files |= {"named.py": TABLE.replace('"mine"', '"table4"'), "odd.py": TABLE.replace('"mine"', '"../x"')}
    write(here, files)
    with pytest.raises(SpecError, match=said):
        load_tables([typed])


def test_two_files_with_one_name_are_both_named(here: Path) -> None:
    write(here / "other", {"mine.py": TABLE})
    with pytest.raises(SpecError, match=r"two ablations are named 'mine', those of \./mine.py and other/mine.py"):
        load_tables(["./mine.py", "other/mine.py"])


def test_the_commands_under_a_report_name_the_file_and_parse(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = ["./mine.py", "--profile", "smoke", "--seeds", "2"]
    assert main(["report", *study]) == 1
    table = json.loads((here / "reports" / "smoke" / "mine.json").read_bytes())
    digest = hashlib.sha256(TABLE.encode()).hexdigest()
    assert table["origin"] == {"typed": "./mine.py", "sha256": digest, "package": ""}
    page = (here / "reports" / "smoke" / "mine.md").read_text()
    assert f"From ./mine.py, sha256 {digest}." in page
    (line,) = (line for line in page.splitlines() if line.startswith("- the whole table"))
    typed = line.split("`")[1].split(" && ")
    assert typed == [f"casl {verb} {shlex.join(study)}" for verb in ("run", "report")]
    capsys.readouterr()
    assert main([*shlex.split(typed[0])[1:], "--dry-run"]) == 0
    assert "mine: 4 cells, profile smoke" in capsys.readouterr().out


def test_studies_of_two_files_with_one_name_are_remembered_both(here: Path) -> None:
    write(here / "other", {"mine.py": TABLE.replace("(1, 2)", "(1,)")})
    for path in ("./mine.py", "other/mine.py"):
        assert main(["report", path, "--profile", "smoke"]) == 1
    assert len(roots(Store(here / "store"))) == 2


def test_a_table_of_the_paper_says_nothing_of_where_it_comes_from(here: Path) -> None:
    assert main(["report", "table4", "--profile", "smoke"]) == 1
    assert "origin" not in json.loads((here / "reports" / "smoke" / "table4.json").read_bytes())


def test_all_stands_for_the_ten_tables_beside_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "all", "./mine.py", "--profile", "smoke", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"] == [*(f"table{n}" for n in range(1, 11)), "mine"]


@pytest.fixture
def nano(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options for stages of milliseconds, and without MLflow: no server answers there."""
    monkeypatch.setitem(catalog.PROFILES, "nano", "tests.runner.stores:NANO")
    return ["--profile", "nano", "--mlflow", "http://127.0.0.1:9"]


@pytest.mark.slow
def test_a_number_of_a_file_is_made_again(here: Path, nano: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    place = ["reports/nano/mine.json", "F 1x", "W 1x"]
    assert main(["run", "./mine.py", *nano, "--cell", *place[1:], "--launcher", "inline"]) == 0
    assert main(["report", "./mine.py", *nano]) == 0
    (line,) = (x for x in (here / "reports/nano/mine.md").read_text().splitlines() if "casl reproduce" in x)
    assert shlex.split(line.split("`")[1]) == ["casl", "reproduce", *place]
    again = ["reproduce", *place, "--store", "fresh", *nano[2:]]
    (here / "mine.py").write_text(TABLE + "# changed\n")
    assert main(again) == 2
    assert "reports/nano/mine.json was made from ./mine.py, of sha256" in capsys.readouterr().err
    (here / "mine.py").write_text(TABLE)
    assert main(again) == 0
    assert "equal, bit for bit" in capsys.readouterr().out


def test_a_search_varies_a_cell_of_a_file(here: Path, nano: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--table", "./mine.py", "--cell", "F 1x", "W 1x", *nano, "--launcher", "inline", "--objective", "proxy"]
    assert main(["tune", "delta", *where, "--choices", "", "--low", "0.2", "--high", "0.3", "--step", "0.1"]) == 0
    assert "mine: F 1x / W 1x" in capsys.readouterr().out
