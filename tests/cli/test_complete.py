"""What a shell offers at the TAB key, asked through the shell's own script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from casl import catalog
from casl.cli import main

pytest.importorskip("argcomplete", reason="completion needs argcomplete")

# as the shell would at TAB: the function that the script registered, with the line as typed
BASH = """
eval "$(casl complete bash)"
registered=$(complete -p casl)
function_of=${registered##*-F }
COMP_LINE="$LINE" COMP_POINT=${#LINE} COMP_WORDBREAKS=$' \\t\\n"' COMP_TYPE=9
${function_of% casl} casl
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "casl complete fish | source; complete --do-complete $LINE"
ZSH = """
compdef() { registered=$1 }
_describe() { print -l -- ${(P)2} }
eval "$(casl complete zsh)"
BUFFER=$LINE CURSOR=${#LINE} words=(${=LINE})
$registered
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the command `casl`, as pip would have made it."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "casl"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m casl "$@"\n')
    command.chmod(0o755)
    return folder


def offered(shell: str, script: str, line: str, tools: Path, folder: Path) -> set[str]:
    """Words that a shell would offer behind a line, without the spaces and descriptions that it adds."""
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": root, "LINE": line}
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
    return {word.partition("\t")[0].partition(":")[0].strip() for word in done.stdout.splitlines() if word.strip()}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("casl ru", {"run"}),
        ("casl run tabl", {n for n in catalog.ABLATIONS if n.startswith("tabl")}),
        ("casl run table4 --profile ", set(catalog.PROFILES)),
        ("casl run table4 --profile sm", {"smoke"}),
        ("casl data ch", {"check"}),
        ("casl score --metric ap_s", {"ap_seg", "ap_seg_a"}),
        ("casl complete z", {"zsh"}),
    ],
)
def test_bash_offers_verbs_tables_and_names(line: str, expected: set[str], tools: Path, tmp_path: Path) -> None:
    assert offered("bash", BASH, line, tools, tmp_path) == expected


def test_stages_of_the_store_on_the_line_are_offered(tools: Path, tmp_path: Path) -> None:
    for name in ("warmup-48a4", "warmup-9c01", "labeler-77aa"):
        (tmp_path / "elsewhere" / "stages" / name).mkdir(parents=True)
    line = "casl show --store elsewhere warm"
    assert offered("bash", BASH, line, tools, tmp_path) == {"warmup-48a4", "warmup-9c01"}


@pytest.mark.parametrize(("shell", "script"), [("fish", FISH), ("zsh", ZSH)])
def test_other_shells_offer_the_same(shell: str, script: str, tools: Path, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert offered(shell, script, "casl ru", tools, tmp_path) == {"run"}
    assert offered(shell, script, "casl run table4 --profile sm", tools, tmp_path) == {"smoke"}


def test_an_unknown_shell_is_an_error_that_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complete", "bsh"]) == 2
    assert "did you mean 'bash'" in capsys.readouterr().err
