"""Source: the files that can change a stage's result, found without importing any of them.

They are the import closure of the module that does the stage, of what it loads by name through the catalog, and of
nothing else: neither the recipe nor a launcher is among them. Where a row of another package leads, the closure goes on
in that package and in casl. Of a file counts what a computer does with it, and no comment or docstring. The digest is
recorded with a result and compared later, never hashed into a key; a change that matters is said with VERSION.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from casl import catalog
from casl.rows import Row, place_of
from casl.spec.records import Model
from casl.spec.stage import Record, Stage

ROOT = Path(__file__).resolve().parents[2]  # the folder that holds PACKAGES: a checkout, a snapshot, site-packages
PACKAGES = ("casl", "ablations")
# What names everything and computes nothing: only the rows that a stage uses belong to it.
LISTS = ("casl", "casl.catalog", "casl.rows")


@dataclass(frozen=True)
class Source:
    """Code of a stage. files: path, relative to the folder that holds its package -> sha256 of what it does; a row
    counts as a file."""

    digest: str
    files: Mapping[str, str]


def source_of(stage: Stage) -> Source:
    """The code that would do a stage now, as it lies on the disk; read once a process.

    It ends at casl and the packages whose rows the stage uses: others are recorded by version.
    """
    return _source(("stage", stage.kind), tuple(sorted(set(_names(stage)))))


def digest_of(files: Mapping[str, str]) -> str:
    """64 hex digits for a list of files with their digests."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def changed_files(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Paths that differ between two sources, sorted."""
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def files_of(top: str, root: Path = ROOT) -> dict[str, Path]:
    """All files of a top-level package or module, compiled and hidden ones left out; none where it is not installed.

    A single module stands for all modules of its folder, since it may import them.

    Args:
        root: folder that holds PACKAGES.

    Returns:
        Path, relative to the folder that holds the package -> file, sorted.
    """
    if top in PACKAGES:
        return inside(root / top, f"{top}/")
    if (spec := find_spec(top)) is None:
        return {}
    if spec.submodule_search_locations is not None:
        folders = map(Path, spec.submodule_search_locations)
        return {name: path for folder in folders for name, path in inside(folder, f"{top}/").items()}
    return {path.name: path for path in sorted(Path(str(spec.origin)).parent.glob("*.py"))}


def top_of(row: Row) -> str:
    """The top-level package or module that a row leads to."""
    return place_of(row).partition(":")[0].partition(".")[0]


def inside(folder: Path, beginning: str = "") -> dict[str, Path]:
    """Path inside a folder, after a beginning -> file, sorted; compiled and hidden files are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not any(part == "__pycache__" or part.startswith(".") for part in name.parts) and path.is_file():
            found[beginning + name.as_posix()] = path
    return found


def _names(stage: Stage) -> Iterator[tuple[str, str]]:
    """(catalog, name) of what a stage loads. One without a model of its own works with that of its inputs."""
    own = list(_values(stage))
    records = [value for _, value in own if isinstance(value, Record)]
    if not any(isinstance(record, Model) for record in records):
        inputs = [value for _, value in own if isinstance(value, Stage)]
        records += [value for parent in inputs for _, value in _values(parent) if isinstance(value, Model)]
    for name, value in [*own, *(pair for record in records for pair in _values(record))]:
        if name in catalog.CATALOGS and isinstance(value, str):
            yield name, value


def _values(value: Stage | Record) -> Iterator[tuple[str, object]]:
    return ((f.name, getattr(value, f.name)) for f in fields(value))


@lru_cache(maxsize=4096)
def _source(stage: tuple[str, str], names: tuple[tuple[str, str], ...]) -> Source:
    rows = {(kind, name): catalog.row(kind, name) for kind, name in (stage, *names) if name in catalog.names(kind)}
    files = {}
    for row in rows.values():
        module, beside = place_of(row).partition(":")[0], top_of(row)
        for file in _closure(module, "" if beside in PACKAGES else beside):
            files[file.name] = _content(file)[0]
    files = dict(sorted(files.items()))
    for (kind, name), row in rows.items():
        offer = catalog.offer_of(kind, name)
        files[f"{offer.file if offer else 'casl/catalog'} {kind} {name}"] = hashlib.sha256(
            repr(row).encode()
        ).hexdigest()
    return Source(digest_of(files), files)


class _File(NamedTuple):
    """A module's file. name: its path as a report names it, "casl/models/fcos.py"."""

    name: str
    path: Path


