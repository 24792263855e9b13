"""The tutorials work as they are told: every command in the order of the page, in a profile of milliseconds."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, commands
from tests.outside.folder import casl, package, write

FILE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NO_MLFLOW = ("--mlflow", "http://127.0.0.1:9")  # none answers there
FURTHER = {  # what costs minutes and is another test's matter: MLflow, and processes that import torch for each stage
    "run": (*NO_MLFLOW, "--launcher", "inline"),
    "report": NO_MLFLOW,
    "reproduce": NO_MLFLOW,
}


def small(text: str) -> str:
    return text.replace("--profile smoke", "--profile nano").replace("reports/smoke", "reports/nano")


def done(page: str, folder: Path, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """Type the commands of casl on a page, but those that begin with `leave_out`; returns what each printed."""
    site = package(folder / "site", 'ROWS = {"profile": {"nano": "tests.runner.stores:NANO"}}\n', name="small")
    printed = {}
    for command in commands(ROOT / "docs" / page):
        if command.startswith("casl") and not command.startswith(leave_out or ("-",)):
            words = shlex.split(small(command))[1:]
            printed[command] = casl(folder, *words, *FURTHER.get(words[0], ()), path=(site,))
    return printed


def files(page: str) -> dict[str, str]:
    return dict(FILE.findall((ROOT / "docs" / page).read_text()))


def test_the_plan_that_the_first_tutorial_shows_is_that_of_the_planner(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "first-ablation.md").read_text()
    write(tmp_path, files("first-ablation.md"))
    (shown,) = re.findall(r"^```\n(first: .*?)^```", text, re.MULTILINE | re.DOTALL)
    assert casl(tmp_path, "plan", "./first.py", "--profile", "smoke").startswith(shown)


def test_the_plan_that_the_manual_shows_is_that_of_the_planner(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "usage.md").read_text()
    (shown,) = re.findall(r"^```\n(table4: .*?)^```", text, re.MULTILINE | re.DOTALL)
    assert casl(tmp_path, "plan", "table4").startswith(shown)


@pytest.mark.slow
def test_the_first_ablation_works_as_it_is_told(tmp_path: Path) -> None:
    write(tmp_path, files("first-ablation.md"))
    printed = done("first-ablation.md", tmp_path)
    assert "to run       3 stages" in printed["casl plan ./second.py --profile smoke --why"]
    table = json.loads((tmp_path / "reports" / "nano" / "second.json").read_bytes())
    assert table["seeds"] == 2 and [cell["status"] for cell in table["cells"]] == ["done"] * 6
    stage = table["cells"][0]["name"]
    assert stage in casl(tmp_path, "show", stage)


@pytest.mark.long
def test_the_evening_works_as_it_is_told(tmp_path: Path) -> None:
    done("evening.md", tmp_path, leave_out=("casl predict", "casl plan table2 --data"))
    folder = tmp_path / "reports" / "nano-set-size64"
    table = json.loads((folder / "table2.json").read_bytes())
    assert table["data"] == "set" and any(cell["status"] == "done" for cell in table["cells"])
    assert (folder / "classes-table2.md").is_file() and (folder / "table2.tex").is_file()
