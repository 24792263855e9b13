"""Faults, for real: small and read-only file systems, kills at random moments, a loss that is not a number."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from casl.report.table import build_table
from casl.runner.lease import born
from casl.runner.plan import make_plan, outcomes
from casl.runner.store import Store
from casl.spec import Ablation, Cell, evaluate, finetune
from tests.runner.stores import NANO, chain, gone, processes, run
from tests.test_smoke import command, table

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
    for verb in (["plan", *study], ["report", *study, "--reports", str(tmp_path)]):
        done = subprocess.run([*casl, *verb], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    done = subprocess.run([*casl, "run", *study], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr and "STORE=" in done.stderr and "Traceback" not in done.stderr


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


def kill_at_random(folder: Path, kills: int, seed: int) -> None:
    """Start the run again and again, each time killing its runner, a worker of it, a shepherd, or all."""
    draw = random.Random(seed)
    done = 0
    while done < kills:
        runner = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(draw.randint(1, 6)):
            time.sleep(draw.uniform(0.2, 4.0))
            victims = {
                "runner": [runner.pid],
                "worker": processes("casl.runner.worker", str(folder)),
                "shepherd": processes("casl.runner.shepherd", str(folder)),
            }
            victims["all"] = [pid for pids in victims.values() for pid in pids]
            chosen = victims[draw.choice(list(victims))]
            for pid in chosen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            done += bool(chosen)
            if runner.poll() is not None:
                break
        runner.kill()
        runner.wait()
        assert gone([p for p in processes("casl.runner", str(folder)) if born(p)], within_s=60)


@pytest.mark.parametrize(
    "kills", [pytest.param(4, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.stress)]
)
def test_killed_at_random_moments_the_numbers_are_the_same_bit_for_bit(tmp_path: Path, kills: int) -> None:
    peaceful, storm = tmp_path / "peaceful", tmp_path / "storm"
    subprocess.run(command(peaceful), check=True, capture_output=True)
    kill_at_random(storm, kills, seed=kills)
    subprocess.run(command(storm), check=True, capture_output=True)
    assert values(storm) == values(peaceful)


def values(folder: Path) -> dict[tuple[str, str], float]:
    cells = json.loads(json.dumps(table(folder)["cells"]))
    return {(c["row"], c["column"]): c["value"] for c in cells}
