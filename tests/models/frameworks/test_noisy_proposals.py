"""Proposals on noisy anchors: torchvision's losses where nothing is judged, and soft targets where it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.detect import InferenceSettings
from casl.models.frameworks.faster_rcnn import FasterRCNNSettings
from casl.models.frameworks.faster_rcnn import build as build_plain
from casl.models.frameworks.judged import choose, regressed_iou
from casl.models.frameworks.matching import match
from casl.models.frameworks.noisy_proposals import (
    FasterRCNNNoisySettings,
    ProposalNetwork,
    ProposalSettings,
    build,
    build_faster_rcnn,
    judged_losses,
)
from casl.models.frameworks.rcnn_losses import Proposals, proposal_losses, propose
from casl.models.noisy import Rule
from tests.models.frameworks.cases import SMALL, batch, scene, total, without_objects

PLAIN: dict[str, Any] = {"assign": "iou", "label": "hard", "clean_gamma": 0.0}


def network(**changes: Any) -> ProposalNetwork:
    torch.manual_seed(0)
    return build(build_backbone("resnet_nano"), 2, ProposalSettings(**SMALL, **{"top_n": 3, **changes}))


def seen() -> tuple[Any, Proposals, list[dict[str, torch.Tensor]]]:
    """A proposal network of torchvision, what it says of two images, and their targets."""
    torch.manual_seed(0)
    model = build_plain(build_backbone("resnet_nano"), 2, FasterRCNNSettings(**SMALL))
    images, targets = batch(scene(), without_objects())
    inputs = model.batch(images)
    with torch.no_grad():
        proposals = propose(model.framework.rpn, inputs, model.features(inputs.tensors))
    return model.framework.rpn, proposals, [{k: t[k] for k in ("boxes", "labels")} for t in targets]


def test_where_nothing_is_judged_losses_are_torchvision_s() -> None:
    rpn, proposals, targets = seen()
    torch.manual_seed(1)
    wanted = proposal_losses(rpn, proposals, match(rpn.proposal_matcher, proposals.anchors, targets), targets)
    torch.manual_seed(1)
    chosen = choose(ProposalSettings(**PLAIN), rpn.proposal_matcher, proposals.anchors, targets)
    found = judged_losses(rpn, proposals, chosen, targets, Rule(label="hard", gamma=0.0))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)


def test_weights_of_boxes_multiply_their_terms_as_in_faster_rcnn() -> None:
    rpn, proposals, targets = seen()
    targets = [targets[0] | {"weights": torch.tensor([2.0, 0.5])}, targets[1]]
    torch.manual_seed(1)
    wanted = proposal_losses(rpn, proposals, match(rpn.proposal_matcher, proposals.anchors, targets), targets)
    torch.manual_seed(1)
    chosen = choose(ProposalSettings(**PLAIN), rpn.proposal_matcher, proposals.anchors, targets)
    found = judged_losses(rpn, proposals, chosen, targets, Rule(label="hard", gamma=0.0))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize("label", ["released", "literal"])
def test_soft_objectness_of_the_best_anchors(label: str) -> None:
    rpn, proposals, targets = seen()
    rule, settings = Rule(0.5, 1.0, label), ProposalSettings(top_n=3)
    rpn.fg_bg_sampler.batch_size_per_image = 10**6  # nothing is left to chance
    rpn.fg_bg_sampler.positive_fraction = 1.0
    chosen = choose(settings, rpn.proposal_matcher, proposals.anchors, targets)
    found = judged_losses(rpn, proposals, chosen, targets, rule)
    anchors, first = proposals.anchors[0], chosen[0]
    logits, offsets = proposals.objectness[: len(anchors), 0], proposals.offsets[: len(anchors)]
    boxes = targets[0]["boxes"][first.rows()]
    loc = regressed_iou(rpn.box_coder, offsets[first.anchors], anchors[first.anchors], boxes)
    labels, weights = rule.judge(loc, logits[first.anchors].sigmoid())
    soft, factors = torch.zeros(len(proposals.objectness)), torch.ones(len(proposals.objectness))
    soft[first.anchors], factors[first.anchors] = labels, weights
    terms = functional.binary_cross_entropy_with_logits(proposals.objectness.flatten(), soft, reduction="none")
    plain = terms.mean()
    torch.testing.assert_close(
        found["loss_objectness"], (terms * factors).sum() / factors.sum() if label == "literal" else plain
    )


def test_every_weight_learns_and_images_without_objects_are_background() -> None:
    model = network()
    torch.autograd.backward(total(model(*batch(scene(), without_objects()))))
    idle = {key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert not {key for key in idle if not key.startswith(("backbone.body.layer", "backbone.body.bn"))}
    nothing = model(*batch(without_objects()))
    assert nothing["loss_rpn_box"] == 0 and all(torch.isfinite(value) for value in nothing.values())


def test_proposals_are_those_of_faster_rcnn_with_their_objectness() -> None:
    model = network().eval()
    torch.manual_seed(0)
    whole = build_plain(build_backbone("resnet_nano"), 2, FasterRCNNSettings(**SMALL)).eval()
    whole.load_state_dict(model.state_dict(), strict=False)
    images = [scene()[0]]
    (found,) = model.predict(images, [(64, 64)], replace(model.settings.inference, max_detections=40))
    inputs = whole.batch(images)
    whole.framework.rpn._post_nms_top_n["testing"] = 40
    (boxes,) = whole.framework.rpn(inputs, whole.features(inputs.tensors))[0]
    torch.testing.assert_close(found["boxes"], boxes)
    assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)
    assert 0 < len(found["labels"]) <= 40 and not found["labels"].any()
    assert len(model.predict(images, [(64, 64)], InferenceSettings(score_threshold=0.99))[0]["boxes"]) == 0


def test_faster_rcnn_has_the_losses_of_its_proposals_and_of_its_heads() -> None:
    torch.manual_seed(0)
    settings = FasterRCNNNoisySettings(**SMALL, top_n=3)
    model = build_faster_rcnn(build_backbone("resnet_nano"), 2, settings)
    torch.manual_seed(0)
    plain = build_plain(build_backbone("resnet_nano"), 2, FasterRCNNSettings(**SMALL))
    data = batch(scene(), scene())
    losses, others = model(*data), plain(*data)
    assert losses.keys() == others.keys()
    assert losses["loss_objectness"] != others["loss_objectness"]
    torch.autograd.backward(total(losses))


@pytest.mark.parametrize(
    ("settings", "changes", "said"),
    [
        (ProposalSettings, {"top_n": 0}, "at least 1 anchor"),
        (ProposalSettings, {"bg_iou": 0.8}, "0 < bg_iou <= fg_iou <= 1 must hold, got 0.8 and 0.7"),
        (FasterRCNNNoisySettings, {"clean_alpha": -1.0}, r"in \[0, 1\], got -1.0"),
        (FasterRCNNNoisySettings, {"rois": 2}, "draw at least 4"),
    ],
)
def test_settings_out_of_range_are_one_sentence(settings: type, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        settings(**changes)
