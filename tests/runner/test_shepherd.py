"""What must end ends, in real processes: hanging stages, forgotten grandchildren, killed shepherds."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casl.cli.run import interruptible
from casl.runner.job import Job, Placement, Resources
from casl.runner.launch.local import Local
from casl.runner.plan import Node, Plan, make_plan
from casl.runner.schedule import Summary, execute
from casl.runner.store import Store
from casl.spec import Scenes, labeler
from casl.spec.stage import ancestors
from tests.runner.odd.stages import (
    DIES,
    FINE,
    HANGS,
    HANGS_WITH_A_CHILD,
    LEAVES_A_CHILD,
    PIECES_THAT_FIT,
    STOPS_WHEN_ASKED,
)
from tests.runner.stores import NANO, Silent, gone, new_store, processes

ROOT = Path(__file__).resolve().parents[2]
ODD = {"PYTHONPATH": f"{ROOT / 'tests' / 'runner' / 'odd'}:{ROOT}"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process trees are followed through /proc")


def odd(seed: int) -> Scenes:
    return Scenes(split="val", count=1, size=64, seed=seed)


def carry(store: Store, *stages: Any, placement: Placement | None = None, jobs: int = 1) -> tuple[Summary, Silent]:
    nodes = {s.name: Node(s, tuple(i.name for i in s.inputs())) for stage in stages for s in ancestors(stage)}
    plan = Plan(nodes, make_plan({}, store).counts)
    launcher, watcher = Local(store, Resources(jobs=jobs, environment=ODD)), Silent()
    try:
        return execute(plan, store, launcher, placement or Placement(), watcher, lambda name: None), watcher
    finally:
        launcher.close()


def the_one(word: str, store: Store) -> int:
    """The only process with that word and the store on its command line; a new one may not have it yet."""
    until = time.monotonic() + 20
    while len(found := processes(word, str(store.root))) != 1:
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found[0]


@contextlib.contextmanager
def running(store: Store, stage: Scenes) -> Iterator[Local]:
    """A launcher whose job has begun."""
    launcher = Local(store, Resources(jobs=1, environment=ODD))
    launcher.submit(Job(stage))
    while not any(e["event"] == "progress" for e in launcher.poll(1.0)):
        pass
    try:
        yield launcher
    finally:
        launcher.close()


def test_a_stage_that_hangs_is_ended_by_the_time_limit_and_others_go_on(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    summary, watcher = carry(store, odd(HANGS), odd(FINE), placement=Placement(time_limit_s=1.0))
    assert summary.failed == [odd(HANGS).name] and summary.done == [odd(FINE).name]
    assert "time limit of 1 s" in watcher.ended[odd(HANGS).name][1]


def test_a_grandchild_in_its_own_session_does_not_outlive_its_stage(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    summary, _ = carry(store, odd(LEAVES_A_CHILD))
    assert summary.done
    assert processes("sleeper", str(store.root)) == []


@pytest.mark.parametrize("victim", ["casl.runner.worker", "casl.runner.shepherd"])
def test_a_grandchild_whose_parents_are_killed_is_reaped(tmp_path: Path, victim: str) -> None:
    store = new_store(tmp_path)
    with running(store, odd(HANGS_WITH_A_CHILD)) as launcher:
        orphan = the_one("sleeper", store)
        killed = the_one(victim, store)
        os.kill(killed, signal.SIGKILL)
        while not any(e["event"] == "lost" for e in launcher.poll(1.0)):
            pass
        assert gone(processes("casl.runner.worker", str(store.root)))
        if victim == "casl.runner.shepherd":  # the next one of this store sweeps
            launcher.submit(Job(odd(FINE)))
            while not store.is_done(odd(FINE).name):
                launcher.poll(1.0)
        assert gone([orphan])


def test_a_sweep_spares_the_trees_of_the_living(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with running(store, odd(HANGS_WITH_A_CHILD)):
        alive = the_one("sleeper", store)
        carry(store, odd(FINE))
        assert the_one("sleeper", store) == alive


def test_a_stage_that_kills_every_worker_fails_after_three(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    summary, watcher = carry(store, odd(DIES), odd(FINE))
    assert summary.failed == [odd(DIES).name] and summary.done == [odd(FINE).name]
    assert "died 3 times, last with: 9" in watcher.ended[odd(DIES).name][1]
    assert len(store.leases.attempts(odd(DIES).name)) == 3


def test_a_batch_that_does_not_fit_is_cut_into_more_pieces(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    big, small = (
        replace(labeler(replace(NANO, seed=s)), recipe=replace(NANO.warmup_recipe, batch=b))
        for s, b in ((0, 8), (1, 2))
    )
    summary, watcher = carry(store, big, small)
    assert big.name in summary.done and store.run(big.name).metrics == {"pieces": PIECES_THAT_FIT}
    assert summary.failed == [small.name] and "2 pieces of 2 images do not fit" in watcher.ended[small.name][1]


def test_asked_to_stop_a_stage_saves_and_a_second_run_goes_on(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with running(store, odd(STOPS_WHEN_ASKED)) as launcher:
        launcher.stop()
        while not store.is_done(odd(STOPS_WHEN_ASKED).name):
            launcher.poll(1.0)
    assert store.run(odd(STOPS_WHEN_ASKED).name).metrics == {"seed": STOPS_WHEN_ASKED}


def test_a_shepherd_ends_with_its_runner(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    script = (
        "import sys; from casl.runner.job import *; from casl.runner.launch.local import Local\n"
        "from casl.runner.store import Store; from pathlib import Path; from tests.runner.test_shepherd import *\n"
        f"launcher = Local(Store(Path({str(store.root)!r})), Resources(jobs=1, environment=ODD))\n"
        "launcher.submit(Job(odd(HANGS_WITH_A_CHILD)))\n"
        "while True: print(launcher.poll(1.0), flush=True)\n"
    )
    runner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert runner.stdout is not None
    while b"progress" not in runner.stdout.readline():
        pass
    alive = processes(str(store.root))
    assert len(alive) >= 3
    runner.kill()
    runner.communicate()
    assert gone(alive, within_s=60)


def test_one_job_from_a_file_is_what_other_engines_start(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for seed, code in ((FINE, 0), (DIES, 75)):
        file = tmp_path / "job.json"
        file.write_text(json.dumps({"job": Job(odd(seed)).to_json()}))
        command = [sys.executable, "-m", "casl.runner.shepherd", str(store.root), "--job", str(file)]
        done = subprocess.run(command, env={**os.environ, **ODD}, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
    assert store.is_done(odd(FINE).name)


def test_one_job_waits_while_another_process_has_the_stage(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"job": Job(odd(FINE)).to_json()}))
    mine = store.leases.acquire(odd(FINE).name)
    assert mine
    command = [sys.executable, "-m", "casl.runner.shepherd", str(store.root), "--job", str(file)]
    waiting = subprocess.Popen(command, env={**os.environ, **ODD}, stdout=subprocess.PIPE)
    assert waiting.stdout is not None and b"busy" in waiting.stdout.readline()
    time.sleep(0.2)
    assert waiting.poll() is None
    mine.release()
    waiting.communicate(timeout=60)
    assert waiting.returncode == 0 and store.is_done(odd(FINE).name)


HANDLERS = {
    "shepherd": "from casl.runner.shepherd import Shepherd; process = Shepherd(Store(Path(sys.argv[1])), sys.stdout)",
    "worker": "from casl.runner.worker import main; main([sys.argv[1], '0'])",
    "run": "from casl.cli.run import interruptible; process = interruptible('told'); process.__enter__()",
}
# a further signal at every line of what handles the first, so also where a lock would be held
NESTED = """
import signal, sys
from pathlib import Path
from casl.runner.store import Store
{}
left = 100
def at_every_line(frame, event, argument):
    global left
    if left and event == "line":
        left -= 1
        signal.raise_signal(signal.SIGTERM)
    return at_every_line
