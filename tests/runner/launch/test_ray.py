"""Launcher `ray` as far as it goes without Ray: what a task does, and what is said."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from casl.errors import SpecError
from casl.runner.job import Job, Resources
from casl.runner.launch.ray import Ray, carry
from casl.runner.store import Store
from tests.runner.stores import committed, gone, hold, new_store, processes, scenes

ROOT = Path(__file__).resolve().parents[3]
WITHIN = json.dumps({"PYTHONPATH": str(ROOT)})


def job_file(store: Store) -> Path:
    file = store.root / "job.json"
    file.write_text(json.dumps({"job": Job(scenes()).to_json()}))
    return file


def test_a_task_tells_how_its_stage_ended(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    committed(store, scenes())
    told = carry(str(store.root), str(job_file(store)), str(tmp_path / "log"), WITHIN)
    assert json.loads(told) == {"event": "done", "name": scenes().name}


def test_a_task_whose_shepherd_cannot_start_is_lost_and_names_the_log(tmp_path: Path) -> None:
    told = json.loads(carry(str(tmp_path / "store"), str(tmp_path / "no file"), str(tmp_path / "log"), WITHIN))
    assert told["event"] == "lost"
    assert str(tmp_path / "log") in told["code"]


def test_the_shepherd_ends_with_the_process_of_the_task(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    hold(store, scenes())  # so that the shepherd waits
    arguments = [str(store.root), str(job_file(store)), str(tmp_path / "log"), WITHIN]
    code = f"from casl.runner.launch.ray import carry; carry(*{arguments!r})"
    task = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    until = time.monotonic() + 60
    while not (shepherds := processes("casl.runner.shepherd", str(store.root))) or not (tmp_path / "log").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    task.send_signal(signal.SIGKILL)
    task.wait()
    assert gone(shepherds)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed here")
def test_without_ray_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"pip install 'casl\[ray\]'"):
        Ray(new_store(tmp_path))


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (Resources(options={"ray.adress": "auto"}), "did you mean 'ray.address'"),
        (Resources(gpus=("0",)), "Ray gives each stage its own"),
        (Resources(per_gpu=2, ranks=2), "not both"),
    ],
)
def test_what_cannot_be_is_said_before_a_cluster_is_looked_for(tmp_path: Path, resources: Resources, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Ray(new_store(tmp_path), resources)
