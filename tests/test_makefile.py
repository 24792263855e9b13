"""The Makefile, with stand-ins for Python and casl that write down how they were called."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from casl import catalog
from casl.report.commands import Where
from casl.report.commands import commands as commands_of
from tests.report.sample import Numbers, Spot, tabled

ROOT = Path(__file__).resolve().parents[1]
# Python as far as the set-up needs it: `-m venv` makes an environment without pip first, as the real one does, and pip
# writes the files of a package, then its list of them. At the point that $KILLED names, all of `make` is killed.
PYTHON = """#!/bin/sh
here=$(dirname "$0")
at() { if [ "$KILLED" = "$1" ]; then kill -9 0; fi; }
case "$*" in
"-m venv "*)
    at "before anything"
    mkdir -p "$3/bin"; at "without python"
    cp "$0" "$3/bin/python"; at "without pip"
    touch "$3/bin/pip.half"; at "with half of pip"
    rm "$3/bin/pip.half"; touch "$3/bin/pip"; at "before it is said to be whole" ;;
"-m ensurepip "*) touch "$here/pip" ;;
"-m pip --version"*)
    at "before pip"
    [ -e "$here/pip" ] || { echo "No module named pip" >&2; exit 1; } ;;
"-m pip install "*)
    [ -e "$here/pip" ] && [ ! -e "$here/pip.half" ] || { echo "No module named pip" >&2; exit 1; }
    package="$here/../lib/python3.11/site-packages/casl-1.dist-info"
    if ! [ -e "$package" ]; then
        mkdir -p "$package"; at "inside a package"
        echo "casl-1.dist-info/RECORD,," > "$package/RECORD"; at "before scripts"
        printf '#!/bin/sh\\nprintf "%%s\\\\n" "$@" . >> called\\n' > "$here/casl"; chmod +x "$here/casl"
        echo "casl-1.dist-info/INSTALLER,," >> "$package/RECORD"; at "after a package"
    fi ;;
