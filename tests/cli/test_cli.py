from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from casl.cli import main
from casl.runner.store import Store


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_plan_prints_counts_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "plan", "table4", "--profile", "paper", "--store", str(tmp_path), "--json")
    counts: dict[str, Any] = json.loads(out)
    assert code == 0
    assert counts["cells"] == 25
    assert (counts["stages"]["naive"], counts["stages"]["unique"]) == (125, 57)
    assert counts["epochs"] == {"naive": 2700, "unique": 1116, "shared": 564}


def test_what_a_plan_runs_is_what_it_shares_and_data_and_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("plan", "table4", "--profile", "smoke", "--store", str(tmp_path / "store"))
    counts = json.loads(called(capsys, *words, "--json")[1])
    others = counts["to_run"]["data_and_starts"]
    named = [stage["name"].partition("-")[0] for stage in counts["stages_to_run"]]
    assert others == sum(kind in ("scenes", "start", "pretrain") for kind in named) > 0
    assert counts["to_run"]["stages"] == counts["stages"]["shared"] + others
    assert f"({counts['stages']['shared']} of the shared, {others} data and starts)" in called(capsys, *words)[1]


def test_words_for_many_tables_head_a_plan_instead_of_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = called(capsys, "plan", "all", "rivals", "--profile", "smoke", "--store", str(tmp_path / "store"))
    assert out.startswith("all (10 tables), rivals: ") and "table1" not in out
    _, out, _ = called(capsys, "plan", "table4", "table2", "--profile", "smoke", "--store", str(tmp_path / "store"))
    assert out.startswith("table4, table2: ")


def test_one_value_is_set_in_every_chain_that_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stages(*words: str) -> dict[str, Any]:
        _, out, _ = called(capsys, "plan", "table4", "--profile", "smoke", "--store", str(tmp_path), "--json", *words)
        return {s["name"]: s for s in json.loads(out)["stages_to_run"]}

    plain, changed = stages(), stages("--set", "delta=0.4")
    same = {kind for name in plain.keys() & changed.keys() if (kind := plain[name]["kind"])}
    assert {"labeler", "pseudolabel"} <= same and not {"warmup", "finetune", "evaluate"} & same
    assert stages("--set", "warmup.threshold=0.3") == plain, "the profile's own"
    both, other = stages("--set", "delta=0.4", "--set", "warmup.seed=7"), stages("--set", "warmup.seed=7")
    warmups = [{n for n in found if n.startswith("warmup")} for found in (plain, changed, other, both)]
    assert all(one and not one & warmups[3] for one in warmups[:3]), "the second value takes nothing from the first"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("delta=4", "probability in [0, 1]"),
        ("warmup.thresold=0.4", "did you mean 'threshold'"),
        ("delta=much", "takes a number"),
        ("labeler.model=x", "labeler.model is not set: it holds neither numbers nor names"),
        ("pretrain.before=x", "pretrain.before is not set: it holds neither numbers nor names"),
        ("delta", "--set takes PATH=VALUE, such as warmup.threshold=0.4; got 'delta', without"),
        ("delta=../x", "--set takes PATH=VALUE"),
        ("delta=0.4 delta=0.5", "--set gives delta twice: 0.4 and 0.5"),
        ("delta=0.4 warmup.thresold=0.5", "did you mean 'threshold'"),
    ],
)
def test_a_value_that_cannot_be_set_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str, message: str
) -> None:
    words = [word for one in value.split(" ") for word in ("--set", one)]
    code, _, err = called(capsys, "plan", "table4", "--store", str(tmp_path), *words)
    assert code == 2 and message in err


