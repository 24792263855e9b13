"""casl as a wheel, in an environment and a folder that know nothing of the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from casl.runner.source import PACKAGES, ROOT
from casl.runner.store import Store


def done(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command without PYTHONPATH."""
    around = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ended = subprocess.run([*map(str, command)], cwd=cwd, env=around, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel.

    What casl depends on comes from this one, through a .pth file: Python does not read the .pth files of a folder that
    is added so, among which may be the one that an editable installation of the repository has left.
    """
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"  # building leaves files behind
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    wheels = folder / "wheels"
    done(sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-w", wheels, cwd=copy)
    shutil.rmtree(copy)
    done(sys.executable, "-m", "venv", "--without-pip", "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    (wheel,) = wheels.iterdir()
    done(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    found = done(python, "-c", "import ablations, casl; print(ablations.__file__, casl.__file__)", cwd=folder)
    assert all(Path(file).is_relative_to(site) for file in found.split())
    return folder / "env" / "bin"


@pytest.mark.slow
def test_the_wheel_plans_all_tables(environment: Path, tmp_path: Path) -> None:
    asked = ("plan", "all", "--profile", "paper", "--json", "--store", tmp_path / "store")
    plan = json.loads(done(environment / "casl", *asked, cwd=tmp_path))
    here = done(sys.executable, "-m", "casl", *asked, cwd=ROOT)
    assert len(plan["tables"]) == 10
    assert plan["stages_to_run"] == json.loads(here)["stages_to_run"]


@pytest.mark.slow
def test_the_wheel_runs_a_cell_and_reports_it(environment: Path, tmp_path: Path) -> None:
    casl, study = environment / "casl", ("table4", "--profile", "smoke")
    done(casl, "run", *study, "--cell", "F 1x", "W 1x", cwd=tmp_path)
    done(casl, "report", *study, cwd=tmp_path)
    table = json.loads((tmp_path / "reports" / "smoke" / "table4.json").read_bytes())
    assert [c["status"] for c in table["cells"]].count("done") == 1
    store = Store(tmp_path / "store")
    (name,) = (n for n in store.names() if n.startswith("evaluate"))
    record = json.loads((store.folder(name) / "result.json").read_bytes())
    assert (record["commit"], record["dirty"], record["versions"]["casl"]) == ("", False, "0.1.0")
    assert "to run       0 stages" in done(casl, "plan", *study, "--cell", "F 1x", "W 1x", cwd=tmp_path)
