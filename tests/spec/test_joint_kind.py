"""What a joint training refuses when it is written, and what others may ask of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from casl.errors import SpecError
from casl.spec import Joint, evaluate, finetune, labeler, pseudo_label, varied
from casl.spec.freeze import freeze, thaw
from casl.spec.joint_kind import is_of_boxes
from casl.spec.joint_methods import joint
from tests.runner.stores import NANO

PROFILE = replace(NANO, finetune_recipe=replace(NANO.finetune_recipe, batch=8))
FIXED, EMA = joint(PROFILE, method="stac"), joint(PROFILE, method="soft_teacher")
CERTAIN = joint(PROFILE, method="certainty", detector="faster_rcnn")
SPECIFIC = pseudo_label(PROFILE, labeler(PROFILE, labels="objects"))


@pytest.mark.parametrize(
    ("stage", "changes", "sentence"),
    [
        (EMA, {"teacher": "emma"}, "did you mean 'ema'"),
        (EMA, {"mix": "some"}, "did you mean 'sum'"),
        (EMA, {"box_rule": "non"}, "did you mean 'none'"),
        (EMA, {"views": ("weak", "strongest")}, "did you mean 'strong'"),
        (EMA, {"second_view": "weka"}, "did you mean 'weak'"),
        (EMA, {"ratio": (3, 4)}, "a batch of 8, at least one of each; got 3 \\+ 4"),
        (EMA, {"ratio": (8, 0)}, "at least one of each; got 8 \\+ 0"),
        (EMA, {"threshold": 30.0}, "threshold is a probability in \\[0, 1\\], got 30"),
        (EMA, {"floor": -0.1}, "floor is a probability"),
        (EMA, {"momentum": 1.0}, "momentum of the teacher is in \\[0, 1\\), got 1"),
        (EMA, {"unsup_weight": -1.0}, "weight of unlabeled images must be at least 0"),
        (EMA, {"unsup_box_weight": -1.0}, "weight of unlabeled images must be at least 0"),
        (EMA, {"burn_in": -1}, "burn_in must be at least 0"),
        (EMA, {"labels": "keypoints"}, "a joint training learns objects"),
        (EMA, {"unlabeled": None}, "teacher 'ema' got nothing"),
        (EMA, {"unlabeled": FIXED.unlabeled}, "teacher 'ema' got pseudolabel"),
        (FIXED, {"unlabeled": EMA.unlabeled}, "teacher 'fixed' got scenes"),
        (FIXED, {"unlabeled": SPECIFIC}, "pseudo labels of 1 classes for a model of"),
        (FIXED, {"soft_background": True, "floor": 0.2}, "floor, soft_background must be left out"),
        (FIXED, {"box_rule": "spread"}, "box_rule='spread' must be left out"),
        (EMA, {"focal": 1.5}, "cannot take part with a focal loss of regions"),
        (CERTAIN, {"threshold_power": -0.1}, "threshold_power is a power in \\[0, 1\\], 0 for none, got -0.1"),
        (CERTAIN, {"weight_power": 60.0}, "weight_power is a power in \\[0, 1\\]"),
        (CERTAIN, {"threshold_range": (0.75, 0.9)}, "threshold_range is two numbers from 0 on around 0.7"),
        (CERTAIN, {"threshold_range": (0.0,)}, "threshold_range is two numbers"),
        (CERTAIN, {"threshold_range": (0.0, 90.0)}, "thresholds are probabilities in"),
        (CERTAIN, {"threshold_range": ()}, "a threshold_power needs a threshold_range"),
        (CERTAIN, {"weight_range": (2.0, 10.0)}, "weight_range is two numbers from 0 on around 1"),
        (CERTAIN, {"least_instances": 0}, "least_instances must be at least 1"),
        (CERTAIN, {"absent": "leave"}, "did you mean 'leave out'"),
        (CERTAIN, {"sampling": "unio"}, "did you mean 'union'"),
        (CERTAIN, {"relax": True}, "rules by class go with a fixed teacher"),
        (CERTAIN, {"sampling": "union"}, "without a ratio"),
        (FIXED, {"sampling": "union", "ratio": (1, 1)}, "goes with rules by class"),
        (EMA, {"weight_power": 0.5}, "rules by class go with a fixed teacher"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(stage: Joint, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        replace(stage, **changes)


@pytest.mark.parametrize(
    ("detector", "changes", "is_legal"),
    [
        ("retinanet", {}, True),
        ("retinanet", {"box_rule": "none"}, False),
        ("retinanet", {"soft_background": True}, False),
        ("mask_rcnn", {}, False),  # the masks that its teacher finds are not carried to the student's view
        ("condinst", {"score": "class", "soft_background": True, "box_rule": "spread"}, True),
        ("faster_rcnn", {"focal": 1.5, "box_rule": "none"}, True),
        ("faster_rcnn", {"score": "class"}, False),
    ],
)
def test_what_a_detector_can_take_part_in(detector: str, changes: dict[str, Any], is_legal: bool) -> None:
    model, plain = finetune(PROFILE, None, detector=detector).model, {"score": "detection", "floor": 0.0}
    values = {"model": model, "soft_background": False, "box_rule": "all", **plain, **changes}
    if is_legal:
        assert replace(EMA, **values).model.detector == detector
    else:
        with pytest.raises(SpecError, match="cannot take part with"):
            replace(EMA, **values)


def test_a_worker_gets_the_same_stage() -> None:
    for stage in (FIXED, EMA, evaluate(PROFILE, EMA, "ap_det", of="teacher")):
        assert thaw(freeze(stage)) == stage and thaw(freeze(stage)).key == stage.key


def test_a_shorter_schedule_is_an_earlier_state_of_the_same_training() -> None:
    assert EMA.until(((2, 1.0),)).family == EMA.family != replace(EMA, burn_in=7).family
    assert EMA.ranks(8) == 1 and EMA.inputs() == (EMA.data, EMA.unlabeled)


def test_passes_of_images_are_those_of_the_batches_after_and_before_the_burn_in() -> None:
    stage = replace(EMA, schedule=((10, 1.0),), burn_in=4, ratio=(3, 5))
    assert stage.passes == (4 * 8 + 6 * 3, 6 * 5)
    assert replace(stage, burn_in=40).passes == (80, 0)


def test_both_data_sets_are_told_of() -> None:
    assert [(use.name, use.context) for use in FIXED.reads()] == [
        ("scenes labeled", "training"),
        ("pseudo labels", "training"),
    ]
    assert FIXED.reads()[1].profile["threshold"] == FIXED.threshold
    assert [use.name for use in EMA.reads()] == ["scenes labeled", "scenes unlabeled"]


def test_only_an_average_leaves_weights_of_a_teacher_to_evaluate() -> None:
    student, teacher = (evaluate(PROFILE, EMA, "ap_det", of=of) for of in ("student", "teacher"))
    assert student == evaluate(PROFILE, EMA, "ap_det") and student.key != teacher.key
    assert "of" not in student.payload()["fields"] and "of the teacher" in teacher.title
    for trained in (FIXED, finetune(PROFILE, None)):
        with pytest.raises(SpecError, match="leaves no weights of a teacher"):
            evaluate(PROFILE, trained, "ap_det", of="teacher")
    with pytest.raises(SpecError, match="did you mean 'teacher'"):
        evaluate(PROFILE, EMA, "ap_det", of="teachers")


def test_any_field_can_be_varied_by_its_path() -> None:
    end = evaluate(PROFILE, EMA, "ap_det")
    changed = varied(varied(end, "joint.ratio", (4, 4)), "joint.unsup_box_weight", 0.5).model
    assert isinstance(changed, Joint)
    assert (changed.ratio, changed.weights_of("loss_box"), changed.weights_of("loss_cls")) == ((4, 4), 0.5, 2.0)


def test_losses_about_where_an_object_is() -> None:
    names = ("loss_box", "loss_rpn_box", "loss_mask", "loss_cls", "loss_center", "loss_objectness")
    assert [name for name in names if is_of_boxes(name)] == ["loss_box", "loss_rpn_box", "loss_mask"]
