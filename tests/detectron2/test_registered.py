"""Our models and data sets inside detectron2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from casl.data.coco import load_split
from casl.data.layout import find_splits
from casl.data.scenes import write_scene_set
from casl.detectron2 import add_casl_config, register, register_data
from casl.errors import DataError, SpecError
from casl.models.convert.conversion import Wish, convert_from, convert_to
from tests.detectron2.there import MISSING
from tests.models.convert.cases import distance, photo

pytest.importorskip("detectron2", reason=MISSING)

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, build_model

from tests.detectron2.stock import bgr, stock

SMALL: dict[str, Any] = {"BACKBONE": "resnet_micro", "CHANNELS": 32, "TOWERS": 1, "MASK_CHANNELS": 16}
SMALL |= {"RANGES": [16, 32, 64, 128], "NUM_CLASSES": 8}


def configured(cfg: Any, **values: Any) -> Any:
    register()
    add_casl_config(cfg)
    for name, value in values.items():
        setattr(cfg.MODEL.CASL, name, value)
    cfg.MODEL.DEVICE = "cpu"
    cfg.INPUT.MASK_FORMAT = "bitmask"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (64,), 64
    return cfg


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    root = tmp_path_factory.mktemp("scenes")
    write_scene_set(root, 4, 2, 2, 64, 0)
    names = register_data("tiny", root)
    yield root, names
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_registering_twice_is_registering_once() -> None:
    register()
    register()
    assert "build_casl_fpn_backbone" in BACKBONE_REGISTRY and "CaslCondInst" in META_ARCH_REGISTRY


def test_every_split_is_in_the_catalog_with_the_labels_that_casl_reads(scenes: tuple[Path, list[str]]) -> None:
    root, names = scenes
    assert {"tiny_labeled", "tiny_labeled_entities", "tiny_labeled_keypoints", "tiny_unlabeled", "tiny_val"} <= set(
        names
    )
    split = load_split(find_splits(root)["labeled"])
    records = DatasetCatalog.get("tiny_labeled")
    assert [r["image_id"] for r in records] == [image.id for image in split.images]
    for index, record in enumerate(records):
        labels = split.labels(index)
        assert [a["bbox"] for a in record["annotations"]] == labels.boxes.tolist()
        assert [a["category_id"] for a in record["annotations"]] == labels.labels.tolist()
    assert MetadataCatalog.get("tiny_labeled").thing_classes == list(split.classes)
    assert "annotations" not in DatasetCatalog.get("tiny_unlabeled")[0]
    assert {a["category_id"] for r in DatasetCatalog.get("tiny_labeled_entities") for a in r["annotations"]} == {0}
    with pytest.raises(SpecError, match="already"):
        register_data("tiny", root)


def test_a_damaged_set_is_not_registered(tmp_path: Path) -> None:
    write_scene_set(tmp_path, 2, 2, 2, 64, 0)
    next((tmp_path / "images").rglob("*.*")).unlink()
    with pytest.raises(DataError):
        register_data("damaged", tmp_path)
    assert not any(name.startswith("damaged") for name in DatasetCatalog.list())


@pytest.mark.parametrize("architecture", ["CaslFCOS", "CaslCondInst"])
@pytest.mark.parametrize("order", ["BGR", "RGB"])
def test_our_detectors_learn_from_its_mapper_and_please_its_evaluator(
    architecture: str, order: str, scenes: tuple[Path, list[str]], tmp_path: Path
) -> None:
    cfg = configured(get_cfg(), **SMALL)
    cfg.MODEL.META_ARCHITECTURE, cfg.INPUT.FORMAT = architecture, order
    cfg.MODEL.MASK_ON = architecture == "CaslCondInst"
    torch.manual_seed(0)
    model = build_model(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    mapper = DatasetMapper(cfg, is_train=True)
    batch = [mapper(record) for record in DatasetCatalog.get("tiny_labeled")]
    figures = []
    for step in range(6):
        torch.manual_seed(step)
        losses = model(batch)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        figures.append(float(total.detach()))
    assert figures[-1] < figures[0] and ("loss_mask" in losses) == cfg.MODEL.MASK_ON
    evaluator = COCOEvaluator("tiny_val", tasks=("bbox",), output_dir=str(tmp_path), use_fast_impl=False)
    evaluator.reset()
    reader = DatasetMapper(cfg, is_train=False)
    model.eval()
    model.detector.head.cls_logits.bias.data.zero_()  # else nothing is found after so few steps
    for record in DatasetCatalog.get("tiny_val"):
        inputs = [reader(record)]
        evaluator.process(inputs, model(inputs))
    assert "bbox" in evaluator.evaluate()


@torch.no_grad()
def test_our_detector_there_is_our_detector_and_its_checkpoint_comes_back(tmp_path: Path) -> None:
    cfg = configured(get_cfg(), **SMALL)
    cfg.MODEL.META_ARCHITECTURE = "CaslCondInst"
    model = build_model(cfg).eval()
    ours = model.detector
    ours.head.cls_logits.bias.zero_()
    found = model([{"image": bgr(photo()), "height": 48, "width": 64}])[0]["instances"]
    wanted = ours.predict([photo()], [(48, 64)])[0]
    assert torch.equal(found.pred_boxes.tensor, wanted["boxes"]) and torch.equal(found.pred_masks, wanted["masks"])
    state, _ = convert_to("detectron2", ours.state_dict(), Wish(into="casl"))
    assert state.keys() == model.state_dict().keys()
    DetectionCheckpointer(model, str(tmp_path)).save("model")
    back, _ = convert_from("detectron2", torch.load(tmp_path / "model.pth", weights_only=True)["model"])
    assert all(torch.equal(back[key], value) for key, value in ours.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize(("name", "builder"), [("mask_rcnn", "build_casl_fpn_backbone"), ("retinanet", "")])
@pytest.mark.parametrize("backbone", ["resnet_micro", "swin_t"])
def test_a_stock_architecture_on_our_backbone_starts_from_a_warmup(name: str, builder: str, backbone: str) -> None:
    from tests.models.convert.cases import condinst

    warmup = condinst(backbone, mask_channels=16)
    cfg = configured(stock(name), BACKBONE=backbone)
    cfg.MODEL.BACKBONE.NAME = builder or "build_casl_retinanet_fpn_backbone"
    model = build_model(cfg).eval()
    state, report = convert_to("detectron2", warmup.state_dict(), Wish(into=name, own_names=True))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.startswith(tuple(p.removesuffix("*") for p in report.left_in_target)) for key in missing)
    levels = model.backbone(model.preprocess_image([{"image": bgr(photo())}]).tensor)
    wanted = warmup.features(warmup.preprocess([photo()]))
    names = ("p3", "p4", "p5", "p6", "p7") if name == "retinanet" else ("p3", "p4", "p5")
    assert max(distance(levels[n], w) for n, w in zip(names, wanted, strict=False)) < 1e-5
    back, _ = convert_from("detectron2", state)
    assert all(back[key].shape == warmup.state_dict()[key].shape for key in back)
