"""Launcher `slurm` against commands that behave like Slurm's and really run the scripts."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from casl.errors import SpecError, StageError
from casl.runner.job import Job, Placement, Resources
from casl.runner.launch.slurm import Slurm, needs
from casl.runner.plan import Plan, make_plan
from casl.runner.schedule import Summary, execute, hand_over
from casl.runner.store import Store
from casl.spec import Cell, evaluate, finetune
from tests.runner.launch.fake_slurm import SAYS, FakeSlurm
from tests.runner.stores import NANO, Silent, new_store, run

ROOT = Path(__file__).resolve().parents[3]
CPU = Placement(device="cpu")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlurm]:
    with FakeSlurm(tmp_path / "slurm") as fake:
        monkeypatch.setenv("PATH", fake.environment["PATH"])
        yield fake


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One whose path has what shells and Slurm treat specially."""
    return Store(tmp_path / "a store, 100%")


@pytest.fixture
def quick(tmp_path: Path) -> dict[str, str]:
    """Options that make stages take milliseconds."""
    file = tmp_path / "stand in"
    command = shlex.join([sys.executable, "-m", "tests.runner.launch.stand_in"])
    file.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {command} "$@"\n')
    file.chmod(0o755)
    return {"slurm.python": str(file), "slurm.poll": "0.05"}


def cells() -> list[Cell]:
    """Two trainings that share their beginning: two data sets, three states, two evaluations."""
    return [
        Cell(f"F {k}x", "base", "ap_det", evaluate(NANO, finetune(NANO, None, schedule=k), "ap_det")) for k in (1, 2)
    ]


def planned(store: Store) -> Plan:
    return make_plan({"table": cells()}, store)


def launcher(store: Store, options: dict[str, str]) -> Slurm:
    return Slurm(store, Resources(options=options), gone_s=0.5)


def carried_out(store: Store, options: dict[str, str], **more: Any) -> tuple[Summary, Silent]:
    watcher = Silent()
    summary = execute(planned(store), store, launcher(store, options), CPU, watcher, lambda name: None, **more)
    return summary, watcher


def play(store: Store, name: str, what: str) -> Path:
    file = store.root / "play" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(what)
    return file


def eventually(happens: Callable[[], bool], within_s: float = 20.0) -> None:
    until = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.02)


def first(plan: Plan, kind: str) -> str:
    return next(n for n in plan.nodes if n.startswith(kind))


def users(plan: Plan, name: str) -> set[str]:
    """Everything behind a stage."""
    found = {name}
    for n, node in plan.nodes.items():
        if found.intersection(node.needs):
            found.add(n)
    return found - {name}


def test_a_job_knows_what_its_stage_needs(store: Store) -> None:
    for node in planned(store).nodes.values():
        assert needs(Job(node.stage, node.resume)) == list(node.needs)


def test_a_whole_plan_gives_the_same_figures_as_inline(tmp_path: Path, cluster: FakeSlurm, store: Store) -> None:
    alone = new_store(tmp_path)
    run(cells()[:1], alone)
    for name in ("scenes", "finetune"):  # here already, so that the test is short
        for done in alone.stages.glob(f"{name}-*"):
            shutil.copytree(done, store.stages / done.name)
    shutil.rmtree(store.folder(cells()[0].evaluation.model.name))
    plan = make_plan({"table": cells()[:1]}, store)
    slurm = Slurm(store, Resources(environment={"PYTHONPATH": str(ROOT)}, options={"slurm.poll": "0.1"}))
    summary = execute(plan, store, slurm, CPU, Silent(), lambda name: None)

    assert sorted(summary.done) == sorted(plan.todo)
    assert cluster.submissions() == len(plan.todo) == 2
    for name in plan.nodes:
        assert store.run(name).metrics == alone.run(name).metrics


def test_everything_is_in_the_queue_before_anything_has_run(
    cluster: FakeSlurm, store: Store, quick: dict[str, str]
) -> None:
    cluster.is_held = True
    plan = planned(store)
    count = hand_over(plan, launcher(store, quick), CPU)

    assert count == len(plan.todo) == cluster.submissions()
    entries = cluster.entries()
    for name, node in plan.nodes.items():
        assert entries[name].after == [entries[need].number for need in node.needs]

    cluster.is_held = False  # no process watches, and all is done
    eventually(lambda: all(store.is_done(name) for name in plan.nodes))


