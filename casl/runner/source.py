"""Source: the files of this package that can change a stage's result, found without importing any of them.

They are the import closure of the module that does the stage, of what it loads by name through the catalog, and of
nothing else: neither the recipe nor a launcher is among them. The digest is recorded with a result and compared later,
never hashed into a key; a change that matters is said with VERSION.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from casl import catalog
from casl.spec.records import Model
from casl.spec.stage import Record, Stage

ROOT = Path(__file__).resolve().parents[2]  # the folder that holds PACKAGES: a checkout, a snapshot, site-packages
PACKAGES = ("casl", "ablations")
CATALOG = "casl.catalog"  # only the entries a stage uses belong to it, not the whole list of names


@dataclass(frozen=True)
class Source:
    """Code of a stage. files: path relative to the checkout -> sha256; a name of the catalog counts as a file."""

    digest: str
    files: Mapping[str, str]


def source_of(stage: Stage) -> Source:
    """The code that would do a stage now, as it lies on the disk; read once a process.

    It ends at this package: other packages are recorded by version.
    """
    return _source(("stage", stage.kind), tuple(sorted(set(_names(stage)))))


def digest_of(files: Mapping[str, str]) -> str:
    """64 hex digits for a list of files with their digests."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def changed_files(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Paths that differ between two sources, sorted."""
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


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
    for module in sorted({m for row in rows.values() for m in _closure(catalog.place_of(row).partition(":")[0])}):
        path = _files()[module]
        files[path.relative_to(ROOT).as_posix()] = _content(path)[0]
    for (kind, name), row in rows.items():
        files[f"casl/catalog.py {kind} {name}"] = hashlib.sha256(repr(row).encode()).hexdigest()
    return Source(digest_of(files), files)


@lru_cache(maxsize=1)
def _files() -> dict[str, Path]:
    """Module name -> file, of everything in the packages."""
    found = {}
    for path in (p for package in PACKAGES for p in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@lru_cache(maxsize=512)
def _content(path: Path) -> tuple[str, tuple[str, ...]]:
    """sha256 of a file, and the modules of the packages that it imports anywhere in it."""
    data = path.read_bytes()
    return hashlib.sha256(data).hexdigest(), tuple(sorted(_imports(data, path)))


def _imports(data: bytes, path: Path) -> set[str]:
    package = path.relative_to(ROOT).parent.parts
    found: set[str] = set()
    for node in ast.walk(ast.parse(data, str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*origin, *([node.module] if node.module else [])])
            found.update((module, *(f"{module}.{alias.name}" for alias in node.names)))
    return {name for name in found if name in _files() and name != CATALOG}


@lru_cache(maxsize=512)
def _closure(module: str) -> frozenset[str]:
    """Modules reached from one by imports, itself included; the packages around them count, what those import does not.

    Nothing here is registered by importing, so a package's `__init__` that only re-exports changes no result.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        if (name := waiting.pop()) in found or name not in _files():
            continue
        found.add(name)
        waiting += _content(_files()[name])[1]
    around = {".".join(name.split(".")[:n]) for name in found for n in range(1, name.count(".") + 1)}
    return frozenset(found | (around & _files().keys()))
