"""The rooms of the package, who may import whom, and what may not be imported early."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

from casl import catalog
from casl.spec.freeze import kinds

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
ELSEWHERE = ("detectron2", "supervision")  # for who has them: where one is missing it is said how to get it
LEAVES = {"errors", "words", "durations", "files"}
LATER = "inside functions also "


class Arrows(NamedTuple):
    """Rooms that a room may import: anywhere, and inside functions besides."""

    always: set[str]
    later: set[str]


def table_of_rooms() -> dict[str, Arrows]:
    """Room -> what it may import, as the page has it."""
    rows = re.findall(r"^\| (`(?:casl/|ablations).+?) \| .+? \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    found: dict[str, Arrows] = {}
    for paths, cell in rows:
        always, _, later = cell.partition("; ")
        assert not later or later.startswith(LATER), cell
        arrows = Arrows(_named(always), _named(later.removeprefix(LATER)))
        found |= {Path(path).stem: arrows for path in re.findall(r"`(.+?)`", paths)}
    return found


def _named(cell: str) -> set[str]:
    names = set(cell.split(", ")) - {"", "nothing"}
    return names - {"leaves"} | LEAVES if "leaves" in names else names


def room_of(module: str) -> str:
    """casl.data.coco -> data; casl.tracking.run -> tracking; ablations.table4 -> ablations; casl itself -> ""."""
    first, _, rest = module.partition(".")
    return "ablations" if first == "ablations" else rest.partition(".")[0]


def imports(path: Path) -> list[tuple[str, bool]]:
    """Modules of casl that a file imports, and whether at its top level."""
    tree = ast.parse(path.read_text())
    top = set(ast.walk(tree)) - {
        inner for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for inner in ast.walk(f)
    }
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES or node.module == "casl" else node.module for name in inner]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found += [(n, node in top) for n in names if n.split(".")[0] in ("casl", "ablations")]
    return found


def sources() -> list[Path]:
    return [*sorted((ROOT / "casl").rglob("*.py")), *sorted((ROOT / "ablations").glob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


ROOMS = table_of_rooms()
MODULES = {module_name(path): path for path in sources()}


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_import_follows_the_arrows(path: Path) -> None:
    module = module_name(path)
    if module == "casl":
        return
    room = room_of(module)
    for name, at_top in imports(path):
        arrows = ROOMS[room]
        allowed = {room} | arrows.always | (set() if at_top else arrows.later)
        assert room_of(name) in allowed, f"{module} imports {name}: {room} may import {sorted(allowed)} ({PAGE.name})"


def test_the_page_names_every_room_and_nothing_else() -> None:
    assert set(ROOMS) == {room_of(module) for module in MODULES} - {""}
    assert set().union(*(arrows.always | arrows.later for arrows in ROOMS.values())) <= set(ROOMS)


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """Within a room not inside functions either, where a circle works until one of the two moves an import up."""
    graph = {
        module: {
            name
            for name, at_top in imports(path)
            if name in MODULES and name != module and (at_top or room_of(name) == room_of(module))
        }
        for module, path in MODULES.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for extra, names in project["optional-dependencies"].items() if extra != "dev" for name in names]
    declared = {re.split(r"[^\w.-]", name)[0].lower() for name in [*project["dependencies"], *extras]}
    here = {*sys.stdlib_module_names, "casl", "ablations", *ELSEWHERE}
    named = {name.partition(".")[0] for path in sources() for name in _packages(path)} - here
    sold_as = packages_distributions()
    missing = {name for name in named if not declared & {sold.lower() for sold in sold_as.get(name, [name])}}
    assert len(named) > 15 and not missing, "pyproject.toml must name what they are in"


def _packages(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top level or not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_specs_need_the_standard_library_only() -> None:
    for path in sources():
        if room_of(module_name(path)) not in ("spec", "ablations"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            foreign = {n.split(".")[0] for n in names} - sys.stdlib_module_names - {"casl", "ablations"}
            assert not foreign, f"{path.name} imports {foreign}"


def test_planning_and_reporting_import_neither_torch_nor_mlflow(tmp_path: Path) -> None:
    script = (
        "import sys; from casl.cli import main\n"
        f"study = ['table4', '--profile', 'smoke', '--store', {str(tmp_path / 'store')!r}]\n"
        "assert main(['plan', *study]) == 0\n"
        "from pathlib import Path; from casl.runner.store import Store; Store(Path(study[-1]))\n"
        f"assert main(['report', *study, '--curves', '--reports', {str(tmp_path / 'reports')!r}]) == 1\n"
        "loaded = {'torch', 'mlflow', 'timm', 'optuna'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WITHOUT_KINDS = {"runner", "tracking", "study", "cli"}  # they ask a stage for what they must know of its kind
CONCRETE = {kind.__name__ for kind in kinds().values()}


def of_kinds(tree: ast.AST) -> Iterator[str]:
    """What a module says of single stage kinds: imports of their classes, and their names in comparisons."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"imports {a.name}" for a in node.names if (node.module or "").startswith("casl.spec"))
        elif isinstance(node, ast.Attribute):
            yield f"imports {node.attr}"  # as kinds.Warmup
        compared = isinstance(node, ast.Compare | ast.MatchValue)
        compared |= isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("startswith", "removeprefix")
        for inner in ast.walk(node) if compared else ():
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                yield f"compares {inner.value.rstrip('-')}"


