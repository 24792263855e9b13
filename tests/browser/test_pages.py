"""What a person finds in MLflow's pages after a smoke run of Table 4, counted in clicks from where `casl ui` leads.

(a) all runs of the table, (b) everything that led to one cell, (c) the best run by AP^det, (d) two warmups compared:
each at most two clicks away.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from casl.cli import main
from casl.runner.gc import tables_of
from casl.runner.store import Store
from casl.tracking.address import run_page
from casl.tracking.experiment import landing
from casl.tracking.index import Index, listed
from casl.tracking.server import ui_command
from tests.browser.driver import Browser, answers, browser, free_port, missing

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.skipif(bool(missing()), reason=missing())]

RUN = "//div[@role='row']//a[contains(@href, '/runs/')]"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ui") / "store"
    assert main(["run", "table4", "--profile", "smoke", "--store", str(root), "--device", "cpu"]) == 0
    return root


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[str]:
    port = free_port()
    command, variables = ui_command(store, None, port)
    process = subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)
    try:
        answers(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


@pytest.fixture(scope="module")
def window(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        opened.go(server)
        opened.run("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        yield opened


@pytest.fixture
def page(window: Browser, server: str, store: Path) -> Browser:
    """Where `casl ui` sends people."""
    index = Index(store, None)
    (known,) = index.experiments()
    first = landing(listed(index.entries(known.experiment_id)))
    window.go(f"{server}/{first.address(known.experiment_id)}")
    return window


def results(store: Path) -> dict[str, float]:
    """AP of every evaluation, from the store's own files."""
    files = (store / "stages").glob("evaluate-*/result.json")
    return {f.parent.name: float(json.loads(f.read_text())["metrics"]["AP"]) for f in files}


def test_the_first_page_has_the_best_run_first_and_columns_that_say_what_it_is(page: Browser, store: Path) -> None:
    best = max(results(store).items(), key=lambda item: item[1])
    entry = Index(store, None).read(best[0])
    assert entry is not None
    place = entry.uses["table4"][0]
    assert page.read(f"({RUN})[1]").startswith(f"{place}, AP {best[1]:.1f}")
    heads = [
        page.read(f"//div[@role='columnheader' and contains(., '{name}')]") for name in ("ap_det/AP", "kind", "cell")
    ]
    assert all(heads)
    page.find(f"//div[@role='gridcell' and .='{place}']")


def test_one_click_shows_the_cells_of_the_table_best_first(page: Browser, store: Path) -> None:
    page.click("//a[.='Table 4']")
    page.find("//*[contains(., '25') and contains(., 'matching runs')]")
    page.find("//*[contains(., 'Sort: ap_det/AP')]")
    page.click(f"({RUN})[1]")
    shown = " or ".join(f"contains(., '{name}')" for name in results(store))
    page.find(f"//body[{shown}]")  # waits for the run's page
    best = max(results(store).values())
    first = next(name for name in results(store) if name in page.text())
    assert results(store)[first] == best


def test_one_click_shows_every_run_of_the_table(page: Browser, store: Path) -> None:
    page.click("//a[.='all its runs']")
    count = sum("table4" in tables for tables in tables_of(Store(store)).values())  # without shared beginnings
    page.find(f"//*[contains(., '{count}') and contains(., 'matching runs')]")


def test_two_clicks_show_everything_that_led_to_a_cell(page: Browser) -> None:
    page.click("//a[.='Table 4']")
    page.click(f"({RUN})[1]")
    for link in ("labeler", "pseudo labels", "warmup", "finetune", "all of it as a list"):
        page.find(f"//a[contains(., '{link}')]")


def test_the_list_of_what_led_to_a_cell_has_its_whole_chain_and_no_other_cell(page: Browser) -> None:
    page.click("//a[.='Table 4']")
    page.click(f"({RUN})[1]")
    page.click("//a[.='all of it as a list']")
    page.find("//*[contains(., 'matching runs')]")
    page.find(f"({RUN})[1]")
    names = page.text()
    assert all(word in names for word in ("labeler", "pseudo labels", "warmup", "finetune"))
    assert "evaluate" not in names


def test_one_click_opens_the_best_run(page: Browser, store: Path) -> None:
    page.click("//a[contains(., 'ap_det/AP')]")
    page.find("//*[contains(., 'ap_det/AP')]")
    best = max(results(store).items(), key=lambda item: item[1])
    page.find(f"//*[contains(., '{best[0]}')]")


def test_from_the_index_of_a_report_to_its_table_a_run_and_the_model(
    window: Browser, server: str, store: Path, tmp_path: Path
) -> None:
    places = ["--store", str(store), "--reports", str(tmp_path), "--port", server.rpartition(":")[2]]
    assert main(["report", "table4", "--profile", "smoke", *places]) == 0
    window.go((tmp_path / "smoke" / "index.html").as_uri())
    window.click("//a[@href='table4.html']")
    value = window.read("(//table[@class='grid']//b[@class='best']/a)[1]")
    window.click("(//table[@class='grid']//b[@class='best']/a)[1]")
    window.find("//*[contains(., 'Made from')]")
    best = max(results(store).items(), key=lambda item: item[1])
    assert best[0] in window.text() and value == f"{best[1]:.1f}"
    window.click("//a[starts-with(., 'finetune')]")
    window.click("//a[contains(@href, '#/models/casl-smoke-scenes-table4/versions/')]")
    window.find("//*[contains(., 'casl-smoke-scenes-table4')]")
    assert "/models/casl-smoke-scenes-table4/versions/" in window.url() and "best-ap_det" in window.text()


def test_one_click_compares_the_shortest_and_the_longest_warmup(page: Browser) -> None:
    page.click("//a[.='two warmups compared']")
    page.find("//*[contains(., 'Comparing 2 Runs')]")
    text = page.text()
    assert "warmup 9 it" in text
    assert "warmup 45 it" in text


def test_one_click_lists_every_warmup(page: Browser, store: Path) -> None:
    page.click("//a[.='warmups']")
    count = len(list((store / "stages").glob("warmup-*/result.json")))
    page.find(f"//*[contains(., '{count}') and contains(., 'matching runs')]")


def test_the_best_detector_is_in_the_registry(page: Browser) -> None:
    page.click("//a[.='Model registry' or .//*[.='Model registry']]")
    page.click("//*[@role='dialog']//button[@aria-label='Close']")  # MLflow greets a first visit
    page.click("//a[contains(., 'casl-smoke-scenes-table4')]")
    page.find("//*[contains(., 'best-ap_det')]")


def test_pictures_of_a_run_are_shown(page: Browser, store: Path) -> None:
    entry = Index(store, None).read(next(iter(results(store))))
    assert entry is not None
    address = page.url().partition("#")[0]
    page.go(f"{address}{run_page(entry.address).partition('?')[0]}/artifacts/pictures/predictions.png")
    page.find("//img[starts-with(@src, 'blob:')]")
    assert page.run("return document.images[0].naturalWidth") > 100


def test_casl_ui_prints_the_address_of_a_search(store: Path) -> None:
    command = [sys.executable, "-m", "casl", "ui", "--store", str(store), "--search", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "table4-all" in done.stderr
