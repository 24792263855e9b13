"""Dense losses in which each class has a weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from casl.models.backbone import build_backbone
from casl.models.by_class import losses_by_class
from casl.models.fcos import FCOSSettings, build
from tests.models.frameworks.cases import batch, scene


def fcos() -> Any:
    torch.manual_seed(0)
    made: Any = build(build_backbone("resnet_nano"), 2, FCOSSettings(channels=16, towers=1, ranges=(16, 32, 64, 128)))
    nn.init.normal_(made.head.cls_logits.weight, std=0.1)
    return made


def images() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    image, target = scene()
    return batch((image, {name: target[name] for name in ("boxes", "labels")}))


def test_classes_of_weight_one_change_no_bit() -> None:
    model = fcos()
    plain = model.losses(*images())
    judged = losses_by_class(model, *images(), torch.ones(2))
    assert all(torch.equal(value, judged.losses[name]) for name, value in plain.items())
    assert set(judged.labels.tolist()) == {0, 1} and not judged.certainty.requires_grad


def test_a_weight_multiplies_the_terms_of_locations_that_should_find_its_class() -> None:
    model, (shown, targets) = fcos(), images()
    plain = model.losses(shown, targets)
    as_boxes = [targets[0] | {"weights": torch.tensor([1.0, 5.0])}]
    by_box, by_class = model.losses(shown, as_boxes), losses_by_class(model, shown, targets, torch.tensor([1.0, 5.0]))
    for name, value in by_box.items():
        torch.testing.assert_close(by_class.losses[name], value)
        assert value > plain[name]
    both = losses_by_class(model, shown, as_boxes, torch.tensor([1.0, 2.0])).losses
    tenfold = model.losses(shown, [targets[0] | {"weights": torch.tensor([1.0, 10.0])}])
    torch.testing.assert_close(both["loss_box"], tenfold["loss_box"])


def test_certainty_is_class_probability_times_centre_ness_at_positive_locations() -> None:
    model, (shown, targets) = fcos(), images()
    judged = losses_by_class(model, shown, targets, torch.ones(2))
    with torch.no_grad():
        output = model.outputs(model.preprocess(shown))
        assignment = model.assign(model.grid(output), targets)
        p = torch.cat([level[0].sigmoid().flatten(1).T for level in output.logits])
        v = torch.cat([level[0, 0].sigmoid().flatten() for level in output.center])
    positive = assignment.positive[0]
    wanted = p[positive].gather(1, assignment.labels[0][positive][:, None])[:, 0] * v[positive]
    torch.testing.assert_close(judged.certainty, wanted)
