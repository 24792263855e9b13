"""Ablations of users: `./mine.py` or `./mine.py:NAME` on a command line, in the place of a table's name."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from casl import catalog
from casl.errors import SpecError, nearest, unknown
from casl.spec.ablation import Ablation, Cell, Origin
from casl.spec.profile import Profile

MOST = 12  # files that a message lists
DEFAULT = "ABLATION"  # attribute that a path alone means
_NAME = re.compile(r"[A-Za-z0-9][\w-]*")
# words of the command line; reports, no tables
_RESERVED = ("all", "claims", "dissertation", "index", "labels", "story")


def is_path(word: str) -> bool:
    """Whether a word of the command line names a file rather than a table of the catalog."""
    return "/" in word or word.partition(":")[0].endswith(".py")


def load_tables(words: Iterable[str]) -> dict[str, Ablation]:
    """Tables by their own names: of the catalog by name, of files by path.

    Raises:
        SpecError: a name or file that does not exist, a file without such an ablation, or two tables of one name.
    """
    tables: dict[str, Ablation] = {}
    places = {_place(word) if is_path(word) else word: word for word in reversed([*words])}  # each once
    for word in reversed(places.values()):
        ablation = _from_path(word) if is_path(word) else _from_catalog(word)
        other = tables.setdefault(ablation.name, ablation)
        if other.origin != ablation.origin:
            owners = " and ".join(table.origin.typed if table.origin else "casl" for table in (other, ablation))
            raise SpecError(f"two ablations are named {ablation.name!r}, those of {owners}; rename one of them")
    return tables


def file_digest(typed: str) -> str:
    """sha256 of the file of "./mine.py:NAME"; "" where it cannot be read."""
    try:
        return hashlib.sha256(_file(typed).read_bytes()).hexdigest()
    except OSError:
        return ""


def _file(typed: str) -> Path:
    return Path(_split(typed)[0])


def _split(typed: str) -> tuple[str, str]:
    """Path and attribute. A colon in a folder's name is part of the path."""
    path, colon, attribute = typed.rpartition(":")
    return (path, attribute) if colon and "/" not in attribute else (typed, DEFAULT)


def _place(typed: str) -> tuple[Path, str]:
    """The same for all spellings of a file and an attribute."""
    return _file(typed).resolve(), _split(typed)[1]


def _from_catalog(name: str) -> Ablation:
    if name not in (known := catalog.names("ablation")):
        there = f" For the file here write ./{name}.py." if Path(f"{name}.py").is_file() else ""
        advice = "Your own is a file, ./mine.py, or a row that your package offers: docs/extend.md."
        raise SpecError(unknown("ablation", name, known, advice + there))
    ablation: Ablation = catalog.load("ablation", name)
    if (offer := catalog.offer_of("ablation", name)) is None:
        return _checked(ablation, name)
    if _checked(ablation, f"{name!r} of {offer.owner}").name != name:
        raise SpecError(f"ablation {name!r} of {offer.owner} is itself named {ablation.name!r}; both must be the same")
    return replace(ablation, origin=Origin(name, package=offer.owner))


def _from_path(typed: str) -> Ablation:
    path, attribute = _file(typed), _split(typed)[1]
    if not path.is_file():
        raise SpecError(_missing(path))
    digest = file_digest(typed)
    with _beside(path.parent):
        module = _imported(path)
    ablation = _attribute(module, path, attribute)
    if ablation.name in (known := catalog.names("ablation")):
        offer = catalog.offer_of("ablation", ablation.name)
        owner = offer.owner if offer else "casl"
        raise SpecError(f"two ablations are named {ablation.name!r}, those of {owner} and {typed}; rename the latter")
    if ablation.name in _RESERVED or not _NAME.fullmatch(ablation.name):
        legal = f"letters, digits, '_' and '-', and none of {', '.join((*_RESERVED, *known))}"
        raise SpecError(f"the name {ablation.name!r} of the ablation in {typed} is not legal: {legal}")
    return replace(ablation, cells=_finding(path.parent, ablation), origin=Origin(typed, sha256=digest))


def _missing(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder; a table is a file of Python, such as {path / 'mine.py'}."
    if not path.parent.is_dir():
        return f"no such file: {path}; the folder {path.parent} does not exist."
    there = sorted(p.stem for p in path.parent.glob("*.py"))
    near = nearest(path.stem, there)
    meant = f"\n  did you mean '{path.parent}/{near}.py'?" if near else ""
    listed = ", ".join(f"{stem}.py" for stem in there[:MOST]) + ", ..." * (len(there) > MOST)
    return f"no such file: {path}; files of Python in its folder: {listed or 'none'}.{meant}"


def _imported(path: Path) -> ModuleType:
    """The module of a file, under a name that no other file and no package has."""
    name = f"_casl_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path} is no file of Python; its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a file of a user raises while it is imported
        del sys.modules[name]
        raise SpecError(f"{path} cannot be imported: {type(error).__name__}: {error}{_line(error, path)}") from error
    return module


def _line(error: BaseException, path: Path) -> str:
    """Where in the file it happened; a SyntaxError says so itself."""
    number, trace = 0, error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path.absolute():
            number = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {number})" if number else ""


def _attribute(module: ModuleType, path: Path, attribute: str) -> Ablation:
    there = [name for name, value in vars(module).items() if isinstance(value, Ablation)]
    if attribute not in vars(module):
        advice = f"Write {path}:NAME, or ABLATION = casl.spec.Ablation(...) in the file."
        raise SpecError(unknown(f"ablation in {path}", attribute, there, advice))
    return _checked(
        getattr(module, attribute), f"{path}:{attribute}", f"; ablations there: {', '.join(there) or 'none'}"
    )


def _checked(found: object, where: str, more: str = "") -> Ablation:
    if not isinstance(found, Ablation):
        raise SpecError(f"{where} is of type {type(found).__name__}, and a table is a casl.spec.Ablation{more}")
    return found


def _finding(folder: Path, ablation: Ablation) -> Any:
    """The cells of an ablation; what its file imports from its own folder in a function is found too."""

    def cells(profile: Profile) -> tuple[Cell, ...]:
        with _beside(folder):
            return tuple(ablation.cells(profile))

    return cells


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """A folder is first on sys.path.

    Modules that came from it are removed from sys.modules at the end, since another folder may have some of the same
    names; modules that imported them keep them.
    """
    place, before = str(folder.resolve()), set(sys.modules)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)
        for name in sys.modules.keys() - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and not name.startswith("_casl_") and Path(file).is_relative_to(place):
                del sys.modules[name]