sys.settrace(at_every_line)
try:
    signal.raise_signal(signal.SIGTERM)
except KeyboardInterrupt:
    pass
sys.settrace(None)
sys.exit(7 if left < 100 else 8)
"""


@pytest.mark.parametrize("process", HANDLERS)
def test_a_signal_while_another_is_handled_waits_for_nothing(tmp_path: Path, process: str) -> None:
    command = [sys.executable, "-c", NESTED.format(HANDLERS[process]), str(new_store(tmp_path).root)]
    done = subprocess.run(command, cwd=ROOT, input=b"", capture_output=True, timeout=120, check=False)
    assert done.returncode == 7, done.stderr.decode()


def test_a_stop_that_is_asked_for_while_a_line_is_written_is_said_and_heard(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, text: Any) -> int:
            signal.raise_signal(signal.SIGTERM)
            return len(text)

    with monkeypatch.context() as patched, interruptible("stopping") as stopping:
        patched.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(Terminal())))
        print("a line", file=sys.stderr, flush=True)
        assert stopping()
    assert capfd.readouterr().err == "\nstopping\n"


def test_two_runs_take_turns_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-of-this-test")
    store = new_store(tmp_path)
    first = Local(store, Resources(jobs=1, environment=ODD))
    second = Local(store, Resources(jobs=1, environment=ODD))
    try:
        first.submit(Job(odd(STOPS_WHEN_ASKED)))
        while not any(e["event"] == "progress" for e in first.poll(1.0)):
            pass
        second.submit(Job(odd(FINE)))
        for _ in range(5):
            assert second.poll(0.1) == []
        first.stop()
        while not store.is_done(odd(STOPS_WHEN_ASKED).name):
            first.poll(1.0)
        first.poll(1.0)
        while not store.is_done(odd(FINE).name):
            second.poll(1.0)
    finally:
        first.close()
        second.close()
