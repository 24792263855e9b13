"""Files that are small and cost much, or that say two things at once: one sentence that names the file."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from casl.cli import main
from casl.data.scenes import write_scene_set
from casl.errors import DataError
from tests.data.importing import exports

DIGITS = "9" * 5_000  # Python makes no number of so many
# what stands in the place of a list of a JSON file, and what is said of it
VALUES = {
    "deep": ("[" * 100_000 + "]" * 100_000, "nested too deep"),
    "open": ("[" * 100_000, "nested too deep"),
    "deep objects": ('[{"a":' * 100_000 + "0" + "}]" * 100_000, "nested too deep"),
    "digits": (f'[{{"id": {DIGITS}}}]', "a number in it has more than 4300 digits"),
    "negative": (f"[-{DIGITS}]", "a number in it has more than 4300 digits"),
    "twice": ("[], {}", "the name {} stands in one object twice"),
    "twice inside": ('[{"id": 1, "id": 2}]', "the name 'id' stands in one object twice"),
}
WHOLE = {"spaces": b" " * (1 << 20), "zeros": bytes(1 << 20)}
LARGE = 120 << 20
# under a limit of memory that the list of a small file is beyond
LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
from casl.coco.reading import read_json
read_json(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set as the others are made of."""
    folder = tmp_path_factory.mktemp("scenes") / "set"
    assert main(["data", "scenes", str(folder), "--labeled", "1", "--unlabeled", "1", "--val", "1"]) == 0
    return folder


def bomb(text: str, field: str, kind: str) -> tuple[str, str]:
    """A JSON object with a bomb in the place of one list, and what is to be said of it."""
    value, said = VALUES[kind]
    whole = json.loads(text)
    if kind == "twice":
        value = f"[], {json.dumps(field)}: {json.dumps(whole[field])}"
    rest = json.dumps({name: content for name, content in whole.items() if name != field})
    return f"{{{json.dumps(field)}: {value}, {rest[1:]}", said.format(repr(field))


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("verb", ["check", "split", "truth", "results", "plan"])
def test_a_file_of_a_set_is_named(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, kind: str
) -> None:
    there = shutil.copytree(scenes, tmp_path / "set")
    path = there / "annotations" / "instances_val.json"
    text, said = bomb(path.read_text(), "annotations", kind)
    if verb == "results":
        path = tmp_path / "found.json"
    path.write_text(text)
    truth, found = str(there / "annotations" / "instances_val.json"), str(tmp_path / "found.json")
    words = {
        "check": ["data", "check", str(there)],
        "split": ["data", "split", str(there), "--out", str(tmp_path / "other")],
        "truth": ["score", "--gt", truth, "--dt", found, "--metric", "ap_det"],
        "results": ["score", "--gt", truth, "--dt", found, "--metric", "ap_det"],
        "plan": ["plan", "table4", "--profile", "smoke", "--data", str(there), "--store", str(tmp_path / "store")],
    }[verb]
    assert main(words) == (1 if verb == "check" else 2)
    printed = "".join(capsys.readouterr())
    assert path.name in printed and said in printed and "Traceback" not in printed and len(printed) < 3000


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize(("export", "field"), [("labelme", "shapes"), ("via", "_via_img_metadata"), ("cvat", "images")])
def test_a_file_of_an_annotation_tool_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], export: str, field: str, kind: str
) -> None:
    source = getattr(exports, export)(exports.boxes(3), tmp_path / "src")
    path = next(path for path in source.rglob("*.json") if field in json.loads(path.read_text()))
    text, said = bomb(path.read_text(), field, kind)
    path.write_text(text)
    assert main(["data", "import", str(source), "--out", str(tmp_path / "set")]) == 2
    printed = capsys.readouterr().err
    assert path.name in printed and said in printed and len(printed) < 1000


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("names: [a]\nnames: [b]\n", "'names' stands twice"),
        ("names: {0: a, 0: b}\n", "'0' stands twice"),
        (f"names: {'[' * 5000}\n", "not YAML"),
        (f"names: [a]\nnc: {DIGITS}\n", "not YAML"),
    ],
)
def test_settings_of_yolo_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str, said: str
) -> None:
    source = exports.yolo(exports.boxes(3), tmp_path / "src")
    path = next(source.rglob("*.yaml"))
    path.write_text(settings)
    assert main(["data", "import", str(source), "--out", str(tmp_path / "set")]) == 2
    printed = capsys.readouterr().err
    assert path.name in printed and said in printed


@pytest.mark.parametrize("content", WHOLE)
def test_a_large_file_of_nothing_is_named(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    truth, found = scenes / "annotations" / "instances_val.json", tmp_path / "found.json"
    with found.open("wb") as file:
        for _ in range(LARGE // len(WHOLE[content])):
            file.write(WHOLE[content])
    assert main(["score", "--gt", str(truth), "--dt", str(found), "--metric", "ap_det"]) == 2
    printed = capsys.readouterr().err
    assert "found.json: not JSON" in printed and len(printed) < 300


def test_values_beyond_the_memory_are_named(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[" + "{}," * 8_000_000 + "{}]")
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path / "list.json"], capture_output=True, text=True)
    assert done.returncode == 1 and "list.json: its values do not fit in the memory of this machine" in done.stderr


@pytest.mark.parametrize(
    "text", ["-" * 100_000 + "1", "(" * 100_000, "x = " + DIGITS, "f" + "()" * 50_000, "a\0b", "x = '" + "a" * LARGE]
)
def test_a_file_of_ablations_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(text)
    assert main(["run", "./mine.py", "--profile", "smoke", "--dry-run"]) == 2
    printed = capsys.readouterr().err
    assert "mine.py cannot be imported" in printed and len(printed) < 1000 and "Traceback" not in printed


@pytest.mark.parametrize("kind", VALUES)
def test_an_archive_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    text, _ = bomb('{"schema": 1, "stages": []}', "stages", kind)
    archive, data = tmp_path / "results.tar", text.encode()
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    assert main(["store", "import", str(archive), "--store", str(tmp_path / "store")]) == 2
    printed = capsys.readouterr().err
    assert "results.tar: manifest.json is damaged" in printed and len(printed) < 1000


@pytest.mark.parametrize("kind", VALUES)
def test_a_report_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    text, said = bomb('{"name": "table4", "cells": []}', "cells", kind)
    (tmp_path / "table4.json").write_text(text)
    assert main(["reproduce", str(tmp_path / "table4.json"), "row", "column"]) == 2
    printed = capsys.readouterr().err
    assert "table4.json is not a report" in printed and said in printed


@pytest.mark.parametrize("kind", VALUES)
def test_the_list_of_splits_beside_scenes_is_named(scenes: Path, tmp_path: Path, kind: str) -> None:
    there = shutil.copytree(scenes, tmp_path / "set")
    text, said = bomb('{"labeled": [], "val": []}', "labeled", kind)
    next(there.rglob("splits.json")).write_text(text)
    with pytest.raises(DataError) as refused:
        write_scene_set(there, labeled=1, unlabeled=1, val=2, size=64, seed=5)
    assert "splits.json" in str(refused.value) and said in str(refused.value)
