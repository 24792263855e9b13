"""RetinaNet on noisy anchors: a whole step against the authors' code, and what a batch and its weights may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.frameworks.judged import choose
from casl.models.frameworks.retinanet import RetinaNetSettings
from casl.models.frameworks.retinanet import build as build_plain
from casl.models.frameworks.retinanet_noisy import RetinaNetNoisy, RetinaNetNoisySettings, build
from casl.models.noisy import literal_weights, paired_iou, smooth_l1, soft_focal
from tests.models.frameworks.cases import SMALL, batch, scene, total, without_objects

ANCHORS = torch.tensor(
    [[0.0, 0, 16, 16], [8, 0, 24, 16], [0, 8, 16, 24], [8, 8, 24, 24], [16, 16, 32, 32], [4, 4, 20, 20]]
)
TARGET = {"boxes": torch.tensor([[2.0, 2, 18, 20], [14, 14, 30, 30]]), "labels": torch.tensor([1, 0])}
LOGITS = torch.tensor([[-2.0, 0.3], [-1, -0.4], [0, 0.1], [1, 0.9], [0.5, -1.2], [-3, 1.5]])
OFFSETS = torch.tensor(
    [
        [0.1, 0.1, 0.0, 0.05],
        [-0.1, 0.0, 0.1, 0.0],
        [0.0, -0.2, 0.1, 0.1],
        [0.2, 0.1, -0.1, 0.0],
        [0.05, 0.0, 0.2, -0.1],
        [0.0, 0.0, 0.0, 0.1],
    ]
)


def noisy(num_classes: int = 2, **changes: Any) -> RetinaNetNoisy:
    torch.manual_seed(0)
    settings = RetinaNetNoisySettings(**SMALL, **{"top_n": 2, **changes})
    return build(build_backbone("resnet_nano"), num_classes, settings)


def step(model: RetinaNetNoisy, *, logits: Tensor = LOGITS, offsets: Tensor = OFFSETS) -> dict[str, Tensor]:
    """Losses of one image of six anchors."""
    chosen = choose(model.settings, model.framework.proposal_matcher, [ANCHORS], [TARGET])
    outputs = {"cls_logits": logits[None], "bbox_regression": offsets[None]}
    return model.criterion(outputs, [ANCHORS], chosen, [TARGET])


@pytest.mark.parametrize(("alpha", "loss_cls"), [(0.75, 0.009673), (0.5, 0.009618), (1.0, 0.009935)])
def test_8_a_whole_step_is_that_of_the_authors_code(alpha: float, loss_cls: float) -> None:
    model = noisy(clean_alpha=alpha)
    losses = step(model)
    assert losses["loss_cls"].item() == pytest.approx(loss_cls, abs=1e-6)
    assert losses["loss_box"].item() == pytest.approx(0.017321, abs=1e-6)
    assert model.state_dict()["framework.normaliser.average"].item() == pytest.approx(90.4)


def test_8_labels_and_weights_of_that_step() -> None:
    model = noisy()
    (chosen,) = choose(model.settings, model.framework.proposal_matcher, [ANCHORS], [TARGET])
    assert chosen.matches.boxes.tolist() == [0, -1, -1, 0, 1, 0]
    coder = model.framework.head.regression_head.box_coder
    decoded = coder.decode_single(OFFSETS, ANCHORS)
    assert coder.encode_single(TARGET["boxes"][[0]], ANCHORS[[0]])[0].tolist() == pytest.approx(
        [0.125, 0.1875, 0.0, 0.117783], abs=1e-5
    )
    loc = box_iou(TARGET["boxes"], decoded)[chosen.rows(), chosen.anchors]
    cls = LOGITS[chosen.anchors, TARGET["labels"][chosen.rows()]].sigmoid()
    clean, weights = chosen.judged(loc, cls, model.settings.rule)
    assert clean.tolist() == pytest.approx([1.0, 0.0, 0.0, 0.558816, 0.849374, 0.970537], abs=1e-5)
    assert weights.tolist() == pytest.approx([1.474329, 1.0, 1.0, 0.531918, 0.775073, 1.218679], abs=1e-5)


def test_released_weights_move_gradients_and_no_loss() -> None:
    found = {}
    for gamma in (0.0, 1.0):
        logits, offsets = LOGITS.clone().requires_grad_(), OFFSETS.clone().requires_grad_()
        losses = step(noisy(clean_gamma=gamma), logits=logits, offsets=offsets)
        torch.autograd.backward(total(losses))
        assert logits.grad is not None and offsets.grad is not None
        found[gamma] = [float(v.detach()) for v in losses.values()], logits.grad, offsets.grad
    assert found[0.0][0] == pytest.approx(found[1.0][0])
    assert not torch.allclose(found[0.0][1], found[1.0][1]) and not torch.allclose(found[0.0][2], found[1.0][2])


def test_literal_losses_are_sums_divided_by_the_weights_of_positives() -> None:
    model = noisy(label="literal", clean_gamma=1.5)
    losses = step(model)
    coder = model.framework.head.regression_head.box_coder
    positive, rows = torch.tensor([0, 3, 4, 5]), torch.tensor([0, 0, 1, 0])
    loc = paired_iou(coder.decode_single(OFFSETS, ANCHORS)[positive], TARGET["boxes"][rows])
    cls = LOGITS[positive, TARGET["labels"][rows]].sigmoid()
    soft, weights = torch.zeros(6, 2), torch.ones(6)
    soft[positive, TARGET["labels"][rows]] = 0.75 * loc + 0.25 * cls
    weights[positive] = literal_weights(loc, cls, 0.75, 1.5)
    wanted = (soft_focal(LOGITS, soft, 0.5) * weights[:, None]).sum() / 4
    torch.testing.assert_close(losses["loss_cls"], wanted)  # the weights of 4 positives have mean 1
    box = smooth_l1(OFFSETS[positive], coder.encode_single(TARGET["boxes"][rows], ANCHORS[positive]))
    torch.testing.assert_close(losses["loss_box"], (box * weights[positive, None]).sum() / 4)


def test_an_anchor_of_two_objects_counts_twice_in_means_and_once_in_losses() -> None:
    model = noisy(top_n=4)
    (chosen,) = choose(model.settings, model.framework.proposal_matcher, [ANCHORS], [TARGET])
    assert len(chosen.anchors) == 8 and int(chosen.matches.positive.sum()) == 6
    loc, cls = torch.linspace(0.1, 0.8, 8), torch.full((8,), 0.3)
    loc = loc.new_tensor([float(loc[chosen.anchors == a].mean()) for a in chosen.anchors])  # as an anchor has one box
    weights = chosen.judged(loc, cls, replace(model.settings.rule, alpha=1.0))[1]
    wanted = 1 / (1 - loc)
    torch.testing.assert_close(weights[chosen.anchors], wanted / wanted.mean())


def test_every_weight_learns_and_images_without_objects_are_background() -> None:
    model = noisy()
    losses = model(*batch(scene(), without_objects()))
    torch.autograd.backward(total(losses))
    idle = {key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert not {key for key in idle if not key.startswith("backbone.body.layer")}
    nothing = model(*batch(without_objects(), without_objects(40, 48)))
    assert nothing["loss_box"] == 0 and all(torch.isfinite(value) for value in nothing.values())


@pytest.mark.parametrize("label", ["released", "literal"])
def test_a_box_of_weight_two_counts_its_terms_twice(label: str) -> None:
    image, target = scene()
    given = ([1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [2.0, 1.0], [1.0, 1.0])
    wanted = [noisy(label=label)([image], [target | {"weights": torch.tensor(w)}]) for w in given]
    for name in ("loss_cls", "loss_box"):
        first, second, none, double, ones = (losses[name] for losses in wanted)
        torch.testing.assert_close(double, 2 * first + second - 2 * none)
        plain = noisy(label=label)([image], [target])[name]
        assert torch.equal(ones, plain)


def test_with_thresholds_hard_labels_and_no_power_it_is_retinanet_but_for_normaliser_and_box_loss() -> None:
    data = batch(scene(), scene())
    model = noisy(assign="iou", label="hard", clean_gamma=0.0, focal_alpha=0.25)
    torch.manual_seed(0)
    plain = build_plain(build_backbone("resnet_nano"), 2, RetinaNetSettings(**SMALL))
    losses, wanted = model(*data), plain(*data)
    positives = (model.framework.normaliser.average - 90.0) / 0.1
    torch.testing.assert_close(losses["loss_cls"] * model.framework.normaliser.average, wanted["loss_cls"] * positives)


def test_the_normaliser_goes_on_from_a_checkpoint() -> None:
    first, data = noisy(start=0.0), batch(scene())
    first(*data)
    second = noisy(start=0.0)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(*data)["loss_cls"], second(*data)["loss_cls"])
    first.eval().predict([scene()[0]], [(64, 64)])
    assert torch.equal(first.framework.normaliser.average, second.framework.normaliser.average)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top_n": 0}, r"at least 1 anchor \(top_n\), got 0"),
        ({"clean_alpha": 1.5}, r"in \[0, 1\], got 1.5"),
        ({"clean_gamma": -0.5}, "power of the weights.*got -0.5"),
        ({"label": "soft"}, "unknown label of anchors 'soft'"),
        ({"assign": "top_n"}, "did you mean 'topn'"),
        ({"focal_alpha": 2.0}, r"share of the class loss, in \[0, 1\], got 2.0"),
    ],
)
def test_settings_out_of_range_are_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        RetinaNetNoisySettings(**changes)
    assert "shares" not in dir(RetinaNetNoisy)  # so that no run divides its batches
