"""`casl plan --probe`: rates from a few steps, where the store has none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from casl import catalog
from casl.cli import main
from casl.runner.cost import estimate
from casl.runner.probes import FILE, mark_of, read_probes, write_probes
from casl.spec import Cell, evaluate, finetune
from casl.stages.probe import predict_seconds, train_seconds
from tests.runner.finished import planned
from tests.runner.stores import NANO, chain, new_store


def test_probed_rates_give_an_estimate_and_a_given_one_goes_first(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    plan = planned([chain(NANO)], store)
    for name in plan.todo:
        write_probes(store.root, {mark_of(plan.nodes[name].stage.work(1).alike[1]): {"seconds": 0.5}})
    expected = estimate(plan, store)
    trainings = [n for n in plan.todo if plan.nodes[n].iters]
    assert {expected.basis[n] for n in trainings} == {"probed"}
    assert [expected.seconds[n] for n in trainings] == [0.5 * plan.nodes[n].iters for n in trainings]
    assert set(estimate(plan, store, rate=2.0).basis.values()) == {"given"}


def test_a_damaged_file_of_probes_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    assert read_probes(tmp_path) == {}


@pytest.mark.parametrize("detector", ["fcos", "condinst", "retinanet", "mask_rcnn", "keypoint_rcnn", "panoptic_fpn"])
def test_every_kind_of_detector_can_be_probed(detector: str) -> None:
    model = finetune(NANO, None, schedule=1, detector=detector)
    assert train_seconds(model, "cpu", 1) > 0
    assert predict_seconds(model.model, 64, 96, "cpu") > 0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of one short training."""
    table = catalog.load("ablation", "table4")
    one = replace(
        table, cells=lambda p: iter([Cell("r", "c", "ap_det", evaluate(p, finetune(p, None), "ap_det"), None)])
    )
    found = catalog.load
    monkeypatch.setattr(
        catalog, "load", lambda kind, name: {"ablation": one, "profile": NANO}.get(kind) or found(kind, name)
    )


@pytest.mark.usefixtures("small")
def test_the_command_probes_what_is_missing_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "table4", "--store", str(tmp_path / "store"), "--probe", "1", "--json"]
    assert main(command) == 0
    first = capsys.readouterr()
    assert main(command) == 0
    again = capsys.readouterr()
    assert "probing 1/2" in first.err and "probing" not in again.err
    assert json.loads(first.out)["estimate"]["basis"]["probed"] == 3  # a training in two stretches, and the evaluation
    assert json.loads(first.out)["estimate"] == json.loads(again.out)["estimate"]


@pytest.mark.usefixtures("small")
def test_an_estimate_holds_the_rates_that_a_store_cannot_keep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store" / FILE).mkdir(parents=True)  # for root no folder is read-only
    for _ in range(2):
        assert main(["plan", "table4", "--store", str(tmp_path / "store"), "--probe", "1", "--json"]) == 0
        said = capsys.readouterr()
        assert "probing 2/2" in said.err and json.loads(said.out)["estimate"]["basis"]["probed"] == 3
