"""How commands end: one sentence and an exit code of docs/cli.md, whatever goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from casl.cli import main, parser
from casl.cli.boundary import bounded
from casl.cli.reference import verbs_of
from casl.errors import SpecError
from casl.runner.store import Store

LONG = "x" * 600
TABLE = ["table10", "--profile", "smoke", "--store", "S"]
# of every verb: a command whose path is longer than a file system takes
TOO_LONG = {
    "casl plan": ["plan", *TABLE, "--data", LONG],
    "casl run": ["run", *TABLE, "--data", LONG],
    "casl sync": ["sync", *TABLE, "--data", LONG],
    "casl report": ["report", *TABLE, "--reports", LONG],
    "casl costs": ["costs", *TABLE, "--data", LONG],
    "casl reproduce": ["reproduce", LONG, "row", "column"],
    "casl tune": ["tune", "--store", LONG],
    "casl ui": ["ui", "--store", LONG],
    "casl show": ["show", "warmup-1", "--store", LONG],
    "casl predict": ["predict", LONG, "--model", "finetune-1"],
    "casl label": ["label", LONG, "--model", "finetune-1"],
    "casl convert": ["convert", LONG, "--to", "detectron2"],
    "casl store ls": ["store", "ls", "--store", LONG],
    "casl store explain": ["store", "explain", "warmup-1", "--store", LONG],
    "casl store verify": ["store", "verify", "--store", LONG],
    "casl store gc": ["store", "gc", "--store", LONG],
    "casl store export": ["store", "export", "warmup-1", "-o", "a.tar", "--store", LONG],
    "casl store import": ["store", "import", LONG],
    "casl data check": ["data", "check", LONG],
    "casl data prepare": ["data", "prepare", "coco", LONG, "--out", "set"],
    "casl data scenes": ["data", "scenes", LONG],
    "casl data import": ["data", "import", LONG, "--out", "set"],
    "casl data split": ["data", "split", LONG, "--out", "set"],
    "casl score": ["score", "--gt", LONG, "--dt", LONG, "--metric", "ap_det"],
    "casl doctor": ["doctor", "--store", LONG],
    "casl complete": ["complete", LONG],
}


def raising(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


def test_every_verb_is_tried() -> None:
    assert set(TOO_LONG) == {verb.prog for verb, _ in verbs_of(parser())}


@pytest.mark.parametrize("verb", TOO_LONG)
def test_a_path_that_is_too_long_is_a_sentence(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(TOO_LONG[verb]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data", "scenes", "taken/set"], "taken/set: a part of this path is a file"),
        (["report", *TABLE, "--reports", "taken"], "taken/smoke"),
        (["store", "ls", "--store", "taken"], "taken is a file; a store is a folder"),
        (["run", "table10", "--profile", "smoke", "--store", "taken"], "cannot make the store taken"),
        (["predict", "photo.png", "--model", "finetune-1", "--out", "taken"], "--out taken is a file"),
        (["data", "check", "taken"], "taken"),
    ],
)
def test_a_file_where_a_folder_is_needed_is_named(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Store(tmp_path / "S")
    (tmp_path / "taken").write_text("")
    (tmp_path / "photo.png").write_text("")
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SpecError("unknown thing"), "error: unknown thing\n"),
        (SpecError(f"unknown {'x' * 100_000!r}; known:"), f"unknown '{'x' * 99}... (100,003 letters) known"),
        (FileNotFoundError(2, "No such file or directory", "a.json"), "a.json: No such file or directory."),
        (OSError(28, "No space left on device", "b"), "b: the disk is full"),
        (ImportError("cannot import name 'x'"), "cannot import name 'x'.\n  `casl doctor`"),
        (UnicodeDecodeError("utf-8", b'{"name": "\xff"', 10, 11, "invalid start byte"), 'after \'{"name": "\''),
        (UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"), "PYTHONUTF8=1"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_errors_of_machine_and_files_are_sentences(
    error: BaseException, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bounded(raising(error)) == 2
    assert said in capsys.readouterr().err


def test_sigterm_ends_a_command_as_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    put_away = []

    def command() -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            put_away.append(True)
        return 0

    assert bounded(command) == 130 and put_away
    assert "stopped; repeat the command to go on from here" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def terminated() -> int:
    signal.raise_signal(signal.SIGTERM)
    return 0


def test_who_has_said_what_sigterm_does_is_not_overruled() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        assert bounded(terminated) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]


def test_a_command_in_a_thread_leaves_signals_alone() -> None:
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(bounded, lambda: int(signal.getsignal(signal.SIGTERM) != signal.SIG_DFL)).result() == 0


def waits(begun: Any) -> None:
    begun.set()
    time.sleep(60)


def test_a_fork_of_a_command_ends_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        forks = get_context("fork")
        begun = forks.Event()
        process = forks.Process(target=waits, args=(begun,))
        process.start()
        assert begun.wait(30)
        process.terminate()
        process.join(30)
        return int(process.exitcode or 0)

    assert bounded(command) == -signal.SIGTERM
    assert "Traceback" not in capfd.readouterr().err


def test_a_bug_of_ours_still_shows_where_it_is() -> None:
    with pytest.raises(AssertionError):
        bounded(raising(AssertionError()))


def casl(arguments: list[str], folder: Path, **around: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "casl", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **around},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["data", "scenes", "set", "--unlabeled", "1"],
            "nothing reads the output any more; repeat the command to go on from here",
        ),
        (["run", *TABLE, "--dry-run"], ""),
        (["store", "ls"], ""),
        (["plan", *TABLE, "--json"], ""),
    ],
)
def test_output_that_nothing_reads_is_no_success(arguments: list[str], words: str, tmp_path: Path) -> None:
    Store(tmp_path / "store")
    process = casl(arguments, tmp_path)
    assert process.stdout and process.stderr
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(60) == 141
    assert words in said and ("repeat the command" in said) is bool(words)
    assert "Traceback" not in said and "Exception ignored" not in said


def test_a_sentence_that_nothing_reads_either_leaves_the_code_as_it_is(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "casl", "data", "scenes", "set", "--unlabeled", "1"]
    around = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    ended = subprocess.run(words, cwd=tmp_path, env=around, stdout=writing, stderr=writing, timeout=60, check=False)
    os.close(writing)
    assert ended.returncode == 141


def test_letters_that_the_terminal_lacks_are_escaped(tmp_path: Path) -> None:
    assert main(["data", "scenes", str(tmp_path / "münzen"), "--labeled", "1", "--unlabeled", "1", "--val", "1"]) == 0
    asked = ["plan", "table10", "--profile", "smoke", "--data", "münzen"]
    out, said = casl(asked, tmp_path, PYTHONIOENCODING="ascii").communicate(timeout=60)
    assert "m\\xfcnzen" in out and said.isascii() and "Traceback" not in said


SCENES = ["data", "scenes", "set", "--unlabeled", "1", "--val", "1", "--labeled"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_set_of_scenes_that_was_stopped_is_made_by_the_same_command(number: int, code: int, tmp_path: Path) -> None:
    process = casl([*SCENES, "100000"], tmp_path)
    end = time.monotonic() + 60
    while not list(tmp_path.glob("set/.*.tmp/images/*")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.01)
    beside = casl([*SCENES, "1"], tmp_path)
    assert "set: is there already" in beside.communicate(timeout=60)[1], "another call fills it"
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code and "Traceback" not in said
    assert main([*SCENES[:2], str(tmp_path / "set"), *SCENES[3:], "1"]) == 0
    assert {path.name for path in (tmp_path / "set").iterdir()} == {"images", "annotations", "splits.json"}
