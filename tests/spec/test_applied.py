"""How a detector is applied: what is legal, what has a key, and what a data set must have for HTC."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ablations.profiles import MINI, PHOTOS, SMOKE
from casl.errors import SpecError
from casl.spec import Applied, Evaluate, Finetune, Model, Profile, evaluate, finetune, varied
from casl.spec.ablation import Cell
from casl.spec.freeze import freeze, thaw

SOFT = Applied(suppression="linear")
VIEWS = Applied(scales=(0.75, 1.0), flip=True)


def evaluated(detector: str, applied: Applied, metric: str = "ap_det", profile: Profile = SMOKE) -> Evaluate:
    stage = evaluate(profile, finetune(profile, None, detector=detector), metric, applied=applied)
    assert isinstance(stage, Evaluate)
    return stage


def test_the_own_way_of_a_detector_has_no_part_in_a_key_and_every_other_has() -> None:
    model = finetune(SMOKE, None, detector="cascade_rcnn")
    plain = evaluate(SMOKE, model, "ap_det")
    assert "applied" not in plain.payload()["fields"]
    others = [SOFT, VIEWS, Applied(suppression="gaussian"), Applied(suppression="gaussian", sigma=0.4)]
    others += [Applied(least=0.01), Applied(flip=True), Applied(scales=(0.5, 1.0))]
    keys = {plain.key, *(evaluate(SMOKE, model, "ap_det", applied=applied).key for applied in others)}
    assert len(keys) == 1 + len(others)


def test_a_worker_gets_the_test_it_was_planned_with() -> None:
    stage = evaluated("htc", replace(VIEWS, suppression="gaussian", sigma=0.3, least=0.001))
    assert thaw(freeze(stage)) == stage
    assert "gaussian Soft-NMS · candidates > 0.001 · at 0.75 1 x · mirrored too" in stage.title


def test_one_part_of_a_test_can_be_varied() -> None:
    cell = varied(Cell("r", "c", "ap_det", evaluated("htc", Applied())), "evaluate.flip", True)
    assert cell.evaluation.applied == Applied(flip=True)


def test_views_are_every_size_as_it_is_and_mirrored_and_cost_as_many_images() -> None:
    assert Applied().views == ((1.0, False),)
    assert VIEWS.views == ((0.75, False), (0.75, True), (1.0, False), (1.0, True))
    assert evaluated("htc", VIEWS).work(0).units == 4 * evaluated("htc", SOFT).work(0).units == 4 * SMOKE.data.val  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"suppression": "softer"}, "unknown suppression 'softer'"),
        ({"suppression": "gaussian", "sigma": 0.0}, "width of a gaussian suppression"),
        ({"suppression": "linear", "sigma": 0.4}, "got 0.4 for 'linear'"),
        ({"least": 1.0}, r"in \[0, 1\)"),
        ({"scales": (1.0, 0.5)}, "rising factors"),
        ({"scales": (0.1, 1.0)}, "from 0.25 to 4"),
        ({"scales": (1.0,)}, "the test size alone"),
    ],
)
def test_impossible_tests_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Applied(**changes)


def test_what_a_detector_cannot_do_is_refused_before_it_is_trained() -> None:
    with pytest.raises(SpecError, match="'fcos' has hard suppression only; cascade_rcnn, htc have Soft-NMS too"):
        evaluated("fcos", SOFT)
    with pytest.raises(SpecError, match="not the keypoints of 'keypoint_rcnn'"):
        evaluated("keypoint_rcnn", VIEWS, "ap_point")
    with pytest.raises(SpecError, match="not the semantic of 'panoptic_fpn'"):
        evaluated("panoptic_fpn", VIEWS)
    entities = finetune(SMOKE, None, detector="condinst", labels="entities")
    with pytest.raises(SpecError, match="without overlap"):
        evaluate(SMOKE, entities, "ap_e", applied=VIEWS)
    with pytest.raises(SpecError, match="short side of 16 px; 32 are the least"):
        evaluated("htc", Applied(scales=(0.25, 1.0)))
    assert evaluated("condinst", VIEWS, "ap_seg").applied == VIEWS


def test_htc_without_masks_is_refused_before_it_is_trained() -> None:
    boxes = replace(PHOTOS, data=replace(PHOTOS.data, has_masks=False))
    with pytest.raises(SpecError, match="'htc' learns masks, and data set 'photographs' has boxes only"):
        finetune(boxes, None, detector="htc", labels="objects")
    assert finetune(boxes, None, detector="cascade_rcnn").model.detector == "cascade_rcnn"


def test_htc_has_a_semantic_branch_unless_the_spec_says_that_it_learns_objects_alone() -> None:
    assert finetune(MINI, None, detector="htc").model.stuff == MINI.data.stuff > 0
    assert finetune(MINI, None, detector="htc", labels="objects").model.stuff == 0
    with pytest.raises(SpecError, match=r"'photographs' has none\n.*labels='objects', which leaves its semantic"):
        finetune(PHOTOS, None, detector="htc")
    assert finetune(PHOTOS, None, detector="htc", labels="objects").model.stuff == 0


def test_stuff_is_learned_where_the_labels_have_it_and_only_there() -> None:
    stage: Finetune = finetune(MINI, None, detector="htc")
    model: Model = stage.model
    with pytest.raises(SpecError, match="with 0 stuff classes cannot learn labels 'panoptic'"):
        replace(stage, model=replace(model, stuff=0))
    with pytest.raises(SpecError, match=f"with {model.stuff} stuff classes cannot learn labels 'objects'"):
        replace(stage, labels="objects")


def test_a_finetune_has_the_backbone_that_is_asked_for() -> None:
    stage = finetune(MINI, None, detector="htc", backbone="swin_l")
    assert stage.model.backbone == MINI.backbones["swin_l"] != finetune(MINI, None).model.backbone
    assert stage.pretrained is not None and getattr(stage.pretrained, "backbone", "") == stage.model.backbone
    assert finetune(MINI, None, backbone="swin_t").key == finetune(MINI, None).key
