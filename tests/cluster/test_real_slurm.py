"""Launcher `slurm` on a real Slurm: controller and two nodes of this machine. Needs root and Debian's slurm-wlm."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from casl.runner.job import Placement, Resources
from casl.runner.launch.slurm import Slurm
from casl.runner.plan import Plan, make_plan
from casl.runner.schedule import execute, hand_over
from casl.runner.store import Store
from casl.spec import Cell, evaluate, finetune
from tests.cluster import smoke
from tests.cluster.real_slurm import RealSlurm, why_not
from tests.runner.stores import NANO, Silent, nano, processes

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(why_not()), reason=why_not())]
CPU = Placement(device="cpu", checkpoint_s=1.0)
POLL = {"slurm.poll": "1"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSlurm]:
    with RealSlurm(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


@pytest.fixture
def commands(cluster: RealSlurm, monkeypatch: pytest.MonkeyPatch) -> RealSlurm:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    return cluster


def planned(store: Store, iters: int) -> Plan:
    """One training of some length, two data sets and an evaluation."""
    cell = Cell("F 1x", "base", "ap_det", evaluate(NANO, finetune(nano(iters_1x=iters), None), "ap_det"))
    return make_plan({"table": [cell]}, store)


def launcher(store: Store, **options: str) -> Slurm:
    given = POLL | {f"slurm.{name}": value for name, value in options.items()}
    return Slurm(store, Resources(environment={"PYTHONPATH": str(smoke.ROOT)}, options=given), gone_s=10.0)


def eventually(happens: Callable[[], bool], within_s: float = 180.0) -> None:
    until = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.2)


def training(plan: Plan) -> str:
    return next(n for n in plan.nodes if n.startswith("finetune"))


def test_table_4_has_the_values_of_launcher_local(
    cluster: RealSlurm, local: list[tuple[str, str, str, float]], tmp_path: Path
) -> None:
    done = smoke.run(tmp_path / "store", "--launcher", "slurm", "--option", "slurm.poll=1", within=cluster.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert smoke.values(tmp_path / "store") == local


def test_a_killed_worker_means_another_turn_in_the_queue(commands: RealSlurm, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    plan = planned(store, 150)
    name = training(plan)
    hand_over(plan, launcher(store), CPU)
    eventually(lambda: any((store.working / name).rglob("*.safetensors")))
    for pid in processes("casl.runner.worker", str(store.root.resolve())):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(store.is_done(n) for n in plan.nodes))
    assert len(store.run(name).attempts) == 2


def test_the_warning_before_the_time_limit_means_another_turn_from_the_checkpoint(
    commands: RealSlurm, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    plan = planned(store, 150)
    name = training(plan)
    hand_over(plan, launcher(store), CPU)
    eventually(lambda: any((store.working / name).rglob("*.safetensors")))
    commands.run("scancel", "--batch", "--signal=USR1", f"--name={name}")  # as Slurm itself sends it
    eventually(lambda: all(store.is_done(n) for n in plan.nodes))
    assert len(store.run(name).attempts) == 2


def test_a_cancelled_job_saves_where_it_is_and_the_next_run_goes_on(commands: RealSlurm, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    plan = planned(store, 150)
    name = training(plan)
    hand_over(plan, launcher(store), CPU)
    eventually(lambda: any((store.working / name).rglob("*.safetensors")))
    commands.run("scancel", f"--name={name}")
    eventually(lambda: not commands.run("squeue", "-h").strip())
    assert not store.is_done(name)

    summary = execute(planned(store, 150), store, launcher(store), CPU, Silent(), lambda n: None)
    assert not summary.failed and store.is_done(name)
    assert len(store.run(name).attempts) == 2


def ranks(store: Store) -> set[tuple[str, str, str]]:
    """(node of the job, rank, ranks in all) of the processes that do a stage together."""
    found = set()
    for pid in processes("casl.runner.worker", str(store.root.resolve())):
        with contextlib.suppress(OSError):
            pairs = (entry.partition("=") for entry in Path(f"/proc/{pid}/environ").read_text().split("\0"))
            its = {name: value for name, _, value in pairs}
            if "RANK" in its:
                found.add((its["SLURM_NODEID"], its["RANK"], its["WORLD_SIZE"]))
    return found


def test_a_stage_on_two_nodes(commands: RealSlurm, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    plan = planned(store, 10)
    hand_over(plan, launcher(store), Placement(device="cpu", nodes=2))
    eventually(lambda: {(node, total) for node, _, total in ranks(store)} == {("0", "2"), ("1", "2")})
    eventually(lambda: all(store.is_done(n) for n in plan.nodes))
