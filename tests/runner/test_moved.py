from __future__ import annotations

from pathlib import Path

import pytest

from casl.errors import StoreError
from casl.runner.moved import by_kind, moved, plan_without_moved, set_aside, unrecorded
from casl.runner.plan import Plan
from casl.runner.results import record_of, stage_of
from casl.runner.store import Store
from casl.runner.why import reasons
from tests.runner.finished import edited, finish, other_code, planned
from tests.runner.stores import NANO, chain, new_store

CELLS = [chain(NANO, 1), chain(NANO, 2)]
LOOP = "casl/train/loop.py"


def finished(tmp_path: Path) -> tuple[Store, Plan]:
    store = new_store(tmp_path)
    finish(planned(CELLS, store), store)
    return store, planned(CELLS, store)


def of_other_code(store: Store, kind: str, path: str = LOOP) -> list[str]:
    """Let the results of a kind be made by code with another file."""
    names = [n for n in store.names() if n.startswith(kind)]
    for name in names:
        stage = stage_of(record_of(store, name))
        assert stage is not None
        digest = other_code(store, stage, path)
        edited(store, name, lambda record, digest=digest: record.update(source=digest))  # type: ignore[misc]
    return names


def test_nothing_has_moved_right_after_a_run(tmp_path: Path) -> None:
    store, plan = finished(tmp_path)
    assert plan.todo == [] and moved(plan, store) == {} and unrecorded(plan, store) == []


def test_a_changed_file_is_named_for_each_result_that_it_is_part_of(tmp_path: Path) -> None:
    store, plan = finished(tmp_path)
    names = of_other_code(store, "warmup")
    assert moved(plan, store) == {name: [LOOP] for name in names}
    assert by_kind(moved(plan, store)) == {"warmup": len(names)}


def test_a_result_without_a_source_is_not_counted_but_said(tmp_path: Path) -> None:
    store, plan = finished(tmp_path)
    name = next(n for n in plan.nodes if n.startswith("labeler"))
    edited(store, name, lambda record: record.pop("source"))
    assert moved(plan, store) == {} and unrecorded(plan, store) == [name]


def test_setting_aside_takes_what_was_made_from_it_and_nothing_else(tmp_path: Path) -> None:
    store, plan = finished(tmp_path)
    of_other_code(store, "warmup")
    gone = set_aside(moved(plan, store), store)
    assert {n.partition("-")[0] for n in gone} == {"warmup", "finetune", "evaluate"}
    assert {n.partition("-")[0] for n in store.names()} == {"scenes", "labeler", "pseudolabel"}
    assert gone[0].startswith("evaluate") and gone[-1].startswith("warmup")
    left = sorted(p.name.partition(".")[0] for p in (store.root / "superseded").iterdir())
    assert left == sorted(gone)
    again = planned(CELLS, store)
    assert set(again.todo) <= set(gone)
    assert LOOP in reasons(again, store)[next(n for n in again.todo if n.startswith("warmup"))]


def test_what_continued_from_a_moved_beginning_goes_with_it(tmp_path: Path) -> None:
    store, plan = finished(tmp_path)
    trunk = next(n.resume.name for n in plan.nodes.values() if n.resume is not None and n.resume.kind == "warmup")
    gone = set_aside([trunk], store)
    assert sum(n.startswith("warmup") for n in gone) > 1


def test_the_plan_without_moved_results_is_the_plan_after_setting_them_aside(tmp_path: Path) -> None:
    store, _ = finished(tmp_path)
    of_other_code(store, "finetune")
    before, found = plan_without_moved(lambda s: planned(CELLS, s), store)
    assert planned(CELLS, store).todo == []  # nothing was touched
    set_aside(found, store)
    after = planned(CELLS, store)
    assert (before.todo, list(before.nodes)) == (after.todo, list(after.nodes))
    assert {n.partition("-")[0] for n in after.todo} == {"finetune", "evaluate"}


def test_nothing_is_set_aside_while_a_stage_is_in_progress(tmp_path: Path) -> None:
    store, plan = finished(tmp_path)
    impatient = Store(store.root, stale_s=0.1)
    lease = store.leases.acquire("warmup-" + "0" * 16)
    assert lease is not None
    names = list(plan.nodes)[-1:]
    with lease.kept(lambda: None, beat_s=0.01), pytest.raises(StoreError, match="is in progress"):
        set_aside(names, impatient)
    assert store.is_done(names[0])
    assert set_aside(names, impatient) == names  # it was released
