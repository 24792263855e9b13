"""Every notebook runs from top to bottom, and has no logic of its own."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casl import catalog
from casl.spec import SceneData
from tests.runner.stores import NANO

NANO_OF_EIGHT = replace(NANO, data=SceneData(labeled=8, unlabeled={"tiny": 8}, val=8, size=64))  # pictures show four
FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))
LOGIC = (ast.For, ast.While, ast.If, ast.Try, ast.With, ast.ClassDef, ast.Lambda, ast.BinOp, ast.Compare, ast.BoolOp)


def executed(path: Path, settings: Mapping[str, str]) -> tuple[dict[str, Any], list[Any]]:
    """Run a percent file with some of its settings changed.

    Returns:
        Its names, and the values of its expressions, which a notebook would show.
    """
    tree = ast.parse(path.read_text())
    names: dict[str, Any] = {"__name__": path.stem}
    shown = []
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) if name in settings:
                statement.value = ast.fix_missing_locations(ast.copy_location(ast.Constant(settings[name]), statement))
        if isinstance(statement, ast.Expr):
            shown.append(eval(compile(ast.Expression(statement.value), str(path), "eval"), names))
        else:
            exec(compile(ast.Module([statement], []), str(path), "exec"), names)
    return names, [value for value in shown if value is not None]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """One store for all of them, as a user has, and stages of milliseconds."""
    folder = tmp_path_factory.mktemp("notebooks")
    places = {"STORE": str(folder / "store"), "REPORTS": str(folder / "reports"), "DATA": str(folder / "tiny_set")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.PROFILES, "nano", f"{__name__}:NANO_OF_EIGHT")
        yield {**places, "PROFILE": "nano"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_shows_something(path: Path, settings: Mapping[str, str]) -> None:
    _, shown = executed(path, settings)
    for value in shown:
        methods = ("_repr_png_", "_repr_markdown_", "_repr_mimebundle_")
        drawn = [content for m in methods if hasattr(value, m) and (content := getattr(value, m)())]
        assert drawn, f"{path.name} would show {value!r:.80}"


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


def test_every_notebook_is_listed_in_the_readme() -> None:
    said = (FOLDER / "README.md").read_text()
    assert NOTEBOOKS and all(path.name in said for path in NOTEBOOKS)