def test_plan_multiplies_by_seeds_and_shares_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = called(capsys, "plan", "table4", "--seeds", "3", "--store", str(tmp_path), "--json")
    counts = json.loads(out)
    assert (counts["cells"], counts["stages"]["unique"]) == (75, 171)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "tabel4"], "did you mean 'table4'"),
        (["plan", "table4", "--profile", "smoek"], "did you mean 'smoke'"),
        (["plan", "table4", "--seeds", "0"], "--seeds (make: SEEDS=) must be at least 1"),
        (["plan", "table4", "--seeds", "1000000"], "--seeds (make: SEEDS=) must be at most 1,000, got 1000000"),
        (["plan", "table4", "--rate", "1e-320"], "--rate is a number of iterations a second above 0"),
        (["run", "table10", "--profile", "smoke", "--jobs", "100000000"], "--jobs must be at most 10,000"),
        (
            ["run", "table10", "--profile", "smoke", "--time-limit", "30"],
            "--time-limit is a time such as 3h, 45m or 90s, got '30'",
        ),
        (
            ["run", "table10", "--profile", "smoke", "--time-limit", "99999d"],
            "--time-limit is at most 10000d, got 99999d",
        ),
        (["run", "table10", "--profile", "smoke", "--loaders", "-1"], "--loaders must be at least 0, got -1"),
        (["tune", "--profile", "smoke", "--loaders", "-1"], "--loaders must be at least 0, got -1"),
        (["run", "table10", "--profile", "smoke", "--budget", "3h"], "--budget goes with --until alone"),
        (["run", "table10", "--profile", "smoke", "--most", "3"], "--most goes with --until alone"),
        (["run", "claims", "--profile", "smoke"], "claims goes with --until alone"),
        (["run", "claims", "--until", "decded"], "--until takes the word 'decided', got 'decded'"),
        (["run", "claims", "--until", "decided"], "--until needs a time after which no seed is begun"),
        (["plan", "./nope.py"], "no such file: nope.py; files of Python in its folder: none"),
        (["plan", "table4", "--data", "photo.png"], "photo.png is a file; a data set is a folder"),
        (["plan", "table4", "--data", "theer"], "theer: no such folder"),
        (["plan", "table4", "--data", "theer"], "did you mean 'there'"),
        (["data", "check", "nowhere/set"], "nowhere/set: no such folder"),
        (["data", "check", "photo.png"], "photo.png is a file"),
        (["data", "split", "photo.png", "--out", "set"], "photo.png is a file"),
        (["plan", "table4", "--rate", "0"], "--rate is a number of iterations a second above 0, 1e-06 at least; got 0"),
        (["plan", "table4", "--rate", "nan"], "at least; got nan"),
        (["plan", "table4", "--jobs", "-1"], "--jobs must not be negative"),
        (["run", "table4", "--profile", "paper"], "stands for data that is not here"),
        (["run", "table4", "--profile", "smoke", "--launcher", "lokal"], "did you mean 'local'"),
        (["score", "--gt", "g", "--dt", "d", "--metric", "ap_dat"], "did you mean 'ap_det'"),
        (["score", "--gt", "g", "--dt", "d", "--metric", "linear_probe"], "judges features of a backbone"),
        (["score", "--gt", "g", "--dt", "d", "--metric", "miou"], "judges maps of stuff"),
        (["predict", ".", "--model", "m", "--size", "0"], "from 32 to 4096 px, got 0"),
        (["label", ".", "--model", "m", "--size", "-5"], "from 32 to 4096 px, got -5"),
        (["convert", "m", "--to", "onnx", "--size", "100000"], "from 32 to 4096 px, got 100000"),
        (["show", "warmup-123", "--store", "there"], "no stage 'warmup-123' among the 0 of there"),
        (
            ["report", "table10", "--profile", "smoke", "--store", "there", "--port", "99999"],
            "--port is a number from 1 to 65535, got 99999",
        ),
        (["predict", ".", "--model", "photo.png"], "photo.png is no finished stage and no model: its folder lacks"),
        (["predict", ".", "--model", "photo.jpg"], "no model photo.jpg: no such file"),
    ],
)
def test_a_wrong_command_is_explained_without_a_traceback(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_text("")
    Store(tmp_path / "there")
    code, _, err = called(capsys, *arguments)
    assert code == 2
    assert message in err and "Traceback" not in err


@pytest.mark.parametrize(
    "command",
    [
        ["ui"],
        ["sync", "table4", "--profile", "smoke"],
        ["show", "warmup-1"],
        ["predict", ".", "--model", "finetune-1"],
        ["label", ".", "--model", "finetune-1"],
        ["convert", "finetune-1", "--to", "onnx"],
        ["convert", "finetune-1", "--to", "detectron2"],
        ["convert", "pseudolabel-1", "--to", "coco"],
        ["store", "ls"],
        ["store", "explain", "warmup-1"],
        ["store", "verify"],
        ["store", "gc"],
        ["store", "export", "warmup-1", "-o", "a.tar"],
    ],
    ids=" ".join,
)
def test_what_looks_at_a_store_that_is_not_there_says_so_and_makes_none(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_text("")
    Store(tmp_path / "results")
    code, _, err = called(capsys, *command, "--store", "resluts")
    assert code == 2 and "no store at resluts: that folder does not exist" in err and "did you mean 'results'" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "results"]
    assert "that folder holds none" in called(capsys, *command, "--store", ".")[2]


def test_a_data_set_that_is_not_there_is_an_error_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = called(
        capsys, "run", "table4", "--data", str(tmp_path / "nowhere"), "--store", str(tmp_path / "store")
    )
    assert code == 2 and "nowhere" in err


def test_a_made_data_set_passes_the_check_and_can_be_planned_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "set")
    sizes = ["--labeled", "4", "--unlabeled", "5", "--val", "3"]
    assert called(capsys, "data", "scenes", folder, *sizes)[0] == 0
    code, out, _ = called(capsys, "data", "check", folder, "--json")
    report = json.loads(out)
    assert code == 0 and report["ok"] and report["errors"] == []
    store = str(tmp_path / "store")
    code, out, err = called(capsys, "plan", "table4", "--data", folder, "--store", store, "--json")
    assert (code, json.loads(out)["data"]) == (0, "set")
    assert "5 unlabeled (images)" in err
    assert [path.name for path in tmp_path.iterdir()] == ["set"], "planning makes no store"


