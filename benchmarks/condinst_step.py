"""One training step and one inference of our CondInst beside AdelaiDet's, in turn.

Run:    PYTHON benchmarks/condinst_step.py --adelaidet PATH [--size 256] [--batch 2] [--rounds 5] [--backbone resnet50]
Peers:  PATH is a checkout of github.com/aim-uofa/AdelaiDet; PYTHON has casl and detectron2. Its C++ operators are not
        needed: CondInst uses none of them.
Shows:  medians of the ratios of our time to its, one thread. Both have our backbone and pyramid, the same images,
        boxes and masks; head, assignment, losses and mask head are each one's own, with equal weights. The largest
        difference between the losses is printed, so that equal is seen to be equal. A training step is forward,
        backward and the step of plain SGD.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from detector_sides import MEAN, STD, STRIDES, Pyramid, Sizes, make_inputs
from measuring import arguments, report, spread, taking_turns, versions
from torch import Tensor, nn

from casl.models.backbone import build_backbone
from casl.models.condinst import CondInst, CondInstSettings
from casl.models.detect import InferenceSettings

NEEDS = "give --adelaidet the folder of a checkout of github.com/aim-uofa/AdelaiDet, in an environment with detectron2"
SCORE = 0.04  # class probability times centre-ness of a candidate


def main() -> None:
    options = arguments(__doc__, size=256, batch=2, rounds=5, classes=80)
    options.add_argument("--adelaidet", type=Path, default=None)
    options.add_argument("--backbone", default="resnet50")
    chosen = options.parse_args()
    if chosen.adelaidet is None or not (chosen.adelaidet / "adet").is_dir():
        print(f"CondInst step is left out: {NEEDS}")
        return
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes = Sizes(chosen.backbone, chosen.size, chosen.classes)
    inputs = make_inputs(chosen.size, chosen.batch, chosen.classes)
    targets = [{**t, "masks": _masks(t["boxes"], chosen.size)} for t in inputs.targets]
    settings = CondInstSettings(lowest=3, inference=InferenceSettings(SCORE, nms=0.6, threshold_on_product=True))
    ours = CondInst(build_backbone(sizes.backbone), sizes.classes, settings)
    nn.init.normal_(ours.head.cls_logits.weight, std=0.05)  # so that there is something to select from
    theirs, records = _adelaidet(chosen.adelaidet, sizes)
    _copy(ours, theirs)
    batch = records(inputs.images, targets)

    steps = {"casl": _step(ours, lambda: ours.losses(inputs.images, targets))}
    steps["AdelaiDet"] = _step(theirs, lambda: theirs(batch))
    apart = _apart(ours.train().losses(inputs.images, targets), theirs.train()(batch))
    found = {"casl": lambda: ours.predict(inputs.images, inputs.sizes), "AdelaiDet": lambda: theirs(batch)}
    turns = taking_turns(steps, chosen.rounds)
    ours.eval(), theirs.eval()
    with torch.no_grad():
        inference = taking_turns(found, chosen.rounds)
    lines = [f"losses differ by at most {apart:.1e}"]
    for what, times in (("train step", turns), ("inference", inference)):
        lines.append(f"{what}, by the wall: ours takes {spread(times.wall, 'casl', 'AdelaiDet')} of AdelaiDet's")
        lines.append(f"{what}, processor time: {spread(times.own, 'casl', 'AdelaiDet')}")
    facts = versions("casl", "torch", "detectron2")
    facts |= {n: getattr(chosen, n) for n in ("backbone", "size", "batch", "classes", "rounds")}
    report("detector step: CondInst", facts, lines, {"train": vars(turns), "predict": vars(inference)}, chosen.json)


class _Absent(types.ModuleType):
    """A module that is imported and not used."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def _masks(boxes: Tensor, size: int) -> Tensor:
    """An ellipse in each box, (N, size, size) bool."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    dx = (x[None] - middle[:, 0, None, None]) / half[:, 0, None, None]
    dy = (y[None] - middle[:, 1, None, None]) / half[:, 1, None, None]
    return dx.square() + dy.square() <= 1


def _adelaidet(folder: Path, sizes: Sizes) -> tuple[nn.Module, Callable[..., list[dict[str, Any]]]]:
    """Its CondInst on our backbone and pyramid, and what makes its inputs of ours."""
    try:
        from detectron2.layers import ShapeSpec
        from detectron2.modeling.backbone import BACKBONE_REGISTRY, Backbone
        from detectron2.structures import BitMasks, Boxes, Instances
    except ImportError as error:
        raise SystemExit(f"detectron2 is missing; {NEEDS}") from error
    sys.path.insert(0, str(folder))
    for name in ("adet._C", "cv2", "skimage", "skimage.color"):  # what its other detectors need
        sys.modules.setdefault(name, _Absent(name))
    sys.modules["skimage"].color = sys.modules["skimage.color"]  # type: ignore[attr-defined]
    import adet
    from adet.config import get_cfg

    adet._C = sys.modules["adet._C"]
    from adet.modeling.condinst.condinst import CondInst as Reference

    shapes = {f"p{i}": ShapeSpec(channels=sizes.channels, stride=s) for i, s in enumerate(STRIDES, start=3)}

    class CaslPyramid(Pyramid, Backbone):  # type: ignore[misc]
        """Our backbone and pyramid in the form detectron2 wants."""

        size_divisibility = 32

        def __init__(self, cfg: object, shape: object) -> None:
            super().__init__(sizes)

        def output_shape(self) -> dict[str, Any]:
            return shapes

    BACKBONE_REGISTRY.register(CaslPyramid)
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.BACKBONE.NAME = "CaslPyramid"
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "FCOS"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = list(MEAN), list(STD)
    cfg.MODEL.FCOS.NUM_CLASSES = sizes.classes
    cfg.MODEL.FCOS.THRESH_WITH_CTR = True
    cfg.MODEL.FCOS.INFERENCE_TH_TEST = SCORE
    cfg.MODEL.CONDINST.MAX_PROPOSALS = 500

    def records(images: list[Tensor], targets: list[dict[str, Tensor]]) -> list[dict[str, Any]]:
        found = []
        for image, target in zip(images, targets, strict=True):
            size = (image.shape[1], image.shape[2])
            truth = Instances(size, gt_boxes=Boxes(target["boxes"]), gt_classes=target["labels"])
            truth.gt_masks = BitMasks(target["masks"])
            found.append({"image": image, "instances": truth, "height": size[0], "width": size[1]})
        return found

    return Reference(cfg), records


def _copy(ours: nn.Module, theirs: nn.Module) -> None:
    """All weights of ours into the reference: by shape and order within each part, which both build alike."""
    places = {
        "backbone": "backbone.body",
        "fpn": "backbone.fpn",
        "head.cls_tower": "proposal_generator.fcos_head.cls_tower",
        "head.box_tower": "proposal_generator.fcos_head.bbox_tower",
        "head.cls_logits": "proposal_generator.fcos_head.cls_logits",
        "head.bbox_pred": "proposal_generator.fcos_head.bbox_pred",
        "head.ctrness": "proposal_generator.fcos_head.ctrness",
        "head.controller": "controller",
        "mask_branch": "mask_branch",
    }
    for mine, its in places.items():
        source, target = ours.get_submodule(mine).state_dict(), theirs.get_submodule(its).state_dict()
        if [v.shape for v in source.values()] != [v.shape for v in target.values()]:
            raise SystemExit(f"{its} of this checkout does not look like {mine}: another version of AdelaiDet?")
        theirs.get_submodule(its).load_state_dict(dict(zip(target, source.values(), strict=True)))


def _apart(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """Largest difference of a loss; the reference's have other names and the same order of size."""
    names = {"loss_cls": "loss_fcos_cls", "loss_box": "loss_fcos_loc", "loss_center": "loss_fcos_ctr"}
    names |= {"loss_mask": "loss_mask"}
    return max(abs(float(ours[mine].detach()) - float(theirs[its].detach())) for mine, its in names.items())


def _step(model: nn.Module, losses: Callable[[], Mapping[str, Tensor]]) -> Callable[[], object]:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-9)

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        torch.stack(list(losses().values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
