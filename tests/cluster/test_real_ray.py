"""Launcher `ray` on a real Ray: two nodes on this machine. Needs the extra: pip install -e '.[ray]'."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from casl.runner.job import Placement
from casl.runner.launch.inline import Inline
from casl.runner.plan import Plan, make_plan
from casl.runner.schedule import execute
from casl.runner.store import Store
from casl.spec import Cell, evaluate, finetune
from tests.cluster import ray_driver, smoke
from tests.runner.stores import NANO, Silent, gone, nano, processes

HAS_RAY = importlib.util.find_spec("ray") is not None  # not imported: it reads the token's mode when it is
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(not HAS_RAY, reason="no Ray here: pip install -e '.[ray]'")]
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
ITERS = 150


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of two nodes with a core each."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (TOKEN | {"PYTHONPATH": str(smoke.ROOT)}).items():
            patch.setenv(name, value)
        cluster = importlib.import_module("ray.cluster_utils").Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        cluster.add_node(num_cpus=1)
        yield cluster.address
        cluster.shutdown()


def planned(store: Store) -> Plan:
    cell = Cell("F 1x", "base", "ap_det", evaluate(NANO, finetune(nano(iters_1x=ITERS), None), "ap_det"))
    return make_plan({"table": [cell]}, store)


def training(plan: Plan) -> str:
    return next(n for n in plan.nodes if n.startswith("finetune"))


def started(store: Store, address: str) -> subprocess.Popen[bytes]:
    """A driver in a process of its own, once its training has saved a checkpoint."""
    line = [sys.executable, "-m", "tests.cluster.ray_driver", str(store.root), address, str(ITERS)]
    driver = subprocess.Popen(line, env=smoke.environment(TOKEN), cwd=smoke.ROOT)
    name = training(planned(store))
    eventually(lambda: any((store.working / name).rglob("*.safetensors")))
    return driver


def eventually(happens: Callable[[], bool], within_s: float = 240.0) -> None:
    until = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_table_4_has_the_values_of_launcher_local(
    address: str, local: list[tuple[str, str, str, float]], tmp_path: Path
) -> None:
    option = f"ray.address={address}"
    done = smoke.run(tmp_path / "store", "--launcher", "ray", "--option", option, within=TOKEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert smoke.values(tmp_path / "store") == local


@pytest.mark.parametrize("victim", ["ray::finetune", "casl.runner.worker", "casl.runner.shepherd"])
def test_a_killed_process_means_another_attempt(address: str, tmp_path: Path, victim: str) -> None:
    store = Store(tmp_path / "store")
    name = training(planned(store))
    driver = started(store, address)
    killed = processes(victim) if victim.startswith("ray") else processes(victim, str(store.root.resolve()))
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert driver.wait(300) == 0
    assert len(store.run(name).attempts) == 2


def test_another_launcher_goes_on_where_a_killed_driver_left_off(address: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    driver = started(store, address)
    shepherds = processes("casl.runner.shepherd", str(store.root.resolve()))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert shepherds and gone(shepherds, 60.0)

    plan = planned(store)
    assert not plan.nodes[training(plan)].done
    summary = execute(plan, store, Inline(store), Placement(device="cpu"), Silent(), lambda n: None)
    assert not summary.failed and not planned(store).todo
    assert len(store.run(training(plan)).attempts) == 2


def test_a_driver_that_is_told_to_stop_lets_stages_save_where_they_are(address: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    driver = started(store, address)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(60) == ray_driver.STOPPED
    log = store.work(training(planned(store))) / "log.txt"
    assert "stopped, as asked" in log.read_text()