def test_repeating_the_command_submits_nothing_twice(cluster: FakeSlurm, store: Store, quick: dict[str, str]) -> None:
    cluster.is_held = True
    plan = planned(store)
    hand_over(plan, launcher(store, quick), CPU)
    hand_over(planned(store), launcher(store, quick), CPU)
    assert cluster.submissions() == len(plan.todo)

    cluster.is_held = False
    summary, _ = carried_out(store, quick)
    assert cluster.submissions() == len(plan.todo)
    assert all(store.is_done(name) for name in plan.nodes)
    assert not summary.failed


def test_what_waits_for_a_job_that_is_gone_is_submitted_anew(
    cluster: FakeSlurm, store: Store, quick: dict[str, str]
) -> None:
    cluster.is_held = True
    plan = planned(store)
    hand_over(plan, launcher(store, quick), CPU)
    old = cluster.entries()
    trunk = first(plan, "finetune")
    os.system(f"scancel {old[trunk].number}")
    eventually(lambda: cluster.entries()[trunk].is_over)

    hand_over(planned(store), launcher(store, quick), CPU)
    new = {name for name, entry in cluster.entries().items() if entry.number != old[name].number}
    assert new == {trunk} | users(plan, trunk)
    cluster.is_held = False
    eventually(lambda: all(store.is_done(name) for name in plan.nodes))


def test_a_failed_stage_blocks_its_users_and_nothing_else(
    cluster: FakeSlurm, store: Store, quick: dict[str, str]
) -> None:
    plan = planned(store)
    bad = cells()[1].evaluation.model.name
    play(store, bad, "fail")
    summary, watcher = carried_out(store, quick)

    assert summary.failed == [bad]
    assert watcher.ended[bad] == ("failed", "loss is nan")
    assert set(summary.blocked) == users(plan, bad)
    assert set(summary.done) == set(plan.nodes) - {bad} - users(plan, bad)
    assert len(users(plan, bad)) == 1
    assert len(summary.done) == len(plan.nodes) - 2


def test_a_lost_worker_sends_its_stage_back_into_the_queue(
    cluster: FakeSlurm, store: Store, quick: dict[str, str]
) -> None:
    plan = planned(store)
    name = first(plan, "finetune")
    play(store, name, "lose 2")
    summary, _ = carried_out(store, quick)
    assert not summary.failed
    assert cluster.entries()[name].restarts == 2
    assert cluster.submissions() == len(plan.todo)


def test_a_stage_that_kills_every_worker_ends(cluster: FakeSlurm, store: Store, quick: dict[str, str]) -> None:
    plan = planned(store)
    name = cells()[1].evaluation.model.name
    play(store, name, "lose 99")
    summary, watcher = carried_out(store, {**quick, "slurm.losses": "1"})
    assert summary.failed == [name]
    assert cluster.entries()[name].restarts == 1
    assert "died 2 times" in watcher.ended[name][1]
    assert set(summary.blocked) == users(plan, name)


def test_the_warning_before_the_time_limit_means_a_checkpoint_and_another_turn(
    cluster: FakeSlurm, store: Store, quick: dict[str, str]
) -> None:
    plan = planned(store)
    name = first(plan, "finetune")
    file = play(store, name, "hang")
    slurm = launcher(store, {**quick, "slurm.losses": "0"})
    hand_over(plan, slurm, CPU)
    log = Path(cluster.entries()[name].options["output"].replace("%%", "%"))
    eventually(lambda: log.exists() and '"begun"' in log.read_text())
    cluster.warn(name)
    eventually(lambda: cluster.entries()[name].restarts == 1)
    file.unlink()
    eventually(lambda: all(store.is_done(n) for n in plan.nodes))
    assert '"stopped"' in log.read_text()


@pytest.mark.parametrize(("what", "word"), [("hang", '"begun"'), ("sleep", "importing")])
def test_a_cancelled_job_does_not_come_back(
    cluster: FakeSlurm, store: Store, quick: dict[str, str], what: str, word: str
) -> None:
    plan = planned(store)
    name = first(plan, "finetune")
    play(store, name, what)
    ends: list[Summary] = []
    thread = threading.Thread(target=lambda: ends.append(carried_out(store, quick)[0]))
    thread.start()
    eventually(lambda: name in cluster.entries() and cluster.entries()[name].state == "RUNNING")
    log = Path(cluster.entries()[name].options["output"].replace("%%", "%"))
    eventually(lambda: word in log.read_text())
    os.system(f"scancel {cluster.entries()[name].number}")
    thread.join(30)

    assert cluster.entries()[name].state == "CANCELLED"
    assert ends[0].stopped == [name]
    assert not ends[0].failed and not ends[0].blocked
    assert set(ends[0].done) == set(plan.nodes) - {name} - users(plan, name)


