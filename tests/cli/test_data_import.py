"""Verbs `data import` and `data split`, and the folders that name them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from casl.cli import main
from casl.data.layout import find_splits
from casl.errors import DataError
from tests.data.importing import exports


def test_an_import_says_what_it_made_and_its_manifest_says_where_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = exports.voc(exports.boxes(20), tmp_path / "my src"), tmp_path / "set"
    before = {path: path.stat() for path in source.rglob("*.png")}
    assert main(["data", "import", str(source), "--out", str(out), "--labeled", "25%", "--val", "4"]) == 0
    said = capsys.readouterr().out
    assert "labeled: 4 images" in said and "val: 4 images" in said and f"next: casl data check {out}" in said
    manifest = json.loads((out / "import.json").read_text())
    assert manifest["command"] == f"casl data import '{source}' --labeled 25% --out {out} --seed 0 --val 4"
    assert manifest["version"] and manifest["format"] == "voc"
    assert len(manifest["images"]) == 20
    for entry in manifest["images"]:
        assert hashlib.sha256((out / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        assert (out / entry["file"]).samefile(entry["source"])  # a link, which costs no disk
        assert entry["annotation"].endswith(".xml")
    assert all(
        (path.stat().st_size, path.stat().st_mtime_ns) == (s.st_size, s.st_mtime_ns) for path, s in before.items()
    )
    assert main(["data", "check", str(out)]) == 0
    capsys.readouterr()
    assert main(["data", "import", str(source), "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_copies_are_files_of_their_own(tmp_path: Path) -> None:
    source = exports.via(exports.boxes(8), tmp_path / "src")
    assert main(["data", "import", str(source), "--out", str(tmp_path / "set"), "--copy", "--json"]) == 0
    shutil.rmtree(source)
    assert main(["data", "check", str(tmp_path / "set")]) == 0


def test_split_draws_again_and_protocol_makes_twenty_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = exports.labelme(exports.boxes(40), tmp_path / "src"), tmp_path / "set"
    assert main(["data", "import", str(source), "--out", str(out), "--labeled", "100%"]) == 0
    capsys.readouterr()
    again = ["data", "split", str(out), "--labeled", "50%", "--fold", "2", "--json", "--out", str(tmp_path / "again")]
    assert main(again) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["labeled"]["images"] == 16
    assert main(["data", "split", str(out), "--protocol", "--out", str(tmp_path / "all")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 20
    assert main(["data", "split", str(out), "--protocol", "--fold", "1", "--out", str(tmp_path / "no")]) == 2
    assert "--protocol sets the shares and folds itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("export", "word"),
    [
        (exports.voc, "Pascal VOC"),
        (exports.yolo, "YOLO"),
        (exports.labelme, "LabelMe"),
        (exports.via, "VIA"),
        (exports.label_studio, "COCO JSON"),
        (exports.roboflow, "COCO JSON"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_folder_that_is_no_set_is_refused_with_the_command_for_what_it_looks_like(
    export: object, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(export)
    source = export(exports.boxes(6), tmp_path / "from tool")
    with pytest.raises(DataError) as error:
        find_splits(source)
    assert str(error.value).endswith(
        f"It looks like {word}: `casl data import '{source}' --out SET` makes a data set of it."
    )
    assert main(["data", "check", str(source)]) == 2
    assert "casl data import" in capsys.readouterr().err


def test_a_folder_of_images_and_an_empty_one_are_refused_with_the_command_too(tmp_path: Path) -> None:
    exports.draw(exports.boxes(1)[0], tmp_path / "photos")
    with pytest.raises(DataError, match=r"looks like a folder of images: `casl data import .*photos --out SET`"):
        find_splits(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="become a set with `casl data import FOLDER --out SET`"):
        find_splits(tmp_path / "empty")
