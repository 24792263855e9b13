"""`casl reproduce` and `--cell`: one number of a report again, from an empty store."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from casl.api.opened import open_detector
from casl.cli import main, parser
from casl.cli.examples import EXAMPLES
from casl.cli.reproduce import CHANGES, bits_of, expected
from casl.errors import SpecError
from casl.report.stored import read_table
from casl.report.today import of_folder
from casl.runner import bits
from casl.runner.store import Store
from casl.spec.profile import YES
from casl.study.from_path import file_digest

ROOT = Path(__file__).resolve().parents[2]
CELL = ("ground truth", "class-specific")  # of table1: the shortest chain that there is
CHANGED = ["--profile", "smoke", "--batch-size", "4"]
FOLDER = "smoke-batch-size4"
X86 = pytest.mark.skipif(bool(bits.lacking()), reason=bits.lacking())


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table 1 of profile smoke in batches of 4 with one of its numbers measured."""
    folder = tmp_path_factory.mktemp("shipped")
    own = [*CHANGED, "--store", str(folder / "store"), "--mlflow", f"sqlite:///{folder}/m.db"]
    assert main(["run", "table1", "--cell", *CELL, *own]) == 0
    assert main(["report", "table1", *own, "--reports", str(folder / "reports")]) == 0
    return folder / "reports"


