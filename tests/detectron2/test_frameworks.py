"""detectron2's frameworks on our pyramid, against detectron2's stock models of the same weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from casl.models.backbone import build_backbone
from casl.models.condinst import CondInst, CondInstSettings
from casl.models.convert.conversion import Wish, convert_from, convert_to
from casl.models.detect import InferenceSettings
from casl.models.detector import to_batch
from casl.models.frameworks import detectron2_cascade, detectron2_rcnn, detectron2_retinanet
from casl.models.frameworks.cascade_rcnn import CascadeRCNNSettings
from casl.models.frameworks.faster_rcnn import FasterRCNNSettings, KeypointRCNNSettings
from casl.models.frameworks.panoptic_fpn import PanopticFPNSettings
from casl.models.frameworks.retinanet import RetinaNetSettings
from casl.models.parts import part_of, transfer
from tests.detectron2.there import MISSING
from tests.models.convert.cases import distance, photo, stirred
from tests.models.frameworks.cases import SMALL, batch, scene, without_objects

pytest.importorskip("detectron2", reason=MISSING)

from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from tests.detectron2.stock import bgr, stock

CASES: dict[str, tuple[Callable[..., Any], Any]] = {
    "retinanet": (detectron2_retinanet.build, RetinaNetSettings(**SMALL)),
    "faster_rcnn": (detectron2_rcnn.build, FasterRCNNSettings(**SMALL)),
    "mask_rcnn": (detectron2_rcnn.build_mask, FasterRCNNSettings(**SMALL, towers=2)),
    "cascade_rcnn": (detectron2_cascade.build, CascadeRCNNSettings(**SMALL)),
    "keypoint_rcnn": (detectron2_rcnn.build_keypoint, KeypointRCNNSettings(**SMALL, towers=2, keypoints=3)),
    "panoptic_fpn": (detectron2_rcnn.build_panoptic, PanopticFPNSettings(**SMALL, towers=2, stuff=2)),
}
NAMES = list(CASES)
FOUND = {
    "mask_rcnn": {"masks"},
    "keypoint_rcnn": {"keypoints"},
    "panoptic_fpn": {"masks", "semantic"},
}


def small(name: str, num_classes: int = 2, seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    build, settings = CASES[name]
    return build(build_backbone("resnet_micro"), num_classes, replace(settings, **changes))


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_a_scene_and_finds_its_objects(name: str) -> None:
    model = small(name)
    if name == "retinanet":
        model.framework.loss_normalizer.fill_(8.0)  # about as many positives as there are, or losses rise at first
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    model.train()
    first = last = 0.0
    for step in range(10):
        torch.manual_seed(step)
        losses = model.losses(*batch(scene(), without_objects()))
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        first, last = first or float(total.detach()), float(total.detach())
    assert last < 0.9 * first
    found = model.eval().predict([scene()[0]], [(32, 48)], InferenceSettings(0.0, nms=0.5, max_detections=10))[0]
    assert set(found) == {"boxes", "scores", "labels"} | FOUND.get(name, set())
    assert 0 < len(found["scores"]) <= 10 and bool((found["scores"].diff() <= 0).all())
    assert float(found["boxes"][:, 2].max()) <= 48 and float(found["boxes"][:, 3].max()) <= 32
    if "masks" in found:
        assert found["masks"].shape == (len(found["scores"]), 32, 48) and found["masks"].dtype == torch.bool
    if "semantic" in found:
        assert found["semantic"].shape == (32, 48) and int(found["semantic"].max()) <= 2
    if "keypoints" in found:
        assert found["keypoints"].shape == (len(found["scores"]), 3, 3)


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_backbone_and_neck_of_a_warmup_and_says_what(name: str) -> None:
    torch.manual_seed(1)
    warmup = CondInst(build_backbone("resnet_micro"), 1, CondInstSettings(channels=32, mask_channels=16))
    model = small(name)
    report = transfer(warmup.state_dict(), model, ("backbone", "neck"))
    assert {part_of(key) for key in report.loaded} == {"backbone", "neck"}
    assert all(part_of(key) in ("head", "classifier", "neck") for key in report.left)
    layers = 8 if name == "retinanet" else 6  # those of P3..P7, or of P3..P5: P2's never learned, P6 is pooled
    assert len([key for key in report.loaded if part_of(key) == "neck"]) == 2 * layers
    assert torch.equal(model.state_dict()["fpn.output3.weight"], warmup.state_dict()["fpn.output3.weight"])


def full_size(name: str, **more: Any) -> Any:
    """The framework as large as detectron2's own configuration has it."""
    build, settings = CASES[name]
    changes: dict[str, Any] = {"channels": 256, "ranges": (64, 128, 256, 512)}
    changes |= {"towers": 4} if hasattr(settings, "towers") else {}
    changes |= {"keypoints": 17} if name == "keypoint_rcnn" else {}
    changes |= {"top_from": "c5"} if name == "retinanet" else {}  # where detectron2's own reads P6
    torch.manual_seed(0)
    return stirred(build(build_backbone("resnet50"), 3, replace(settings, **changes, **more)))


