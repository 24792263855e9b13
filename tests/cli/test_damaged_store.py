"""Every file of JSON that a store holds, replaced by something else: each verb ends with a code of docs/cli.md."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from casl import catalog
from casl.cli import main
from casl.runner.gc import remember_roots
from casl.runner.plan import make_plan
from casl.runner.store import Store
from casl.spec import Ablation
from tests.runner.finished import finish
from tests.runner.stores import scenes

MINE = '''"""One cell."""
from casl.spec import Ablation, Cell, evaluate, finetune, warmup


def cells(profile):
    stage = evaluate(profile, finetune(profile, warmup(profile, schedule=1), schedule=1), "ap_det")
    yield Cell(row="r", column="c", metric="ap_det", stage=stage)


ABLATION = Ablation(name="mine", title="One cell", source="", cells=cells)
'''
CUT = "the first half of what is there"
DEEP = "[" * 5_000_000 + "]" * 5_000_000
SHAPES = {"null": "null", "list": "[]", "object": "{}", "number": "7", "text": '"text"', "nothing": "", "deep": DEEP}
SHAPES |= {"cut": CUT}
KINDS = {
    "marker": "store.json",
    "record": "stages/evaluate-*/result.json",
    "training": "stages/warmup-*/result.json",
    "failure": "work/*/0/failure.json",
    "study": "roots/*.json",
    "family": "families/*/warmup-*",
    "source": "sources/*.json",
    "lease": "leases/*/1",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one table finished, a stage that failed and one whose owner stopped."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "mine.py").write_text(MINE)
    names: dict[str, Ablation] = {}
    exec(compile(MINE, "mine.py", "exec"), names)
    cells = list(names["ABLATION"].cells(catalog.load("profile", "smoke")))
    store = Store(folder / "store")
    finish(make_plan({"mine": cells}, store), store)
    remember_roots(store, "mine smoke", make_plan({"mine": cells}, store))
    store.fail(scenes(8), "loss is nan")
    lease = store.leases.acquire(scenes(9).name)
    assert lease
    lease.release()
    store.begin(lease)
    return folder


def verbs(store: Path, reports: Path) -> list[list[str]]:
    at, study = ["--store", str(store)], ["./mine.py", "--profile", "smoke"]
    warmup = next((store / "stages").glob("warmup-*")).name
    return [
        ["plan", *study, "--why", *at],
        ["run", *study, "--dry-run", *at],
        ["report", *study, "--reports", str(reports), *at],
        ["store", "ls", *at],
        ["store", "verify", *at],
        ["store", "explain", warmup, "--tables", "./mine.py", "--profile", "smoke", *at],
        ["store", "gc", "--leftovers", *at],
        ["store", "export", warmup, "-o", str(reports / "x.tar"), *at],
    ]


def some(kinds: Iterable[str], shapes: Sequence[str]) -> Iterator[Any]:
    """All pairs. For every kind, each run has an empty object, half a file, one that is no object and one no JSON."""
    odd, broken = ("null", "list", "number", "text"), ("nothing", "deep")
    for number, kind in enumerate(kinds):
        chosen = {"object", "cut", odd[number % len(odd)], broken[number // 4 % len(broken)]}
        for shape in shapes:
            yield pytest.param(kind, shape, marks=[] if shape in chosen else pytest.mark.long)


@pytest.mark.parametrize(("kind", "shape"), some(KINDS, [*SHAPES]))
def test_each_verb_ends_with_a_documented_code(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, shape: str
) -> None:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "store"
    for path in store.glob(KINDS[kind]):
        content = SHAPES[shape]
        path.write_text(path.read_text()[: path.stat().st_size // 2] if content == CUT else content)
    codes = {" ".join(verb[:2]): main(verb) for verb in verbs(store, tmp_path / "reports")}
    assert set(codes.values()) <= {0, 1, 2}, codes
    if kind == "marker":
        assert set(codes.values()) == {2}
    if kind in ("record", "training"):
        assert codes["store verify"] == 1 and codes["plan ./mine.py"] == codes["run ./mine.py"] == 0


def test_the_sound_store_passes_every_verb(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert [main(verb) for verb in verbs(tmp_path / "store", tmp_path / "reports")] == [0] * 8
    assert all(list((tmp_path / "store").glob(pattern)) for pattern in KINDS.values())
