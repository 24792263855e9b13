"""Which form of predictions a metric reads is a fact of its row, not of its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from casl.catalog import METRICS
from casl.data.coco import CocoSplit
from casl.errors import SpecError
from casl.spec.starts import FEATURES
from casl.stages.forms import FORMS, Boxes, Masks, form_of

SPLIT = CocoSplit("nothing", Path(), (), ("a",), (1,), (), {1: 0}, has_masks=True)


def test_every_metric_of_the_catalog_has_a_form_or_judges_features() -> None:
    assert {row.form for row in METRICS.values()} - {FEATURES} == FORMS.keys()


@pytest.mark.parametrize("metric", ["ap_seg", "ap_seg_a"])
def test_a_metric_of_masks_gets_masks_whatever_its_name(metric: str) -> None:
    assert type(form_of(METRICS[metric], SPLIT)) is Masks
    assert type(form_of(replace(METRICS[metric], run="elsewhere:mine"), SPLIT)) is Masks
    assert type(form_of(METRICS["ap_det"], SPLIT)) is Boxes


def test_an_unknown_form_is_named_with_the_near_miss() -> None:
    with pytest.raises(SpecError, match=r"unknown form of predictions 'mask'; known: .*\n.*did you mean 'masks'"):
        form_of(replace(METRICS["ap_seg"], form="mask"), SPLIT)