def configured(name: str, norm: str = "") -> Any:
    """detectron2's own model of its own configuration, for three classes and two kinds of stuff.

    norm: in RetinaNet's towers.
    """
    cfg = stock(name)
    cfg.MODEL.RETINANET.NORM = norm
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.RETINANET.NUM_CLASSES = 3
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = cfg.MODEL.RETINANET.SCORE_THRESH_TEST = 0.0
    cfg.TEST.DETECTIONS_PER_IMAGE = 20
    return build_model(cfg).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_it_predicts_what_the_stock_model_of_its_weights_does(name: str) -> None:
    ours = full_size(name)
    state, report = convert_to("detectron2", ours.state_dict(), Wish())
    model = configured(name)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and not unexpected and not report.left_in_target
    found = model([{"image": bgr(photo()), "height": 60, "width": 80}])[0]
    wanted = ours.predict([photo()], [(60, 80)], InferenceSettings(0.0, nms=0.5, max_detections=20))[0]
    objects = found["instances"]
    assert len(objects) == len(wanted["scores"]) > 0
    assert distance(wanted["scores"], objects.scores) < 1e-5
    assert distance(wanted["boxes"], objects.pred_boxes.tensor) < 1e-5
    assert torch.equal(wanted["labels"], objects.pred_classes)
    if "masks" in wanted:
        assert float((wanted["masks"] != objects.pred_masks).float().mean()) < 1e-4
    if "keypoints" in wanted:
        assert distance(wanted["keypoints"], objects.pred_keypoints) < 1e-5
    if "semantic" in wanted:
        assert float((wanted["semantic"] != found["sem_seg"].argmax(0)).float().mean()) < 1e-3
    back, _ = convert_from("detectron2", state)
    wanted_back = {k: v.shape for k, v in ours.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert {k: v.shape for k, v in back.items()} == wanted_back


@torch.no_grad()
def test_norms_in_retinanets_towers_are_those_of_the_stock_model() -> None:
    ours, model = full_size("retinanet", head_norm=True), configured("retinanet", norm="GN")
    state, report = convert_to("detectron2", ours.state_dict(), Wish())
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and not unexpected and any("GroupNorm(32, " in said for said in report.needs)
    found = model([{"image": bgr(photo()), "height": 60, "width": 80}])[0]["instances"]
    wanted = ours.predict([photo()], [(60, 80)], InferenceSettings(0.0, nms=0.5, max_detections=20))[0]
    assert len(found) == len(wanted["scores"]) > 0
    assert distance(wanted["scores"], found.scores) < 1e-5
    assert distance(wanted["boxes"], found.pred_boxes.tensor) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("name", ["retinanet", "panoptic_fpn", "cascade_rcnn"])
def test_its_losses_are_those_of_the_stock_model_of_its_weights(name: str) -> None:
    ours, model = full_size(name), configured(name)
    model.load_state_dict(convert_to("detectron2", ours.state_dict(), Wish())[0], strict=False)
    ours.train().backbone.eval()  # as frozen as detectron2's batch norms
    model.train()
    torch.manual_seed(3)
    mine = ours.losses(*batch(scene(), without_objects()))
    inputs = [ours.to_input(image, target) for image, target in (scene(), without_objects())]
    torch.manual_seed(3)
    with EventStorage():
        theirs = model([i | {"image": i["image"].flip(0)} for i in inputs])
    assert mine.keys() == theirs.keys()
    for key, value in theirs.items():
        assert distance(mine[key], value) < 1e-5, key


def test_a_copy_reads_its_own_pyramid() -> None:
    model = small("retinanet").eval()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.fpn.get_submodule("output3").weight.zero_()

    def scores(which: Any) -> Tensor:
        found: Tensor = which.predict([scene()[0]], [(64, 64)], InferenceSettings(0.0, nms=0.5, max_detections=5))[0][
            "scores"
        ]
        return found

    assert not torch.equal(scores(model), scores(twin))
    assert not any(".backbone." in key for key in model.state_dict())


def test_retinanets_moving_mean_of_positives_is_part_of_its_state() -> None:
    model = small("retinanet").train()
    model.losses(*batch(scene()))
    state = copy.deepcopy(model.state_dict())
    assert float(state["framework.loss_normalizer"]) < 100
    other = small("retinanet", seed=1).train()
    other.load_state_dict(state)
    for a, b in zip(model.losses(*batch(scene())).values(), other.losses(*batch(scene())).values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_and_predicts_in_mixed_precision(name: str) -> None:
    model = small(name).to(memory_format=torch.channels_last).train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.losses(*batch(scene(), without_objects()))
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        found = model.eval().predict([scene()[0]], [(64, 64)], InferenceSettings(0.0, nms=0.5, max_detections=5))[0]
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert found["boxes"].dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_it_prepares_images_bit_for_bit_as_all_detectors_do(name: str) -> None:
    model = small(name).eval()
    images = [scene()[0], without_objects(40, 60)[0], without_objects(40, 70)[0]]  # two pad to one size
    seen: list[Tensor] = []
    model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.predict(images, [(64, 64), (40, 60), (40, 70)])
    wanted = [to_batch(some, model.backbone.mean, model.backbone.std) for some in (images[:2], images[2:])]
    assert all(torch.equal(found, batch) for found, batch in zip(seen, wanted, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_boxes_are_refused(name: str) -> None:
    images, targets = batch(scene())
    model = small(name).train()
    assert not model.weighted
    with pytest.raises(ValueError, match=r"losses of detectron2 do not know.*--provider torchvision"):
        model.losses(images, [targets[0] | {"weights": torch.ones(2)}])
