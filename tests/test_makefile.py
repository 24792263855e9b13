"""The Makefile, with stand-ins for Python and casl that write down how they were called."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from casl.report.wording import commands as commands_of
from tests.report.sample import tabled

ROOT = Path(__file__).resolve().parents[1]
# Python as far as the set-up needs it: `-m venv` makes an environment without pip first, as the real one does.
PYTHON = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
"-m venv "*)
    mkdir -p "$3/bin"; cp "$0" "$3/bin/python"
    [ -z "$KILLED" ] || exit 137
    touch "$3/bin/pip" ;;
"-m ensurepip "*) touch "$here/pip" ;;
"-m pip --version"*) [ -e "$here/pip" ] || { echo "No module named pip" >&2; exit 1; } ;;
"-m pip install "*)
    [ -e "$here/pip" ] || { echo "No module named pip" >&2; exit 1; }
    printf '#!/bin/sh\\nprintf "%%s\\\\n" "$@" . >> called\\n' > "$here/casl"; chmod +x "$here/casl" ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder, with a space in its path, that has a Makefile and a stand-in for Python."""
    folder = tmp_path / "a project"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "python").write_text(PYTHON)
    (folder / "python").chmod(0o755)
    return folder


def make(project: Path, *words: str, **around: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "PYTHON=./python", *words]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=project, env={**clean, **around}, capture_output=True, text=True)


def calls(project: Path) -> list[list[str]]:
    """The words of every call of casl."""
    words = (project / "called").read_text().split("\n.\n")
    return [call.split("\n") for call in words if call]


def test_values_with_spaces_and_semicolons_are_words_and_no_commands(project: Path) -> None:
    odd = {"DATA": "my set; touch broken & 'x'", "STORE": "a store", "REPORTS": 'all "reports"', "SIZE": "96"}
    done = make(project, "table4", "PROFILE=smoke", *(f"{name}={value}" for name, value in odd.items()))
    assert done.returncode == 0, done.stderr
    common = ["--profile", "smoke", "--seeds", "1", "--store", odd["STORE"], "--data", odd["DATA"], "--size", "96"]
    assert calls(project) == [
        ["run", "table4", *common],
        ["report", "table4", *common, "--reports", odd["REPORTS"], "--port", "5000"],
    ]
    assert not (project / "broken").exists()


def test_variables_may_come_from_the_environment_and_those_not_given_are_no_options(project: Path) -> None:
    assert make(project, "doctor", STORE="of the shell").returncode == 0
    assert make(project, "ui", "PORT=5001").returncode == 0
    assert calls(project) == [["doctor", "--store", "of the shell"], ["ui", "--store", "store", "--port", "5001"]]


def test_links_in_reports_follow_the_port_and_the_papers_numbers_come_back(project: Path) -> None:
    assert make(project, "table4", "PORT=5001", "PAPER=yes").returncode == 0
    assert calls(project)[1][-5:] == ["--reports", "reports", "--port", "5001", "--paper"]


def test_one_command_publishes_and_no_other_does(project: Path) -> None:
    for target in ("table4", "tables", "reasons", "search"):
        assert make(project, target).returncode == 0
    assert not any("--publish" in call for call in calls(project))
    (project / "called").unlink()
    assert make(project, "publish", "SEEDS=3").returncode == 0
    assert [call[:2] for call in calls(project)] == [["report", "all"], ["report", "reasons"]]
    assert all(call[-1] == "--publish" and "3" in call for call in calls(project))


def test_a_set_up_that_was_killed_is_made_anew(project: Path) -> None:
    assert make(project, "setup", KILLED="yes").returncode != 0
    done = make(project, "setup")
    assert done.returncode == 0, done.stderr
    assert (project / ".venv/.ready").exists() and not (project / ".venv/.making").exists()
    assert not (project / ".venv.left").exists()


def test_an_environment_without_pip_gets_it_and_loses_nothing(project: Path) -> None:
    folder = project / ".venv/bin"
    folder.mkdir(parents=True)
    shutil.copy(project / "python", folder / "python")
    (folder / "mine").write_text("")
    done = make(project, "setup")
    assert done.returncode == 0, done.stderr
    assert (folder / "mine").exists()


def test_the_commands_under_a_report_are_what_a_shell_needs() -> None:
    name = "my set & more"
    made = replace(tabled("table4", {("a row", "b", "ap_det", "AP"): ([1.0], None)}), data=name, folder=f"smoke-{name}")
    commands = [command for _, command in commands_of(made)]
    assert "DATA=path/to/my set & more" in shlex.split(commands[0])
    assert f"reports/smoke-{name}/table4.json" in shlex.split(commands[1])
    assert shlex.split(commands[1])[-2:] == ["--data", "path/to/my set & more"]
