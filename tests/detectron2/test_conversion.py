"""Converted weights in detectron2's own models, against ours, to 1e-5 of the largest magnitude."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from casl.models.backbone import build_backbone
from casl.models.condinst import CondInst
from casl.models.convert.conversion import Wish, convert_from, convert_to
from casl.models.detect import InferenceSettings
from casl.models.fcos import FCOS
from casl.stages.convert_files import write_converted
from casl.train.checkpoint import save_weights
from tests.detectron2.there import MISSING
from tests.models.convert.cases import condinst, distance, fcos, photo, stirred

pytest.importorskip("detectron2", reason=MISSING)

from detectron2 import model_zoo
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import LazyConfig, instantiate
from detectron2.modeling import build_model
from detectron2.modeling.backbone.swin import SwinTransformer
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from tests.detectron2.stock import STOCK, bgr, stock

NEAR = 1e-5


def load(model: nn.Module, state: dict[str, Tensor]) -> set[str]:
    """Fill a model; nothing may be superfluous. Returns what kept its values."""
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    return set(missing)


def their_fcos(classes: int = 3) -> Any:
    """detectron2's FCOS as its own configuration has it, with the stride where ours is."""
    model = LazyConfig.load(model_zoo.get_config_file("common/models/fcos.py")).model
    model.num_classes = classes
    model.backbone.bottom_up.stages.stride_in_1x1 = False
    model.test_score_thresh, model.test_nms_thresh, model.max_detections_per_image = 0.0, 1.0, 50
    return instantiate(model).eval()


EVERYTHING = InferenceSettings(0.0, nms=1.0, max_detections=50)


@pytest.fixture(scope="module")
def ours() -> FCOS:
    return fcos()


@pytest.fixture(scope="module")
def warmup() -> CondInst:
    return condinst()


@torch.no_grad()
def test_an_fcos_computes_in_detectron2_what_it_does_here(ours: FCOS) -> None:
    state, report = convert_to("detectron2", ours.state_dict(), Wish())
    model = their_fcos()
    assert not load(model, state) and not report.left_in_target
    images = model.preprocess_image([{"image": bgr(photo())}])
    wanted = ours.features(ours.preprocess([photo()]))
    levels = list(model.backbone(images.tensor).values())
    for found, level in zip(levels, wanted, strict=True):
        assert distance(found, level) < NEAR
    logits, deltas, centers = model.head(levels)
    output = ours.head(wanted)
    for found, expected in ((logits, output.logits), (centers, output.center)):
        assert max(distance(f, e) for f, e in zip(found, expected, strict=True)) < NEAR
    assert max(distance(f.relu(), e) for f, e in zip(deltas, output.ltrb, strict=True)) < NEAR


@torch.no_grad()
def test_its_boxes_and_scores_in_detectron2_are_those_here(ours: FCOS) -> None:
    model = their_fcos()
    load(model, convert_to("detectron2", ours.state_dict(), Wish())[0])
    found = model([{"image": bgr(photo()), "height": 96, "width": 128}])[0]["instances"]
    wanted = ours.predict([photo()], [(96, 128)], EVERYTHING)[0]
    assert distance(found.pred_boxes.tensor, wanted["boxes"]) < NEAR
    assert distance(found.scores, wanted["scores"]) < NEAR
    assert torch.equal(found.pred_classes, wanted["labels"])


@torch.no_grad()
def test_an_fcos_of_detectron2_computes_here_what_it_does_there() -> None:
    torch.manual_seed(4)
    model = stirred(their_fcos())
    nn.init.constant_(model.head.bbox_pred.bias, 3.0)
    state, report = convert_from("detectron2", model.state_dict(), "resnet50")
    mine = fcos()
    missing, unexpected = mine.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) == set(report.left_in_target)
    found = model([{"image": bgr(photo()), "height": 96, "width": 128}])[0]["instances"]
    wanted = mine.eval().predict([photo()], [(96, 128)], EVERYTHING)[0]
    assert distance(wanted["boxes"], found.pred_boxes.tensor) < NEAR
    assert distance(wanted["scores"], found.scores) < NEAR


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@torch.no_grad()
def test_swin_computes_in_detectron2_what_it_does_here(order: str) -> None:
    mine = stirred(build_backbone("swin_t"))
    source = {f"backbone.{key}": value for key, value in mine.state_dict().items()}
    state, report = convert_to("detectron2", source, Wish(input=order))
    theirs = SwinTransformer(drop_path_rate=0.2).eval()
    theirs.load_state_dict({key.removeprefix("backbone.bottom_up."): value for key, value in state.items()})
    assert not report.left_in_source and len(report.made) == 12
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    raw = photo(100, 130)[None].float() - mean[None, :, None, None]
    normal = raw / std[None, :, None, None]
    found = theirs(raw.flip(1) if order == "bgr" else normal)
    for name, level in zip(("p0", "p1", "p2", "p3"), mine(normal), strict=True):
        assert distance(found[name], level) < NEAR
    back, _ = convert_from("detectron2", state, "swin_t", source_input=order)
    for key, value in source.items():
        torch.testing.assert_close(back[key], value)


@pytest.mark.parametrize("name", STOCK)
def test_a_stock_configuration_starts_from_a_warmup(name: str, warmup: CondInst, tmp_path: Path) -> None:
    save_weights(tmp_path / "warmup.safetensors", warmup)
    start = tmp_path / "start.pth"
    account = write_converted(tmp_path / "warmup.safetensors", start, "detectron2", "", Wish(into=name), "")
    model = build_model(stock(name)).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    DetectionCheckpointer(model).load(str(start))
    after = model.state_dict()
    came = set(torch.load(start, weights_only=True)["model"])
    if name == "retinanet":  # its P6 reads C5, so its own stays, as the account says
        came.discard("backbone.top_block.p6.weight")
        assert any("P6" in need for need in account["needs"])
    assert came <= set(after)
    stays = tuple(pattern.removesuffix("*") for pattern in account["left_in_target"])
    assert all(torch.equal(after[key], before[key]) for key in after if key.startswith(stays))
    with torch.no_grad():
        images = model.preprocess_image([{"image": bgr(photo())}])
        levels = model.backbone(images.tensor)
        for level, wanted in zip(("p3", "p4", "p5"), warmup.features(warmup.preprocess([photo()])), strict=False):
            assert distance(levels[level], wanted) < NEAR


def test_and_learns_from_there(warmup: CondInst) -> None:
    model = build_model(stock("mask_rcnn"))
    load(model, convert_to("detectron2", warmup.state_dict(), Wish(into="mask_rcnn"))[0])
    model.train()
    objects = Instances((96, 128), gt_boxes=Boxes(torch.tensor([[10.0, 10, 60, 70]])), gt_classes=torch.tensor([7]))
    mask = torch.zeros(1, 96, 128, dtype=torch.bool)
    mask[:, 10:70, 10:60] = True
    objects.gt_masks = BitMasks(mask)
    model.proposal_generator.batch_size_per_image = model.roi_heads.batch_size_per_image = 16
    with EventStorage():
        losses = model([{"image": bgr(photo()), "instances": objects}])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values()) and "loss_mask" in losses
    assert model.backbone.fpn_lateral3.weight.grad is not None
