"""Rows of the catalog that other packages offer, through the entry-point group `casl` of their metadata.

    [project.entry-points.casl]
    my_pkg = "my_pkg.casl_rows:ROWS"

ROWS is {kind: {name: row}}, as {"detector": {"mine": Detector("my_pkg.detector:build")}}. The module that holds it is
imported by every command, so it should import the types of its rows from casl.rows and nothing slow.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casl.errors import SpecError, unknown

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

GROUP = "casl"
ENTRY_POINTS = "entry_points.txt"
_NAME = re.compile(r"[A-Za-z0-9][\w-]*")
_PLACE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Offer:
    """What one entry point offers.

    distribution, version: of the package. place: of the rows, "my_pkg.casl_rows:ROWS". metadata: the folder
    *.dist-info or *.egg-info that names it. rows: kind -> name -> row, checked by `check`.
    """

    distribution: str
    version: str
    place: str
    metadata: Path
    rows: Mapping[str, Mapping[str, Any]]

    @property
    def owner(self) -> str:
        """For people: "my_pkg 1.0"."""
        return f"{self.distribution} {self.version}"

    @property
    def file(self) -> str:
        """Of the rows, from the folder that holds the package: "my_pkg/casl_rows.py"."""
        return self.place.partition(":")[0].replace(".", "/") + ".py"


def read_offers() -> tuple[Offer, ...]:
    """The offers of all packages on sys.path, their modules imported.

    Raises:
        SpecError: an entry point cannot be imported, or is no dict of dicts; the message names its package.
    """
    if not (folders := announced()):
        return ()
    # Imported here only, and asked about these folders only: importlib.metadata and a look at the metadata of every
    # installed package cost 45 ms, a sixth of what a plan takes, and most users have no such package.
    from importlib.metadata import Distribution

    found: dict[str, tuple[Path, Distribution]] = {}
    for folder in folders:
        distribution = Distribution.at(folder)
        found.setdefault(_normalized(_name_of(distribution, folder)), (folder, distribution))
    return tuple(
        _offer(folder, distribution, entry)
        for folder, distribution in found.values()
        for entry in distribution.entry_points
        if entry.group == GROUP
    )


def announced() -> list[Path]:
    """Metadata folders on sys.path with entry points of the group, in the order of sys.path.

    Packages in zip files are not seen; pip installs none.
    """
    return [folder for entry in dict.fromkeys(sys.path) for folder in _announced_in(entry or ".")]


def check(offers: tuple[Offer, ...], forms: Mapping[str, type], built_in: Mapping[str, Mapping[str, Any]]) -> None:
    """Whether every row has a legal kind, name and type, and a name that nothing else has.

    Args:
        forms: kind -> type of its rows, of all kinds that packages may offer.
        built_in: kind -> name -> row, of casl itself.

    Raises:
        SpecError: not so; the message names the package, or both packages that use a name.
    """
    owners = {(kind, name): f"casl {_version_of_casl()}" for kind, names in built_in.items() for name in names}
    for offer in offers:
        for kind, rows in offer.rows.items():
            if kind not in forms:
                raise SpecError(f"package {offer.owner}: {unknown('kind of row', str(kind), forms)}")
            for name, row in rows.items():
                _check_row(offer, kind, name, row, forms[kind])
                if other := owners.get((kind, name)):
                    raise SpecError(
                        f"{kind} {name!r} is offered by {offer.owner} ({offer.place}) and is also one of {other}.\n"
                        "  rename one of them, or uninstall one of the packages."
                    )
                owners[kind, name] = offer.owner


def _announced_in(entry: str) -> Iterator[Path]:
    try:
        names = sorted(name for name in os.listdir(entry) if name.endswith((".dist-info", ".egg-info")))  # noqa: PTH208
    except OSError:  # a zip file, or a folder that is not there
        return
    for name in names:
        try:
            with open(os.path.join(entry, name, ENTRY_POINTS), encoding="utf-8") as file:  # noqa: PTH118, PTH123
                text = file.read()
        except OSError:  # most packages have none
            continue
        if any(line.strip() == f"[{GROUP}]" for line in text.splitlines()):
            yield Path(entry, name).absolute()


def _offer(folder: Path, distribution: Distribution, entry: EntryPoint) -> Offer:
    owner = f"{_name_of(distribution, folder)} {distribution.version}"
    try:
        rows = entry.load()
    except (Exception, SystemExit) as error:  # whatever a module of another project raises while it is imported
        raise SpecError(
            f"package {owner}: its rows {entry.value!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(rows, Mapping) or not all(isinstance(names, Mapping) for names in rows.values()):
        raise SpecError(f"package {owner}: {entry.value!r} is no dict of dicts, {{kind: {{name: row}}}}")
    return Offer(_name_of(distribution, folder), distribution.version, entry.value, folder, rows)


def _check_row(offer: Offer, kind: str, name: object, row: Any, form: type[Any]) -> None:
    where = f"package {offer.owner}: {kind} {name!r}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError(f"{where} is no legal name: letters, digits, '_' and '-'")
    if not isinstance(row, form):
        wanted = "a place, 'module:attribute'" if form is str else f"a casl.rows.{form.__name__}"
        raise SpecError(f"{where} is of type {type(row).__name__}, and a row of kind {kind} is {wanted}")
    place = row if isinstance(row, str) else str(row.place)
    if not _PLACE.fullmatch(place):
        raise SpecError(f"{where} has the place {place!r}, and a place is 'module:attribute'")


def _name_of(distribution: Distribution, folder: Path) -> str:
    return str(distribution.metadata["Name"] or folder.stem.partition("-")[0])


def _normalized(name: str) -> str:
    """A distribution's name as installers compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _version_of_casl() -> str:
    from importlib import metadata

    try:
        return metadata.version("casl")
    except metadata.PackageNotFoundError:
        return "(not installed)"
