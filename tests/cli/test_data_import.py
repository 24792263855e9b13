"""Verbs `data import` and `data split`, and the folders that name them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
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


READERS = {
    "import": ["data", "import", "src"],
    "split": ["data", "split", "set"],
    "protocol": ["data", "split", "set", "--protocol"],
    "prepare": ["data", "prepare", "coco", "coco"],
}


@pytest.mark.parametrize(("jobs", "says"), [("-1", "at least 0, got -1"), ("10001", "at most 10,000, got 10001")])
@pytest.mark.parametrize("verb", READERS)
def test_a_number_of_jobs_that_cannot_be_is_refused_before_anything_is_read(
    verb: str, jobs: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*READERS[verb], "--out", "out", "--jobs", jobs]) == 2
    assert f"--jobs must be {says}" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        *(([*words, "--out", ""], "--out") for words in READERS.values()),
        (["data", "import", "", "--out", "out"], "SRC"),
        (["data", "import", "src", "--unlabeled", "", "--out", "out"], "--unlabeled"),
        (["data", "split", "", "--out", "out"], "SET"),
        (["data", "prepare", "coco", "", "--out", "out"], "PATH"),
        (["data", "check", ""], "PATH"),
        (["data", "scenes", ""], "PATH"),
    ],
)
def test_an_empty_name_of_a_folder_is_refused_and_is_not_the_working_folder(
    words: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert f"{named} is empty; name a folder" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--labeled", "--val"])
def test_an_empty_share_is_refused(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "import", str(tmp_path), option, "", "--out", str(tmp_path / "set")]) == 2
    assert "'' is no share of images" in capsys.readouterr().err


def test_an_import_and_a_split_fill_an_empty_folder_that_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder stays the same one, so that a shell that is in it sees the set."""
    source = exports.labelme(exports.boxes(40), tmp_path / "src")
    for name, words in (
        ("set", ["import", str(source), "--labeled", "75%"]),
        ("again", ["split", str(tmp_path / "set"), "--labeled", "50%"]),
        ("all", ["split", str(tmp_path / "set"), "--protocol"]),
    ):
        (tmp_path / name).mkdir()
        inode = (tmp_path / name).stat().st_ino
        monkeypatch.chdir(tmp_path / name)
        assert main(["data", *words, "--out", "."]) == 0
        assert (tmp_path / name).stat().st_ino == inode
        made = Path("fold0/1-percent") if name == "all" else Path()
        assert sorted(path.name for path in made.iterdir()) == ["annotations", "images", "import.json"]
        assert main(["data", "check", str(made)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "all", "set", "src"]


def test_an_import_fills_an_empty_folder_that_a_link_leads_to(tmp_path: Path) -> None:
    source = exports.labelme(exports.boxes(), tmp_path / "src")
    (tmp_path / "disk").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "disk")
    assert main(["data", "import", str(source), "--out", str(tmp_path / "set")]) == 0
    assert main(["data", "check", str(tmp_path / "disk")]) == 0


@pytest.mark.parametrize(
    ("out", "says"), [("file/set", "is a file"), ("dead", "is there already"), ("src", "is there already")]
)
def test_a_target_that_cannot_be_made_is_refused_before_images_are_read(
    out: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = exports.labelme(exports.boxes(4), tmp_path / "src")
    (source / "photo-01.png").write_bytes(b"")  # would be told of first
    (tmp_path / "file").write_text("")
    (tmp_path / "dead").symlink_to(tmp_path / "gone")
    assert main(["data", "import", str(source), "--out", str(tmp_path / out)]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("protocol", [False, True])
def test_json_is_json_whatever_the_encoding_of_the_terminal(
    protocol: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [
        exports.Photo(p.file, p.number, tuple(exports.Thing("кот", t.box) for t in p.things)) for p in exports.boxes()
    ]
    source, out = exports.voc(photos, tmp_path / "src"), tmp_path / "set"
    assert main(["data", "import", str(source), "--out", str(out)]) == 0
    words = ["split", str(out), "--protocol"] if protocol else ["import", str(source)]
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", "replace"))
    assert main(["data", *words, "--json", "--out", str(tmp_path / "more")]) == 0
    sys.stdout.flush()
    said = json.loads(written.getvalue())
    assert (said["fold0/1-percent"] if protocol else said)["classes"] == ["кот"]


def test_fewer_images_than_were_asked_for_are_said_with_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four images have a class of their own, so that val has the other eight at most."""
    photos = [
        exports.Photo(p.file, p.number, (*p.things, *[exports.Thing(f"only-{n}", (1, 1, 9, 9))] * (n < 4)))
        for n, p in enumerate(exports.boxes(12))
    ]
    words = ["data", "import", str(exports.voc(photos, tmp_path / "src")), "--labeled", "1"]
    assert main([*words, "--val", "9", "--out", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "asked for 9 images in val: near copies stay together, and each class keeps an image outside val" in said
    assert main([*words, "--val", "3", "--out", str(tmp_path / "b")]) == 0
    assert "asked for" not in capsys.readouterr().out