@lru_cache(maxsize=64)
def _modules(beside: str) -> dict[str, _File]:
    """Module -> file, of everything in the packages and in one more, "" for none."""
    found = {}
    for name, path in (pair for top in (*PACKAGES, *filter(None, [beside])) for pair in files_of(top).items()):
        if name.endswith(".py"):
            parts = name.removesuffix(".py").split("/")
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = _File(name, path)
    return found


@lru_cache(maxsize=1024)
def _content(file: _File) -> tuple[str, tuple[str, ...]]:
    """sha256 of what a file does, and the names of modules, or of what is in them, that it imports anywhere in it."""
    data = file.path.read_bytes()
    nodes = [*ast.walk(ast.parse(data, str(file.path)))]
    return hashlib.sha256(without_comments(data, nodes)).hexdigest(), tuple(sorted(_imports(nodes, file)))


def without_comments(data: bytes, nodes: Iterable[ast.AST]) -> bytes:
    """The lines of a module without comments, docstrings and empty lines.

    The text that is left and not the tree is what is compared: trees differ between versions of Python. A comment
    between the pieces of one string stays.

    Args:
        data: of the module.
        nodes: of its tree, all of them.
    """
    lines = data.splitlines()
    strings, docs = (defaultdict[int, list[tuple[int, int]]](list) for _ in range(2))  # line -> its bytes, [from, to)
    for node in nodes:
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            _cover(node, lines, strings)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            _cover(node.value, lines, docs)
    found = []
    for number, line in enumerate(lines, start=1):
        outside = (at.start() for at in re.finditer(b"#", line) if not _within(at.start(), strings[number]))
        left = bytearray(line[: (end := next(outside, len(line)))])
        for first, last in sorted(docs[number], reverse=True):
            del left[first:last]
        of_a_string = bool(strings[number]) and not docs[number]
        if end < len(line) or not of_a_string:
            left = left.rstrip()
        if left.strip() or of_a_string:
            found.append(bytes(left))
    return b"\n".join(found)


def _cover(node: ast.expr, lines: list[bytes], spans: dict[int, list[tuple[int, int]]]) -> None:
    """Note which bytes of which lines an expression takes."""
    last = node.end_lineno or node.lineno
    for number in range(node.lineno, last + 1):
        end = node.end_col_offset if number == last else None
        spans[number].append(
            (
                node.col_offset if number == node.lineno else 0,
                len(lines[number - 1]) if end is None else end,
            )
        )


def _within(at: int, spans: Iterable[tuple[int, int]]) -> bool:
    return any(first <= at < last for first, last in spans)


def _imports(nodes: Iterable[ast.AST], file: _File) -> set[str]:
    package = file.name.split("/")[:-1]
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*origin, *([node.module] if node.module else [])])
            found.update((module, *(f"{module}.{alias.name}" for alias in node.names)))
    return found


@lru_cache(maxsize=512)
def _closure(module: str, beside: str) -> frozenset[_File]:
    """Files reached from a module by imports, its own included; the packages around them count, what those import does
    not.

    Nothing here is registered by importing, so a package's `__init__` that only re-exports changes no result.
    """
    modules, found, waiting = _modules(beside), set[str](), [module]
    while waiting:
        if (name := waiting.pop()) in found or name not in modules or name in LISTS:
            continue
        found.add(name)
        waiting += _content(modules[name])[1]
    around = {".".join(name.split(".")[:n]) for name in found for n in range(1, name.count(".") + 1)}
    return frozenset(modules[name] for name in found | (around & modules.keys()))
