"""Values that a detector does not allow are refused before any stage runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from casl.cli import main

TABLE = """
from casl.spec import Ablation, Cell, evaluate, finetune, varied

def cells(profile):
    model = finetune(profile, None, schedule=1, detector="{detector}")
    cell = Cell(row="a", column="b", metric="ap_det", stage=evaluate(profile, model, "ap_det"))
    yield varied(cell, "finetune.model.options.{option}", {value})

ABLATION = Ablation(name="refused", title="Out of range", source="", cells=cells)
"""


@pytest.mark.parametrize(
    ("detector", "option", "value", "said"),
    [
        ("retinanet_noisy", "top_n", 0, "at least 1 anchor (top_n), got 0"),
        ("retinanet_noisy", "clean_gamma", -1.0, "gamma is the power of the weights"),
        ("fcos", "clean_alpha", 1.5, "alpha is the share of the localisation"),
        ("faster_rcnn_interval", "intervals", 0, "intervals"),
        ("faster_rcnn_interval", "span", -2.0, "span"),
        ("htc", "semantic_weight", -1.0, "weight of their loss"),
    ],
)
def test_a_value_out_of_range_is_a_sentence_before_any_stage(
    detector: str, option: str, value: float, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "refused.py").write_text(TABLE.format(detector=detector, option=option, value=value))
    store = tmp_path / "store"
    words = ["run", str(tmp_path / "refused.py"), "--profile", "smoke", "--store", str(store), "--launcher", "inline"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error
    assert not list((store / "stages").iterdir()) and not list((store / "work").iterdir())


def test_several_gpus_a_stage_are_refused_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "table4", "--profile", "smoke", "--store", str(tmp_path / "store"), "--gpus-per-stage", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main([*words, "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "--gpus-per-stage 2" in said and "there is none here" in said and "--device cpu" in said
    assert not (tmp_path / "store").exists(), "before anything is begun"
    assert main([*words, "--dry-run", "--device", "cpu"]) == 0, "processes that share the cores, by choice"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert main([*words, "--dry-run"]) == 0
