"""Addresses of MLflow: with a user and a password, and such as no database can have."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from casl.cli import main
from casl.cli.doctor_checks import tracking
from casl.errors import TrackingError
from casl.runner.store import Store
from casl.tracking.mirror import Mirror
from casl.tracking.models import fetch
from casl.tracking.server import spoken
from tests.tracking.shelf import VAL, Shelf
from tests.tracking.test_mirror import closed_port

USER = "ada:en%40gine"  # a password with an @


@pytest.fixture
def server() -> Iterator[tuple[int, list[str | None]]]:
    """A port that answers 200 to all, and the credentials that came."""
    came: list[str | None] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append(self.headers.get("Authorization"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the standard library
            del format, args

    with HTTPServer(("127.0.0.1", 0), Answer) as here:
        Thread(target=here.serve_forever, daemon=True).start()
        yield here.server_port, came
        here.shutdown()


def test_a_user_and_a_password_in_the_address_are_sent(tmp_path: Path, server: tuple[int, list[str | None]]) -> None:
    port, came = server
    Mirror(tmp_path, f"http://{USER}@127.0.0.1:{port}").reach()
    assert came == [f"Basic {base64.b64encode(b'ada:en@gine').decode()}"]


def test_a_password_is_never_printed(tmp_path: Path) -> None:
    address = f"http://{USER}@127.0.0.1:{closed_port()}"
    store = Shelf(tmp_path)
    with pytest.raises(TrackingError, match=r"http://\.\.\.@127") as logged:
        Mirror(tmp_path, address).sync([store.commit(VAL)], {})
    with pytest.raises(TrackingError, match=r"http://\.\.\.@127") as read, fetch(tmp_path, address, "models:/a@best"):
        pass
    found = tracking(tmp_path, address)
    said = f"{logged.value} {read.value} {found.said}"
    assert "gine" not in said and "ada" not in said
    assert found.said.count("...@127") == 1


@pytest.mark.parametrize(
    ("address", "printed"),
    [
        ("http://ada:en@gine@host:5000/x", "http://...@host:5000/x"),
        ("postgresql://ada@host/db", "postgresql://...@host/db"),
        ("sqlite:////a@b/mlflow.db", "sqlite:////a@b/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_addresses_are_printed_without_a_user(address: str, printed: str) -> None:
    assert spoken(address) == printed


def test_a_store_whose_path_ends_the_address_of_its_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"(?s)has a '\?'.*--store"):
        Mirror(tmp_path / "a?b")
    assert not (tmp_path / "a").exists()


def test_an_address_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="--mlflow"):
        Mirror(tmp_path, "http://[::1").reach()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:50OO", "50OO"),
        ("http://127.0.0.1:500000", "0-65535"),
        ("http://127.0.0.1:0", "no port 0"),
        ("http://127.0.0.1:-1", "-1"),
        ("http://a b", "' '"),
        ("http://host/a b", "' '"),
        ("http://host/a\tb", r"'\\t'"),
        ("http://host/münze", "'ü'"),
        ("http://a,b:5000", "','"),
        ("http://a..b", r"a\.\.b"),
        (f"http://{'a' * 70}", "aaaa"),
        ("http://", "no host"),
        ("http:///", "no host"),
        ("htp://host:5000", "(?s)unknown beginning 'htp'; known: .*mean 'http'"),
        ("postgres://ada:engine@host/db", "(?s)//\\.\\.\\.@host/db, is none: .*mean 'postgresql'"),
        ("sqlite://mlflow.db", "three slashes"),
        ("http://:5000", "no host"),
        ("http://ada:en gine@:5000", r"//\.\.\.@:5000.*no host"),
    ],
)
def test_an_address_that_no_server_can_have_is_refused_before_any_work(tmp_path: Path, address: str, said: str) -> None:
    with pytest.raises(TrackingError, match=rf"(?s){said}.*--mlflow") as refused:
        Mirror(tmp_path, address)
    assert "gine" not in str(refused.value)
    with pytest.raises(TrackingError, match=r"--mlflow|read from MLflow"), fetch(tmp_path, address, "models:/a@best"):
        pass


@pytest.mark.parametrize(
    "address",
    ["http://ada:en gine@host:5000/x", "http://[::1]:5000", "https://münze.example/a%20b?c=d", "http://my_host:80/"],
)
def test_an_address_that_a_server_can_have_is_taken(tmp_path: Path, address: str) -> None:
    assert Mirror(tmp_path, address).uri == address.rstrip("/")


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port at which every connection is told the same."""
    with socket.create_server(("127.0.0.1", 0)) as here:

        def serve() -> None:
            with suppress(OSError):  # closed at the end
                while True:
                    with here.accept()[0] as asked, suppress(OSError):
                        asked.recv(1 << 16)
                        asked.sendall(answer)

        Thread(target=serve, daemon=True).start()
        yield here.getsockname()[1]


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
        b"\x00\xff\xfe",
        OK + b"x" * 70_000,
        OK + b"a: b\r\n" * 200,
        OK + b"Content-Length: 9\r\n\r\n<html>",
        OK + b"Content-Length: 6\r\n\r\n<html>",
        OK + b"Content-Length: 4\r\n\r\nnull",
        OK + b"Content-Length: x\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 302 Found\r\nLocation: http://a b/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a:5OO/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a..b/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
    ],
)
def test_what_answers_and_is_no_mlflow_costs_no_result(tmp_path: Path, answer: bytes) -> None:
    store = Shelf(tmp_path)
    with answering(answer) as port, pytest.raises(TrackingError, match=r"(?s)cannot log to MLflow.*nothing is lost"):
        Mirror(tmp_path, f"http://127.0.0.1:{port}").sync([store.commit(VAL)], {})


def test_a_sync_that_could_not_send_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["sync", "table4", "--profile", "smoke", "--store", str(Store(tmp_path).root)]
    assert main([*asked, "--mlflow", f"http://127.0.0.1:{closed_port()}", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["sent"] is None
    assert main([*asked, "--mlflow", ""]) == 0
