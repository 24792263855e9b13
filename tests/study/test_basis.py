"""From what is asked for to a study: its names in stores and in MLflow, and what is said of its data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from casl.data.scenes import new_scene_set
from casl.errors import SpecError
from casl.study.basis import basis_of
from casl.study.request import StudyRequest

TABLE4 = StudyRequest(("table4",), profile="smoke")
CELL = ("F 2x", "W 3x")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (TABLE4, "table4-smoke-scenes-1"),
        (replace(TABLE4, tables=("table4", "table5"), seeds=2), "table4+table5-smoke-scenes-2"),
        (replace(TABLE4, tables=("dissertation",)), "dissertation-smoke-scenes-1"),
        (replace(TABLE4, rule="C", values=("finetune.lr=0.002",)), "table4-smoke-scenes-1-ruleC-finetune.lr=0.002"),
        (replace(TABLE4, cell=CELL), "table4-smoke-scenes-1-01462bd0"),
        (replace(TABLE4, rows=("F 2x",)), "table4-smoke-scenes-1-17ac7bf3"),
        (replace(TABLE4, rows=("F 2x", "F 3x"), only_seed=1, seeds=2), "table4-smoke-scenes-2-1f0e557a"),
        (replace(TABLE4, only_seed=0), "table4-smoke-scenes-1-efe61430"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_stores_know_a_study_under_the_name_it_always_had(asked: StudyRequest, name: str, tmp_path: Path) -> None:
    """Another name would be another study to `casl store gc`, which would keep the results of both."""
    assert basis_of(replace(asked, store=tmp_path / "store"), make=False).study().name == name
    assert not (tmp_path / "store").exists()


def test_words_that_stand_for_several_tables_and_what_was_changed_are_in_the_headings(tmp_path: Path) -> None:
    asked = StudyRequest(("rivals", "all", "table4"), profile="smoke", rule="B", store=tmp_path / "store")
    study = basis_of(asked, make=False).study()
    assert len(study.tables) == 11 and study.heading == "all (10 tables), rivals"
    assert study.experiment == "casl smoke scenes rule B"


def test_what_there_is_to_say_of_a_data_set_is_returned_also_where_no_study_can_be_made_of_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        new_scene_set(tmp_path / folder / "coins", 3, 3, 3, 64, seed=0 if folder == "a" else 5)
    looked: list[tuple[int, int]] = []
    asked = replace(TABLE4, data=tmp_path / "a/coins", store=tmp_path / "store", size=5)
    basis_of(asked, lambda done, total: looked.append((done, total)))
    second = basis_of(replace(asked, data=tmp_path / "b/coins"))
    assert looked and looked[-1][0] == looked[-1][1], "all images of the first were opened"
    assert second.said[0].startswith("data set coins: 3 labeled (entities)")
    assert f"another set called coins is known here, {tmp_path / 'a/coins'}" in second.said[1]
    assert any("have no annotation and cannot be learned" in line for line in second.warnings)
    assert {*second.roots.values()} == {str(tmp_path / "b/coins")}
    with pytest.raises(SpecError, match="from 32 to 4096 px, got 5"):
        second.study()
    assert capfd.readouterr() == ("", "")
