"""Data sets whose folders have one name: each has reports, an experiment and models of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from casl.cli import main, parser
from casl.cli.study import open_study
from casl.runner.store import Store


@pytest.fixture
def coins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders a/coins and b/coins, which differ in one box of val."""
    monkeypatch.chdir(tmp_path)
    assert main(["data", "scenes", "a/coins", "--labeled", "2", "--unlabeled", "2", "--val", "2"]) == 0
    shutil.copytree("a", "b")
    correct(tmp_path / "b/coins", 3)
    return tmp_path


def correct(root: Path, height: float) -> None:
    """Another height for the first box of val."""
    path = root / "annotations/instances_val.json"
    data = json.loads(path.read_text())
    data["annotations"][0]["bbox"][3] = height
    path.write_text(json.dumps(data))


def report(root: str, *more: str) -> int:
    """The exit code: 1, since nothing is measured, or 2."""
    if not Path("S").exists():
        Store(Path("S"))
    asked = ["report", "table10", "--profile", "smoke", "--data", root, "--store", "S", "--reports", "R"]
    return main([*asked, *more])


def experiment(root: str) -> str:
    return open_study(parser().parse_args(["plan", "table10", "--data", root, "--store", "S"])).experiment


def reported(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / "data.json").read_text())
    return found


def test_two_sets_of_one_name_share_neither_reports_nor_an_experiment(
    coins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report("a/coins") == report("b/coins") == 1
    assert f"another set called coins is known here, {coins / 'a/coins'}" in capsys.readouterr().out
    first, second = sorted(path.name for path in (coins / "R").iterdir())
    digest = reported(coins / "R" / second)["content"]
    assert (first, second) == ("smoke-coins", f"smoke-coins-{digest[:8]}")
    assert reported(coins / "R" / first)["content"] != digest
    assert json.loads((coins / "R" / second / "table10.json").read_text())["data"] == f"coins-{digest[:8]}"
    assert experiment("a/coins") == "casl mini coins"
    assert experiment("b/coins") == f"casl mini coins-{digest[:8]}"


def test_a_set_that_is_corrected_in_place_keeps_its_name(coins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report("a/coins") == 1
    correct(coins / "a/coins", 4)
    assert report("a/coins") == 1
    assert "coins is not as it was" in capsys.readouterr().out
    assert [path.name for path in (coins / "R").iterdir()] == ["smoke-coins"]


def test_a_set_that_moved_keeps_its_name(coins: Path) -> None:
    assert report("a/coins") == 1
    (coins / "c").mkdir()
    shutil.move("a/coins", "c/coins")
    assert experiment("c/coins") == "casl mini coins"


def test_reports_of_another_store_and_set_are_not_overwritten(coins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report("a/coins") == 1
    held = reported(coins / "R/smoke-coins")["content"]
    Store(coins / "other")
    assert report("b/coins", "--store", "other") == 2
    said = capsys.readouterr().err
    assert held[:8] in said and "--reports" in said
    assert reported(coins / "R/smoke-coins")["content"] == held


def test_a_store_that_can_only_be_read_still_has_reports(coins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert report("a/coins") == 1
    (coins / "S/sets.json").unlink()
    monkeypatch.setattr("casl.study.places.os.access", lambda *_: False)
    assert report("a/coins") == 1
    assert not (coins / "S/sets.json").exists()
