"""Faults, for real: small and read-only file systems, a loss that is not a number. Kills: tests/test_smoke.py."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from casl.report.table import build_table
from casl.runner.plan import make_plan, outcomes
from casl.runner.store import Store
from casl.spec import Ablation, Cell, evaluate, finetune
from tests.runner.stores import NANO, chain, run

FILE_SYSTEM = "a file system of its own needs root and Linux"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip(FILE_SYSTEM)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_fails_what_does_not_fit_and_a_later_run_goes_on(small_disk: Path, tmp_path: Path) -> None:
    cell = chain(NANO)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * (31 << 20))
    store = Store(small_disk / "store")
    _, summary, watcher = run([cell], store)
    assert summary.failed
    reasons = [error for status, error in watcher.ended.values() if status == "failed"]
    assert reasons and all("the disk is full" in reason and "Errno" not in reason for reason in reasons)
    ballast.unlink()
    _, summary, _ = run([cell], store)
    assert not summary.failed
    elsewhere = Store(tmp_path / "store")
    run([cell], elsewhere)
    assert store.run(cell.evaluation.name).metrics == elsewhere.run(cell.evaluation.name).metrics


def test_a_read_only_store_can_be_read_and_says_why_it_cannot_run(small_disk: Path, tmp_path: Path) -> None:
    store = small_disk / "store"
    Store(store)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    casl = [sys.executable, "-m", "casl"]
    study = ["table4", "--profile", "smoke", "--store", str(store)]
    for verb, code in ((["plan", *study], 0), (["report", *study, "--reports", str(tmp_path)], 1)):  # nothing measured
        done = subprocess.run([*casl, *verb], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
    done = subprocess.run([*casl, "run", *study], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr and "--store" in done.stderr and "Traceback" not in done.stderr


def test_nan_in_one_of_25_cells_costs_that_cell_and_the_report_says_why(tmp_path: Path) -> None:
    wild = replace(NANO, finetune_recipe=replace(NANO.finetune_recipe, lr=1e30, ramp_iters=0))
    cells = [
        Cell(f"row {k}", "c", "ap_det", evaluate(p, finetune(p, None, schedule=1), "ap_det"))
        for k in range(25)
        for p in [(wild if k == 7 else NANO).with_seed(k)]
    ]
    store = Store(tmp_path / "store")
    run(cells, store)
    runs = outcomes(make_plan({"t": cells}, store), store)
    ablation = Ablation("t", "Table", "here", lambda profile: iter(cells))
    lines = build_table(ablation, NANO, [tuple(cells)], runs, {}).cells
    assert [c.status for c in lines].count("done") == 24
    (bad,) = [c for c in lines if c.status != "done"]
    assert bad.row == "row 7" and "stopped at iteration" in str(bad)
