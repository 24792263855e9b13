"""A real `mlflow server` elsewhere: behind a password, on SQLite and on PostgreSQL."""

from __future__ import annotations

import base64
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from casl.errors import TrackingError
from casl.spec.run import Use
from casl.tracking.mirror import Mirror
from casl.tracking.models import fetch
from casl.tracking.server import quiet_mlflow
from tests.browser.driver import answers, free_port
from tests.tracking.shelf import EVALUATE, FINETUNE, LABELED, VAL, Shelf, untrained

pytestmark = pytest.mark.slow
PASSWORD = base64.b64encode(b"ada:engine").decode()


@contextmanager
def mlflow_server(backend: str, artifacts: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, "--workers", "1"]
    command += ["--artifacts-destination", artifacts.as_uri(), "--host", "127.0.0.1", "--port", str(port)]
    variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)
    try:
        answers(f"http://127.0.0.1:{port}/health", 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


@contextmanager
def guarded(address: str) -> Iterator[str]:
    """The server behind a password, as a cluster's proxy does it."""

    class Guard(BaseHTTPRequestHandler):
        def answer(self) -> None:
            if self.headers.get("Authorization") != f"Basic {PASSWORD}":
                self.send_error(401, "who are you?")
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            kept = {n: v for n, v in self.headers.items() if n.lower() not in ("host", "authorization")}
            request = urllib.request.Request(address + self.path, body, kept, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    self.reply(reply.status, reply.headers, reply.read())
            except urllib.error.HTTPError as error:
                self.reply(error.code, error.headers, error.read())

        def reply(self, status: int, headers: Any, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Guard, f"do_{method}", Guard.answer)
    setattr(Guard, "log_message", lambda *_: None)  # noqa: B010  its signature shadows a builtin
    front = ThreadingHTTPServer(("127.0.0.1", 0), Guard)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{front.server_port}"
    finally:
        front.shutdown()
        front.server_close()


def chain(root: Path) -> tuple[Shelf, dict[str, list[Use]]]:
    """A trained detector, its data and its evaluation."""
    shelf = Shelf(root)
    shelf.commit(LABELED)
    shelf.commit(VAL)
    run = shelf.commit(FINETUNE, {"curves.csv": b"iteration,loss\n0,2.0\n1,1.0\n"})
    untrained(FINETUNE.model, run.folder / "model.safetensors")
    shelf.commit(EVALUATE, metrics={"AP": 12.5})
    return shelf, {n: [Use("table4", "F 1x / W 1x")] for n in shelf.runs}


def check(shelf: Shelf, uses: dict[str, list[Use]], address: str, experiment: str = "there") -> None:
    """Everything a sync does, against a server: runs, curves, page, models; and nothing twice."""
    mirror = Mirror(shelf.root, address, experiment=experiment)
    assert mirror.sync(shelf.runs.values(), uses) == 4
    assert mirror.sync(shelf.runs.values(), uses) == 0
    with quiet_mlflow():
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=address, registry_uri=address)
        found = client.get_experiment_by_name(experiment)
        assert "searchFilter=tags.%60table4%60" in found.tags["mlflow.note.content"]
        runs = client.search_runs([found.experiment_id], "tags.`table4` LIKE '%' AND metrics.`ap_det/AP` > 12")
        assert [r.data.tags["casl.name"] for r in runs] == [EVALUATE.name]
        history = client.get_metric_history(mirror.run_id(FINETUNE.name), "loss")
        assert [(p.step, p.value) for p in history] == [(0, 2.0), (1, 1.0)]
    with fetch(shelf.root, address, f"models:/{experiment}-table4@best") as folder:
        assert {p.name for p in folder.iterdir()} == {"detector.json", "model.safetensors"}
        original = shelf.runs[FINETUNE.name].folder / "model.safetensors"
        assert (folder / "model.safetensors").read_bytes() == original.read_bytes()


@pytest.fixture(scope="module")
def behind_a_password(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of one server for all tests; each has an experiment of its own there."""
    folder = tmp_path_factory.mktemp("server")
    with mlflow_server(f"sqlite:///{folder / 'server.db'}", folder / "files") as inside, guarded(inside) as address:
        yield address


def test_a_server_behind_a_password_takes_runs_and_models(
    behind_a_password: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, uses = chain(tmp_path / "store")
    with pytest.raises(TrackingError, match=r"(?s)nothing is lost"):
        Mirror(shelf.root, behind_a_password).sync(shelf.runs.values(), uses)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "engine")
    check(shelf, uses, behind_a_password, "by-variables")


def test_a_password_in_the_address_is_enough(behind_a_password: str, tmp_path: Path) -> None:
    shelf, uses = chain(tmp_path / "store")
    check(shelf, uses, behind_a_password.replace("//", "//ada:engine@"), "by-address")


def postgres_programs() -> Path | None:
    """Where Debian keeps initdb and pg_ctl."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return found[-1].parent if found else None


def postgres_driver() -> str | None:
    return next((d for d in ("psycopg2", "psycopg") if importlib.util.find_spec(d)), None)


def postgres_lacks() -> str:
    if postgres_programs() is None:
        return "PostgreSQL is not installed (Debian: postgresql)"
    if postgres_driver() is None:
        return "no driver of PostgreSQL is installed (pip: psycopg2-binary)"
    if os.getuid() == 0 and "postgres" not in {u.pw_name for u in pwd.getpwall()}:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    """An empty database of a server of our own."""
    programs = postgres_programs()
    assert programs is not None
    folder, port = Path(tempfile.mkdtemp(prefix="casl-postgres-")), free_port()  # pytest's own is closed to others
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []

    def run(*command: str) -> None:
        with (tmp_path / "postgres.log").open("a") as log:  # no pipe: the server it leaves behind would hold it open
            subprocess.run([*as_user, *command], check=True, cwd="/", stdout=log, stderr=log)

    data = str(folder / "data")
    run(str(programs / "initdb"), "-D", data, "-U", "casl", "--auth=trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run(str(programs / "pg_ctl"), "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        run(str(programs / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "casl", "mlflow")
        yield f"postgresql+{postgres_driver()}://casl@127.0.0.1:{port}/mlflow"
    finally:
        run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.mark.postgres
@pytest.mark.skipif(bool(postgres_lacks()), reason=postgres_lacks())
def test_a_server_on_postgresql_takes_runs_and_models(postgres: str, tmp_path: Path) -> None:
    shelf, uses = chain(tmp_path / "store")
    with mlflow_server(postgres, tmp_path / "files") as address:
        check(shelf, uses, address)
    direct, uses = chain(tmp_path / "second")
    mirror = Mirror(direct.root, postgres, experiment="without a server")
    assert mirror.sync(direct.runs.values(), uses) == 4
    assert mirror.sync(direct.runs.values(), uses) == 0
