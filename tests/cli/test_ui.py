"""`casl ui` as a process: what it prints, how it ends, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from casl.cli import main
from casl.runner.store import Store
from tests.browser.driver import free_port


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return Store(tmp_path / "store").root


def test_a_port_in_use_is_named_before_any_address(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["ui", "--port", str(port), "--store", str(store)]) == 2
    out, said = capsys.readouterr()
    assert out == "" and f"port {port} of 127.0.0.1 is in use" in said and "casl ui --port" in said


def test_a_number_that_is_no_port_is_refused(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "--port", "70000", "--store", str(store)]) == 2
    assert "1 to 65535, got 70000" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--search", "table4"], ["--experiment", "casl mini scenes"]], ids=" ".join)
def test_a_server_that_does_not_answer_is_named(
    words: list[str], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = f"http://127.0.0.1:{free_port()}"
    assert main(["ui", "--mlflow", server, "--store", str(store), *words]) == 2
    assert f"cannot read from MLflow at {server}: " in capsys.readouterr().err


def test_a_damaged_database_is_named_and_no_server_is_started(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (Store(tmp_path).root / "mlflow.db").write_text("no database")
    assert main(["ui", "--port", str(free_port()), "--store", str(tmp_path)]) == 2
    out, said = capfd.readouterr()
    assert out == "" and "mlflow.db, is damaged" in said and "remove that file" in said and "Traceback" not in said


def test_it_answers_when_it_gives_its_address_and_sigterm_ends_all_of_it(store: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "casl", "ui", "--port", str(port), "--store", str(store)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == f"starting MLflow at port {port} ...\n", "before the seconds that it takes"
        address = next(line.split()[0] for line in process.stdout if "http" in line)
        urllib.request.urlopen(address.partition("#")[0], timeout=60).close()
        started = children(process.pid)
        assert started, "MLflow's server is a process of its own"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
        assert "Deprecat" not in (said := process.stderr.read()) and "INFO" not in said
    finally:
        process.terminate()
    end = time.monotonic() + 10
    while time.monotonic() < end and any(map(alive, started)):
        time.sleep(0.1)
    assert not any(map(alive, started))


def test_no_command_line_has_the_password_of_a_database(tmp_path: Path) -> None:
    address = "postgresql://ada:engine-42@127.0.0.1:1/none"
    process = subprocess.Popen(
        [sys.executable, "-m", "casl", "ui", "--port", str(free_port()), "--store", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "MLFLOW_TRACKING_URI": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: set[str] = set()
    told = False
    while process.poll() is None:
        for pid in children(process.pid):
            lines.add(of_process(pid, "cmdline"))
            told = told or address in of_process(pid, "environ")
        time.sleep(0.02)
    assert told and any("mlflow" in line for line in lines), "the server was started, and told where its data are"
    assert not any("engine-42" in line for line in lines)
    assert process.stdout and process.returncode == 2
    assert "engine-42" not in process.stdout.read()


def of_process(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().decode()
    except OSError:  # it has just ended
        return ""


def children(pid: int) -> list[int]:
    """All processes below one, as /proc has them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(re.sub(r".*\) \S+ ", "", path.read_text()).split()[0])
        except OSError:  # it has just ended
            continue
        if parent == pid:
            found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


def alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
