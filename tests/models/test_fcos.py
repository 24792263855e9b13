"""FCOS as a whole: counts and shapes, decoding and selection by hand, gradients, learning."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.detect import InferenceSettings, select, suppress, to_original
from casl.models.fcos import FCOS, FCOSSettings, build
from casl.models.head import FCOSHead, HeadOutput, group_norm
from casl.models.locations import locations

STRIDES = (8, 16, 32, 64, 128)
SMALL = FCOSSettings(channels=32, towers=2, ranges=(16, 32, 64, 128))


def small(num_classes: int = 2, settings: FCOSSettings = SMALL) -> FCOS:
    torch.manual_seed(0)
    return build(build_backbone("resnet_micro"), num_classes, settings)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def silent(num_classes: int, sides: tuple[int, ...] = (8, 4, 2, 1, 1)) -> HeadOutput:
    """A head that finds nothing, on a 64 x 64 image."""
    return HeadOutput(
        logits=[torch.full((1, num_classes, side, side), -20.0) for side in sides],
        ltrb=[torch.ones(1, 4, side, side) for side in sides],
        center=[torch.zeros(1, 1, side, side) for side in sides],
        kernels=None,
    )


def speak(
    output: HeadOutput,
    level: int,
    cell: tuple[int, int],
    label: int,
    score: float,
    center: float,
    ltrb: tuple[float, ...],
) -> None:
    row, column = cell
    output.logits[level][0, label, row, column] = logit(score)
    output.center[level][0, 0, row, column] = logit(center)
    output.ltrb[level][0, :, row, column] = torch.tensor(ltrb)


GRID = [locations(side, side, stride) for side, stride in zip((8, 4, 2, 1, 1), STRIDES, strict=True)]


def test_head_has_the_reference_parameter_counts() -> None:
    assert count(FCOSHead(256, 1)) == 4_738_571
    assert count(FCOSHead(256, 80)) == 4_920_666
    assert count(FCOSHead(256, 1, bias_on_box=False)) == 4_738_566
    assert count(FCOSHead(256, 80, bias_on_box=False)) == 4_920_661
    assert count(FCOSHead(256, 1).cls_tower) == count(FCOSHead(256, 1).box_tower) == 2_362_368


def test_state_dict_shapes_of_the_head() -> None:
    shapes = {key: tuple(value.shape) for key, value in FCOSHead(256, 80).state_dict().items()}
    for tower in ("cls_tower", "box_tower"):
        for i in range(0, 12, 3):  # convolution, group norm, ReLU
            assert shapes.pop(f"{tower}.{i}.weight") == (256, 256, 3, 3)
            assert [shapes.pop(f"{tower}.{key}") for key in (f"{i}.bias", f"{i + 1}.weight", f"{i + 1}.bias")] == [
                (256,)
            ] * 3
    assert shapes == {
        "cls_logits.weight": (80, 256, 3, 3),
        "cls_logits.bias": (80,),
        "bbox_pred.weight": (4, 256, 3, 3),
        "bbox_pred.bias": (4,),
        "ctrness.weight": (1, 256, 3, 3),
        "ctrness.bias": (1,),
        "scales": (5,),
    }


def test_an_untrained_classifier_predicts_one_percent_and_weights_are_small() -> None:
    head = FCOSHead(256, 3)
    assert head.cls_logits.bias is not None
    torch.testing.assert_close(head.cls_logits.bias.detach(), torch.full((3,), -4.59512), atol=1e-5, rtol=0)
    assert head.cls_logits.weight.std().item() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("channels", "groups"), [(256, 32), (64, 8), (96, 12), (36, 9), (7, 7)])
def test_group_norm_keeps_the_references_eight_channels_a_group(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


def test_the_scale_of_a_level_multiplies_its_boxes_before_the_relu() -> None:
    head = FCOSHead(8, 1, num_levels=2, towers=1)
    nn.init.zeros_(head.bbox_pred.weight)
    assert head.bbox_pred.bias is not None
    head.bbox_pred.bias.data = torch.tensor([1.0, -1.0, 2.0, 0.5])
    head.scales.data = torch.tensor([1.0, 3.0])
    output = head([torch.randn(1, 8, 2, 2), torch.randn(1, 8, 1, 1)])
    assert output.ltrb[0][0, :, 0, 0].tolist() == [1, 0, 2, 0.5]
    assert output.ltrb[1][0, :, 0, 0].tolist() == [3, 0, 6, 1.5]


def test_a_controller_reads_the_box_tower() -> None:
    head = FCOSHead(8, 1, num_levels=1, towers=1, controller=nn.Conv2d(8, 5, 1))
    level = torch.randn(1, 8, 4, 4)
    kernels = head([level]).kernels
    assert kernels is not None and head.controller is not None
    torch.testing.assert_close(kernels[0], head.controller(head.box_tower(level)))
    with pytest.raises(ValueError, match="2 levels for a head made for 1"):
        head([level, level])


def test_images_are_normalised_and_then_padded_with_zeros() -> None:
    model = small()
    images = [torch.full((3, 40, 33), 255, dtype=torch.uint8), torch.zeros(3, 20, 64)]
    batch = model.preprocess(images)
    assert batch.shape == (2, 3, 64, 64)
    white = (255 - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor([58.395, 57.12, 57.375])
    torch.testing.assert_close(batch[0, :, 39, 32], white)
    assert batch[0, :, 40:].abs().max() == batch[0, :, :, 33:].abs().max() == batch[1, :, 20:].abs().max() == 0
    torch.testing.assert_close(batch[1, :, 0, 0], -torch.tensor([123.675 / 58.395, 116.28 / 57.12, 103.53 / 57.375]))


def test_an_image_that_is_not_rgb_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(1, 8, 8\)"):
        small().preprocess([torch.zeros(1, 8, 8)])


def test_predictions_are_decoded_by_location_and_stride() -> None:
    output = silent(3)
    speak(output, 0, (2, 3), label=1, score=0.64, center=0.25, ltrb=(1.0, 2.0, 0.5, 0.25))  # at (28, 20), stride 8
    speak(output, 2, (1, 0), label=2, score=0.9, center=0.9, ltrb=(0.5, 0.25, 1.0, 0.5))  # at (16, 48), stride 32
    found = select(output, GRID, STRIDES, InferenceSettings())[0]
    torch.testing.assert_close(found.boxes, torch.tensor([[0.0, 40, 48, 64], [20, 4, 32, 22]]))
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.4]))  # square roots of the products
    assert found.labels.tolist() == [2, 1]
    assert found.levels.tolist() == [2, 0]
    assert found.locations.tolist() == [[16, 48], [28, 20]]
    assert found.kernels is None


def test_kernels_come_from_the_location_of_the_detection() -> None:
    output = silent(1)
    output.kernels = [
        torch.arange(2.0 * side * side).reshape(1, 2, side, side) + 1000 * side for side in (8, 4, 2, 1, 1)
    ]
    speak(output, 0, (2, 3), 0, 0.8, 0.5, (1, 1, 1, 1))
    speak(output, 1, (3, 1), 0, 0.9, 0.5, (0.1, 0.1, 0.1, 0.1))
    found = select(output, GRID, STRIDES, InferenceSettings())[0]
    assert found.kernels is not None
    assert found.kernels.tolist() == [[4013, 4029], [8019, 8083]]  # cell and cell + side^2


def test_the_threshold_is_on_the_class_or_on_the_product() -> None:
    output = silent(1)
    speak(output, 0, (0, 0), 0, score=0.06, center=0.5, ltrb=(1, 1, 1, 1))
    speak(output, 0, (4, 4), 0, score=0.04, center=0.99, ltrb=(1, 1, 1, 1))
    speak(output, 0, (7, 7), 0, score=0.3, center=0.5, ltrb=(1, 1, 1, 1))
    on_class = select(output, GRID, STRIDES, InferenceSettings())[0]
    on_product = select(output, GRID, STRIDES, InferenceSettings(threshold_on_product=True))[0]
    assert on_class.locations.tolist() == [[60, 60], [4, 4]]
    assert on_product.locations.tolist() == [[60, 60]]


def test_topk_counts_per_level_and_keeps_the_earlier_of_equals() -> None:
    output = silent(1)
    for column in range(4):
        speak(output, 0, (0, 2 * column), 0, 0.5, 0.5, (0.4, 0.4, 0.4, 0.4))
    speak(output, 1, (3, 3), 0, 0.3, 0.5, (0.4, 0.4, 0.4, 0.4))
    found = select(output, GRID, STRIDES, InferenceSettings(topk=2))[0]
    assert found.locations.tolist() == [[4, 4], [20, 4], [56, 56]]


def test_detections_that_tie_with_the_last_one_stay() -> None:
    output = silent(1)
    for column, score in enumerate((0.9, 0.5, 0.5, 0.4)):
        speak(output, 0, (0, 2 * column), 0, score, 0.5, (0.4, 0.4, 0.4, 0.4))
    found = select(output, GRID, STRIDES, InferenceSettings(max_detections=2))[0]
    assert found.locations[:, 0].tolist() == [4, 20, 36]


def test_suppression_is_within_a_class_and_keeps_the_first_of_equals() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [0, 0, 10, 6]])
    scores = torch.tensor([0.5, 0.5, 0.4, 0.3])
    # of class 0: the second overlaps the first by .9, the fourth by exactly .6, which is not more than .6
    assert suppress(boxes, scores, torch.tensor([0, 0, 1, 0]), 0.6).tolist() == [0, 2, 3]


def test_classes_do_not_touch_even_left_of_the_image() -> None:
    # laid side by side without care, the second class would begin inside the first
    boxes = torch.tensor([[0.0, 0, 20, 20], [-21.0, -21, -1, -1]])
    assert suppress(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), 0.5).tolist() == [0, 1]
    assert suppress(boxes[:0], torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5).tolist() == []


def test_boxes_return_to_the_original_size_clipped_and_without_the_padding() -> None:
    boxes = torch.tensor([[-4.0, 10, 20, 50], [41, 0, 60, 10], [0, 0, 40, 30]])
    original, inside = to_original(boxes, size=(30, 40), original=(60, 120))
    torch.testing.assert_close(original[0], torch.tensor([0.0, 20, 60, 60]))
    torch.testing.assert_close(original[2], torch.tensor([0.0, 0, 120, 60]))
    assert inside.tolist() == [True, False, True]


class Fixed(nn.Module):
    """A head that always says the same."""

    def __init__(self, output: HeadOutput) -> None:
        super().__init__()
        self.output = output

    def forward(self, pyramid: list[Tensor]) -> HeadOutput:
        return self.output


def test_predict_gives_boxes_of_the_original_image_and_none_of_the_padding() -> None:
    output = silent(2)
    speak(output, 0, (2, 2), 1, 0.8, 0.5, (1, 1, 1, 1))  # 12..28 in the resized image
    speak(output, 0, (7, 7), 0, 0.9, 0.9, (1, 1, 1, 1))  # 52..68, in the padding of a 48 x 48 image
    model = small().eval()
    model.head = Fixed(output)  # type: ignore[assignment]
    result = model.predict([torch.zeros(3, 48, 48)], [(96, 144)])[0]
    assert result.keys() == {"boxes", "scores", "labels"}
    torch.testing.assert_close(result["boxes"], torch.tensor([[36.0, 24, 84, 56]]))
    torch.testing.assert_close(result["scores"], torch.tensor([math.sqrt(0.4)]))
    assert result["labels"].tolist() == [1]
    assert not model.predict([torch.zeros(3, 64, 64)], [(64, 64)], InferenceSettings(score_threshold=0.95))[0][
        "boxes"
    ].numel()


def test_predict_refuses_a_model_in_training_mode() -> None:
    with pytest.raises(RuntimeError, match="eval"):
        small().predict([torch.zeros(3, 32, 32)], [(32, 32)])


def scene() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Two images: two objects and none."""
    generator = torch.Generator().manual_seed(5)
    images = [torch.randint(0, 60, (3, 64, 64), generator=generator, dtype=torch.uint8) for _ in range(2)]
    boxes = torch.tensor([[6.0, 8, 30, 34], [34, 30, 60, 62]])
    for (x1, y1, x2, y2), value in zip(boxes.int().tolist(), (230, 140), strict=True):
        images[0][:, y1:y2, x1:x2] = value
    return images, [
        {"boxes": boxes, "labels": torch.tensor([0, 1])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]


@pytest.mark.parametrize("quality", ["ctrness", "iou"])
def test_the_gradient_reaches_everything_but_p2(quality: str) -> None:
    model = small(settings=replace(SMALL, box_quality=quality))
    losses = model(*scene())
    assert losses.keys() == {"loss_cls", "loss_box", "loss_center"}
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    without = {name.rsplit(".", 1)[0] for name, p in model.named_parameters() if p.grad is None}
    assert without == {"fpn.lateral2", "fpn.output2"}
    silent_ones = {n for n, p in model.named_parameters() if p.grad is not None and not p.grad.abs().sum() > 0}
    assert not {name for name in silent_ones if name.startswith(("head.cls", "head.box", "fpn."))}


def test_in_swin_the_first_norm_is_not_trained_either() -> None:
    model = FCOS(build_backbone("swin_t"), 1, FCOSSettings(channels=16, towers=1))
    images, targets = scene()
    losses = model(images[:1], [{"boxes": targets[0]["boxes"], "labels": torch.zeros(2, dtype=torch.int64)}])
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    without = {name.rsplit(".", 1)[0] for name, p in model.named_parameters() if p.grad is None}
    assert without == {"fpn.lateral2", "fpn.output2", "backbone.body.norm0"}


def test_masks_of_the_targets_move_the_sampling() -> None:
    model = small()
    images, targets = scene()
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 8:12, 6:10] = masks[1, 30:34, 34:38] = True  # a corner of each box
    with torch.no_grad():
        grid = model.grid(model.head(model.features(model.preprocess(images))))
        boxes = model.assign(grid, targets)
        both = model.assign(grid, [targets[0] | {"masks": masks}, targets[1]])
    positive = both.positive[0]
    centroids = torch.tensor([[7.5, 9.5], [35.5, 31.5]])[both.gt_index[0][positive]]
    assert ((grid.points[positive] - centroids).abs() < 1.5 * grid.strides[positive, None]).all()
    assert not torch.equal(boxes.positive, both.positive)
    assert not both.positive[1].any()


