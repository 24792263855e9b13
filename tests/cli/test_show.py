"""`casl show`: a summary for people, everything as JSON, and nothing made on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from casl.cli import main
from casl.runner.store import Store
from casl.spec import evaluate, finetune, warmup
from tests.runner.stores import NANO, RECORD

MODEL = finetune(NANO, warmup(NANO, schedule=1), schedule=1)
END = evaluate(NANO, MODEL, "ap_det")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    work = store.work(END.name)
    work.mkdir(parents=True)
    (work / "draws.json").write_bytes(b"x" * 3000)
    store.commit(END, {**RECORD, "metrics": {"AP": 36.25, "APl": -1.0}})
    return store


def test_people_get_what_it_is_its_result_its_chain_its_files_and_commands(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", END.key[:8], "--store", str(store.root)]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    said = "\n".join(rest)
    assert first == END.title and "{" not in said
    assert "AP                       36.25" in said and "APl                      nothing to measure it on" in said
    for stage in (MODEL, MODEL.init):
        assert stage is not None and f"{stage.title} (not run)" in said
    assert "draws.json" in said and "3.0 kB" in said and str(store.folder(END.name)) in said
    assert f"casl predict IMAGE --model {END.name} --store {store.root}" in said


def test_scripts_get_all_of_it(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", END.name, "--json", "--store", str(store.root)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["metrics"]["APl"], told["status"]) == (END.name, -1.0, "done")


def test_the_commands_that_it_prints_are_understood(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    from casl.cli import parser

    main(["show", END.name, "--store", str(store.root)])
    lines = [line.partition("casl ")[2] for line in capsys.readouterr().out.splitlines() if "casl " in line]
    assert len(lines) == 3
    for line in lines:
        parser().parse_args(line.partition("   #")[0].split())


def test_showing_and_looking_make_nothing(tmp_path: Path) -> None:
    for words in (["show", "warmup-1"], ["plan", "table4"], ["doctor", "--mlflow", ""]):
        main([*words, "--store", str(tmp_path / "store")])
        assert list(tmp_path.iterdir()) == [], words
    (tmp_path / "empty").mkdir()
    main(["doctor", "--store", str(tmp_path / "empty"), "--mlflow", ""])
    assert list((tmp_path / "empty").iterdir()) == []
