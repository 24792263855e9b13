"""The example of docs/seams.md is a stage that can be run."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from casl.spec import PseudoLabel, SceneData, finetune, warmup
from casl.spec.context import Outcome
from casl.spec.run import CURVES, WEIGHTS
from casl.spec.stage import Stage
from casl.stages.training import STATE
from casl.train.checkpoint import load_weights
from tests.runner.stores import NANO
from tests.stages.ranks import context, with_inputs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "seams.md"
PROFILE = replace(NANO, data=SceneData(labeled=4, unlabeled={"tiny": 4}, val=2, size=64))


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """What the page defines."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    defined: dict[str, Any] = {"__name__": "seams"}
    exec(compile("\n".join(f"{block}\n" for block in blocks), str(PAGE), "exec", dont_inherit=True), defined)
    return defined


def stage_of(example: dict[str, Any], detector: str) -> Any:
    stage, images = finetune(PROFILE, None, schedule=1, detector=detector), warmup(PROFILE, schedule=1).data
    assert isinstance(images, PseudoLabel)
    values = {field.name: getattr(stage, field.name) for field in fields(stage)}
    return example["Mean"](**values | {"schedule": ((3, 1.0),), "unlabeled": images.data, "momentum": 0.9})


@pytest.mark.parametrize("detector", ["fcos", "faster_rcnn"])
def test_the_example_trains_a_student_and_its_average(example: dict[str, Any], tmp_path: Path, detector: str) -> None:
    stage = stage_of(example, detector)
    with_inputs(stage, tmp_path)
    outcomes: list[Outcome] = [
        example["run"](shorter, context(shorter, tmp_path, tmp_path / str(shorter.iters)))
        for shorter in (stage.until(((n, 1.0),)) for n in (2, 3))
    ]
    assert all(outcome.facts == {"started_at": 0} for outcome in outcomes)
    assert (tmp_path / "3" / CURVES).read_text().splitlines()[0].count("_u") >= 2
    before, after = (load_weights(tmp_path / n / STATE) for n in ("2", "3"))
    kept, checked = load_weights(tmp_path / "3" / WEIGHTS), 0
    for name, student in kept.items():
        assert torch.equal(student, after[f"model/student.{name}"])
        if student.is_floating_point():
            teacher, was = (state[f"model/teacher.module.{name}"] for state in (after, before))
            torch.testing.assert_close(teacher, 0.9 * was + 0.1 * student)
            checked += not torch.equal(teacher, student)
    assert checked > 20


def test_the_unlabeled_split_is_an_input_and_part_of_the_key(example: dict[str, Any]) -> None:
    stage: Stage = stage_of(example, "fcos")
    assert isinstance(stage, example["Mean"])
    assert stage.unlabeled in stage.inputs()
    assert replace(stage, momentum=0.8).key != stage.key
