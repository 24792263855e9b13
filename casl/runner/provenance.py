"""Where a result comes from: commit, changes since, source, versions, host. Recorded with every result, never hashed.

What many results share is kept once in the store, by content: sources/<digest>.json, the files a stage's code consists
of, and sources/<digest>.diff, what differed from the commit.
"""

from __future__ import annotations

import difflib
import hashlib
import platform
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from casl.catalog import offered
from casl.files import read_json, write_atomic, write_json
from casl.runner.source import PACKAGES, ROOT, source_of
from casl.spec.kinds import Train
from casl.spec.stage import Stage

VERSIONS_OF = (
    "casl",
    "detectron2",
    "faster-coco-eval",
    "numpy",
    "pillow",
    "pycocotools",
    "timm",
    "torch",
    "torchvision",
)
PROVENANCE, DIFF = "provenance.json", "changes.diff"  # files beside the packages in a snapshot
SOURCES = "sources"


@dataclass(frozen=True)
class Code:
    """A state of the code. commit: "" where there is no git. diff: what the packages differ in from it, as a patch."""

    commit: str
    diff: str

    @property
    def digest(self) -> str:
        """sha256 of the diff, "" where there is none."""
        return hashlib.sha256(self.diff.encode()).hexdigest() if self.diff else ""


@lru_cache(maxsize=1)
def code() -> Code:
    """The code this process runs, at the time of the first call; in a snapshot, what the snapshot was taken of."""
    return read_code(ROOT)


def read_code(root: Path) -> Code:
    """The code in a folder that holds the packages.

    Raises:
        StoreError: it is a snapshot, and its record is damaged.
    """
    if (root / PROVENANCE).exists():
        diff = root / DIFF
        return Code(str(read_json(root / PROVENANCE)["commit"]), diff.read_text() if diff.exists() else "")
    commit = _git(root, "rev-parse", "HEAD").strip()
    if not commit:
        return Code("", "")
    tracked = _git(root, "diff", "--no-ext-diff", "--no-color", "HEAD", "--", *PACKAGES)
    return Code(commit, tracked + "".join(_new_files(root)))


@lru_cache(maxsize=1)
def provenance() -> dict[str, Any]:
    """commit, dirty, versions and host of this process. dirty: whether the packages differ from the commit."""
    versions = {"python": platform.python_version()}
    for package in VERSIONS_OF:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    versions |= {offer.distribution: offer.version for offer in offered()}
    return {"commit": code().commit, "dirty": bool(code().diff), "versions": versions, "host": socket.gethostname()}


def origin(stage: Stage, resume: Train | None, store_root: Path) -> dict[str, Any]:
    """What a stage is made of and by: fields of its record beside `provenance`. Called before the stage is worked on.

    Args:
        resume: the shared beginning it continues from.
        store_root: where the source's files and the diff are kept, once by content.

    Returns:
        source, diff: digests of both; version: of the stage kind; inputs: names of the stages it reads; resume: name of
        the beginning, and begins_at, iterations that it has. Names and version cannot be found from the fields later,
        when a kind's VERSION is another.
    """
    source = source_of(stage)
    folder = store_root / SOURCES
    if not (files := folder / f"{source.digest}.json").exists():
        write_json(files, dict(source.files))
    if code().diff and not (diff := folder / f"{code().digest}.diff").exists():
        write_atomic(diff, code().diff.encode())
    return {
        "source": source.digest,
        "diff": code().digest,
        "version": stage.VERSION,
        "inputs": [parent.name for parent in stage.inputs()],
        "resume": resume.name if resume else "",
        "begins_at": resume.iters if resume else 0,
    }


def _new_files(root: Path) -> Iterator[str]:
    """Patches that add the files git does not know yet; an import may well have found them."""
    listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *PACKAGES)
    for name in sorted(filter(None, listed.split("\0"))):
        lines = (root / name).read_bytes().decode(errors="replace").splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n\\ No newline at end of file\n"
        yield f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
        yield from difflib.unified_diff([], lines, "/dev/null", f"b/{name}")


def _git(root: Path, *arguments: str) -> str:
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
