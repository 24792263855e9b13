"""Archives of numbers: what reports and their statistics read of evaluations, without what these were made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from casl.errors import SpecError, StoreError
from casl.runner.archive import read_archive, write_archive
from casl.runner.gc import find, remember_roots
from casl.runner.plan import outcomes
from casl.runner.store import Store
from casl.spec import Scenes, Warmup
from casl.spec.run import DRAWS, PREDICTIONS
from tests.runner.finished import edited, finish, planned
from tests.runner.stores import NANO, chain, nano, new_store
from tests.runner.test_archive import rewritten

CELL, SECOND = chain(NANO, 2), chain(NANO.with_seed(1), 2)
NAME = CELL.evaluation.name


def measured(tmp_path: Path) -> Store:
    """A store with one finished chain, whose evaluation left draws, predictions and a picture."""
    store = new_store(tmp_path)
    work = store.work(NAME)
    (work / "pictures").mkdir(parents=True)
    for file in (DRAWS, PREDICTIONS, "pictures/a.png"):
        (work / file).write_text(f"[{len(file)}]")
    finish(planned([CELL], store), store, metrics={"AP": 7.0})
    return store


def taken(tmp_path: Path) -> Store:
    """Another store, with the numbers of that evaluation alone."""
    write_archive(measured(tmp_path), [NAME], tmp_path / "numbers.tar", numbers=True)
    other = Store(tmp_path / "other")
    assert read_archive(other, tmp_path / "numbers.tar").added == [NAME]
    return other


def test_numbers_and_draws_come_and_the_record_names_what_did_not(tmp_path: Path) -> None:
    run = taken(tmp_path).run(NAME)
    assert run.status == "done" and run.metrics["AP"] == 7.0
    assert run.left_out == ["file.bin", "pictures/a.png", PREDICTIONS]
    assert sorted(p.name for p in run.folder.iterdir()) == sorted([DRAWS, "result.json"])


def test_a_store_of_numbers_is_sound_and_can_be_written_as_numbers_again(tmp_path: Path) -> None:
    other = taken(tmp_path)
    other.check(NAME)
    write_archive(other, [NAME], tmp_path / "again.tar", numbers=True)
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "numbers.tar").read_bytes()
    with pytest.raises(StoreError, match=f"which {NAME} was made from"):
        write_archive(other, [NAME], tmp_path / "whole.tar")


def test_numbers_alone_are_damage_too_once_they_are_edited(tmp_path: Path) -> None:
    other = taken(tmp_path)
    path = other.folder(NAME) / "result.json"
    path.write_text(path.read_text().replace('"AP": 7.0', '"AP": 77.0'))
    assert not other.is_done(NAME)


def test_nothing_is_trained_again_for_numbers_that_are_there(tmp_path: Path) -> None:
    other = taken(tmp_path)
    plan = planned([CELL], other)
    assert plan.todo == [] and plan.counts == planned([CELL], new_store(tmp_path / "empty")).counts


def test_what_another_cell_needs_is_trained_though_numbers_of_one_are_there(tmp_path: Path) -> None:
    other, empty = taken(tmp_path), new_store(tmp_path / "empty")
    alone = planned([SECOND], empty).todo
    assert set(planned([CELL, SECOND], other).todo) == set(alone)
    longer = chain(NANO, 3)  # continues from trainings that the numbers were made from
    assert set(planned([CELL, longer], other).todo) >= {s.name for s in (longer.evaluation.model, longer.evaluation)}
    finish(planned([CELL, longer], other), other)
    assert planned([CELL, longer], other).todo == []


def test_a_collection_keeps_numbers_that_a_study_asks_for(tmp_path: Path) -> None:
    other = taken(tmp_path)
    remember_roots(other, "study", planned([CELL], other))
    assert [item.name for item in find(other)] == []


def test_the_whole_result_takes_the_place_of_its_numbers(tmp_path: Path) -> None:
    other = taken(tmp_path)
    assert read_archive(other, tmp_path / "numbers.tar").skipped == [NAME]
    write_archive(new_store(tmp_path), [NAME], tmp_path / "whole.tar")
    assert NAME in read_archive(other, tmp_path / "whole.tar").added
    assert other.run(NAME).left_out == () and (other.folder(NAME) / PREDICTIONS).exists()
    assert not [*(other.root / "quarantine").iterdir()]
    assert read_archive(other, tmp_path / "numbers.tar").skipped == [NAME]
    assert other.run(NAME).left_out == ()


def test_whole_results_are_not_asked_of_numbers_without_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"{NAME} is here as numbers alone, which --numbers writes"):
        write_archive(taken(tmp_path), [NAME], tmp_path / "whole.tar")


def test_what_numbers_were_made_from_is_elsewhere_and_not_missing(tmp_path: Path) -> None:
    other = taken(tmp_path)
    runs = outcomes(planned([CELL], other), other)
    assert {run.status for name, run in runs.items() if name != NAME} == {"elsewhere"}
    longer = chain(NANO, 3)
    runs = outcomes(planned([CELL, longer], other), other)
    assert runs[longer.evaluation.model.name].status == "not run"


def test_an_archive_says_of_which_study_it_is(tmp_path: Path) -> None:
    store, words = measured(tmp_path), ["table4", "--seeds", "2"]
    write_archive(store, [NAME], tmp_path / "numbers.tar", numbers=True, about=words)
    assert read_archive(Store(tmp_path / "other"), tmp_path / "numbers.tar").about == words


@pytest.mark.parametrize("words", ["table4", [1], ["a\nb"], ["\x1b[31m"], {"a": 1}, None])
def test_an_archive_that_says_it_in_another_shape_is_refused(tmp_path: Path, words: object) -> None:
    write_archive(measured(tmp_path), [NAME], tmp_path / "numbers.tar", numbers=True)
    manifest = json.dumps({"schema": 1, "stages": [NAME], "about": words}).encode()
    changed = rewritten(tmp_path / "numbers.tar", tmp_path / "b.tar", {"manifest.json": manifest}, [])
    with pytest.raises(StoreError, match="no list of words"):
        read_archive(Store(tmp_path / "other"), changed)


def test_only_evaluations_have_numbers_of_their_own(tmp_path: Path) -> None:
    store = measured(tmp_path)
    with pytest.raises(SpecError, match=r"no evaluation, .*--numbers"):
        write_archive(store, [CELL.evaluation.model.name], tmp_path / "numbers.tar", numbers=True)
    assert not (tmp_path / "numbers.tar").exists()


def test_numbers_of_earlier_versions_of_what_they_were_made_from_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(Scenes, "VERSION", Scenes.VERSION + 7)
        then.setattr(Warmup, "VERSION", Warmup.VERSION + 7)
        cell = chain(nano())
        store = new_store(tmp_path)
        finish(planned([cell], store), store)
        write_archive(store, [cell.evaluation.name], tmp_path / "then.tar", numbers=True)
    outcome = read_archive(Store(tmp_path / "other"), tmp_path / "then.tar")
    assert "of an earlier version" in outcome.damaged[cell.evaluation.name] and outcome.added == []


@pytest.mark.parametrize("value", [None, "predictions.json", [1], {}])
def test_a_record_that_says_otherwise_what_was_left_out_is_none(tmp_path: Path, value: object) -> None:
    store = measured(tmp_path)
    edited(store, NAME, lambda record: record.update(left_out=value))
    assert not store.is_done(NAME)


def test_other_numbers_than_the_key_stands_for_stop_the_import(tmp_path: Path) -> None:
    store = measured(tmp_path)
    changed: Callable[[dict[str, object]], None] = lambda record: record.update(key="0" * 64)  # noqa: E731
    edited(store, NAME, changed)
    with pytest.raises(StoreError, match="another stage"):
        write_archive(store, [NAME], tmp_path / "numbers.tar", numbers=True)
    assert json.loads((store.folder(NAME) / "result.json").read_text())["key"] == "0" * 64
