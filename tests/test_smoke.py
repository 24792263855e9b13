"""The whole of Table 4 in profile smoke, as a user runs it: in peace, and while its processes are killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from casl.runner.lease import born
from casl.runner.store import Store
from casl.spec.run import WEIGHTS
from tests.runner.stores import gone, processes

pytestmark = pytest.mark.slow
KINDS = ("worker", "shepherd", "runner", "all")

# a corner of Table 4 and the same stages, so that its numbers have to be those of the whole table
CORNER = """
from ablations.table4 import ABLATION as TABLE4
from casl.spec import Ablation


def cells(profile):
    return (c for c in TABLE4.cells(profile) if c.row in ("F 1x", "F 2x") and c.column in ("W 1x", "W 2x"))


ABLATION = Ablation(name="corner", title="A corner of Table 4", source="", cells=cells)
"""


def command(folder: Path, of: str = "table4", *more: str) -> list[str]:
    return [sys.executable, "-m", "casl", "run", of, "--profile", "smoke", "--store", str(folder / "store"), *more]


def table(folder: Path) -> dict[str, Any]:
    places = ["--store", str(folder / "store"), "--reports", str(folder / "reports")]
    report = [sys.executable, "-m", "casl", "report", "table4", "--profile", "smoke", *places]
    subprocess.run(report, check=True, capture_output=True)
    result: dict[str, Any] = json.loads((folder / "reports" / "smoke" / "table4.json").read_text())
    return result


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peaceful")
    done = subprocess.run(command(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_all_25_cells_are_measured_and_traceable(peaceful: Path) -> None:
    cells = table(peaceful)["cells"]
    assert len(cells) == 25
    for cell in cells:
        assert cell["status"] == "done" and cell["seeds"] == 1
        assert 0.0 <= cell["value"] <= 100.0
        assert cell["mlflow_run_id"] and cell["key"]
    assert len({cell["key"] for cell in cells}) == 25
    assert len({cell["value"] for cell in cells}) > 5


def test_a_second_run_trains_nothing(peaceful: Path) -> None:
    done = subprocess.run(command(peaceful), capture_output=True, text=True, check=True)
    assert "to run       0 stages" in done.stdout
    assert "MLflow: 0 new runs" in done.stdout


def test_predictions_and_pseudo_labels_can_be_looked_at(peaceful: Path) -> None:
    stages = peaceful / "store" / "stages"
    assert len(list(stages.glob("evaluate-*/pictures/predictions.png"))) == 25
    assert len(list(stages.glob("pseudolabel-*/pictures/pseudo_labels.png"))) == 1


def victims(runner: int, folder: Path) -> dict[str, list[int]]:
    """Living processes of a run."""
    found = {kind: processes(f"casl.runner.{kind}", str(folder)) for kind in ("worker", "shepherd")}
    found["runner"] = [runner]
    return {**found, "all": [pid for pids in found.values() for pid in pids]}


def killed_once(running: subprocess.Popen[bytes], folder: Path, kind: str) -> bool:
    """Kill the processes of a kind; whether there was one."""
    chosen = victims(running.pid, folder)[kind]
    for pid in chosen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(chosen)


def storm(begin: Callable[[], subprocess.Popen[bytes]], folder: Path, kinds: list[str], draw: random.Random) -> int:
    """Start a run again and again, killing the next kinds at some moment of its work; how many were killed."""
    left = list(kinds)
    while left:
        running = begin()
        while left and running.poll() is None:
            time.sleep(draw.uniform(0.2, 4.0))
            if victims(running.pid, folder)["worker"] and killed_once(running, folder, left[0]):
                left.pop(0)
        running.kill()
        ended = running.wait()
        assert gone([p for p in processes("casl.runner", str(folder)) if born(p)], within_s=60)
        if ended == 0:
            break
    return len(kinds) - len(left)


def begun(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_with_one_process_of_each_kind_killed_a_part_has_the_states_and_figures_of_the_whole_bit_for_bit(
    peaceful: Path, tmp_path: Path
) -> None:
    corner = tmp_path / "corner.py"
    corner.write_text(CORNER)
    words = command(tmp_path, str(corner), "--mlflow", "http://127.0.0.1:9")  # no MLflow answers there
    assert storm(lambda: begun(words), tmp_path, [*KINDS], random.Random(0)) == len(KINDS)
    subprocess.run(words, check=True, capture_output=True)
    whole, part = Store(peaceful / "store"), Store(tmp_path / "store")
    both = [name for name in part.names() if whole.is_done(name)]
    assert sum(name.startswith("evaluate") for name in both) == 4
    assert sum(name.startswith(("labeler", "warmup", "finetune")) for name in both) >= 7
    for name in both:
        assert part.run(name).metrics == whole.run(name).metrics, name
        weights = [store.folder(name) / WEIGHTS for store in (part, whole)]
        assert [w.exists() for w in weights] in ([True] * 2, [False] * 2)
        if weights[0].exists():
            assert weights[0].read_bytes() == weights[1].read_bytes(), name
    assert sum(len(part.run(name).attempts) > 1 for name in part.names()) >= 1, "the storm cost work"


@pytest.mark.parametrize(
    "kills", [pytest.param(10, marks=pytest.mark.long), pytest.param(100, marks=pytest.mark.stress)]
)
def test_killed_at_random_moments_the_numbers_are_the_same_bit_for_bit(
    peaceful: Path, tmp_path: Path, kills: int
) -> None:
    draw = random.Random(kills)
    assert storm(lambda: begun(command(tmp_path)), tmp_path, draw.choices(KINDS, k=kills), draw) > 5
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    expected = {(c["row"], c["column"]): c["value"] for c in table(peaceful)["cells"]}
    assert {(c["row"], c["column"]): c["value"] for c in table(tmp_path)["cells"]} == expected
