"""The source of a stage, against what Python really loads for it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from casl.runner.source import ROOT, source_of, without_comments
from casl.spec import Evaluate, Finetune, Stage, ancestors
from tests.runner.stores import NANO, chain

NUMERIC = ("data", "metrics", "models", "stages", "train")
CHAIN = {s.kind: s for s in ancestors(chain(NANO).evaluation)}


def files_in_rooms(stage: Stage) -> set[str]:
    return {f for f in source_of(stage).files if f.split("/")[1] in NUMERIC and " " not in f}


def loaded_by(stage: Stage, entries: list[tuple[str, str]]) -> set[str]:
    """Files of the numeric rooms that are in memory after loading the stage and what it loads by name."""
    script = (
        "import sys, json; from casl.catalog import load\n"
        f"[load(*entry) for entry in {[('stage', stage.kind), *entries]!r}]\n"
        "print(json.dumps([m.__file__ for n, m in sys.modules.items() if n.startswith('casl.') and m.__file__]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    paths = {Path(f).relative_to(ROOT).as_posix() for f in json.loads(done.stdout)}
    return {p for p in paths if p.split("/")[1] in NUMERIC}


LATE: dict[str, set[str]] = {
    "scenes": set(),
    "finetune": {
        *("casl/data/list_digest.py", "casl/data/manifest.py"),
        *("casl/train/divided.py", "casl/train/synchronized.py"),
    },
}


@pytest.mark.parametrize(
    ("kind", "entries"),
    [
        ("scenes", []),
        (
            "finetune",
            [("detector", "fcos"), ("backbone", "resnet_micro"), ("augmentation", "weak"), ("optimizer", "adamw")],
        ),
    ],
)
def test_the_source_is_what_python_loads(kind: str, entries: list[tuple[str, str]]) -> None:
    found, loaded = files_in_rooms(CHAIN[kind]), loaded_by(CHAIN[kind], entries)
    assert loaded <= found
    # what is imported inside functions is part of the source, and loaded only when they are called
    assert found - loaded == LATE[kind]


def test_only_what_a_stage_names_belongs_to_it() -> None:
    finetune = CHAIN["finetune"]
    assert isinstance(finetune, Finetune)
    assert "casl/models/fcos.py" in source_of(finetune).files
    assert "casl/models/condinst.py" not in source_of(finetune).files
    other = replace(finetune, model=replace(finetune.model, detector="condinst"))
    assert "casl/models/condinst.py" in source_of(other).files
    assert "casl/models/condinst.py" in source_of(CHAIN["pseudolabel"]).files  # its labeler's


def test_tables_recipes_and_launchers_are_no_source() -> None:
    for stage in CHAIN.values():
        rooms = {f.split("/")[1] for f in source_of(stage).files if f.startswith("casl/")}
        assert not rooms & {"runner", "cli", "report", "tracking", "catalog"}
        assert not {"casl/spec/recipe.py", "casl/spec/profile.py"} & source_of(stage).files.keys()
        assert not any(f.startswith("ablations") for f in source_of(stage).files)


def test_another_entry_under_a_name_is_another_source() -> None:
    evaluate = CHAIN["evaluate"]
    assert isinstance(evaluate, Evaluate)
    one, other = source_of(evaluate), source_of(replace(evaluate, metric="ap_det_a"))
    assert {f for f in one.files.keys() ^ other.files.keys() if "/metrics/" in f} == set()  # both are in one file
    assert one.digest != other.digest


def test_finding_sources_imports_nothing_of_what_it_reads() -> None:
    script = (
        "import sys; from casl import catalog; from casl.runner.source import source_of\n"
        "table = catalog.load('ablation', 'table4').build(catalog.load('profile', 'smoke'))\n"
        "assert source_of(table[0].stage).files\n"
        "loaded = [m for m in sys.modules if m in ('torch', 'numpy') or m.startswith(('casl.stages', 'casl.models'))]\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def what_it_does(text: str) -> bytes:
    return without_comments(text.encode(), ast.walk(ast.parse(text)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1\n", "# of an image\n\nx = 1  # px\n"),
        ('"""Old."""\nx = 1\n', "'''New,\nand # longer.\n'''\nx = 1\n"),
        ("def f(a):\n    return a\n", 'def f(a):\n    """What it gives.\n\n    Args: a.\n    """\n    return a\n'),
        ("class A:\n    x: int\n", 'class A:\n    x: int\n    """The place."""\n'),
        ('x = ["#a", f"{y}#b"]\n', 'x = ["#a", f"{y}#b"]  # "both"\n'),
        ('x = """a\n# b\n"""\n', 'x = """a\n# b\n"""  # a text\n'),
        ("x = 'Größe'\n", "x = 'Größe'  # ä\n"),
        ("x = 1\n", "x = 1  # 'no string\r\n"),
    ],
)
def test_comments_docstrings_and_empty_lines_are_no_source(one: str, other: str) -> None:
    assert what_it_does(one) == what_it_does(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1\n", "x = 2\n"),
        ("x = '# a'\n", "x = '# b'\n"),
        ("x = b'#1'\n", "x = b'#2'\n"),
        ("x = f'{a}#1'\n", "x = f'{a}#2'\n"),
        ('x = """a\n# b\n"""\n', 'x = """a\n"""\n'),
        ('x = """a\n\nb"""\n', 'x = """a\nb"""\n'),
        ('x = """a  \nb"""\n', 'x = """a\nb"""\n'),
        ('f("""a""")\n', 'f("""b""")\n'),
        ("if a:\n    b()\nc()\n", "if a:\n    b()\n    c()\n"),
    ],
)
def test_all_else_of_a_file_is_source(one: str, other: str) -> None:
    assert what_it_does(one) != what_it_does(other)


def test_what_is_left_of_a_module_is_the_same_program() -> None:
    """By the trees of each fifth module of casl, statements that are a text alone left out."""

    def tree(data: bytes) -> str:
        found = ast.parse(data)
        for node in ast.walk(found):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                body[:] = [n for n in body if not isinstance(n, ast.Expr) or not isinstance(n.value, ast.Constant)]
        return ast.dump(found)

    shorter = 0
    for path in sorted((ROOT / "casl").rglob("*.py"))[::5]:
        data = path.read_bytes()
        left = without_comments(data, ast.walk(ast.parse(data)))
        try:
            ast.parse(left)
        except SyntaxError:  # a class or function whose body was its docstring
            continue
        assert tree(data) == tree(left), path
        shorter += len(left) < len(data)
    assert shorter > 60