def test_losses_are_bitwise_the_same_when_repeated() -> None:
    def gradients() -> list[Tensor]:
        model = small()
        torch.stack(list(model(*scene()).values())).sum().backward()  # type: ignore[no-untyped-call]
        return [p.grad for p in model.parameters() if p.grad is not None]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))


def test_one_image_is_learned_in_seconds() -> None:
    model = small()
    images, targets = scene()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for _ in range(60):
        losses = model(images, targets)
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    first, last = history[0], history[-1]
    # not loss_center: its target is no 0 or 1, so its cross entropy cannot reach zero
    assert first["loss_cls"] > 5 * last["loss_cls"]
    assert first["loss_box"] > 5 * last["loss_box"]
    assert first["loss_center"] > last["loss_center"]
    found, empty = model.eval().predict(images, [(64, 64)] * 2, InferenceSettings(score_threshold=0.3))
    assert found["labels"][:2].sort().values.tolist() == [0, 1]
    best = {int(label): box for label, box in zip(reversed(found["labels"]), reversed(found["boxes"]), strict=True)}
    for label, box in enumerate(targets[0]["boxes"]):
        torch.testing.assert_close(best[label], box, atol=4.0, rtol=0)
    assert len(empty["boxes"]) == 0


def test_impossible_requests_are_refused() -> None:
    images, targets = scene()
    with pytest.raises(ValueError, match=r"labels \[0, 1\] for a detector of 1 classes"):
        small(num_classes=1).losses(images, targets)
    with pytest.raises(ValueError, match="2 images but 1 targets"):
        small().losses(images, targets[:1])
    with pytest.raises(SpecError, match="at least one class"):
        small(num_classes=0)
    with pytest.raises(SpecError, match="unknown box quality 'IoU'"):
        FCOSSettings(box_quality="IoU")
    with pytest.raises(SpecError, match="ascending"):
        FCOSSettings(ranges=(64, 32, 128, 256))
    with pytest.raises(SpecError, match="topk"):
        InferenceSettings(topk=0)
    with pytest.raises(SpecError, match="nms"):
        InferenceSettings(nms=0)