def table(reports: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((reports / FOLDER / "table1.json").read_bytes())
    return found


def again(
    reports: Path, capsys: pytest.CaptureFixture[str], *more: str, store: Path | None = None
) -> tuple[int, str, str]:
    capsys.readouterr()
    place = store or reports.parent / "store"
    own = ["--store", str(place), "--mlflow", f"sqlite:///{place.parent}/m.db"]
    code = main(["reproduce", str(reports / FOLDER / "table1.json"), *more, *own])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_only_what_one_cell_needs_was_run(reports: Path) -> None:
    measured = [(c["row"], c["column"]) for c in table(reports)["cells"] if c["status"] == "done"]
    assert measured == [CELL]


@pytest.mark.slow
def test_a_number_is_made_again_from_nothing_and_is_the_same(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = again(reports, capsys, *CELL, store=tmp_path / "store")
    assert code == 0
    assert "equal, bit for bit" in out


def test_numbers_from_elsewhere_are_reported_and_never_compared_with_themselves(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tar, store = tmp_path / "numbers.tar", tmp_path / "store"
    whole = ["--tables", "table1", *CHANGED, "--store", str(reports.parent / "store")]
    assert main(["store", "export", *whole, "--numbers", "-o", str(tar)]) == 0
    assert "left out, since not finished" in capsys.readouterr().err
    assert main(["store", "import", str(tar), "--store", str(store)]) == 0
    words = " ".join(["table1", *CHANGED])
    assert f"next     casl report {words} --store {store}" in capsys.readouterr().out
    own = [*CHANGED, "--store", str(store), "--mlflow", f"sqlite:///{tmp_path}/m.db"]
    assert main(["run", "table1", "--cell", *CELL, *own, "--dry-run"]) == 0
    assert "would run" not in capsys.readouterr().out
    assert main(["report", "table1", *own, "--reports", str(tmp_path / "reports")]) == 0
    written = read_table(tmp_path / "reports" / FOLDER / "table1.json")
    shipped = read_table(reports / FOLDER / "table1.json")
    figures = [[(c.row, c.column, c.value, c.commit) for c in one.cells] for one in (written, shipped)]
    assert figures[0] == figures[1] and written.image_covariance == shipped.image_covariance
    code, _, err = again(reports, capsys, *CELL, store=store)
    assert code == 2 and "only be compared with themselves" in err
    name = table(reports)["cells"][[c["status"] for c in table(reports)["cells"]].index("done")]["name"]
    seen = ["--store", str(store)]
    assert main(["show", name, *seen]) == 0
    shown = capsys.readouterr().out
    assert "predictions.json: left where it was computed" in shown.replace(", system.csv", "")
    assert "(elsewhere)" in shown and "casl predict" not in shown
    behind = next(word for word in shown.split() if word.startswith("warmup-"))
    assert main(["store", "explain", behind, *CHANGED, *seen]) == 0
    assert f"{name} is here as numbers" in capsys.readouterr().out
    with pytest.raises(SpecError, match="taken over as numbers, without its model"):
        open_detector(name, store)


def test_what_to_export_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--store", str(tmp_path / "store"), "-o", str(tmp_path / "a.tar")]
    Store(tmp_path / "store")
    assert main(["store", "export", *where]) == 2
    assert "--tables" in capsys.readouterr().err
    assert main(["store", "export", "--tables", "table1", "--profile", "smoke", *where]) == 2
    assert "`casl run` makes them" in capsys.readouterr().err
    for mistaken, said in {
        ("table1",): "name it with --tables table1",
        ("evaluate-1", "--seeds", "3"): "--seeds 3 says of which study --tables are",
    }.items():
        assert main(["store", "export", *mistaken, *where]) == 2
        assert said in capsys.readouterr().err
    assert main(["store", "export", "--tables", "table1", "-o", str(tmp_path), *where[:2]]) == 2
    assert "-o names a file" in capsys.readouterr().err
    assert main(["report", "table1", "--store", str(tmp_path / "nowhere")]) == 2
    assert "no store" in capsys.readouterr().err and not (tmp_path / "nowhere").exists()


def test_what_the_command_changed_is_in_the_commands_under_the_table(reports: Path) -> None:
    text = (reports / FOLDER / "table1.md").read_text()
    assert f"`make table1 PROFILE=smoke BATCH=4 STORE={reports.parent / 'store'} REPORTS={reports}`" in text
    assert f"`.venv/bin/casl reproduce {reports}/{FOLDER}/table1.json " in text


def test_a_report_on_data_of_the_disk_asks_for_the_folder(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "table1.json").write_text(json.dumps({**table(reports), "data": "camvid"}))
    code, _, err = again(tmp_path, capsys, *CELL)
    assert code != 0 and "made on data set camvid: give its folder with --data" in err


def test_another_number_is_told_apart(reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = table(reports)
    for cell in changed["cells"]:
        for repetition in cell["repetitions"]:
            if repetition["value"] is not None:
                repetition["value"] += 0.25
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "table1.json").write_text(json.dumps(changed))
    code, out, _ = again(tmp_path, capsys, *CELL, store=reports.parent / "store")
    assert code == 1
    assert "differs by -0.25" in out and "constraints.txt" in out and "worth an issue" in out


@X86
def test_a_report_says_what_computed_its_numbers(reports: Path) -> None:
    found = [r["kernels"] for c in table(reports)["cells"] for r in c["repetitions"] if r["value"] is not None]
    assert found == ["portable"]


@X86
def test_a_number_of_other_kernels_is_not_compared_like_with_like(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = table(reports)
    for cell in changed["cells"]:
        for repetition in cell["repetitions"]:
            if repetition["value"] is not None:
                repetition |= {"value": repetition["value"] + 1.5, "kernels": "native, AVX512 of another"}
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "table1.json").write_text(json.dumps(changed))
    code, out, _ = again(tmp_path, capsys, *CELL, store=reports.parent / "store")
    assert code == 1
    assert "(native, AVX512 of another)" in out and "(portable)" in out
    assert "Not like with like" in out and "1.7 AP" in out and "issue" not in out


@pytest.mark.parametrize(
    ("shipped", "here", "said"),
    [
        ("portable", "portable", "worth an issue"),
        ("native, AVX2 of one", "native, AVX2 of one", "worth an issue"),
        ("native, AVX2 of one", "native, AVX2 of another", "Not like with like"),
        ("portable", "mixed, AVX2 of one", "Not like with like"),
        ("mixed, AVX2 of one", "mixed, AVX2 of one", "Not like with like"),
        ("", "", "Not like with like"),
    ],
)
def test_the_difference_to_expect_depends_on_what_computed_both(shipped: str, here: str, said: str) -> None:
    assert said in expected(shipped, here)


@pytest.mark.parametrize(
    ("made", "lack", "mode"),
    [
        ("portable", "", "portable"),
        ("portable", "this is an abacus", "native"),
        ("native, AVX2 of one", "", "native"),
        ("mixed, AVX2 of one", "", "native"),
        ("", "", "native"),
    ],
)
def test_a_number_is_made_with_the_bits_of_its_report(
    monkeypatch: pytest.MonkeyPatch, made: str, lack: str, mode: str
) -> None:
    monkeypatch.setattr(bits, "lacking", lambda: lack)
    assert bits_of(made, "")[0] == mode
    assert lack in bits_of(made, "")[1]
    assert bits_of(made, "native") == ("native", "")


def test_a_report_of_other_code_is_told_apart(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = json.loads(json.dumps(table(reports)).replace("evaluate-", "evaluate-0"))
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "table1.json").write_text(json.dumps(changed))
    code, out, _ = again(tmp_path, capsys, *CELL, store=tmp_path / "store")
    assert code == 1
    assert "this code asks for another stage" in out
    assert not list((tmp_path / "store").glob("stages/*")), "told before anything is trained"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("ground thruth", "class-specific"), "did you mean 'ground truth'"),
        (("ground truth", "class-specfic"), "did you mean 'class-specific'"),
        (("pseudo labels", "class-specific"), "was not measured in that report: not run"),
        ((*CELL, "--metric", "ap_dat"), "did you mean 'ap_det'"),
        ((*CELL, "--seed", "7"), "seeds there: 0"),
    ],
)
def test_a_number_that_is_not_there_is_named(
    reports: Path, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...], message: str
) -> None:
    code, _, err = again(reports, capsys, *asked)
    assert code == 2
    assert message in err


