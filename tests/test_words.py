"""How counts are said."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from casl.words import noun, number_of

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("count", "said"), [(0, "0 cells"), (1, "1 cell"), (2, "2 cells")])
def test_one_of_something_is_not_several(count: int, said: str) -> None:
    assert number_of(count, "cell") == said


def test_a_plural_that_is_not_one_with_an_s_is_given() -> None:
    assert [number_of(count, "box is", "boxes are") for count in (1, 2)] == ["1 box is", "2 boxes are"]
    assert noun(1.5, "epoch") == "epochs"


def test_no_module_chooses_between_singular_and_plural_by_hand() -> None:
    """An if whose two values are text, where one is the other with an s."""
    found = []
    for path in sorted((ROOT / "casl").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.IfExp):
                pair = {ast.unparse(node.body).strip("'"), ast.unparse(node.orelse).strip("'")}
                if pair == {"", "s"} or any(f"{word}s" in pair or f"{word}es" in pair for word in pair - {""}):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found
