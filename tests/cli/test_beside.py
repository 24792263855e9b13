"""What verbs leave in a folder that is to be a store later, and where they may leave nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from casl.cli import READS, main, parser
from casl.cli.reference import verbs_of
from casl.data.scenes import write_scene_set
from casl.runner.store import Store
from tests.data.listed import to_manifest

TABLE = ["table4", "--profile", "smoke"]
ON_DATA = [*TABLE, "--data", "set"]
MODEL = ["photo.png", "--model", "finetune-1"]
# of every verb that runs no stage: what it may write before there is a store, or would if the store were there
BEFORE = {
    "casl plan": [["plan", *TABLE, "--probe", "1"], ["plan", *ON_DATA], ["plan", *TABLE, "--data", "listed"]],
    "casl run": [["run", *ON_DATA, "--dry-run"]],
    "casl sync": [["sync", *ON_DATA]],
    "casl report": [["report", *ON_DATA]],
    "casl costs": [["costs", *ON_DATA]],
    "casl reproduce": [["reproduce", "table4", "row", "column"]],
    "casl tune": [["tune", "nothing.such", "--profile", "smoke", "--data", "set"]],
    "casl ui": [["ui", "--mlflow", "http://127.0.0.1:1", "--search", "table4"]],
    "casl show": [["show", "warmup-1"]],
    "casl predict": [["predict", *MODEL], ["predict", *MODEL, "--mlflow", "http://127.0.0.1:1"]],
    "casl label": [["label", *MODEL]],
    "casl convert": [["convert", "warmup-1", "--to", "detectron2"]],
    "casl store ls": [["store", "ls"]],
    "casl store explain": [["store", "explain", "warmup-1"]],
    "casl store verify": [["store", "verify"]],
    "casl store gc": [["store", "gc"]],
    "casl store export": [["store", "export", "--tables", *ON_DATA, "-o", "a.tar"]],
    "casl store import": [["store", "import", "photo.png"]],
    "casl data check": [["data", "check", "set"]],
    "casl data prepare": [["data", "prepare", "coco", "set", "--out", "other"]],
    "casl data scenes": [["data", "scenes", "new", "--labeled", "1", "--unlabeled", "1", "--val", "1"]],
    "casl data import": [["data", "import", "set", "--out", "other"]],
    "casl data split": [["data", "split", "set", "--out", "other"]],
    "casl score": [["score", "--gt", "photo.png", "--dt", "photo.png", "--metric", "ap_det"]],
    "casl doctor": [["doctor"]],
    "casl complete": [["complete", "bash"]],
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set on disk, and one whose unlabeled images are a manifest."""
    folder = tmp_path_factory.mktemp("sets")
    for name in ("set", "listed"):
        write_scene_set(folder / name, 4, 4, 4, 64, 0)
    to_manifest(folder / "listed")
    return folder


def test_every_verb_is_tried() -> None:
    assert set(BEFORE) == {verb.prog for verb, _ in verbs_of(parser())}


@pytest.mark.parametrize("words", [w for of in BEFORE.values() for w in of], ids=" ".join)
def test_after_any_verb_a_store_can_be_made_where_it_looked_for_one(
    words: list[str], sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    (tmp_path / "photo.png").write_text("")
    for name in ("set", "listed"):
        (tmp_path / name).symlink_to(sets / name)
    with contextlib.suppress(SystemExit):
        main(words)
    assert Store(tmp_path / "store").names() == []


# of every verb that is said to change nothing
READING = {
    "plan": ["plan", *ON_DATA],
    "costs": ["costs", *ON_DATA],
    "run": ["run", *ON_DATA, "--dry-run"],
    "ui": ["ui", "--mlflow", "http://127.0.0.1:1"],
    "show": ["show", "warmup-1"],
    "score": BEFORE["casl score"][0],
    "doctor": ["doctor"],
    "complete": ["complete", "bash"],
    "store ls": ["store", "ls"],
    "store explain": ["store", "explain", "warmup-1"],
    "store verify": ["store", "verify"],
    "data check": ["data", "check", "set"],
}


@pytest.mark.parametrize("there", [False, True], ids=["no store", "a bare store"])
@pytest.mark.parametrize("verb", READING)
def test_verbs_that_change_nothing_make_nothing_of_a_store(
    verb: str, there: bool, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if there:
        (tmp_path / "store" / "stages").mkdir(parents=True)
    (tmp_path / "set").symlink_to(sets / "set")
    with contextlib.suppress(SystemExit):
        main(READING[verb])
    assert (tmp_path / "store").exists() == there
    remembered = {"stages", "digests.json", "checked.json", "sets.json", ".sets.lock"}  # what spares reading data again
    assert {path.name for path in (tmp_path / "store").glob("*")} <= remembered


def test_every_verb_that_changes_nothing_is_tried() -> None:
    assert READING.keys() == {*READS, "run"}


@pytest.mark.parametrize("data", ["set", "listed"])
@pytest.mark.parametrize(("words", "code"), [(["plan"], 0), (["run", "--dry-run"], 0), (["report"], 1)], ids=str)
def test_what_cannot_be_remembered_in_a_store_is_done_without(
    words: list[str],
    code: int,
    data: str,
    sets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / data).symlink_to(sets / data)
    store = Store(tmp_path / "store")
    kept = [store.digests, store.digests.with_name("checked.json")]
    for file in kept:
        file.mkdir()  # for root no folder is read-only
    store.digests.with_suffix("").write_text("")
    assert main([*words, *TABLE, "--data", data]) == code
    assert "error: " not in capsys.readouterr().err and all(file.is_dir() for file in kept)
