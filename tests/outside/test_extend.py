"""The examples of docs/extend.md, in a folder that is not the repository."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from casl.runner.source import ROOT
from casl.runner.store import Store
from tests.outside.folder import casl, package, write

BLOCK = re.compile(r"```(?:python|toml)\n# (\S+)\n(.*?)```", re.DOTALL)
EXAMPLES = {
    "mine": ("mine.py", 4),
    "recall": ("recall.py", 2),
    "centerness": ("detector.py", 2),
    "backbone": ("backbone.py", 2),
    "joint": ("joint.py", 2),
}


def written(folder: Path) -> Path:
    """All files of the page, and the metadata that an installer makes of pyproject.toml."""
    files = dict(BLOCK.findall((ROOT / "docs" / "extend.md").read_text()))
    project = tomllib.loads(files["pyproject.toml"])["project"]
    points = "".join(f"{name} = {place}\n" for name, place in project["entry-points"]["casl"].items())
    metadata = f"{project['name']}-{project['version']}.dist-info"
    files[f"{metadata}/entry_points.txt"] = f"[casl]\n{points}"
    files[f"{metadata}/METADATA"] = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".format(**project)
    return write(folder, files)


def test_every_block_of_the_page_is_a_file() -> None:
    text = (ROOT / "docs" / "extend.md").read_text()
    assert len(BLOCK.findall(text)) == len(re.findall(r"^```(?:python|toml)$", text, flags=re.MULTILINE))
    assert {file for file, _ in EXAMPLES.values()} <= dict(BLOCK.findall(text)).keys()


def test_every_example_is_planned(tmp_path: Path) -> None:
    folder = written(tmp_path)
    files = [f"./{file}" for file, _ in EXAMPLES.values()]
    plan = json.loads(casl(folder, "plan", *files, "--profile", "smoke", "--json", path=(folder,)))
    assert plan["tables"] == list(EXAMPLES) and plan["cells"] == sum(count for _, count in EXAMPLES.values())
    assert plan["stages"]["by_kind"]["unique"]["mixed"] == 1


@pytest.mark.slow
def test_every_example_runs(tmp_path: Path) -> None:
    """In one command, so that they share what they can, and in a profile whose stages take milliseconds."""
    folder = written(tmp_path / "mine")
    small = package(tmp_path / "site", 'ROWS = {"profile": {"nano": "tests.runner.stores:NANO"}}\n', name="small")
    files = [f"./{file}" for file, _ in EXAMPLES.values()]
    study = (*files, "--profile", "nano", "--mlflow", "http://127.0.0.1:9")  # no MLflow answers there
    casl(folder, "run", *study, path=(folder, small))
    casl(folder, "report", *study, path=(folder, small))
    for name, (_, count) in EXAMPLES.items():
        table = json.loads((folder / "reports" / "nano" / f"{name}.json").read_bytes())
        assert [cell["status"] for cell in table["cells"]] == ["done"] * count
    mixed = next(n for n in Store(folder / "store").names() if n.startswith("mixed-"))
    curves = (folder / "store" / "stages" / mixed / "curves.csv").read_text().splitlines()
    assert any(name.endswith("_pseudo") for name in curves[0].split(","))
    assert len(casl(folder, "run", "./joint.py", *study[-4:], "--dry-run", path=(folder, small)).splitlines()) < 8
