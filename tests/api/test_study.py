"""`casl.Study`: plan, run and read tables from Python, as `casl plan`, `run` and `report` do."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import NoneType
from typing import get_args, get_type_hints

import pytest

import casl
from casl.api.options import StudyOptions
from casl.cli import main, parser
from casl.errors import SpecError, StageError

TINY = """
from casl.spec import Ablation, Cell, evaluate, finetune

def cells(profile):
    model = finetune(profile, None, schedule=1)
    for metric in ("ap_det", "ap_det_a"):
        yield Cell(row="no warmup", column=metric, metric=metric, stage=evaluate(profile, model, metric), paper=10.0)

ABLATION = Ablation(name="tiny", title="One training", source="", cells=cells)
"""
BROKEN = """
from casl.spec import Ablation, Cell, evaluate, finetune, varied

def cells(profile):
    stage = evaluate(profile, finetune(profile, None, schedule=1), "ap_det")
    yield varied(Cell(row="a", column="b", metric="ap_det", stage=stage), "finetune.lr", 1e30)

ABLATION = Ablation(name="broken", title="Rates that no weights survive", source="", cells=cells)
"""


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tiny.py").write_text(TINY)
    return {"table": str(tmp_path / "tiny.py"), "store": str(tmp_path / "store"), "reports": str(tmp_path / "reports")}


@pytest.mark.slow
def test_a_table_is_planned_run_and_read(places: dict[str, str]) -> None:
    study = casl.Study(places["table"], profile="smoke", store=places["store"], launcher="inline", device="cpu")
    plan = study.plan()
    assert not plan["done"].any() and plan["iterations"].sum() > 0
    assert plan.attrs["cells"] == 2 and plan.attrs["shared_iterations"] == plan["iterations"].sum()
    assert study.table().isna().all(axis=None)
    assert study.run().plan()["done"].all()
    wide, tidy = study.table(), study.table(tidy=True)
    assert list(wide.columns) == ["ap_det", "ap_det_a"] and list(wide.index) == ["no warmup"]
    assert list(tidy["status"]) == ["done", "done"] and list(tidy["paper"]) == [10.0, 10.0]
    words = [places["table"], "--profile", "smoke", "--store", places["store"], "--reports", places["reports"]]
    assert main(["report", *words]) == 0
    reported = json.loads((Path(places["reports"]) / "smoke" / "tiny.json").read_text())["cells"]
    assert [c["value"] for c in reported] == tidy["value"].tolist() == wide.iloc[0].tolist()


def test_keywords_are_the_options_of_run_each_of_its_type() -> None:
    hints = get_type_hints(StudyOptions)
    named = {p.name for p in inspect.signature(casl.Study).parameters.values() if p.kind is p.KEYWORD_ONLY}
    actions = {a.dest: a for a in parser().verbs["run"]._actions if a.option_strings and a.dest not in ("help", "json")}
    names = {dest: a.option_strings[0].removeprefix("--").replace("-", "_") for dest, a in actions.items()}
    assert set(names.values()) == {*hints, *named} and not set(hints) & named
    for dest, name in names.items():
        if name not in named:
            kinds = set(get_args(hints[name]) or [hints[name]])
            assert (int in kinds) == (actions[dest].type is int), name
            assert (bool in kinds) == (actions[dest].nargs == 0), name
            if actions[dest].type is int:
                assert (NoneType in kinds) == (actions[dest].default is None), name


def test_planning_makes_no_store(places: dict[str, str]) -> None:
    casl.Study("table4", "table5", profile="smoke", store=places["store"]).plan()
    assert not Path(places["store"]).exists()


@pytest.mark.parametrize(
    ("tables", "options", "sentence"),
    [
        (("tabel4",), {}, "table4"),
        (("table4",), {"profile": "smok"}, "smoke"),
        (("table4",), {"jobz": 2}, "did you mean 'jobs'"),
        (("table4",), {"workers": 2}, "unknown option of casl.Study 'workers'.\n  it is called 'jobs' now."),
        (("table4",), {"seed": 2}, "unknown option of casl.Study 'seed'.*\n.*did you mean 'seeds'"),
        (("table4",), {"profil": "smoke"}, "did you mean 'profile'"),
        (("table4",), {"crowds-are-objects": True}, "did you mean 'crowds_are_objects'"),
        (("table4",), {"seeds": 0}, "at least 1"),
        (("table4",), {"keep_going": False, "detach": True, "launcher": "slurm", "only_seed": 7}, "--only-seed 7"),
        ((), {}, "needs a table"),
        ((4,), {}, "unknown ablation '4'"),
        ((Path("none.py"),), {}, "no such file: none.py"),
    ],
)
def test_what_does_not_exist_is_named(tables: tuple[object, ...], options: dict[str, object], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        casl.Study(*tables, **options)  # type: ignore[arg-type]


def test_one_of_several_tables_is_asked_for_by_name(places: dict[str, str]) -> None:
    study = casl.Study("table4", "table5", profile="smoke", store=places["store"])
    assert "table4 table5" in repr(study)
    assert study.table("table5").shape == (2, 5)
    with pytest.raises(SpecError, match="several tables"):
        study.table()
    with pytest.raises(SpecError, match="table5"):
        study.table("table55")


def test_a_frame_loses_no_number_where_a_place_holds_several(places: dict[str, str]) -> None:
    study = casl.Study("table6", "table4", "table9", profile="smoke", store=places["store"])
    for name in ("table4", "table6", "table9"):
        wide, tidy = study.table(name), study.table(name, tidy=True)
        assert wide.size >= len(tidy) and set(wide.index) == set(tidy["row"])
        pairs = [(line.column, f"{line.metric} AP") if name == "table6" else line.column for line in tidy.itertuples()]
        assert list(wide.columns) == list(dict.fromkeys(pairs))


@pytest.mark.slow
def test_a_failed_stage_is_an_error_that_says_which(places: dict[str, str]) -> None:
    Path(places["table"]).write_text(BROKEN)
    study = casl.Study(places["table"], profile="smoke", store=places["store"], launcher="inline", device="cpu")
    with pytest.raises(StageError, match=r"finetune-\w+ first"):
        study.run()
