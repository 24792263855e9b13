"""What every framework does: losses, gradients, predictions, refusals, the same bits twice."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from casl.data.coco import load_split
from casl.data.layout import find_splits
from casl.data.scenes import write_scenes
from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.detect import InferenceSettings
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.frameworks.panoptic_fpn import semantic_loss
from tests.models.frameworks.cases import CASES, NAMES, R_CNNS, batch, scene, small, total, without_objects

EVERYTHING = InferenceSettings(score_threshold=0.0, nms=0.5)
PROPOSAL_LOSSES = {"loss_objectness", "loss_rpn_box"}
R_CNN_LOSSES = PROPOSAL_LOSSES | {"loss_cls", "loss_box"}


def in_stages(*names: str) -> set[str]:
    return {f"loss_{name}_{stage}" for name in names for stage in (1, 2, 3)}


LOSSES = {
    "retinanet": {"loss_cls", "loss_box"},
    "faster_rcnn": R_CNN_LOSSES,
    "mask_rcnn": R_CNN_LOSSES | {"loss_mask"},
    "keypoint_rcnn": R_CNN_LOSSES | {"loss_keypoint"},
    "panoptic_fpn": R_CNN_LOSSES | {"loss_mask", "loss_semantic"},
    "cascade_rcnn": PROPOSAL_LOSSES | in_stages("cls", "box"),
    "htc": PROPOSAL_LOSSES | in_stages("cls", "box", "mask") | {"loss_semantic"},
}


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_every_weight(name: str) -> None:
    model = small(name)
    losses = model(*batch(scene(), without_objects()))
    assert losses.keys() == LOSSES[name]
    assert all(torch.isfinite(loss) for loss in losses.values())
    torch.autograd.backward(total(losses))
    assert all(p.grad is not None for p in model.parameters())
    idle = {key for key, p in model.named_parameters() if p.grad is not None and not p.grad.abs().sum() > 0}
    # a residual block of the backbone begins with a scale of zero, behind which no gradient comes yet
    assert not {key for key in idle if not key.startswith("backbone.body.layer")}


def test_in_swin_an_r_cnn_trains_every_norm_and_retinanet_all_but_the_first() -> None:
    idle = {}
    for name in ("faster_rcnn", "retinanet"):
        build, settings = CASES[name]
        model = build(build_backbone("swin_t"), 2, replace(settings, channels=16))
        torch.autograd.backward(total(model(*batch(scene()))))
        idle[name] = {key.rsplit(".", 1)[0] for key, p in model.named_parameters() if p.grad is None}
    assert idle == {"faster_rcnn": set(), "retinanet": {"backbone.body.norm0"}}


@pytest.mark.parametrize("name", NAMES)
def test_images_without_objects_can_be_learned_from(name: str) -> None:
    model = small(name)
    losses = model(*batch(without_objects(), without_objects(40, 48)))
    torch.autograd.backward(total(losses))
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)
    objects_only = {"loss_box", "loss_rpn_box", "loss_mask", "loss_keypoint"} | in_stages("box", "mask")
    assert all(losses[key] == 0 for key in objects_only & losses.keys())


@pytest.mark.parametrize("name", NAMES)
def test_predictions_lie_in_the_original_image(name: str) -> None:
    model = small(name).eval()
    images = [scene()[0], without_objects(40, 48)[0]]
    sizes = [(128, 192), (40, 48)]
    for found, (height, width) in zip(model.predict(images, sizes, EVERYTHING), sizes, strict=True):
        count = len(found["scores"])
        assert 0 < count <= 100
        assert found["boxes"].shape == (count, 4)
        assert (found["boxes"] >= 0).all()
        assert (found["boxes"] <= torch.tensor([width, height] * 2)).all()
        assert (found["boxes"][:, 2:] > found["boxes"][:, :2]).all()
        assert set(found["labels"].tolist()) <= {0, 1}
        assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)
        shapes: dict[str, Any] = {
            "masks": (torch.bool, (count, height, width)),
            "keypoints": (torch.float32, (count, 3, 3)),
            "semantic": (torch.int64, (height, width)),
        }
        for key in found.keys() & shapes.keys():
            assert (found[key].dtype, tuple(found[key].shape)) == shapes[key]
    assert ("masks" in found) == (name in ("mask_rcnn", "panoptic_fpn", "htc"))
    assert ("keypoints" in found) == (name == "keypoint_rcnn")
    assert ("semantic" in found) == (name == "panoptic_fpn")


@pytest.mark.parametrize("name", NAMES)
def test_predictions_grow_with_the_original_image(name: str) -> None:
    model = small(name).eval()
    same = model.predict([scene()[0]], [(64, 64)], EVERYTHING)[0]
    larger = model.predict([scene()[0]], [(128, 192)], EVERYTHING)[0]
    torch.testing.assert_close(larger["boxes"], same["boxes"] * torch.tensor([3.0, 2, 3, 2]))
    torch.testing.assert_close(larger["scores"], same["scores"])
    if "keypoints" in same:
        torch.testing.assert_close(larger["keypoints"], same["keypoints"] * torch.tensor([3.0, 2, 1]))


@pytest.mark.parametrize("name", NAMES)
def test_inference_settings_limit_what_is_found(name: str) -> None:
    model = small(name).eval()
    images, sizes = [scene()[0]], [(64, 64)]
    three = model.predict(images, sizes, InferenceSettings(score_threshold=0.0, max_detections=3))[0]
    assert len(three["scores"]) == 3
    middle = float(three["scores"][1])
    above = model.predict(images, sizes, InferenceSettings(score_threshold=middle, max_detections=3))[0]
    assert (above["scores"] > middle).all()
    loose = model.predict(images, sizes, InferenceSettings(score_threshold=0.0, nms=1.0, max_detections=1000))[0]
    strict = model.predict(images, sizes, InferenceSettings(score_threshold=0.0, nms=0.1, max_detections=1000))[0]
    assert len(strict["scores"]) < len(loose["scores"])
    few = model.predict(images, sizes, InferenceSettings(score_threshold=0.0, nms=1.0, topk=1, max_detections=1000))[0]
    assert len(few["scores"]) <= 5 * 2  # one a level, and in the R-CNNs one box a class


@pytest.mark.parametrize("name", NAMES)
def test_finding_nothing_is_legal(name: str) -> None:
    found = small(name).eval().predict([scene()[0]], [(50, 70)], InferenceSettings(score_threshold=0.999))[0]
    shapes = {"boxes": (0, 4), "scores": (0,), "labels": (0,), "masks": (0, 50, 70), "keypoints": (0, 3, 3)}
    shapes["semantic"] = (50, 70)
    assert all(tuple(value.shape) == shapes[key] for key, value in found.items())


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_bitwise_the_same_when_repeated(name: str) -> None:
    def gradients() -> list[Tensor]:
        model = small(name)
        torch.manual_seed(7)  # samplers draw from the global generator, as an iteration's seed sets it
        torch.autograd.backward(total(model(*batch(scene(), without_objects()))))
        return [p.grad for p in model.parameters() if p.grad is not None]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_what_came_before_changes_nothing(name: str) -> None:
    fresh, used = small(name).eval(), small(name).eval()
    used.predict([torch.zeros(3, 33, 33)], [(33, 33)], InferenceSettings(topk=1))  # padded to twice its size
    expected, found = (model.predict([scene()[0]], [(64, 64)], EVERYTHING)[0] for model in (fresh, used))
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_memory_layout_changes_nothing(name: str) -> None:
    plain = small(name)
    turned = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    results = []
    for model in (plain, turned):
        torch.manual_seed(3)
        results.append(model.losses(*batch(scene())))
    torch.testing.assert_close(results[1], results[0], rtol=0.02, atol=1e-3)  # rounding can swap a proposal
    found = turned.eval().predict([scene()[0]], [(64, 64)])[0]
    assert len(found["boxes"]) == len(found["scores"])


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_keeps_boxes_in_float32(name: str) -> None:
    model = small(name)
    torch.manual_seed(3)
    exact = model.losses(*batch(scene()))
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.losses(*batch(scene()))
        found = model.eval().predict([scene()[0]], [(64, 64)], EVERYTHING)[0]
    assert all(loss.dtype == torch.float32 for loss in mixed.values())
    # not the boxes' losses: other proposals win
    for key in {"loss_cls", "loss_objectness", "loss_mask", "loss_keypoint", "loss_semantic"} & mixed.keys():
        torch.testing.assert_close(mixed[key], exact[key], rtol=0.1, atol=0.02)
    assert found["boxes"].dtype == torch.float32
    assert (found["boxes"] != found["boxes"].bfloat16().float()).any()


def test_images_are_prepared_as_for_fcos() -> None:
    fcos = FCOS(build_backbone("resnet_micro"), 1, FCOSSettings(channels=16, towers=1))
    images = [scene()[0], torch.rand(3, 70, 33) * 255]
    seen: list[Tensor] = []
    model = small("retinanet").eval()
    model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.predict(images, [(64, 64), (70, 33)])
    assert all(torch.equal(own, fcos.preprocess([image])) for own, image in zip(seen, images, strict=True))


def test_unlabelled_pixels_and_padding_do_not_count() -> None:
    logits = torch.zeros(2, 4, 2, 2)
    nothing = torch.full((8, 8), 255)
    some = nothing.clone()
    some[:3, :2] = 1
    assert semantic_loss(logits, [nothing, nothing]) == 0
    torch.testing.assert_close(semantic_loss(logits, [nothing, some[:5, :6]]), torch.tensor(4.0).log())
    logits[1, 1] = 50.0
    torch.testing.assert_close(semantic_loss(logits, [nothing, some]), torch.tensor(0.0))


@pytest.mark.parametrize("name", NAMES)
def test_targets_that_do_not_fit_are_refused(name: str) -> None:
    model = small(name)
    image, target = scene()
    with pytest.raises(ValueError, match=r"labels \[0, 1\] for a detector of 1 classes"):
        small(name, num_classes=1).losses([image], [target])
    with pytest.raises(ValueError, match="2 images but 1 targets"):
        model.losses([image, image], [target])
    with pytest.raises(ValueError, match=r"boxes \(1, 4\) and 2 labels"):
        model.losses([image], [target | {"boxes": target["boxes"][:1]}])
    with pytest.raises(ValueError, match="without width or height"):
        model.losses([image], [target | {"boxes": target["boxes"][:, [0, 1, 0, 3]]}])
    for needed in model.needs:
        with pytest.raises(ValueError, match=f"learns {needed}: .*it has none"):
            model.losses([image], [{key: value for key, value in target.items() if key != needed}])


def test_masks_points_and_stuff_that_do_not_fit_are_refused() -> None:
    image, target = scene()
    with pytest.raises(ValueError, match=r"should have \(2, 64, 64\), it has \(2, 32, 32\)"):
        small("mask_rcnn").losses([image], [target | {"masks": target["masks"][:, :32, :32]}])
    with pytest.raises(ValueError, match=r"should have \(2, 3, 3\), it has \(2, 2, 3\)"):
        small("keypoint_rcnn").losses([image], [target | {"keypoints": target["keypoints"][:, 1:]}])
    panoptic = small("panoptic_fpn")
    with pytest.raises(ValueError, match=r"should have \(64, 64\), it has \(32, 64\)"):
        panoptic.losses([image], [target | {"semantic": target["semantic"][:32]}])
    with pytest.raises(ValueError, match=r"class 3 in semantic: 0 is things, 1..2 stuff"):
        panoptic.losses([image], [target | {"semantic": torch.full((64, 64), 3)}])


@pytest.mark.parametrize("name", NAMES)
def test_the_wrong_mode_is_refused(name: str) -> None:
    model = small(name)
    with pytest.raises(RuntimeError, match="evaluation mode"):
        model.predict([scene()[0]], [(64, 64)])
    with pytest.raises(RuntimeError, match="training mode"):
        model.eval().losses(*batch(scene()))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(SpecError, match="at least one class"):
        small("faster_rcnn", num_classes=0)
    with pytest.raises(SpecError, match="threshold_on_product"):
        small("faster_rcnn", inference=InferenceSettings(threshold_on_product=True))
    with pytest.raises(SpecError, match="at least 4"):
        small("faster_rcnn", rois=3)
    with pytest.raises(SpecError, match="at least one convolution"):
        small("mask_rcnn", towers=0)
    with pytest.raises(SpecError, match="at least one keypoint"):
        small("keypoint_rcnn", keypoints=0)
    with pytest.raises(SpecError, match="at least one stuff class"):
        small("panoptic_fpn", stuff=0)
    with pytest.raises(SpecError, match="must be positive"):
        small("retinanet", ranges=())


def test_norms_keep_the_signal_of_few_channels_in_an_untrained_retinanet() -> None:
    """How much the map a tower ends with differs from place to place."""
    level, spread = torch.randn(1, 64, 16, 16, generator=torch.Generator().manual_seed(0)), {}
    for norm in (False, True):
        tower = small("retinanet", channels=64, head_norm=norm).framework.head.classification_head.conv
        spread[norm] = tower(level).std(dim=(2, 3)).mean().item()
    assert spread[False] < 0.01 and spread[True] > 0.3


@pytest.mark.parametrize("name", R_CNNS)
def test_fewer_regions_are_drawn_from_smaller_images(name: str) -> None:
    settings = type(CASES[name][1])
    assert settings().regions == 512
    assert settings(ranges=(32, 64, 128, 256)).regions == 128  # half the side, a quarter of the area
    assert settings(ranges=(4, 8, 16, 32)).regions == 16
    assert settings(ranges=(128, 256, 512, 1024)).regions == 512
    assert settings(rois=40).regions == 40


@pytest.mark.parametrize(("scale", "least", "most"), [(1.0, 0.0, 0.75), (2.0, 0.8, 1.0)])
def test_anchors_of_small_scenes_meet_their_objects_only_when_they_are_two_strides_wide(
    scale: float, least: float, most: float, tmp_path: Path
) -> None:
    """Share of objects of the built-in scenes with an anchor at IoU .5; with the first, RetinaNet was at 1 AP."""
    write_scenes(tmp_path, "labeled", 30, size=64, seed=0)
    objects = load_split(find_splits(tmp_path)["labeled"], "objects")
    boxes = [torch.tensor([record["bbox"] for record in records]) for records in objects.annotations]
    split = [box_convert(of, "xywh", "xyxy") for of in boxes]
    made = small("retinanet", ranges=(16, 32, 64, 128), anchor_scale=scale)
    images = [torch.zeros(3, 64, 64)] * len(split)
    batch = made.batch(images)
    places = made.framework.anchor_generator(batch, list(made.features(batch.tensors).values()))
    best = torch.cat([box_iou(of, near).amax(1) for of, near in zip(split, places, strict=True)])
    assert least <= float((best >= 0.5).float().mean()) <= most
