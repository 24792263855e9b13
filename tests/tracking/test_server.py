"""Addresses of MLflow: with a user and a password, and such as no database can have."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
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


def test_a_sync_that_could_not_send_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["sync", "table4", "--profile", "smoke", "--store", str(Store(tmp_path).root)]
    assert main([*asked, "--mlflow", f"http://127.0.0.1:{closed_port()}", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["sent"] is None
    assert main([*asked, "--mlflow", ""]) == 0
