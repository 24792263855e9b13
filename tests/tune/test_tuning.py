"""A search as a whole: the one behind the shipped report is still the one that `casl tune delta` is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from casl import catalog
from casl.errors import SpecError
from casl.spec import Cell, Profile
from casl.tune.request import SearchRequest
from casl.tune.tuning import Tuning
from tests.runner.stores import NANO, chain, new_store

ROOT = Path(__file__).resolve().parents[2]
SHIPPED: dict[str, Any] = json.loads((ROOT / "reports" / "published" / "mini" / "search-delta.json").read_text())


def tuning(
    tmp_path: Path, request: SearchRequest, profile: Profile = NANO, cells: tuple[Cell, ...] | None = None
) -> Tuning:
    return Tuning(request, [profile], [cells or (chain(NANO, warm=5, fine=3),)], new_store(tmp_path))


def test_the_shipped_search_goes_on_as_the_same_study_with_the_same_trials(tmp_path: Path) -> None:
    """Another version of Optuna makes it another study: run the search again.

    The digest at the end of its name is that of the keys, which a raised VERSION moves: until the search is run again
    the shipped one has that of the code that it was measured with.
    """
    mini: Profile = catalog.load("profile", "mini")
    opened = tuning(tmp_path, SearchRequest(), mini, catalog.load("ablation", "table4").build(mini))
    found = opened.describe()
    assert found.name.rpartition(" ")[0] == SHIPPED["name"].rpartition(" ")[0]
    for name in ("target", "current", "cell", "objective", "labels", "settings"):
        assert getattr(found, name) == SHIPPED[name]
    with opened.trials.working() as me:
        while taken := opened.trials.take(me, new=True):
            for trial in taken:
                opened.trials.end(trial.number, "done", 1.0)
    tried = [(t.number, t.value, t.cohort) for t in opened.trials.all()]
    assert tried == [(t["number"], t["value"], t["cohort"]) for t in SHIPPED["trials"]]


def test_values_that_share_the_warmup_are_not_judged_at_its_rungs(tmp_path: Path) -> None:
    assert tuning(tmp_path, SearchRequest()).question.rungs == (1, 3)
    assert tuning(tmp_path, SearchRequest("finetune.lr", low=0.01, high=0.1)).question.rungs == ()


def test_two_values_are_a_space(tmp_path: Path) -> None:
    opened = tuning(tmp_path, SearchRequest("finetune.lr", choices="0.01,0.1"))
    assert opened.trials.space.grid() == ["0.01", "0.1"]


def test_an_objective_that_the_cell_does_not_have_is_refused(tmp_path: Path) -> None:
    cell = chain(NANO)
    with pytest.raises(SpecError, match="unknown cell of table4"):
        tuning(tmp_path, SearchRequest(), cells=(cell,))
    from casl.spec import evaluate, finetune

    bare = Cell("a", "b", "ap_det", evaluate(NANO, finetune(NANO, None), "ap_det"))
    with pytest.raises(SpecError, match="a / b has no warmup, so there is no objective 'warmup'"):
        tuning(
            tmp_path,
            SearchRequest("finetune.lr", cell=("a", "b"), low=0.1, high=0.2, objective="warmup"),
            cells=(bare,),
        )


def test_only_the_question_names_stage_kinds() -> None:
    files = (ROOT / "casl" / "tune").glob("*.py")
    assert [f.name for f in files if re.search(r"casl\.spec(\.kinds)? import", f.read_text())] == ["question.py"]
