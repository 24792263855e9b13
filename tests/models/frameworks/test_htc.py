"""What HTC adds to a cascade: masks of boxes that the same stage refined, flow among mask heads, and stuff."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from casl.errors import SpecError
from casl.models.detect import InferenceSettings
from casl.models.frameworks.htc import HTC, STUFF, SemanticHTC
from tests.models.frameworks.cases import batch, scene, small, total

BOTH = InferenceSettings(score_threshold=0.1, nms=0.5, max_detections=10)


def moved(boxes: Tensor, offsets: Tensor, number: int) -> Tensor:
    centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    centre = centre + side * offsets[:, :2] / (10 * number)
    side = side * (offsets[:, 2:] / (5 * number)).exp()
    return torch.cat([centre - side / 2, centre + side / 2], 1).clamp(0, 64)


def apart(first: Tensor, second: Tensor) -> Tensor:
    return (first[:, None] - second[None]).abs().amax(2)


def test_the_mask_head_of_a_stage_sees_boxes_that_the_same_stage_refined() -> None:
    model: Any = small("htc")
    image, target = scene()
    drawn: list[Tensor] = []
    told: list[tuple[Tensor, Tensor]] = []
    masked: list[Tensor] = []
    stages = model.framework.roi_heads
    stages[0].box_roi_pool.register_forward_pre_hook(lambda module, given: drawn.append(given[1][0]))
    stages[0].mask_roi_pool.register_forward_pre_hook(lambda module, given: masked.append(given[1][0]))
    for heads in stages:
        heads.box_predictor.register_forward_hook(lambda module, given, found: told.append(found))
    model.losses([image], [target])
    assert (len(drawn), len(told), len(masked)) == (3, 3, 3)
    for number in range(3):
        given = torch.cat([moved(drawn[number], told[number][1], number + 1), target["boxes"]])
        assert len(masked[number]) and apart(masked[number], given).amin(1).max() < 1e-3
        if number:  # of the boxes it drew itself they are not, but for those of the truth
            own = apart(masked[number], drawn[number]).amin(1)
            truth = apart(masked[number], target["boxes"]).amin(1)
            assert (own[truth > 1e-3] > 1e-3).all()


def test_a_mask_loss_teaches_the_mask_heads_before_it_through_the_flow_and_none_after() -> None:
    model: Any = small("htc", stage_weights=(0.0, 1.0, 0.0))
    losses = model.losses(*batch(scene()))
    torch.autograd.backward(losses["loss_mask_2"])
    towers = [heads.mask_head[0][0].weight.grad for heads in model.framework.roi_heads]
    assert [grad is not None and bool(grad.abs().sum() > 0) for grad in towers] == [True, True, False]
    flows = [flow[0].weight.grad for flow in model.framework.flows]
    assert flows[0].abs().sum() > 0 and flows[1] is None
    assert model.framework.roi_heads[0].mask_predictor.mask_fcn_logits.weight.grad is None


def test_a_tower_is_of_the_crops_and_of_a_convolution_of_the_tower_before() -> None:
    model: Any = small("htc")
    crops = torch.randn(2, 32, 14, 14, generator=torch.Generator().manual_seed(0))
    first, second, third = model.mask_towers(crops, 3)
    stages = model.framework.roi_heads
    for number, (before, after) in enumerate(((first, second), (second, third))):
        layer = model.framework.flows[number][0]
        flow = torch.einsum("oc,bchw->bohw", layer.weight[:, :, 0, 0], before) + layer.bias[:, None, None]
        torch.testing.assert_close(after, stages[number + 1].mask_head(crops + flow.clamp(min=0)))
    assert torch.equal(first, stages[0].mask_head(crops))
    assert len(model.mask_towers(crops, 1)) == 1


def test_masks_are_probabilities_averaged_over_the_stages() -> None:
    model: Any = small("htc").eval()
    seen: list[Tensor] = []
    for heads in model.framework.roi_heads:
        heads.mask_predictor.register_forward_hook(lambda module, given, told: seen.append(told))
    images = model.batch([scene()[0]])
    (found,) = model.detect(images, model.features(images.tensors), BOTH)
    labels = found["labels"]
    rows = torch.arange(len(labels))
    expected = sum(logits[rows, labels].sigmoid() for logits in seen) / 3
    assert len(seen) == 3 and len(labels) > 2
    torch.testing.assert_close(found["masks"][:, 0], expected)


def test_boxes_alone_are_the_same_without_masks() -> None:
    model = small("htc").eval()
    image = scene()[0]
    whole = model.predict([image], [(64, 64)], BOTH)[0]
    spared = model.predict([image], [(64, 64)], InferenceSettings(0.1, nms=0.5, max_detections=10, masks=False))[0]
    assert whole.keys() - spared.keys() == {"masks"}
    assert all(torch.equal(value, whole[key]) for key, value in spared.items())


def test_the_semantic_loss_is_a_fifth_of_the_cross_entropy_of_pixels() -> None:
    model: Any = small("htc")
    image, target = scene()
    torch.manual_seed(1)
    losses = model.losses([image], [target])
    features = model.features(model.batch([image]).tensors)
    logits, embedding = model.semantic(list(features.values()))
    assert logits.shape == (1, 3, 8, 8) and embedding.shape == (1, 32, 8, 8)
    full = functional.interpolate(logits, (64, 64), mode="bilinear", align_corners=False)
    expected = functional.cross_entropy(full, target["semantic"][None], ignore_index=255)
    torch.testing.assert_close(losses["loss_semantic"], 0.2 * expected)
    twice = small("htc", semantic_weight=0.4)
    torch.manual_seed(1)
    torch.testing.assert_close(twice.losses([image], [target])["loss_semantic"], 0.4 * expected)


def test_crops_of_stuff_lie_where_the_boxes_are_and_are_added_to_those_of_boxes_and_masks() -> None:
    """An embedding that says the x of each cell's middle, in pixels."""
    model: Any = small("htc")
    features = {str(i): torch.zeros(1, 32, 16 >> i or 1, 16 >> i or 1) for i in range(5)}
    x = torch.arange(8.0) * 8 + 4
    features[STUFF] = x.expand(1, 32, 8, 8)
    boxes = [torch.tensor([[12.0, 12, 40, 40]])]
    for crops, cells in ((model.box_crops, 7), (model.mask_crops, 14)):
        found = crops(features, [(64, 64)], boxes)
        # torchvision's crops take the value of a cell to lie at its corner, half a cell before its middle
        expected = 12 + (torch.arange(cells) + 0.5) * 28 / cells + 4
        torch.testing.assert_close(found[0, 5, 3], expected)


def test_without_stuff_there_is_no_semantic_branch_and_none_is_asked_for() -> None:
    plain, semantic = small("htc", stuff=0), small("htc")
    assert type(plain) is HTC and type(semantic) is SemanticHTC
    assert plain.needs == ("masks",) and semantic.needs == ("masks", "semantic")
    keys = set(semantic.state_dict()) - set(plain.state_dict())
    assert keys and all(key.startswith("semantic.") for key in keys)
    image, target = scene()
    losses = plain.losses([image], [{key: value for key, value in target.items() if key != "semantic"}])
    assert "loss_semantic" not in losses
    torch.autograd.backward(total(losses))
    assert not [k for k, p in plain.named_parameters() if k.startswith("framework.") and p.grad is None]


def test_what_does_not_fit_is_refused() -> None:
    image, target = scene()
    with pytest.raises(ValueError, match=r"class 3 in semantic: 0 is things, 1..2 stuff"):
        small("htc").losses([image], [target | {"semantic": torch.full((64, 64), 3)}])
    with pytest.raises(SpecError, match="0 or more"):
        small("htc", stuff=-1)
    with pytest.raises(SpecError, match="0 or more"):
        small("htc", semantic_weight=-0.1)
