"""docs/library.md runs as it stands, and whatever a page imports of casl is promised in docs/reference.md."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from casl.data.pseudo import count_pseudo_labels
from casl.runner.source import ROOT
from tests.docs.pages import BLOCK, EVERY
from tests.outside.folder import casl, package, write

BLOCKS = BLOCK.findall((ROOT / "docs" / "library.md").read_text())
STORED = "pseudolabel-"  # in the block that needs a store
TABLE = """
from casl.spec import Ablation, Cell, evaluate, warmup


def cells(profile):
    yield Cell(row="a", column="b", metric="ap_e", stage=evaluate(profile, warmup(profile, schedule=1), "ap_e"))


ABLATION = Ablation(name="mine", title="Mine", source="", cells=cells)
"""


def printed(code: str, names: dict[str, Any]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "library.md", "exec", dont_inherit=True), names)
    return said.getvalue()


def test_every_block_prints_what_the_page_says() -> None:
    names: dict[str, Any] = {}
    told = 0
    for (language, code), (after, words) in zip(BLOCKS, [*BLOCKS[1:], ("python", "")], strict=True):
        if language != "python" or STORED in code:
            continue
        assert after == "", "what a block prints stands behind it"
        assert printed(code, names) == words
        told += 1
    assert told == sum(language == "python" for language, _ in BLOCKS) - 1


@pytest.mark.slow
def test_labels_are_read_from_the_store_of_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = package(tmp_path / "site", 'ROWS = {"profile": {"nano": "tests.runner.stores:NANO"}}\n', name="small")
    write(tmp_path, {"mine.py": TABLE})
    study = ("./mine.py", "--profile", "nano", "--mlflow", "http://127.0.0.1:9", "--launcher", "inline")
    casl(tmp_path, "run", *study, path=(site,))
    monkeypatch.chdir(tmp_path)
    (code,) = (code for _, code in BLOCKS if STORED in code)
    said = printed(code, {})
    (folder,) = (tmp_path / "store" / "stages").glob(f"{STORED}*/labels")
    images, labels = count_pseudo_labels(folder, 0.0)
    assert said.startswith(f"{images} images, {labels} labels of ") and images > 0
    assert len(said.splitlines()) == 1 + min(3, images)


def imported() -> set[str]:
    """Places of what the Python on pages imports of casl, as the reference writes them."""
    found = set()
    for page in EVERY:
        for language, code in BLOCK.findall(page.read_text()):
            for node in ast.walk(ast.parse(code)) if language == "python" else ():
                if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "casl":
                    found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_reference_promises_what_pages_import() -> None:
    listed = set(re.findall(r"^- \[`([\w.]+)`\]", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE))
    assert imported() and imported() <= listed
    for name in imported():
        module, _, thing = name.rpartition(".")
        assert hasattr(importlib.import_module(module), thing), name
