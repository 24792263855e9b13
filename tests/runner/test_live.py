"""What people see of a running plan: titles beside names, bars, and plain lines where nothing is a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from casl.runner import live
from casl.runner.live import BAR, WORDS, View
from casl.runner.plan import make_plan
from casl.runner.remaining import Left
from casl.runner.store import Store
from casl.spec import Cell, evaluate, finetune
from tests.runner.stores import NANO

MODEL = finetune(NANO, None, schedule=1)
END = evaluate(NANO, MODEL, "ap_det")


@pytest.fixture
def view(tmp_path: Path) -> View:
    cell = Cell(row="a", column="b", metric="ap_det", stage=END)
    store = Store(tmp_path / "store", make=False)
    return View(make_plan({"t": [cell]}, store), store)


def event(done: int, total: int = 100) -> dict[str, Any]:
    return {"name": MODEL.name, "done": done, "total": total, "rate": 2.5, "loss": 1.25}


def test_a_line_names_the_stage_and_says_what_it_is(view: View) -> None:
    view.started(MODEL.name)
    assert view._lines()[1].endswith("starting")
    view.progress(event(25))
    line = view._lines()[1]
    assert MODEL.name in line and "fcos" in line and line.endswith("25/100  2.5/s  loss 1.250")


def test_on_a_terminal_bars_and_titles_stand_for_names(view: View) -> None:
    view.started(MODEL.name)
    view.progress(event(50))
    text = io.StringIO()
    Console(file=text, width=160).print(view._picture())
    said = text.getvalue()
    whole, stage = said.splitlines()
    assert stage.count("█") == stage.count("░") == BAR // 2
    assert 0 < whole.count("█") < BAR and whole.count("█") + whole.count("░") == BAR
    assert "finetune" in said and MODEL.name not in said


def test_no_time_is_made_up_before_a_rate_is_known(view: View) -> None:
    assert view._head() == f"[0/{len(view.cost)} stages,   0%, {len(view.cost)} stages of unknown length left]"
    view.started(MODEL.name)
    view.progress(event(50))
    # 20 s of its own 50 iterations, and the two of its beginning; data sets and the evaluation are not known
    assert "3 stages of unknown length left and 21 s of others]" in view._head()


@pytest.mark.parametrize(
    ("seconds", "unknown", "said"),
    [
        (0.0, 0, "about 0 s left"),
        (75.0, 0, "about 75 s left"),
        (0.0, 1, "1 stage of unknown length left"),
        (0.4, 90, "90 stages of unknown length left"),
        (600.0, 90, "90 stages of unknown length left and 10 min of others"),
    ],
)
def test_a_time_is_never_that_of_stages_of_unknown_length(seconds: float, unknown: int, said: str) -> None:
    assert live._left(Left(seconds, unknown)) == said


@pytest.mark.parametrize(("no_colour", "codes"), [("1", False), ("", True)])
def test_colour_is_for_terminals_that_want_it(
    view: View, monkeypatch: pytest.MonkeyPatch, no_colour: str, codes: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setenv("TERM", "xterm-256color")
    view.started(MODEL.name)
    view.progress(event(50))
    text = io.StringIO()
    Console(file=text, width=160, force_terminal=True).print(view._picture())
    assert ("\x1b[36m" in text.getvalue()) == codes


def test_long_titles_keep_their_beginning() -> None:
    assert live._shortened("x" * WORDS) == "x" * WORDS
    short = live._shortened("beginning " + "x" * WORDS)
    assert len(short) == WORDS and short.startswith("beginning") and short.endswith("…")


def test_what_failed_is_named_with_its_title(view: View, capsys: pytest.CaptureFixture[str]) -> None:
    view.started(MODEL.name)
    view.finished(MODEL.name, "failed", "no memory")
    said = capsys.readouterr().out
    assert f"failed  {MODEL.name}" in said and "no memory" in said and "log: " in said
    view.finished(replace(MODEL, seed=9).name, "blocked", "")  # of no plan: its name alone
    assert "blocked" in capsys.readouterr().out
