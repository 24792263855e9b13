"""Student and teacher of a joint training on batches made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from casl.models.detect import InferenceSettings, candidates
from casl.models.fcos import FCOS
from casl.models.frameworks.faster_rcnn import FasterRCNN
from casl.models.pseudo_boxes import spread
from casl.spec import Joint
from casl.spec.context import Context
from casl.spec.joint_methods import METHODS, joint
from casl.stages.detectors import build_detector
from casl.stages.joint_certain import CertainLearner
from casl.stages.joint_learner import PASSED, REGRESSED, JointLearner
from casl.stages.joint_teacher import DenseTeaching, RegionTeaching, teaching_of
from casl.train.learner import Batch
from tests.models.test_condinst import scene
from tests.runner.stores import NANO

PROFILE = replace(NANO, finetune_recipe=replace(NANO.finetune_recipe, batch=4), iters_1x=10)
MIRROR = torch.tensor([[-1.0, 0, 64], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)


def stage(method: str, detector: str = "fcos", **changes: Any) -> Joint:
    made = joint(PROFILE, method=method, detector=detector)
    changes = {"burn_in": 0, "rise": 0, **changes} if made.teacher == "ema" else changes
    return replace(made, **changes)


def detector(of: Joint, certain: bool = True) -> Any:
    """With its initial weights; one that is certain finds many boxes."""
    torch.manual_seed(0)
    made: Any = build_detector(of.model, Context(None, {}, {}, "cpu", print, print), pretrained=False)  # type: ignore[arg-type]
    if certain and isinstance(made, FCOS):
        head: Any = made.head
        nn.init.normal_(head.cls_logits.weight, std=0.1)
        nn.init.constant_(head.cls_logits.bias, 0.0)
        nn.init.constant_(head.bbox_pred.bias, 2.0)  # boxes of four strides
    if certain and isinstance(made, FasterRCNN):
        predictor: Any = made.framework.roi_heads.box_predictor
        nn.init.normal_(getattr(predictor, "cls_score", predictor).weight, std=0.3)
    return made


def images() -> list[Tensor]:
    random = torch.Generator().manual_seed(7)
    return [scene()[0].byte(), *torch.randint(0, 255, (2, 3, 64, 64), generator=random, dtype=torch.uint8)]


def batch(of: Joint) -> Batch:
    """A labeled image, and two unlabeled ones: as a fixed teacher has them, or for an average in a plain and in a
    mirrored view."""
    (labeled, target), unlabeled = scene(), images()[1:]
    tags = [{"source": torch.tensor(s), "view": torch.tensor(v)} for s, v in ((0, 0), (1, 0), (1, 1))]
    if "masks" not in needs(of):
        target = {name: target[name] for name in ("boxes", "labels")}
    shown, targets = [labeled.byte()], [{**target, **tags[0]}]
    for image in unlabeled:
        if of.teacher == "fixed":
            shown.append(image)
            scores = {"scores": torch.full((len(target["labels"]),), 0.8)} if of.has_rules else {}
            targets.append({**target, **scores, **tags[1]})
        else:
            shown += [image, image.flip(2)]
            targets += [{"matrix": m, **t} for m, t in ((torch.eye(3).double(), tags[1]), (MIRROR, tags[2]))]
    return shown, targets


def needs(of: Joint) -> tuple[str, ...]:
    return ("masks",) if of.model.detector == "condinst" else ()


def learner(of: Joint, certain: bool = True, said: list[str] | None = None) -> JointLearner:
    make = CertainLearner if of.has_rules else JointLearner
    made = make(detector(of, certain), of, (said if said is not None else []).append)
    made.module.train()
    return made


def scales(model: Any) -> Tensor:
    """Four numbers of it."""
    found: Tensor = model.head.scales
    return found


def losses(made: JointLearner, of: Joint) -> dict[str, Tensor]:
    torch.manual_seed(5)
    return made.losses(*batch(of))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["fcos", "condinst", "faster_rcnn"])
@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_losses_and_gradients_are_numbers_whether_every_box_passes_or_none(
    method: str, name: str, threshold: float
) -> None:
    rules = {"threshold_range": (0.0, 1.0)} if METHODS[method].values.get("threshold_range") else {}
    of = stage(method, name, threshold=threshold, **rules)
    if of.teacher == "ema":
        of = replace(of, floor=0.0 if of.box_rule == "spread" and not threshold else of.floor)
    made = learner(of, certain=not threshold)
    found = losses(made, of)
    assert all(torch.isfinite(value) for value in found.values())
    total = torch.stack([value for key, value in found.items() if not key.startswith("watched_")]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in made.module.parameters())
    if of.teacher == "ema":
        assert (float(found[PASSED]) > 0) == (threshold == 0.0)
        assert made.module.teacher is not None and all(p.grad is None for p in made.module.teacher.parameters())
    if of.box_rule == "none":
        assert found[REGRESSED].item() == 0.0 == found["loss_box_u"].item()


@pytest.mark.parametrize("name", ["fcos", "faster_rcnn"])
def test_the_burn_in_has_the_same_names_and_nothing_of_unlabeled_images(name: str) -> None:
    of = stage("unbiased_teacher", name, threshold=0.0)
    made = learner(of)
    shown, targets = batch(of)
    torch.manual_seed(5)
    burnt = made.losses(shown[:1], targets[:1])
    torch.manual_seed(5)
    assert list(burnt) == list(made.losses(shown, targets))
    assert all((burnt[key].item() == 0.0) == (key.endswith("_u") or key.startswith("watched")) for key in burnt)


@pytest.mark.parametrize("name", ["fcos", "condinst", "faster_rcnn"])
def test_a_teacher_draws_nothing_from_the_students_numbers(name: str) -> None:
    of = stage("soft_teacher", name, floor=0.0)
    teacher = detector(of).eval()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = teaching_of(of).look(teacher, images())
    assert torch.equal(torch.get_rng_state(), before)
    again = teaching_of(of).look(teacher, images())
    assert all(
        torch.equal(a.boxes, b.boxes) and torch.equal(a.sides, b.sides) for a, b in zip(first, again, strict=True)
    )


@pytest.mark.parametrize("name", ["fcos", "condinst"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_dense_teacher_finds_what_it_predicts_above_the_threshold(name: str, share: float) -> None:
    of = stage("soft_teacher", name, score="detection", box_rule="none", floor=0.0)
    teacher = detector(of).eval()
    predicted = teacher.predict(images(), [(64, 64)] * 3)
    threshold = float(torch.cat([one["scores"] for one in predicted]).quantile(1 - share))
    found = teaching_of(replace(of, threshold=threshold)).look(teacher, images())
    for seen, one in zip(found, predicted, strict=True):
        keep = one["scores"] > threshold
        assert torch.equal(seen.boxes, one["boxes"][keep]) and torch.equal(seen.labels, one["labels"][keep])
        assert seen.classes.all() and not seen.sides.any() and float(seen.best) == float(one["scores"].max())
        assert (seen.masks is None) == (name == "fcos")
        if seen.masks is not None:
            assert torch.equal(seen.masks, one["masks"][keep])


def test_scores_of_classes_leave_centre_ness_out() -> None:
    of = stage("soft_teacher", threshold=0.0, score="class", box_rule="none")
    teacher, image = detector(of).eval(), images()[1]
    (seen,) = teaching_of(of).look(teacher, [image])
    with torch.no_grad():
        nn.init.zeros_(teacher.head.ctrness.weight)
        nn.init.constant_(teacher.head.ctrness.bias, 50.0)  # a centre-ness of 1 everywhere: the score is the root of p
    (one,) = teacher.predict([image], [(64, 64)], InferenceSettings(topk=10_000, nms=1.0, max_detections=10_000))
    assert float(seen.best) == pytest.approx(float(one["scores"].max()) ** 2, abs=1e-5)


def test_boxes_learn_from_those_whose_neighbours_agree_and_score_above_the_floor() -> None:
    of = stage("soft_teacher", threshold=0.9, score="detection", floor=0.3, spread=0.2)
    teacher, image = detector(of).eval(), images()[1]
    (seen,) = teaching_of(of).look(teacher, [image])
    with torch.no_grad():
        output = teacher.outputs(teacher.preprocess([image]))
        settings = teacher.settings.inference
        (kept,) = teacher.detect(output)
        (every,) = candidates(output, teacher.locations(output), teacher.settings.strides, settings)
    spreads = spread(kept.boxes, kept.labels, every.boxes, every.scores, every.labels)
    wanted = (kept.scores > 0.3) & (spreads < 0.2)
    assert 0 < int(wanted.sum()) < len(wanted) and not seen.classes.any() and seen.sides.all()
    assert len(seen.boxes) == int(wanted.sum())
    assert len(every.boxes) > len(kept.boxes), "candidates are those before suppression"


def test_a_two_stage_teacher_drops_boxes_that_its_head_moves_about() -> None:
    of = stage("soft_teacher", "faster_rcnn", threshold=0.0, floor=0.1, spread=1e9)
    teacher = detector(of).eval()
    every = RegionTeaching(of).look(teacher, images())
    few = RegionTeaching(replace(of, spread=0.05)).look(teacher, images())
    none = RegionTeaching(replace(of, spread=0.0)).look(teacher, images())
    counts = [sum(int(seen.sides.sum()) for seen in found) for found in (every, few, none)]
    assert counts[0] > counts[1] > counts[2] == 0
    predicted = teacher.predict(images(), [(64, 64)] * 3)
    assert counts[0] == sum(int((one["scores"] > 0.1).sum()) for one in predicted)


@pytest.mark.parametrize("name", ["fcos", "condinst"])
def test_pseudo_boxes_and_masks_lie_where_the_mirrored_student_sees_them(name: str) -> None:
    of = stage("soft_teacher", name, threshold=0.4, score="detection", box_rule="none")
    made = learner(of)
    assert made.module.teacher is not None
    shown, targets = batch(of)
    glances = made._glances((shown[1::2], targets[1::2]), (shown[2::2], targets[2::2]))
    classes, boxes = made._pseudo(glances, shown[2::2])
    of_teacher: Any = made.module.teacher.module
    predicted = of_teacher.predict(shown[1::2], [(64, 64)] * 2)
    for target, one in zip(classes, predicted, strict=True):
        keep = one["scores"] > 0.4
        if name == "condinst":
            keep &= one["masks"].flatten(1).any(1)
            assert torch.equal(target["masks"], one["masks"][keep].flip(2))
        left, top, right, bottom = one["boxes"][keep].unbind(1)
        torch.testing.assert_close(target["boxes"], torch.stack([64 - right, top, 64 - left, bottom], 1))
        assert torch.equal(target["labels"], one["labels"][keep]) and len(target["labels"]) > 0
    assert all(len(target["labels"]) == 0 for target in boxes)


def test_soft_background_is_that_of_the_mirrored_cell() -> None:
    of = stage("soft_teacher", threshold=1.0, box_rule="none", floor=0.3)
    made = learner(of)
    assert isinstance(made.teaching, DenseTeaching) and made.module.teacher is not None
    shown, targets = batch(of)
    (first, _) = made._glances((shown[1::2], targets[1::2]), (shown[2::2], targets[2::2]))
    student: Any = made.module.student
    teacher: Any = made.module.teacher.module
    with torch.no_grad():
        output = teacher.outputs(teacher.preprocess([shown[1]]))
    grid = student.grid(output)
    found = first.background(grid.points, grid.levels, first.back)
    mirrored = torch.cat([1 - level[0].sigmoid().amax(0).flip(1).flatten() for level in output.logits])
    inside = grid.points.amax(1) < 64
    torch.testing.assert_close(found[inside], mirrored[inside])
    assert found[inside].std() > 0.01, "the teacher is not equally sure everywhere"


def test_a_student_that_sees_what_its_teacher_sees_has_regions_of_the_same_background() -> None:
    of = stage("soft_teacher", "faster_rcnn", threshold=1.0)
    teacher, image = detector(of).eval(), images()[1]
    (seen,) = teaching_of(of).look(teacher, [image])
    boxes = torch.tensor([[4.0, 4, 30, 30], [20, 30, 60, 63]])
    assert seen.background is not None
    found = seen.background(boxes)
    assert ((found > 0) & (found < 1)).all() and float((found[0] - found[1]).abs()) > 0
    assert torch.equal(found, seen.background(boxes)), "without any chance"


def test_the_teacher_is_a_copy_until_the_burn_in_ends_and_then_the_mean_of_all_students() -> None:
    of = stage("soft_teacher", burn_in=3)
    made = learner(of)
    assert made.module.teacher is not None
    student, teacher = scales(made.module.student), scales(made.module.teacher.module)
    seen = []
    for iteration, value in enumerate((9.0, 7.0, 1.0, 3.0, 5.0, 4.0)):
        nn.init.constant_(student, value)  # what the optimiser's step makes of it
        made.after_step(iteration)
        seen.append(float(teacher[0]))
    # after the third the burn-in is over: t = 0 is that student, and then means, as S5 has it
    assert seen == pytest.approx([9, 7, 1, 2, 3, 3.25])


def test_without_a_ramp_the_momentum_is_the_same_from_the_copy_on() -> None:
    of = stage("unbiased_teacher", burn_in=1, momentum=0.75)
    made = learner(of)
    assert not of.ramp and made.module.teacher is not None
    student, teacher = scales(made.module.student), scales(made.module.teacher.module)
    for iteration, value in enumerate((1.0, 5.0)):
        nn.init.constant_(student, value)
        made.after_step(iteration)
    assert float(teacher[0]) == pytest.approx(0.75 * 1 + 0.25 * 5)


def test_losses_are_mixed_as_the_method_says() -> None:
    plain, stac = stage("self_training"), stage("stac")
    made = learner(plain)
    first = losses(made, plain)
    second = losses(learner(stac), stac)
    for key in ("loss_cls", "loss_box", "loss_center"):
        torch.testing.assert_close(second[key], 0.5 * first[key])
        torch.testing.assert_close(second[f"{key}_u"], 1.0 * first[f"{key}_u"])  # a half of twice
    normalised = replace(plain, mix="normalised", unsup_weight=0.25)
    third = losses(learner(normalised), normalised)
    sums = [sum(float(v) for k, v in first.items() if k.startswith("loss") and k.endswith("_u") == u) for u in (0, 1)]
    for key in ("loss_cls", "loss_box", "loss_center"):
        torch.testing.assert_close(third[f"{key}_u"], first[f"{key}_u"] * (0.25 * sums[0] / sums[1] / 1.25))


def test_fixed_labels_that_teach_no_boxes_still_teach_classes() -> None:
    plain = stage("self_training")
    none = replace(plain, box_rule="none")
    first, second = losses(learner(plain), plain), losses(learner(none), none)
    assert float(second["loss_box_u"]) == 0.0 < float(first["loss_box_u"])
    torch.testing.assert_close(second["loss_cls_u"], first["loss_cls_u"])
    assert float(second[PASSED]) == 2.0 and float(second[REGRESSED]) == 0.0


def test_the_weight_of_unlabeled_images_rises_from_the_end_of_the_burn_in() -> None:
    of = stage("soft_teacher", burn_in=3, floor=0.0)
    whole = losses(learner(of), of)
    for iteration, share in ((2, 0.25), (3, 0.5), (4, 0.75), (5, 1.0), (9, 1.0)):
        stopped, rising = learner(replace(of, rise=4)), learner(replace(of, rise=4))
        stopped.after_step(iteration)
        rising.module.load_state_dict(stopped.module.state_dict())  # as a checkpoint of it
        found = losses(rising, of)
        for name in ("loss_cls_u", "loss_center_u"):
            torch.testing.assert_close(found[name], share * whole[name])
        torch.testing.assert_close(found["loss_cls"], whole["loss_cls"])
    assert "joint" not in learner(of).module.state_dict()


def test_it_is_said_when_no_pseudo_box_passes() -> None:
    of, said = stage("soft_teacher", threshold=0.999, box_rule="none"), list[str]()
    made = learner(of, said=said)
    made.module.watch.patience = 2
    for _ in range(4):
        losses(made, of)
    (sentence,) = said
    assert "no pseudo box scored above 0.999 for 2 iterations" in sentence
    named = float(sentence.rpartition("a threshold of ")[2].split()[0])
    lower = replace(of, threshold=named)
    assert float(losses(learner(lower), lower)[PASSED]) > 0, "the threshold it names lets some pass"


def test_the_state_has_the_teacher_the_averages_and_what_was_watched_and_the_result_is_the_student() -> None:
    made = learner(stage("soft_teacher"))
    names = set(made.module.state_dict())
    assert {"averages.values", "watch.state"} <= names
    assert {n.partition(".")[0] for n in names} == {"student", "teacher", "averages", "watch"}
    assert made.kept is made.module.student and not made.divisible
    assert not any(name.startswith("teacher") for name in learner(stage("stac")).module.state_dict())
    assert not any(p.requires_grad for n, p in made.module.named_parameters() if n.startswith("teacher"))
