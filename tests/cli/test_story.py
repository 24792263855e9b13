"""`casl report` tells the story of made-up results on real images, once, and publishes no photograph it may not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from casl import catalog
from casl.cli import main
from casl.data.scenes import write_scene_set
from casl.runner.store import Store
from casl.spec import Evaluate, Profile, evaluate, finetune, warmup
from casl.spec.run import PREDICTIONS
from casl.stages.dataset import open_data
from tests.stages.storied import commit_chain

SMOKE: Profile = catalog.load("profile", "smoke")
TABLE = """
from casl.spec import Ablation, Cell, evaluate, finetune, warmup

def cells(profile):
    for row, start in (("without", None), ("with", warmup(profile))):
        yield Cell(row=row, column="AP", metric="ap_det",
                   stage=evaluate(profile, finetune(profile, start), "ap_det"))

ABLATION = Ablation(name="pair", title="With and without a warmup", source="", cells=cells)
"""


def ends(profile: Profile) -> list[Evaluate]:
    return [evaluate(profile, finetune(profile, start), "ap_det") for start in (None, warmup(profile))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of both cells, on scenes; to be copied."""
    root = tmp_path_factory.mktemp("made")
    (root / "pair.py").write_text(TABLE)
    commit_chain(Store(root / "store"), *ends(SMOKE))
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "here")
    return tmp_path / "here"


def report(folder: Path, *words: str, place: str = "smoke") -> Path:
    where = ["--store", str(folder / "store"), "--reports", str(folder / "reports")]
    assert main(["report", str(folder / "pair.py"), "--profile", "smoke", *where, *words]) == 0
    return folder / "reports" / place


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [*folder.glob("story*"), *(folder / "story").glob("*"), folder / "index.html"]
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in files if p.is_file()}


def test_pictures_are_drawn_once_and_again_where_results_are_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = report(folder)
    printed = capsys.readouterr().out
    assert "story.png" in printed and ".jpg" not in printed
    first = contents(pages)
    assert {"story.json", "story.png", "labeled.jpg", "val-1-without.jpg", "gain-1-with.jpg"} <= first.keys()
    assert max(len(content) for content, _ in first.values()) < 150_000
    report(folder)
    assert contents(pages) == first, "nothing is written again"

    (pages / "story" / "labeled.jpg").unlink()
    (pages / "story" / "gain-9-with.jpg").write_text("of an earlier story")
    report(folder)
    again = contents(pages)
    assert {n: content for n, (content, _) in again.items()} == {n: content for n, (content, _) in first.items()}

    store, warm = Store(folder / "store"), ends(SMOKE)[1]
    found = json.loads((store.folder(warm.name) / PREDICTIONS).read_bytes())
    shutil.rmtree(store.folder(warm.name))
    commit_chain(store, warm, spread=0.4)
    assert json.loads((store.folder(warm.name) / PREDICTIONS).read_bytes()) != found
    report(folder)
    other = contents(pages)
    assert other["val-1-with.jpg"][0] != first["val-1-with.jpg"][0]
    assert other["val-1-without.jpg"][0] == first["val-1-without.jpg"][0]


def test_an_evaluation_that_kept_no_predictions_is_noted(folder: Path) -> None:
    (folder / "store" / "stages" / ends(SMOKE)[0].name / PREDICTIONS).unlink()
    pages = report(folder)
    gone = f"stages/{ends(SMOKE)[0].name}/{PREDICTIONS}"
    assert f"Not shown: {gone}: no such file.<" in (pages / "index.html").read_text()
    assert str(folder / "store") not in (pages / "index.html").read_text(), "no page names a folder of this machine"
    assert (pages / "story" / "labels-1.jpg").is_file()


@pytest.mark.slow
def test_photographs_are_published_only_where_their_licence_is_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pair.py").write_text(TABLE)
    photos = tmp_path / "photos"
    write_scene_set(photos, labeled=8, unlabeled=4, val=4, size=64, seed=3)
    opened = open_data(photos, tmp_path / "store")
    profile = SMOKE.with_data(opened.data)
    roots = {digest: Path(root) for digest, root in opened.roots.items()}
    commit_chain(Store(tmp_path / "store"), *ends(profile), roots=roots)

    words = ("--data", str(photos))
    shown = report(tmp_path, *words, place="smoke-photos")
    assert (shown / "story" / "labels-1-truth.jpg").is_file(), "the set knows the truth of its unlabeled images"
    published = report(tmp_path, *words, "--publish", place="published/smoke-photos")
    assert not list(published.rglob("story*.png")) + list(published.rglob("*.jpg"))
    assert "Photographs are left out of what is published" in (published / "index.html").read_text()
    where = ["--store", str(tmp_path / "store"), "--reports", str(tmp_path / "reports")]
    asked = ["report", str(tmp_path / "pair.py"), "--profile", "smoke", *where, *words]
    assert main([*asked, "--publish", "--licence", "research only"]) == 2
    assert "--licence 'research only': none that is known" in capsys.readouterr().err
    report(tmp_path, *words, "--publish", "--licence", "MIT https://example.org", place="published/smoke-photos")
    assert (published / "story" / "val-1-with.jpg").is_file()
    assert "Whose images these are: MIT https://example.org" in (published / "index.html").read_text()

    for path in (photos / "annotations").glob("*.json"):
        content = json.loads(path.read_bytes())
        path.write_text(json.dumps({**content, "licenses": [{"id": 1, "name": "CC-BY-4.0"}]}))
    reopened = open_data(photos, tmp_path / "store")
    roots = {digest: Path(root) for digest, root in reopened.roots.items()}
    commit_chain(Store(tmp_path / "store"), *ends(SMOKE.with_data(reopened.data)), roots=roots)
    report(tmp_path, *words, "--publish", place="published/smoke-photos")
    assert (published / "story" / "val-1-with.jpg").is_file()
    assert "Whose images these are: CC-BY-4.0" in (published / "index.html").read_text()
