"""Folders as users have them: an ablation in a file, and a package with rows of the catalog, installed without pip."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from casl.runner.source import ROOT

TABLE = """
from casl.spec import Ablation, Cell, evaluate, finetune, warmup


def cells(profile):
    for n in (1, 2):
        model = finetune(profile, warmup(profile, schedule=n), schedule=1)
        yield Cell(row="F 1x", column=f"W {n}x", metric="ap_det", stage=evaluate(profile, model, "ap_det"))


ABLATION = Ablation(name="mine", title="Mine", source="", cells=cells)
"""


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files by their paths; returns the folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def package(folder: Path, rows: str, files: Mapping[str, str] | None = None, name: str = "my_pkg") -> Path:
    """A package 1.0 with its metadata, as an installer leaves it. rows: text of the module that has ROWS."""
    metadata = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "entry_points.txt": f"[casl]\n{name} = {name}.casl_rows:ROWS\n",
    }
    own = {"__init__.py": "", "casl_rows.py": rows, **(files or {})}
    write(folder / f"{name}-1.0.dist-info", metadata)
    return write(folder / name, own).parent


def casl(cwd: Path, *words: str, path: tuple[Path, ...] = (), code: int = 0) -> str:
    """Standard output of a command typed in a folder that is not the repository; its errors where code is not 0."""
    around = {**os.environ, "PYTHONPATH": ":".join(map(str, (ROOT, *path))), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "casl", *words]
    done = subprocess.run(command, cwd=cwd, env=around, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout
