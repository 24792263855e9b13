"""`casl data check` and planning agree: on what they refuse, and on what they warn of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from casl.cli import main
from casl.cli.data import _is_whole
from casl.data.scenes import write_scene_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scene_set(tmp_path / "set", 4, 4, 2, 64, 0)
    return tmp_path / "set"


def checked(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Any]:
    code = main(["data", "check", str(folder), "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def planned(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    store = str(folder.parent / "store")
    code = main(["plan", "table4", "--profile", "smoke", "--data", str(folder), "--store", store, *options])
    return code, capsys.readouterr().err


def test_tables_that_run_and_tables_that_cannot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "annotations").glob("person_keypoints_*"):
        path.unlink()
    code, said = checked(folder, capsys)
    assert (code, said["ok"]) == (0, True)
    assert said["tables"]["table4"] == "runs, 25 of 25 cells"
    assert "not measured: set has no keypoints" in said["tables"]["table10"]
    assert planned(folder, capsys)[0] == 0


def test_people_read_what_is_wrong_first_and_no_list_of_all_tables(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "images" / "left_over.png").write_bytes(b"")
    said = checked(folder, capsys)[1]
    assert main(["data", "check", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(said["warnings"])] == [f"warning: {line}" for line in said["warnings"]]
    assert f"labeled: 4 images, {said['counts']['labeled']['annotations']} objects (" in "\n".join(lines)
    whole = [name for name, words in said["tables"].items() if words == "runs, 25 of 25 cells"]
    assert "table4" in whole and not any("table4" in line.split(": ", 1)[-1].split(", ") for line in lines)
    assert any(line.startswith("  in part: ") and "table8" in line for line in lines)
    assert lines[-1].startswith(f"{folder} is sound, {len(said['warnings'])} warnings above") and len(lines) < 20
    (folder / "annotations" / "instances_val.json").write_text("{")
    assert main(["data", "check", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("error: ") and lines[-1] == f"{folder} cannot be used: 1 error"


@pytest.mark.parametrize("split", ["labeled", "unlabeled", "val"])
def test_what_planning_refuses_the_check_refuses(folder: Path, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "annotations").glob(f"*_{split}.json" if split != "unlabeled" else "unlabeled.json"):
        path.unlink()
    for path in (folder / "annotations").glob("*unlabeled_gt*.json"):
        path.unlink()
    code, said = checked(folder, capsys)
    assert (code, said["ok"]) == (1, False) and "tables" not in said
    code, refused = planned(folder, capsys)
    assert code == 2
    assert said["errors"][-1] in refused


def test_warnings_of_the_check_reach_planning_each_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "images" / "left_over.png").write_bytes(b"")
    _, said = checked(folder, capsys, "--profile", "smoke")
    assert "images/: 1 image files are in no list and are not used: left_over.png" in said["warnings"]
    for _ in range(2):
        code, printed = planned(folder, capsys)
        assert (code, printed) == (0, "".join(f"warning: {line}\n" for line in said["warnings"]))


def test_crowds_are_objects_where_that_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("labeled", "val"):
        path = folder / "annotations" / f"instances_{name}.json"
        data = json.loads(path.read_text())
        for record in data["annotations"]:
            record["iscrowd"] = 1
        path.write_text(json.dumps(data))
    code, said = checked(folder, capsys)
    assert code == 1 and all("--crowds-are-objects" in error for error in said["errors"])
    assert planned(folder, capsys)[0] == 2
    assert checked(folder, capsys, "--crowds-are-objects")[0] == 0
    assert planned(folder, capsys, "--crowds-are-objects")[0] == 0


def test_crowds_are_objects_of_data_on_disk_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "table4", "--store", str(tmp_path), "--crowds-are-objects"]) == 2
    assert "name one with --data" in capsys.readouterr().err


def test_objects_that_no_location_sees_are_counted_at_the_size(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = {}
    for size in ("32", "256"):
        _, said = checked(folder, capsys, "--size", size)
        assert said["detector"]["size_px"] == int(size)
        shares[size] = said["detector"]["val"]["share_without_location"]
        assert (shares[size] > 0.1) is any("of the objects in val have no location" in w for w in said["warnings"])
    assert shares["32"] > shares["256"]


@pytest.mark.parametrize(
    ("said", "whole"),
    [("runs, 1 of 1 cell", True), ("runs, 12 of 12 cells", True), ("runs, 1 of 12 cells; not measured: x", False)],
)
def test_a_table_runs_whole_where_all_of_its_cells_do(said: str, whole: bool) -> None:
    assert _is_whole(said) == whole