esac
"""
POINTS = (
    *("before anything", "without python", "without pip", "with half of pip", "before it is said to be whole"),
    *("before pip", "inside a package", "before scripts", "after a package"),
)


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
    around = {**clean, **around}
    return subprocess.run(command, cwd=project, env=around, capture_output=True, text=True, start_new_session=True)


def calls(project: Path) -> list[list[str]]:
    """The words of every call of casl."""
    words = (project / "called").read_text().split("\n.\n")
    return [call.split("\n") for call in words if call]


def test_a_disk_without_room_is_told_before_anything_is_installed(project: Path, tmp_path: Path) -> None:
    around = tmp_path / "around"
    around.mkdir()
    (around / "sitecustomize.py").write_text(
        "import collections, os, shutil\n"
        "usage = collections.namedtuple('usage', 'total used free')\n"
        "shutil.disk_usage = lambda place: usage(10**11, 0, int(os.environ['FREE']))\n"
    )
    real = shlex.quote(sys.executable)
    stand_in = PYTHON.replace("#!/bin/sh\n", f'#!/bin/sh\n[ "$1" = -c ] && exec {real} "$@"\n')
    (project / "python").write_text(stand_in)
    full = make(project, "setup", PYTHONPATH=str(around), FREE="8_000_000_000")
    assert full.returncode != 0
    assert (
        f"takes about 10 GB, of which 7 stay; {project} has 8.0 GB free: free some, or clone onto another disk"
        in full.stderr
    )
    assert not (project / ".venv").exists()
    half = project / ".venv/lib/half of torch"
    half.parent.mkdir(parents=True)
    with half.open("wb") as file:
        file.truncate(3_000_000_000)
    less = make(project, "setup", PYTHONPATH=str(around), FREE="4_000_000_000")
    assert "has 4.0 GB free and 3.0 GB in .venv" in less.stderr and half.exists()
    assert make(project, "setup", PYTHONPATH=str(around), FREE="7_500_000_000").returncode == 0
    os.utime(project / "pyproject.toml", (time.time() + 10,) * 2)
    again = make(project, "setup", PYTHONPATH=str(around), FREE="100_000_000")
    assert again.returncode == 0 and "setting up" in again.stdout, "a whole one takes little"


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


def test_several_values_to_set_are_as_many_options(project: Path) -> None:
    assert make(project, "table4", "SET=delta=0.4 warmup.seed=7").returncode == 0
    assert calls(project)[0][-4:] == ["--set", "delta=0.4", "--set", "warmup.seed=7"]


def test_variables_may_come_from_the_environment_and_those_not_given_are_no_options(project: Path) -> None:
    assert make(project, "doctor", STORE="of the shell").returncode == 0
    assert make(project, "ui", "PORT=5001").returncode == 0
    assert calls(project) == [["doctor", "--store", "of the shell"], ["ui", "--store", "store", "--port", "5001"]]


def test_links_in_reports_follow_the_port_and_the_papers_numbers_come_back(project: Path) -> None:
    assert make(project, "table4", "PORT=5001", "PAPER=yes").returncode == 0
    assert calls(project)[1][-5:] == ["--reports", "reports", "--port", "5001", "--paper"]


@pytest.mark.parametrize(
    ("run", "report", "verbs", "code"),
    [(0, 0, 2, 0), (1, 0, 2, 1), (1, 1, 2, 1), (0, 1, 2, 1), (2, 0, 1, 2), (130, 0, 1, 130)],
)
def test_after_failed_stages_the_pages_are_written_and_the_failure_stays_one(
    project: Path, run: int, report: int, verbs: int, code: int
) -> None:
    """A report on nothing measured fails too; after a run that was stopped or not begun there is none."""
    assert make(project, "setup").returncode == 0
    casl = project / ".venv/bin/casl"
    casl.write_text(casl.read_text() + f'case "$1" in run) exit {run};; report) exit {report};; esac\n')
    done = make(project, "table4")
    assert (len(calls(project)), done.returncode != 0) == (verbs, code != 0)
    assert code == 0 or f"Error {code}" in done.stderr


def test_help_lists_every_target_that_says_what_it_does(project: Path) -> None:
    described = re.findall(r"^([^\s:]+):.*## ", (project / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^make (\S+)", make(project, "help").stdout, re.MULTILINE)
    assert "held_out" in described and set(described) <= set(listed)


def test_help_names_every_profile(project: Path) -> None:
    (named,) = re.findall(r"PROFILE=(\S+)", make(project, "help").stdout.partition("variables:")[2].partition("\n")[0])
    own = {name for name, target in catalog.PROFILES.items() if target.startswith("ablations.")}  # tests add others
    assert set(named.split("|")) == own and "photos" in own


def test_one_command_publishes_and_no_other_does(project: Path) -> None:
    for target in ("table4", "tables", "reasons", "search"):
        assert make(project, target).returncode == 0
    assert not any("--publish" in call for call in calls(project))
    (project / "called").unlink()
    assert make(project, "publish", "SEEDS=3").returncode == 0
    assert [call[:2] for call in calls(project)] == [["report", "all"], ["report", "reasons"]]
    assert all(call[-1] == "--publish" and "3" in call for call in calls(project))


@pytest.mark.parametrize("point", POINTS)
def test_a_set_up_that_was_killed_is_mended_by_the_next(project: Path, point: str) -> None:
    if point == "before pip":  # asked of an environment only that is there already
        assert make(project, "setup", KILLED="after a package").returncode == -signal.SIGKILL
    assert make(project, "setup", KILLED=point).returncode == -signal.SIGKILL
    assert not (project / ".venv/.ready").exists()
    done = make(project, "doctor")
    assert done.returncode == 0, done.stderr
    assert calls(project) == [["doctor", "--store", "store"]]
    assert (project / ".venv/.ready").exists() and not (project / ".venv/.making").exists()
    assert not (project / ".venv.left").exists()


def test_a_set_up_that_was_killed_while_it_mended_is_mended_by_the_next(project: Path) -> None:
    (project / ".venv.left/lib").mkdir(parents=True)
    for folder in (".venv", ".venv/bin"):  # made, and not yet said to be in the making; then without Python
        (project / folder).mkdir()
        assert make(project, "setup", KILLED="without python").returncode == -signal.SIGKILL
        assert not (project / ".venv.left").exists()
        shutil.rmtree(project / ".venv/bin")
        (project / ".venv/.making").unlink()
    assert make(project, "setup").returncode == 0


def test_packages_that_are_whole_are_left_as_they_are(project: Path) -> None:
    assert make(project, "setup").returncode == 0
    (project / ".venv/.ready").unlink()
    record = next((project / ".venv").rglob("RECORD"))
    before = record.stat().st_mtime_ns
    assert make(project, "setup").returncode == 0
    assert record.stat().st_mtime_ns == before


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


def test_a_table_that_no_target_makes_has_the_commands_of_casl() -> None:
    spots: dict[Spot, Numbers] = {("a", "b", "ap_det", "AP"): ([1.0, 2.0], None)}
    where = Where("my store", "elsewhere")
    (_, whole), (_, one) = commands_of(replace(tabled("pre_4_3", spots), data="scenes", folder="mini"), where)
    run, _, report = whole.partition(" && ")
    study = ["pre_4_3", "--profile", "mini", "--seeds", "2", "--store", "my store"]
    assert shlex.split(run) == [".venv/bin/casl", "run", *study]
    assert shlex.split(report) == [".venv/bin/casl", "report", *study, "--reports", "elsewhere"]
    assert shlex.split(one)[2] == "elsewhere/mini/pre_4_3.json" and shlex.split(one)[-2:] == ["--store", "my store"]
    (_, made), _ = commands_of(replace(tabled("table4", spots), data="scenes"), where)
    assert shlex.split(made) == ["make", "table4", "PROFILE=mini", "SEEDS=2", "STORE=my store", "REPORTS=elsewhere"]
