"""A labeler that skips blocks: from a spec through training to labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ablations import adaptive as table
from ablations.profiles import MINI, PAPER, SMOKE
from casl.errors import SpecError
from casl.spec import SceneData, adaptive, evaluate, labeler, varied
from casl.spec.freeze import freeze, thaw
from casl.spec.run import CURVES, WEIGHTS
from casl.stages.training import STATE
from casl.train.checkpoint import load_weights
from tests.runner.stores import NANO
from tests.stages.ranks import carry_out, with_inputs

SWIN = replace(
    NANO,
    data=SceneData(labeled=4, unlabeled={"tiny": 4}, val=2, size=64),
    backbones={**NANO.backbones, NANO.labeler_backbone: "swin_mini"},
    iters_1x=3,
)


def test_a_share_of_1_has_no_policies_and_leaves_keys_as_they_are() -> None:
    first = labeler(SWIN)
    assert adaptive(SWIN, first, 1.0).model == first.model
    half = adaptive(SWIN, first, 0.5)
    assert half.model.usage == 0.5 and half.init == first and half.key != adaptive(SWIN, first, 0.7).key
    assert thaw(freeze(half)) == half
    assert half.ranks(4) == 1 < first.ranks(4)


@pytest.mark.parametrize("usage", [0.0, 1.5, -0.5])
def test_a_share_is_in_0_to_1(usage: float) -> None:
    with pytest.raises(SpecError, match="share of block halves"):
        adaptive(SWIN, labeler(SWIN), usage)


def test_a_backbone_without_such_blocks_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"skips no blocks.*swin_mini"):
        adaptive(NANO, labeler(NANO), 0.5)


@pytest.mark.parametrize("profile", [SMOKE, MINI, PAPER], ids=lambda p: p.name)
def test_every_labeler_of_the_table_has_a_target_warmed_up_on_its_labels(profile: object) -> None:
    cells = table.ABLATION.build(profile)  # type: ignore[arg-type]
    rows = list(dict.fromkeys(cell.row for cell in cells))
    assert rows[:2] == [table.ALL, table.LONGER] and rows[-2:] == [table.SMALLER, table.FEWER]
    assert len({cell.stage.key for cell in cells if cell.stage}) == len(cells) == 2 * len(rows)


def test_a_labeler_learns_policies_with_the_same_bits_twice(tmp_path: Path) -> None:
    first = labeler(SWIN)
    stage = adaptive(SWIN, first, 0.5)
    with_inputs(stage, tmp_path / "one")
    done = carry_out(stage, tmp_path / "one")
    assert done.facts["started_at"] == 0
    folder = tmp_path / "one" / stage.name
    weights, before = load_weights(folder / WEIGHTS), load_weights(tmp_path / "one" / first.name / WEIGHTS)
    policies = [name for name in weights if ".policies." in name]
    assert policies and not any(name in before for name in policies)
    assert any(not torch.equal(weights[name], torch.full_like(weights[name], 2.0)) for name in policies)
    head = (folder / CURVES).read_text().splitlines()[0].split(",")
    assert {"loss_usage", "watched_usage"} <= set(head)
    with_inputs(stage, tmp_path / "other")
    carry_out(stage, tmp_path / "other")
    for name in (WEIGHTS, STATE):
        if (folder / name).exists():
            assert (folder / name).read_bytes() == (tmp_path / "other" / stage.name / name).read_bytes()


@pytest.mark.slow
def test_it_labels_and_is_evaluated(tmp_path: Path) -> None:
    stage = evaluate(SWIN, adaptive(SWIN, labeler(SWIN), 0.7), "ap_e")
    with_inputs(stage, tmp_path)
    assert 0.0 <= carry_out(stage, tmp_path).metrics["AP"] <= 100.0


def test_a_table_can_ask_for_it_by_path() -> None:
    (cell, *_) = table.ABLATION.build(SMOKE)
    assert varied(cell, "labeler.model.usage", 0.5).stage != cell.stage
