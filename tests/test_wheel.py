"""The wheel that pip builds is all of casl: it predicts in an empty folder, without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_predict import keep, training

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import sys, casl
assert casl.__file__.startswith(sys.argv[1]), casl.__file__
model = casl.load(sys.argv[2], device="cpu")
print(len(model.predict(sys.argv[3], threshold=0.05)), model.classes[0])
"""


def _built(folder: Path) -> Path:
    """The wheel of a copy of the repository, since building writes beside the source."""
    for name in ("pyproject.toml", "README.md", "casl", "ablations"):
        source, target = ROOT / name, folder / "source" / name
        ignored = shutil.ignore_patterns("__pycache__")
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target, ignore=ignored) if source.is_dir() else shutil.copy(source, target)
    words = ["wheel", str(folder / "source"), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_a_wheel_predicts_on_a_photo_from_an_empty_folder(tmp_path: Path) -> None:
    site, empty, photo = tmp_path / "site", tmp_path / "empty", tmp_path / "photo.png"
    empty.mkdir()
    with zipfile.ZipFile(_built(tmp_path)) as wheel:
        wheel.extractall(site)
    shipped = {
        p.relative_to(ROOT).as_posix() for n in ("casl", "ablations") for p in (ROOT / n).rglob("*") if p.is_file()
    }
    shipped = {name for name in shipped if "__pycache__" not in name}
    assert not {name for name in shipped if not (site / name).is_file()}, "a file that setuptools does not take"
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    Image.fromarray(noise).resize((64, 48)).save(photo)
    store = tmp_path / "store"
    folder = store / "stages" / keep(store, training())
    environment = {**os.environ, "PYTHONPATH": str(site)}
    words = [sys.executable, "-c", SCRIPT, str(site), str(folder), str(photo)]
    done = subprocess.run(words, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, name = done.stdout.split(maxsplit=1)
    assert int(count) > 0 and name.strip()
    assert "drawn scenes of 64 px" in done.stderr and not list(empty.iterdir())
