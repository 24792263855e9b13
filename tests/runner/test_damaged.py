"""Files of a store that are not what the store wrote: each is told from a sound one, and made anew where it can be."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from casl.cli import main
from casl.errors import StoreError
from casl.runner.gc import remember_roots, roots, tables_of
from casl.runner.lease import Leases
from casl.runner.plan import make_plan
from casl.runner.record import problem_of
from casl.runner.results import LOST, changed_since, record_of
from casl.runner.store import Store
from casl.runner.why import reasons
from casl.spec.kinds import Train
from casl.spec.run import FAILURE, RESULT
from tests.runner.finished import commit, edited, finish, planned
from tests.runner.stores import NANO, chain, committed, new_store, run, scenes

CELL = chain(NANO)
DEEP = "[" * 5_000_000 + "]" * 5_000_000
HUGE = 10**400
SHAPES = ["null", "[]", "{}", "7", '"text"', '{"schema"', "", DEEP]
shapes = pytest.mark.parametrize(
    "content", SHAPES, ids=["null", "list", "object", "number", "text", "cut", "none", "deep"]
)


@shapes
def test_a_record_of_another_shape_does_not_count_and_is_named(tmp_path: Path, content: str) -> None:
    store = new_store(tmp_path)
    committed(store, scenes())
    (store.folder(scenes().name) / RESULT).write_text(content)
    assert not store.is_done(scenes().name) and store.names() == [scenes().name]
    for look in (store.run, store.check):
        with pytest.raises(StoreError, match=r"result\.json is damaged(.|\n)*`casl store verify --quarantine") as told:
            look(scenes().name)
        assert f"--quarantine --store {store.root}`" in str(told.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", 5), ("key", "abc"), ("stage", []), ("stage", {"type": 1}), ("files", {"file.bin": "abc"}),
        ("files", {"file.bin": {"sha256": "a" * 64, "bytes": "7"}}), ("metrics", {"AP": "12"}), ("metrics", None),
        ("seconds", "1"), ("seconds", -1), ("seconds", float("nan")), ("started", 0), ("started", "yesterday"),
        ("host", []), ("dirty", "no"), ("versions", {"torch": 2}), ("facts", []), ("facts", {"started_at": "x"}),
        ("version", "1"), ("inputs", "name"), ("inputs", [1]), ("resume", None), ("source", "../../etc"), ("diff", 1),
        ("attempts", [1]), ("attempts", {}),
        ("seconds", HUGE), ("attempts", [{"seconds": HUGE}]), ("metrics", {"AP": -HUGE}), ("facts", {"images": HUGE}),
        ("stage", {"type": "Evaluate", "size": [HUGE]}),
        ("facts", {"deep": json.loads("[" * 150 + "]" * 150)}),
    ],
)  # fmt: skip
def test_each_field_of_a_record_has_its_type(tmp_path: Path, field: str, value: Any) -> None:
    store = new_store(tmp_path)
    finish(planned([CELL], store), store)
    record = dict(record_of(store, CELL.evaluation.name))
    assert problem_of(record) == ""
    assert problem_of({**record, field: value})


def test_a_number_that_was_edited_in_a_record_is_damage_and_its_stage_computed_again(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    run([CELL], store)
    name = CELL.evaluation.name
    path, before = store.folder(name) / RESULT, dict(store.run(name).metrics)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "metrics": {**before, "AP": 99.9}}))
    with pytest.raises(StoreError, match=r"result\.json is damaged: its content differs from what was committed"):
        store.check(name)
    assert make_plan({"table": [CELL]}, store).todo == [name]
    run([CELL], store)
    assert store.run(name).metrics == before


@pytest.mark.parametrize(
    "change", [{"seconds": 0.0}, {"files": {}}, {"facts": {"note": "best"}}], ids=["time", "files", "note"]
)
def test_any_other_value_of_a_record_that_was_edited_is_damage_too(tmp_path: Path, change: dict[str, Any]) -> None:
    store = new_store(tmp_path)
    committed(store, scenes())
    path = store.folder(scenes().name) / RESULT
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert not store.is_done(scenes().name)


def test_a_record_that_is_only_written_in_another_way_is_the_same(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    committed(store, scenes())
    path = store.folder(scenes().name) / RESULT
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    store.check(scenes().name)


def test_a_damaged_record_is_moved_aside_and_its_stage_computed_again(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    run([CELL], store)
    name, before = CELL.evaluation.name, dict(store.run(CELL.evaluation.name).metrics)
    (store.folder(name) / RESULT).write_text("[]")
    plan = make_plan({"table": [CELL]}, store)
    assert plan.todo == [name] and reasons(plan, store)[name] == "its result was damaged"
    _, summary, _ = run([CELL], store)
    assert summary.done == [name] and store.run(name).metrics == before
    assert [p.name.partition(".")[0] for p in (store.root / "quarantine").iterdir()] == [name]


@pytest.mark.parametrize("field", ["seconds", "metrics", "attempts"])
def test_a_number_that_no_float_holds_is_damage_to_every_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    store = new_store(tmp_path)
    finish(planned([CELL], store), store)
    name = CELL.evaluation.name
    huge = {"seconds": HUGE, "metrics": {"AP": HUGE}, "attempts": [{"seconds": HUGE}]}
    edited(store, name, lambda record: record.update({field: huge[field]}))
    place = ["--store", str(store.root)]
    for verb in (["store", "ls"], ["store", "verify"], ["store", "explain", name], ["show", name], ["store", "gc"]):
        assert main([*verb, *place]) in (0, 1, 2)
        said = capsys.readouterr()
        assert verb[-1] == "gc" or "a whole number of more than 64 bits" in said.out + said.err, verb


def test_a_record_of_another_stage_is_damage(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    committed(store, scenes())
    edited(store, scenes().name, lambda record: record.update(key="f" * 64))
    with pytest.raises(StoreError, match="record of another stage"):
        store.check(scenes().name)


@shapes
def test_a_marker_of_another_shape_says_what_to_remove(tmp_path: Path, content: str) -> None:
    marker = new_store(tmp_path).root / "store.json"
    marker.write_text(content)
    with pytest.raises(StoreError, match=r"store\.json is damaged.*\n  remove it"):
        Store(marker.parent)


@shapes
def test_a_failure_whose_reason_is_lost_is_still_a_failure(tmp_path: Path, content: str) -> None:
    store = new_store(tmp_path)
    store.fail(scenes(), "loss is nan")
    (store.work(scenes().name) / FAILURE).write_text(content)
    assert store.run(scenes().name).status == "failed" and "damaged" in store.run(scenes().name).error


@shapes
def test_a_family_file_of_another_shape_is_read_from_the_record_instead(tmp_path: Path, content: str) -> None:
    store = new_store(tmp_path)
    trained = CELL.evaluation.model
    assert isinstance(trained, Train)
    commit(store, trained)
    known = store.family(trained)
    assert known == {trained.name: trained.schedule}
    (store.root / "families" / trained.family[:16] / trained.name).write_text(content)
    assert store.family(trained) == known


@shapes
def test_a_source_list_of_another_shape_is_lost_not_equal(tmp_path: Path, content: str) -> None:
    store = new_store(tmp_path)
    finish(planned([CELL], store), store)
    record = {**record_of(store, CELL.evaluation.name), "source": "a" * 64}
    (store.root / "sources" / f"{'a' * 64}.json").write_text(content)
    assert changed_since(store, record, CELL.evaluation) == [LOST]


@pytest.mark.parametrize("content", ["5\n", "[]\n", '{"pid": "x"}\n', "null\n..", "5\n..\n6\n", DEEP], ids=range(6))
def test_a_lease_of_another_shape_holds_only_while_it_grows(tmp_path: Path, content: str) -> None:
    leases = Leases(tmp_path, stale_s=0.05)
    (tmp_path / "warmup-1").mkdir()
    (tmp_path / "warmup-1" / "1").write_text(content)
    assert leases.acquire("warmup-1") is None
    assert all(attempt["seconds"] >= 0 for attempt in leases.attempts("warmup-1"))
    time.sleep(0.1)
    got = leases.acquire("warmup-1")
    assert got is not None and got.number == 2


@pytest.mark.parametrize("content", [*SHAPES, '{"study": "a", "asked": {"x": 1}, "continued": []}'], ids=range(9))
def test_a_study_of_another_shape_stops_the_collection_and_is_written_anew_by_a_report(
    tmp_path: Path, content: str
) -> None:
    store = new_store(tmp_path)
    plan = planned([CELL], store)
    remember_roots(store, "mine", plan)
    path = next((store.root / "roots").iterdir())
    path.write_text(content)
    with pytest.raises(StoreError, match=f"{path.name} is damaged.*\n  Remove it"):
        roots(store)
    remember_roots(store, "mine", plan)
    assert tables_of(store)[CELL.evaluation.name] == ["table"]
