"""Which form of predictions a metric reads is a fact of its row, not of its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from casl.catalog import METRICS
from casl.data.coco import CocoSplit, load_split
from casl.data.layout import find_splits
from casl.data.scenes import write_scenes
from casl.errors import SpecError
from casl.metrics.segmentation import miou, miou_of_draws
from casl.spec.starts import FEATURES
from casl.stages.forms import FORMS, Boxes, Masks, Semantic, form_of

SPLIT = CocoSplit("nothing", Path(), (), ("a",), (1,), (), {1: 0}, has_masks=True)


def test_every_metric_of_the_catalog_has_a_form_or_judges_features() -> None:
    assert {row.form for row in METRICS.values()} - {FEATURES} == FORMS.keys()


@pytest.mark.parametrize("metric", ["ap_seg", "ap_seg_a"])
def test_a_metric_of_masks_gets_masks_whatever_its_name(metric: str) -> None:
    assert type(form_of(METRICS[metric], SPLIT)) is Masks
    assert type(form_of(replace(METRICS[metric], run="elsewhere:mine"), SPLIT)) is Masks
    assert type(form_of(METRICS["ap_det"], SPLIT)) is Boxes


def test_maps_of_stuff_are_judged_beside_the_true_ones(tmp_path: Path) -> None:
    write_scenes(tmp_path, "val", 3, 64, 0)
    split = load_split(find_splits(tmp_path)["val"], "panoptic")
    form = form_of(METRICS["miou"], split)
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0).long()}
    for i in range(len(split)):
        found = np.where(split.semantic(i) == 255, 3, split.semantic(i)).astype(np.int64)
        found[:, :8] = 0
        form.add(i, nothing | {"semantic": torch.as_tensor(found)})
    assert isinstance(form, Semantic)
    figures = form.judge(miou)
    together = [(split.semantic(i), form.maps[i]) for i in range(3)]
    assert figures == miou(together, 5) and 50 < figures["accuracy"] < 100
    draws = form.draws(miou_of_draws)
    assert len(draws) == 400 and np.mean(draws) == pytest.approx(figures["mIoU"], abs=8)


def test_an_unknown_form_is_named_with_the_near_miss() -> None:
    with pytest.raises(SpecError, match=r"unknown form of predictions 'mask'; known: .*\n.*did you mean 'masks'"):
        form_of(replace(METRICS["ap_seg"], form="mask"), SPLIT)
