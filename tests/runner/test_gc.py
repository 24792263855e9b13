"""Garbage collection: whatever is removed, the tables that are remembered keep all their results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from casl.errors import StoreError
from casl.files import held
from casl.runner.gc import Garbage, find, forget_roots, remember_roots, remove, roots, tables_of
from casl.runner.plan import Plan
from casl.runner.store import Store
from tests.runner.finished import commit, finish, planned
from tests.runner.stores import NANO, chain, new_store, scenes

LONG, SHORT = chain(NANO, 2), chain(NANO, 1)
OTHER = chain(replace(NANO, seed=7))


def studied(store: Store, study: str, *cells: object) -> Plan:
    """Plan, remember and finish a study."""
    plan = planned(cells, store)  # type: ignore[arg-type]
    remember_roots(store, study, plan)
    finish(plan, store)
    return planned(cells, store)  # type: ignore[arg-type]


def removed(store: Store, *, segments: bool = False, leftovers: bool = False) -> list[Garbage]:
    return remove(store, find(store, segments=segments, leftovers=leftovers), segments=segments)


def test_a_store_that_remembers_no_study_is_left_alone(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    finish(planned([LONG], store), store)
    with pytest.raises(StoreError, match="remembers no study"):
        find(store)


def test_what_a_study_needs_stays_and_the_rest_goes(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    finish(planned([OTHER], store), store)
    plan = studied(store, "mine", LONG, SHORT)
    mine = set(plan.nodes) | {n.resume.name for n in plan.nodes.values() if n.resume}
    gone = {g.name for g in removed(store)}
    assert gone and not gone & mine
    assert planned([LONG, SHORT], store).todo == []
    assert all(not store.is_done(n) for n in gone)
    assert not list((store.root / "trash").iterdir())
    assert find(store) == []


def test_listing_touches_nothing_and_counts_the_bytes(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    studied(store, "mine", LONG)
    commit(store, scenes(9))
    folder = store.folder(scenes(9).name)
    (item,) = find(store)
    assert (item.name, item.why) == (scenes(9).name, "unasked")
    assert item.bytes == sum(p.stat().st_size for p in folder.iterdir())
    assert store.is_done(item.name)


def test_a_study_that_failed_halfway_keeps_what_it_has(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    plan = planned([LONG], store)
    remember_roots(store, "mine", plan)
    done = list(plan.nodes)[:4]
    for name in done:
        commit(store, plan.nodes[name].stage)
    assert find(store, segments=True) == []
    assert set(store.names()) == set(done)


def test_beginnings_go_only_when_asked_and_only_when_nobody_waits_for_them(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    plan = planned([LONG, SHORT], store)
    remember_roots(store, "mine", plan)
    beginnings = {n for n, node in plan.nodes.items() if not node.asked}
    assert beginnings
    last = (LONG.evaluation.name, LONG.evaluation.model.name)
    finish(replace(plan, nodes={n: node for n, node in plan.nodes.items() if n not in last}), store)
    assert not {g.name for g in find(store, segments=True)} & beginnings
    finish(planned([LONG, SHORT], store), store)
    remember_roots(store, "mine", planned([LONG, SHORT], store))
    assert find(store) == []
    gone = {g.name for g in removed(store, segments=True)}
    assert gone == beginnings
    assert planned([LONG, SHORT], store).todo == []
    for node in planned([chain(NANO, 3)], store).nodes.values():  # starts again where nothing is left to continue from
        assert node.done or node.resume is None or node.resume.name not in gone


def test_a_study_that_starts_between_listing_and_removing_keeps_its_results(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    studied(store, "mine", LONG)
    finish(planned([OTHER], store), store)
    listed = find(store)
    remember_roots(store, "late", planned([OTHER], store))
    assert remove(store, listed) == []
    assert planned([OTHER], store).todo == []


def test_results_are_checked_again_after_they_were_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store(tmp_path)
    studied(store, "mine", LONG)
    finish(planned([OTHER], store), store)
    listed, late = find(store), planned([OTHER], store)
    replace_path = Path.replace

    def slow(self: Path, target: Path) -> Path:
        moved = replace_path(self, target)
        if self.parent == store.stages:  # a study appears at the worst moment
            remember_roots(store, "late", late)
        return moved

    monkeypatch.setattr(Path, "replace", slow)
    assert remove(store, listed) == []
    assert planned([OTHER], store).todo == []
    for name in late.nodes:
        store.check(name)


def test_nothing_is_removed_while_a_stage_runs_that_no_study_asks_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", stale_s=0.1)
    studied(store, "mine", LONG)
    commit(store, scenes(9))
    lease = store.leases.acquire(scenes(8).name)
    assert lease is not None
    with lease.kept(lambda: None, beat_s=0.01), pytest.raises(StoreError, match="is in progress"):
        removed(store)
    assert store.is_done(scenes(9).name)


def test_a_stage_in_progress_of_a_study_does_not_hinder(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    plan = planned([LONG], store)
    remember_roots(store, "mine", plan)
    commit(store, scenes(9))
    assert store.leases.acquire(next(iter(plan.nodes))) is not None
    assert [g.name for g in removed(store)] == [scenes(9).name]


def test_what_a_killed_import_unpacked_is_left_over_and_what_is_being_unpacked_is_not(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    studied(store, "mine", LONG)
    killed = [store.root / "incoming" / name for name in ("dead1234", "dead5678")]
    killed[0].mkdir(parents=True)  # as an earlier version left it
    with held(killed[1]):
        pass
    with held(store.root / "incoming" / "busy1234"):
        found = find(store, leftovers=True)
        assert [(item.why, item.path) for item in found] == [("incoming", path) for path in killed]
        assert find(store) == [] and len(remove(store, found)) == 2
        assert [path.name for path in (store.root / "incoming").iterdir()] == ["busy1234"]


def test_leftovers_are_what_nobody_works_on_and_no_study_wants(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    plan = planned([LONG], store)
    remember_roots(store, "mine", plan)
    wanted = next(iter(plan.nodes))
    for name in (wanted, scenes(8).name, scenes(9).name):
        store.work(name).mkdir(parents=True)
    assert store.leases.acquire(scenes(9).name) is not None
    commit(store, scenes(7))
    store.quarantine(scenes(7).name)
    with_leftovers = find(store, leftovers=True)
    assert {(g.name, g.why) for g in with_leftovers} == {(scenes(8).name, "unfinished"), (scenes(7).name, "quarantine")}
    assert find(store) == []
    impatient = Store(store.root, stale_s=0.05)
    (store.root / "leases" / scenes(9).name / "1").unlink()  # else it is in progress, and no study asks for it
    assert len(remove(impatient, with_leftovers)) == 2
    assert (store.working / wanted).exists() and not (store.working / scenes(8).name).exists()


def test_a_study_is_remembered_once_and_can_be_forgotten(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    studied(store, "table4 mini", LONG)
    studied(store, "table4/mini", SHORT)  # another one, though it reads alike
    studied(store, "table4 mini", LONG)
    assert sorted(r.study for r in roots(store)) == ["table4 mini", "table4/mini"]
    assert tables_of(store)[LONG.evaluation.name] == ["table"]
    gone = find(store, forgotten=["table4/mini"])
    assert SHORT.evaluation.name in {g.name for g in gone} and SHORT.evaluation.name not in {
        g.name for g in find(store)
    }
    forget_roots(store, "table4/mini")
    assert find(store) == gone
    for refused in (lambda: forget_roots(store, "table4/min"), lambda: find(store, forgotten=["table4/min"])):
        with pytest.raises(StoreError, match="unknown study 'table4/min'; known: table4 mini"):
            refused()
    with pytest.raises(StoreError, match="remembers no study"):
        find(store, forgotten=["table4 mini"])


def test_a_damaged_root_stops_collection(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    studied(store, "mine", LONG)
    path = next((store.root / "roots").iterdir())
    path.write_text(json.dumps({"study": "mine"}))
    with pytest.raises(StoreError, match="damaged"):
        find(store)
