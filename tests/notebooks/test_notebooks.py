"""Every notebook runs from top to bottom, and has no logic of its own."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casl import catalog
from casl.look import compare
from casl.look.results import Markdown
from casl.runner.store import Store
from casl.spec import SceneData, evaluate, finetune, warmup
from tests.runner.stores import NANO, RECORD

NANO_OF_EIGHT = replace(NANO, data=SceneData(labeled=8, unlabeled={"tiny": 8}, val=8, size=64))  # pictures show four
FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))
LOGIC = (ast.For, ast.While, ast.If, ast.Try, ast.With, ast.ClassDef, ast.Lambda, ast.BinOp, ast.Compare, ast.BoolOp)


def executed(path: Path) -> list[Any]:
    """Run a percent file; returns the values of its expressions, which a notebook would show."""
    names: dict[str, Any] = {"__name__": path.stem}
    shown = []
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Expr):
            shown.append(eval(compile(ast.Expression(statement.value), str(path), "eval"), names))
        else:
            exec(compile(ast.Module([statement], []), str(path), "exec"), names)
    return [value for value in shown if value is not None]


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One store for all of them, as a user has, and stages of milliseconds."""
    folder = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.PROFILES, "nano", f"{__name__}:NANO_OF_EIGHT")
        for name, value in {"STORE": folder / "store", "REPORTS": folder / "reports", "PROFILE": "nano"}.items():
            patch.setenv(name, str(value))
        yield


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_shows_something_and_warns_of_nothing(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = executed(path)
    assert capfd.readouterr().err == "", "Jupyter shows it in red"
    for value in shown:
        methods = ("_repr_png_", "_repr_markdown_", "_repr_mimebundle_")
        drawn = [content for m in methods if hasattr(value, m) and (content := getattr(value, m)())]
        assert drawn, f"{path.name} would show {value!r:.80}"


@pytest.mark.parametrize(("least", "sentences", "pictures"), [(compare.LEAST, 5, 0), (-1.0, 0, 5)])
def test_models_are_compared_only_where_they_have_learned_something(
    least: float, sentences: int, pictures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of this profile have not, unless nothing counts as something."""
    monkeypatch.setattr(compare, "LEAST", least)
    shown = executed(FOLDER / "05_errors.py")
    said = [value for value in shown if isinstance(value, Markdown) and "Nothing to compare" in value]
    assert (len(said), len(shown) - len(said)) == (sentences, pictures)


def test_the_table_of_models_that_have_learned_nothing_has_a_warning_above_it() -> None:
    shown = executed(FOLDER / "02_table.py")
    (table,) = (value for value in shown if isinstance(value, Markdown) and "Warmup and finetuning" in value)
    assert table.startswith("> **Nothing to compare:**") and "| F 1x |" in table


def test_a_notebook_looks_at_mini_where_the_store_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compare.suggested_profile(tmp_path) == "nano", "as the environment says"
    monkeypatch.delenv("PROFILE")
    assert compare.suggested_profile(tmp_path / "none") == "smoke" and not (tmp_path / "none").exists()
    mini = catalog.load("profile", "mini")
    store = Store(tmp_path)
    assert compare.suggested_profile(tmp_path) == "smoke"
    final = evaluate(mini, finetune(mini, warmup(mini)), "ap_det")
    store.work(final.name).mkdir(parents=True)
    store.commit(final, RECORD)
    assert compare.suggested_profile(tmp_path) == "mini"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_holds_no_logic(path: Path) -> None:
    body = [s for s in ast.parse(path.read_text()).body if not _is_cells(s)]
    for statement in body:
        held = [type(n).__name__ for n in ast.walk(statement) if isinstance(n, (*LOGIC, ast.FunctionDef))]
        assert not held, f"{path.name}:{statement.lineno} has {held}: a notebook calls functions of casl"


def _is_cells(statement: ast.stmt) -> bool:
    """The one thing that may be defined in a notebook: the cells of an ablation."""
    return isinstance(statement, ast.FunctionDef) and statement.name == "cells"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_becomes_what_jupyter_opens(path: Path) -> None:
    if importlib.util.find_spec("jupytext") is None:
        pytest.skip("jupytext is not installed: it is one of the extra `notebooks`")
    jupytext = importlib.import_module("jupytext")

    notebook = jupytext.read(path)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    assert {cell.cell_type for cell in notebook.cells} == {"markdown", "code"}
    assert json.loads(jupytext.writes(notebook, fmt="ipynb"))["nbformat"] == 4


KERNEL = """
import sys
import ipykernel.zmqshell
sys.modules["ipywidgets"] = None
"""


def test_the_first_cell_of_a_kernel_has_no_red_lines_about_bars() -> None:
    """As in a kernel without ipywidgets, where the import of tqdm warns."""
    for first, red in (("pass", True), ("import casl.look", False)):
        script = f"{KERNEL}\n{first}\nimport tqdm.auto"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert bool(done.stderr) == red, done.stderr


def test_every_notebook_is_listed_in_the_readme() -> None:
    said = (FOLDER / "README.md").read_text()
    assert NOTEBOOKS and all(path.name in said for path in NOTEBOOKS)
