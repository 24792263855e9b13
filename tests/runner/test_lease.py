from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from casl.errors import StoreError
from casl.files import write_atomic
from casl.runner.lease import Lease, Leases
from casl.runner.store import Store
from tests.runner.stores import RECORD, hold, new_store, scenes

NAME = "warmup-0123456789abcdef"


def abroad(lease: Lease) -> None:
    """Make a lease look as if a process of another machine held it."""
    first, _, rest = lease.path.read_text().partition("\n")
    lease.path.write_text(json.dumps({**json.loads(first), "machine": "another", "host": "node7"}) + "\n" + rest)


def held_by_nobody(root: Path) -> None:
    """Take a lease and end without a word, as a killed process does."""
    assert Leases(root).acquire(NAME)


def in_another_process(function: Any, *arguments: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_a_held_stage_is_not_given_twice(tmp_path: Path) -> None:
    mine = Leases(tmp_path).acquire(NAME)
    assert mine and mine.number == 1
    assert Leases(tmp_path).acquire(NAME) is None
    mine.release()
    again = Leases(tmp_path).acquire(NAME)
    assert again and again.number == 2


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    start = threading.Barrier(16)
    got: list[Lease] = []

    def take() -> None:
        start.wait()
        if lease := Leases(tmp_path).acquire(NAME):
            got.append(lease)

    for _ in range(20):
        threads = [threading.Thread(target=take) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
        got.pop().release()


def test_a_dead_owner_on_this_machine_is_known_at_once(tmp_path: Path) -> None:
    in_another_process(held_by_nobody, tmp_path)
    assert not Leases(tmp_path).is_held(NAME)
    mine = Leases(tmp_path).acquire(NAME)
    assert mine and mine.number == 2


def test_a_process_number_used_again_is_not_the_owner(tmp_path: Path) -> None:
    mine = Leases(tmp_path).acquire(NAME)
    assert mine
    record = json.loads(mine.path.read_text().split("\n")[0])
    mine.path.write_text(json.dumps({**record, "born": "1"}) + "\n")  # this pid, of an earlier process
    assert Leases(tmp_path).acquire(NAME)


def test_an_owner_elsewhere_is_believed_while_it_beats_and_not_when_silent(tmp_path: Path) -> None:
    theirs = Leases(tmp_path).acquire(NAME)
    assert theirs
    abroad(theirs)
    mine = Leases(tmp_path, stale_s=0.3)
    for _ in range(6):
        assert theirs.beat()
        assert mine.acquire(NAME) is None
        time.sleep(0.1)
    until = time.monotonic() + 20
    while (got := mine.acquire(NAME)) is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert got.number == 2
    assert not theirs.beat() and not theirs.is_ours()


@pytest.mark.parametrize("jump", [-1e8, 1e8])
def test_clocks_that_jump_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    theirs = Leases(tmp_path).acquire(NAME)
    assert theirs
    abroad(theirs)
    mine = Leases(tmp_path, stale_s=60)
    assert mine.acquire(NAME) is None
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    os.utime(theirs.path, (1e9 + jump, 1e9 + jump))
    assert mine.acquire(NAME) is None
    theirs.release()
    assert mine.acquire(NAME)


def test_an_owner_who_slept_can_neither_write_nor_commit(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", stale_s=0.05)
    sleeper = hold(store, scenes())
    abroad(sleeper)
    write_atomic(store.attempt(sleeper) / "checkpoint", b"good")
    assert store.leases.acquire(scenes().name) is None
    time.sleep(0.1)
    heir = hold(store, scenes())
    assert (store.attempt(heir) / "checkpoint").read_bytes() == b"good"
    write_atomic(store.attempt(sleeper) / "checkpoint", b"late")
    assert (store.attempt(heir) / "checkpoint").read_bytes() == b"good"
    with pytest.raises(StoreError, match="taken over"):
        store.commit(scenes(), RECORD, sleeper)
    store.commit(scenes(), RECORD, heir)
    assert (store.folder(scenes().name) / "checkpoint").read_bytes() == b"good"
    assert not (store.working / scenes().name).exists()


def test_a_lost_lease_is_noticed(tmp_path: Path) -> None:
    mine = Leases(tmp_path).acquire(NAME)
    assert mine
    lost = threading.Event()
    with mine.kept(lost.set, beat_s=0.02):
        time.sleep(0.1)
        assert not lost.is_set()
        (mine.folder / "2").write_text("{}\n")
        assert lost.wait(20)


def test_a_damaged_lease_heals_when_nobody_beats(tmp_path: Path) -> None:
    mine = Leases(tmp_path, stale_s=0.05).acquire(NAME)
    assert mine
    mine.path.write_bytes(b"\xff\x00{")
    others = Leases(tmp_path, stale_s=0.05)
    assert others.acquire(NAME) is None
    time.sleep(0.1)
    assert others.acquire(NAME)


def test_every_attempt_is_remembered(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    first = hold(store, scenes())
    first.release()
    second = hold(store, scenes())
    assert store.run(scenes().name).status == "running"
    assert [sorted(a) for a in store.leases.attempts(scenes().name)] == [["host", "seconds", "started"]] * 2
    second.release()
    assert store.run(scenes().name).status == "not run"


def test_a_lease_ends_also_where_its_last_line_does_not_fit_on_the_disk(tmp_path: Path) -> None:
    mine = Leases(tmp_path).acquire(NAME)
    assert mine
    mine.path.unlink()
    mine.path.symlink_to("/dev/full")
    mine.release()