def test_a_job_that_never_reaches_the_stage_fails_with_the_place_of_its_log(
    cluster: FakeSlurm, store: Store, quick: dict[str, str]
) -> None:
    plan = planned(store)
    name = first(plan, "evaluate")
    play(store, name, "break")
    summary, watcher = carried_out(store, quick)
    assert summary.failed == [name]
    assert "status 3" in watcher.ended[name][1]
    assert "no module named casl" in Path(watcher.ended[name][1].rpartition("log: ")[2]).read_text()


def test_ctrl_c_leaves_the_jobs_and_says_how_to_cancel_them(
    cluster: FakeSlurm, store: Store, quick: dict[str, str]
) -> None:
    plan = planned(store)
    play(store, first(plan, "finetune"), "hang")
    slurm = launcher(store, quick)
    summary = execute(
        plan, store, slurm, CPU, Silent(), lambda name: None, stopping=lambda: cluster.submissions() == len(plan.todo)
    )
    assert summary.stopped
    left = slurm.farewell()
    assert not cluster.entries()[first(plan, "finetune")].is_over

    os.system(
        next(line for line in left.splitlines() if "cancel:" in line).partition("cancel: ")[2].partition("   ")[0]
    )
    eventually(lambda: all(entry.is_over for entry in cluster.entries().values()))


def test_without_keep_going_nothing_is_handed_over_ahead(
    cluster: FakeSlurm, store: Store, quick: dict[str, str]
) -> None:
    plan = planned(store)
    bad = first(plan, "finetune")
    play(store, bad, "fail")
    summary, _ = carried_out(store, quick, keep_going=False)
    assert summary.failed == [bad]
    assert not users(plan, bad) & set(cluster.entries())


def test_options_become_lines_of_the_script(cluster: FakeSlurm, store: Store, quick: dict[str, str]) -> None:
    more = {"slurm.partition": "gpu", "slurm.time": "4:00:00", "slurm.exclusive": "", "slurm.prologue": "module load x"}
    cluster.is_held = True
    slurm = launcher(store, {**quick, **more})
    node = next(iter(planned(store).nodes.values()))
    slurm.submit(Job(node.stage, placement=Placement(ranks=4, nodes=2)))
    options = cluster.entries()[node.stage.name].options
    assert {n: options[n] for n in ("partition", "time", "exclusive", "gres", "nodes", "ntasks-per-node")} == {
        "partition": "gpu", "time": "4:00:00", "exclusive": "", "gres": "gpu:4", "nodes": "2", "ntasks-per-node": "1",
    }  # fmt: skip
    assert "\nmodule load x\n" in Path(cluster.entries()[node.stage.name].script).read_text()


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (Resources(options={"slurm.dependency": "singleton"}), "writes --dependency itself"),
        (Resources(options={"slurm.losses": "many"}), "numbers"),
        (Resources(options={"slrum.partition": "gpu"}), "(?s)unknown option .slrum.partition.;.*--launcher"),
        (Resources(jobs=4), "Slurm shares out the cluster"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_submitted(
    cluster: FakeSlurm, store: Store, resources: Resources, said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        Slurm(store, resources)


def test_what_slurm_refuses_is_passed_on(cluster: FakeSlurm, store: Store, quick: dict[str, str]) -> None:
    with pytest.raises(StageError, match="invalid partition specified: nowhere"):
        carried_out(store, {**quick, "slurm.partition": "nowhere"})


@pytest.mark.parametrize(
    "says", ["-----\nWelcome, user 7\n  3 nodes\n\n{number}\n", "OK\n{number};east", "{number}\nbye"]
)
def test_a_site_may_print_lines_around_the_id(
    says: str, cluster: FakeSlurm, store: Store, quick: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SAYS, says)
    cluster.is_held = True
    plan = planned(store)
    hand_over(plan, launcher(store, quick), CPU)
    entries = cluster.entries()
    for name, node in plan.nodes.items():  # each was told the numbers of those before it
        assert entries[name].after == [entries[need].number for need in node.needs]


def test_a_submission_without_an_id_says_what_was_printed(
    cluster: FakeSlurm, store: Store, quick: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SAYS, "submitted, thank you")
    with pytest.raises(StageError, match=r"(?s)no job id.*submitted, thank you.*squeue"):
        carried_out(store, quick)


def test_a_machine_without_slurm_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SpecError, match="no squeue on this machine"):
        Slurm(store)