ABOUT_KINDS = {f"imports {name}" for name in CONCRETE} | {f"compares {name}" for name in kinds()}


@pytest.mark.parametrize(
    "path", [p for p in sources() if room_of(module_name(p)) in WITHOUT_KINDS], ids=lambda p: str(p.relative_to(ROOT))
)
def test_runner_tracking_and_command_line_know_no_single_kind(path: Path) -> None:
    found = ABOUT_KINDS.intersection(of_kinds(ast.parse(path.read_text())))
    assert not found, (
        f"{path.name} {', '.join(sorted(found))}: a fact of a kind stands in its class, casl/spec/kinds.py"
    )


@pytest.mark.parametrize(
    "code",
    [
        "from casl.spec.kinds import Warmup",
        "from casl.spec import Evaluate",
        "isinstance(stage, kinds.PseudoLabel)",
        "stage.kind == 'warmup'",
        "stage.kind in ('scenes', 'folder')",
        "name.startswith('evaluate')",
        "match kind:\n    case 'finetune':\n        pass",
    ],
)
def test_knowledge_of_a_single_kind_is_found(code: str) -> None:
    assert ABOUT_KINDS.intersection(of_kinds(ast.parse(code)))


def test_a_study_is_opened_without_a_command_line_and_prints_nothing() -> None:
    for path in (ROOT / "casl" / "study").glob("*.py"):
        tree = ast.walk(ast.parse(path.read_text()))
        names = {getattr(node, field, "") for node in tree for field in ("id", "name", "module", "attr")}
        assert not {"argparse", "print", "input", "stdout", "stderr", "argv"} & names, path.name
    script = "import sys, casl.study.basis, casl.study.ready; assert not {'casl.cli', 'torch'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_room_of_coco_needs_numpy_pycocotools_and_pillow_only() -> None:
    modules = [module_name(p) for p in sources() if p.parent == ROOT / "casl" / "coco" and p.stem != "__init__"]
    assert "casl.coco.judge" in modules
    script = (
        f"import sys, {', '.join(modules)}\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('casl.')}\n"
        "assert rooms <= {'coco', 'errors', 'files'}, rooms\n"
        "loaded = {'torch', 'torchvision', 'mlflow', 'pyarrow', 'timm'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_json_is_read_without_numpy() -> None:
    script = "import sys, casl.coco.reading; assert 'numpy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in catalog.CATALOGS.items() for n in names])
def test_every_name_of_the_catalog_can_be_loaded(kind: str, name: str) -> None:
    assert catalog.load(kind, name) is not None


@pytest.mark.parametrize("path", [p for p in sources() if "table" in p.name], ids=lambda p: p.name)
def test_no_spec_reads_paths_or_devices(path: Path) -> None:
    if path.parent.name == "ablations":
        assert not {"os", "pathlib", "torch"} & {
            a.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import) for a in n.names
        }


def _tabled(node: ast.AST) -> list[ast.expr]:
    """What a table, a comparison or a test of a beginning holds: where a fact about a name may hide."""
    if isinstance(node, ast.Dict):
        return [key for key in node.keys if key]
    if isinstance(node, ast.Set | ast.Tuple | ast.List):
        return node.elts
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.MatchValue):
        return [node.value]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.args if node.func.attr in ("startswith", "endswith", "removeprefix", "partition") else []
    return []


@pytest.mark.parametrize("kind", ["metric", "detector", "backbone"])
def test_facts_about_a_name_stand_in_its_row_of_the_catalog_and_nowhere_else(kind: str) -> None:
    """No other file of the package has a table by such names, compares one or looks at how one begins."""
    found = [
        f"{path.relative_to(ROOT)}:{entry.lineno} {entry.value!r}"
        for path in sorted((ROOT / "casl").rglob("*.py"))
        if path.parent.name != "catalog"
        for node in ast.walk(ast.parse(path.read_text()))
        for entry in _tabled(node)
        if isinstance(entry, ast.Constant) and entry.value in catalog.CATALOGS[kind]
    ]
    assert not found, found