def test_a_damaged_data_set_is_refused_and_every_problem_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    called(capsys, "data", "scenes", str(folder), "--labeled", "4", "--unlabeled", "5", "--val", "3")
    path = folder / "annotations" / "instances_labeled.json"
    data = json.loads(path.read_text())
    data["annotations"][0]["id"] = 0
    path.write_text(json.dumps(data))
    image = min((folder / "images").glob("val*"))
    image.write_bytes(image.read_bytes()[:100])
    code, _, err = called(capsys, "plan", "table4", "--data", str(folder), "--store", str(tmp_path / "store"))
    assert code == 2
    assert image.name in err or "instances_labeled.json" in err
    code, out, _ = called(capsys, "data", "check", str(folder), "--json")
    errors = "\n".join(json.loads(out)["errors"])
    assert code == 1 and image.name in errors and "instances_labeled.json" in errors


def test_score_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = [4.0, 4.0, 10.0, 10.0]
    truth = {
        "images": [{"id": 1, "width": 32, "height": 32, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "disc"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": box, "area": 100.0, "iscrowd": 0}],
    }
    (tmp_path / "g.json").write_text(json.dumps(truth))
    (tmp_path / "d.json").write_text(json.dumps([{"image_id": 1, "category_id": 3, "bbox": box, "score": 0.9}]))
    files = ["--gt", str(tmp_path / "g.json"), "--dt", str(tmp_path / "d.json")]
    code, out, _ = called(capsys, "score", *files, "--metric", "ap_det")
    result = json.loads(out)
    assert code == 0
    assert (result["metric"], result["unit"]) == ("ap_det", "percent")
    assert result["AP"] == pytest.approx(100.0) and result["APl"] == -1


def test_report_before_any_run_has_25_cells_that_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(tmp_path / "store")
    places = ["--store", str(tmp_path / "store"), "--reports", str(tmp_path / "reports")]
    code, _, said = called(capsys, "report", "table4", "--profile", "smoke", *places)
    table = json.loads((tmp_path / "reports" / "smoke" / "table4.json").read_text())
    assert code == 1
    assert "nothing of table4 is measured: 25 not run. The pages say why" in said
    assert shlex.split(said.splitlines()[1]) == ["casl", "run", "table4", "--profile", "smoke", *places[:2]]
    assert len(table["cells"]) == 25
    assert {c["status"] for c in table["cells"]} == {"not run"}
    assert {c["value"] for c in table["cells"]} == {None}
    assert [c["paper"] for c in table["cells"]][:2] == [45.3, 46.3]
    for suffix in ("md", "csv", "json", "tex", "html", "png", "svg"):
        assert (tmp_path / "reports" / "smoke" / f"table4.{suffix}").stat().st_size > 0