TABLE = {"name": "table1", "profile": "smoke", "data": "scenes", "options": []}
WRONG = {
    b"\x89PNG": "it is not text",
    b"{": "it is not JSON, from line 1 on",
    b"[]": "it is JSON, but not that of a table",
    json.dumps(TABLE).encode(): "it is JSON, but not that of a table",
    json.dumps(TABLE | {"cells": [1]}).encode(): "it is JSON, but not that of a table",
    json.dumps(TABLE | {"cells": [{"row": "a"}]}).encode(): "it is JSON, but not that of a table",
}


def of_the_cell(**changes: Any) -> Callable[[dict[str, Any]], object]:
    """Changes of a report: of a field of the measured cell, or of its repetitions."""

    def change(report: dict[str, Any]) -> None:
        cell = next(c for c in report["cells"] if (c["row"], c["column"]) == CELL)
        for field, value in changes.items():
            for owner in [cell] if field in cell and field not in ("name", "value") else cell["repetitions"]:
                owner[field] = value

    return change


def of_the_table(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda report: report.update(changes)


EDITED = {
    "a seed that is a text": (of_the_cell(seed="x"), "the 'seed' of a cell is x"),
    "a seed that is none": (of_the_cell(seed=None), "'seed'"),
    "a seed below 0": (of_the_cell(seed=-1), "'seed'"),
    "a seed that is true": (of_the_cell(seed=True), "'seed'"),
    "a seed that is a list": (of_the_cell(seed=[1]), "'seed'"),
    "a value that is a text": (of_the_cell(value="x"), "'value'"),
    "a value that is no number": (of_the_cell(value=float("nan")), "'value'"),
    "a value that is true": (of_the_cell(value=True), "'value'"),
    "a value of 400 digits": (of_the_cell(value=10**400), "'value'"),
    "a name that is a list": (of_the_cell(name=[1]), "'name'"),
    "a name that is none": (of_the_cell(name=None), "'name'"),
    "a row that is a list": (of_the_cell(row=["a"]), "'row'"),
    "a column that is a number": (of_the_cell(column=4), "'column'"),
    "a figure that is none": (of_the_cell(figure=None), "'figure'"),
    "kernels that are a list": (of_the_cell(kernels=[1]), "'kernels'"),
    "a profile that is an option": (of_the_table(profile="--help"), "its 'profile' is '--help'"),
    "a name that is an option": (of_the_table(name="--help"), "its 'name' is '--help'"),
    "an origin that is an option": (of_the_table(origin={"typed": "--help"}), "its 'typed' is '--help'"),
    "an origin that is a list": (of_the_table(origin=[1]), "not that of a table"),
    "another store": (of_the_table(options=[["store", "x"]]), "its 'options' hold ['store', 'x']"),
    "another launcher": (of_the_table(options=[["size", "96"], ["launcher", "slurm"]]), "'launcher'"),
    "an option of an option": (of_the_table(options=[["--mlflow", "http://x"]]), "'--mlflow'"),
    "a flag that takes an option": (of_the_table(options=[["crowds-are-objects", "--store=x"]]), "--store=x"),
    "an option without its value": (of_the_table(options=[["size", YES]]), "'size'"),
    "options that are a text": (of_the_table(options="ab"), "'options'"),
    "options of three": (of_the_table(options=[[1, 2, 3]]), "'options'"),
    "options of lists": (of_the_table(options=[[["size"], "1"]]), "'options'"),
}


@pytest.mark.parametrize("edit", EDITED)
def test_an_edited_report_is_refused_before_anything_is_done(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: str
) -> None:
    change, said = EDITED[edit]
    change(changed := table(reports))
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "table1.json").write_text(json.dumps(changed))
    code, _, err = again(tmp_path, capsys, *CELL)
    assert code == 2 and "is not a report of this casl" in err and said in err
    assert not (tmp_path / "store").exists() and not (tmp_path / "x").exists()


def test_a_figure_that_the_stage_does_not_have_is_told_before_anything_is_trained(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_the_cell(figure="zzz")(changed := table(reports))
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "table1.json").write_text(json.dumps(changed))
    code, out, _ = again(tmp_path, capsys, *CELL, store=tmp_path / "store")
    assert code == 1 and "no zzz" in out
    assert not list((tmp_path / "store").glob("stages/*"))


@pytest.mark.parametrize("sha256", ["", "00", None])
def test_a_file_of_python_that_is_not_that_of_the_report_is_not_run(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], sha256: str | None
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"from pathlib import Path; Path({str(tmp_path / 'ran')!r}).touch()")
    origin = {"typed": str(file), "sha256": file_digest(str(file)) if sha256 is None else sha256}
    of_the_table(origin=origin)(changed := table(reports))
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "table1.json").write_text(json.dumps(changed))
    code, _, err = again(tmp_path, capsys, *CELL)
    assert code == 2 and (tmp_path / "ran").exists() == (sha256 is None)
    assert sha256 is None or ("put the file of that content there" in err and file_digest(str(file)) in err)


def test_every_change_that_a_profile_notes_can_be_made_again() -> None:
    source = (ROOT / "casl" / "spec" / "profile.py").read_text()
    assert set(re.findall(r'_changed\(\s*"([a-z0-9-]+)"', source)) == set(CHANGES)


def test_a_file_that_is_no_report_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / FOLDER).mkdir()
    assert "does not exist" in again(tmp_path, capsys, *CELL)[2]
    for content, said in WRONG.items():
        (tmp_path / FOLDER / "table1.json").write_bytes(content)
        err = again(tmp_path, capsys, *CELL)[2]
        assert (
            f"is not a report of this casl: {said}.\n" in err
            and "in that folder: no others" in err
            and "'cells'" not in err
        )


def test_a_table_can_be_written_with_the_seeds_that_all_its_cells_have(reports: Path, tmp_path: Path) -> None:
    own = [*CHANGED, "--seeds", "2", "--store", str(reports.parent / "store")]
    own += ["--mlflow", f"sqlite:///{reports.parent}/m.db", "--reports", str(tmp_path)]
    seeds = []
    for more in ([], ["--as-measured"]):
        assert main(["report", "table1", *own, *more]) == 0
        seeds.append(table(tmp_path)["seeds"])
    assert seeds == [2, 1]


@pytest.mark.parametrize("report", sorted((ROOT / "reports" / "published").glob("*/table*.json")), ids=lambda p: p.stem)
def test_the_command_under_a_shipped_table_is_about_a_number_in_it(report: Path) -> None:
    """A table that is older than the code has none: it says that the code refuses, and the commit of its numbers."""
    lines = report.with_suffix(".md").read_text().splitlines()
    line = next(s for s in lines if "casl reproduce" in s)
    shipped = read_table(report)
    if of_folder(report.parent, [shipped]).is_older(shipped):
        assert "`casl reproduce` refuses" in line and any(f"git checkout {shipped.commits[0][:10]}" in s for s in lines)
        return
    words = shlex.split(line.partition("`")[2].rstrip("`"))
    assert words[:3] == [".venv/bin/casl", "reproduce", str(report.relative_to(ROOT))]
    found = json.loads(report.read_bytes())
    values = [c["value"] for c in found["cells"] if [c["row"], c["column"]] == words[3:5]]
    assert values and all(value is not None for value in values)


@pytest.mark.parametrize("example", [command for command, _ in EXAMPLES["casl reproduce"]])
def test_the_examples_are_of_numbers_that_the_code_still_makes(example: str) -> None:
    options = parser().parse_args(shlex.split(example)[1:])
    shipped = read_table(ROOT / options.file)
    measured = {(c.row, c.column): c.by_seed for c in shipped.cells}
    assert (options.seed or 0) in measured[options.row, options.column]
    assert not of_folder(ROOT / Path(options.file).parent, [shipped]).is_older(shipped)
