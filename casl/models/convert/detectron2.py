"""Names of detectron2's models, and of the models that `casl.detectron2` registers there.

Source: detectron2 modeling/backbone/{fpn,resnet,swin}.py and meta_arch/{fcos,retinanet,rcnn,panoptic_fpn}.py, by
reading their state dicts; method reference sec. 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from casl.errors import DataError
from casl.models.body import BODY
from casl.models.convert import adapt
from casl.models.convert.config import Configured
from casl.models.convert.kind import Told, blocks_of, depth_of, is_bottleneck, is_known_resnet, position_tables, targets
from casl.models.convert.lacks import width_needs
from casl.models.convert.ledger import Ledger
from casl.models.convert.names import Rule
from casl.models.head import group_norm

NEAR = 0.05  # of means of 0..255, which are written with one to three decimals
SOURCE = "of the source: "  # what begins a need of the other direction
OWN = "casl"  # the models that casl.detectron2 registers, as a target
OWN_RULES: list[Rule] = [("{rest}", "detector.{rest}")]
REGISTER = "casl.detectron2.register() and add_casl_config(cfg) before the model is built (docs/detectron2.md)"
_HEAD: list[Rule] = [
    ("head.cls_tower.{rest}", "head.cls_subnet.{rest}"),
    ("head.box_tower.{rest}", "head.bbox_subnet.{rest}"),
    ("head.cls_logits.{rest}", "head.cls_score.{rest}"),
    ("head.bbox_pred.{rest}", "head.bbox_pred.{rest}"),
    ("head.ctrness.{rest}", "head.ctrness.{rest}"),
]
_FRAMEWORK: list[Rule] = [
    (f"framework.{module}.{{rest}}", f"{module}.{{rest}}")
    for module in ("head", "proposal_generator", "roi_heads", "sem_seg_head")
]
_NECK: list[Rule] = [
    ("fpn.lateral{n}.{rest}", "backbone.fpn_lateral{n}.{rest}"),
    ("fpn.output{n}.{rest}", "backbone.fpn_output{n}.{rest}"),
    ("fpn.p{n}.{rest}", "backbone.top_block.p{n}.{rest}"),
]
_BOTTOM = "backbone.bottom_up"
_INDEX = ".relative_position_index"
_MEAN_POSITIVES = "framework.loss_normalizer"


def _resnet() -> list[Rule]:
    """Norms before the convolutions they belong to, whose names are a beginning of theirs there."""
    rules = [
        ("backbone.body.bn1.{rest}", f"{_BOTTOM}.stem.conv1.norm.{{rest}}"),
        ("backbone.body.conv1.{rest}", f"{_BOTTOM}.stem.conv1.{{rest}}"),
    ]
    for stage in range(1, 5):
        old, new = f"backbone.body.layer{stage}.{{n}}", f"{_BOTTOM}.res{stage + 1}.{{n}}"
        rules += [
            (f"{old}.bn{{k}}.{{rest}}", f"{new}.conv{{k}}.norm.{{rest}}"),
            (f"{old}.conv{{k}}.{{rest}}", f"{new}.conv{{k}}.{{rest}}"),
            (f"{old}.downsample.1.{{rest}}", f"{new}.shortcut.norm.{{rest}}"),
            (f"{old}.downsample.0.{{rest}}", f"{new}.shortcut.{{rest}}"),
        ]
    return rules


def _swin() -> list[Rule]:
    merging = [
        (f"backbone.body.layers.{i}.downsample.{{rest}}", f"{_BOTTOM}.layers.{i - 1}.downsample.{{rest}}")
        for i in range(1, 4)
    ]
    return [*merging, ("backbone.body.{rest}", f"{_BOTTOM}.{{rest}}")]


def heads() -> dict[str, tuple[str, ...]]:
    """What weights can be converted into -> names of it that only the same detector has weights for."""
    return {**targets("detectron2"), "backbone": (), OWN: ()}


def rules_to(told: Told, own_names: bool) -> Sequence[Rule]:
    """Rules for a state dict under our names.

    Args:
        told: what it is of, before parts were left out.
        own_names: leave the backbone's names as they are here, for those that `casl.detectron2` registers; done in any
            case where detectron2 has no such backbone.
    """
    if not own_names and told.swin:
        backbone = _swin()
    elif not own_names and told.known_resnet:
        backbone = _resnet()
    else:
        backbone = [("backbone.body.{rest}", f"{_BOTTOM}.body.{{rest}}")]
    return [*backbone, *_NECK, *(_FRAMEWORK if told.project == "detectron2" else _HEAD)]


def rules_from(state: Mapping[str, Tensor]) -> Sequence[Rule]:
    """Rules for a state dict under detectron2's names; what it is, is told by the names."""
    if is_registered(state):
        return OWN_RULES
    if f"{_BOTTOM}.stem.conv1.weight" in state:
        backbone = _resnet()
    elif f"{_BOTTOM}.patch_embed.proj.weight" in state:
        backbone = _swin()
    else:
        backbone = [("backbone.body.{rest}", f"{_BOTTOM}.body.{{rest}}")]
    head = _HEAD if "head.ctrness.weight" in state else _FRAMEWORK
    return [*backbone, *_NECK, *head]


def is_registered(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict under detectron2's names is of a detector of ours that `casl.detectron2` registers."""
    return any(key.startswith("detector.") for key in state)


def drop_means(ledger: Ledger) -> None:
    """Leave out RetinaNet's moving mean of positives, a buffer here and forgotten with the process there."""
    if _MEAN_POSITIVES in ledger.state:
        ledger.drop(_MEAN_POSITIVES, "a moving mean that detectron2 does not keep: it starts anew at 100")


def add_means(ledger: Ledger) -> None:
    """The reverse of `drop_means`: where detectron2 starts."""
    if (logits := ledger.state.get("framework.head.cls_score.weight")) is not None:
        ledger.make(_MEAN_POSITIVES, logits.new_tensor(100.0), "where detectron2 starts its moving mean of positives")


def drop_counters(ledger: Ledger, told: Told) -> None:
    """Leave out the counters of batch norms, which detectron2's frozen ones in its ResNets do not have."""
    if not told.known_resnet:
        return
    for key in [k for k in ledger.state if k.startswith("backbone.") and k.endswith(".num_batches_tracked")]:
        ledger.drop(key, "a counter that detectron2's frozen batch norms do not have")


def add_indices(ledger: Ledger) -> None:
    """Swin's constant tables of positions, which detectron2's own Swin keeps in its state dict."""
    for key, window in position_tables(ledger.state).items():
        index = key.replace(".relative_position_bias_table", _INDEX)
        ledger.make(index, adapt.position_index(window), "constant: which bias two cells of a window look up")


def drop_indices(ledger: Ledger) -> None:
    """The reverse of `add_indices`."""
    for key in [k for k in ledger.state if k.endswith(_INDEX)]:
        ledger.drop(key, "constant, computed here")


def needs(state: Mapping[str, Tensor], told: Told, own_names: bool, bgr: bool, taken: adapt.Input) -> list[str]:
    """What a configuration of detectron2 must say, for those weights under our names that it is given."""
    said = _backbone_needs(state, told, own_names, bgr, taken) if any(key.startswith(BODY) for key in state) else []
    said += width_needs(state, "MODEL.FPN.OUT_CHANNELS {}", "FCOSHead(..., num_convs=[{0}, {0}])")
    if "fpn.p6.weight" in state:
        p6, c5 = state["fpn.p6.weight"].shape[1], state["fpn.output5.weight"].shape[0]
        if p6 == c5:
            said.append("P6 from P5, as LastLevelP6P7(in_feature='p5'); where it reads C5, its P6 does not fit")
    if (norm := state.get("framework.head.cls_subnet.1.weight")) is not None:
        count = group_norm(len(norm)).num_groups
        said.append(f"RetinaNetHead(..., norm=lambda channels: GroupNorm({count}, channels)), which is 'GN' at 256")
    return said


def _resnet_needs(state: Mapping[str, Tensor]) -> list[str]:
    """What makes detectron2's ResNet one of ours."""
    stride = "MODEL.RESNETS.STRIDE_IN_1X1 False: our ResNets, timm's and torchvision's stride in the 3x3"
    if not (depth := depth_of(state)):
        stages = ", ".join(map(str, blocks_of(state)))
        return [
            f"a ResNet made in Python, of {stages} blocks with stride_in_1x1=False: MODEL.RESNETS has no such DEPTH"
        ]
    if not is_bottleneck(state):
        return [f"MODEL.RESNETS.DEPTH {depth}, RES2_OUT_CHANNELS 64"]
    filters = state[f"{BODY}layer1.0.conv2.weight"]
    groups, width = len(filters) // filters.shape[1], filters.shape[1]
    more = f", NUM_GROUPS {groups}, WIDTH_PER_GROUP {width}" if groups > 1 else ""
    return [f"MODEL.RESNETS.DEPTH {depth}{more}", stride]


def _backbone_needs(
    state: Mapping[str, Tensor], told: Told, own_names: bool, bgr: bool, taken: adapt.Input
) -> list[str]:
    registered = "of casl.detectron2.register(), which MODEL.BACKBONE.NAME names"
    if own_names:
        said = [f"a backbone {registered}"]
    elif told.known_resnet:
        said = _resnet_needs(state)
    elif told.swin:
        said = [f"detectron2.modeling.backbone.swin.SwinTransformer; with --own-names instead a backbone {registered}"]
    else:
        said = [f"a backbone {registered}: detectron2 has none with such a stem"]
    mean, std = (list(taken.mean[::-1]), [1.0, 1.0, 1.0]) if bgr else (list(taken.mean), list(taken.std))
    said.append(f"INPUT.FORMAT {'BGR' if bgr else 'RGB'}, MODEL.PIXEL_MEAN {mean}, MODEL.PIXEL_STD {std}")
    return said


def source_needs(state: Mapping[str, Tensor], order: str, taken: adapt.Input | None) -> list[str]:
    """What a model of detectron2 must have been and no tensor shows, for its weights under our names to mean the same.

    taken: the backbone's input; None where it is not known.
    """
    said = []
    if is_bottleneck(state):
        said.append("MODEL.RESNETS.STRIDE_IN_1X1 False, detectron2's default is True; ours stride in the 3x3")
    if is_known_resnet(state):
        said.append("MODEL.RESNETS.RES5_DILATION 1")
    if any(key.startswith(BODY) for key in state):
        mean, std = ("ours", "ours") if taken is None else (list(taken.mean), list(taken.std))
        if taken is not None and order == "bgr":
            mean, std = list(taken.mean[::-1]), [1.0, 1.0, 1.0]
        said.append(f"INPUT.FORMAT {order.upper()}, MODEL.PIXEL_MEAN {mean}, MODEL.PIXEL_STD {std}")
    if any(key.startswith("fpn.") for key in state):
        said.append("MODEL.FPN.FUSE_TYPE sum")
    return [f"{SOURCE}{need}" for need in said]


def check_configured(state: Mapping[str, Tensor], config: Configured, taken: adapt.Input) -> None:
    """Refuse weights under our names whose model computed what none of ours does.

    Raises:
        DataError: the configuration says so.
    """
    wanted: dict[str, object] = {}
    if is_bottleneck(state):
        wanted["MODEL.RESNETS.STRIDE_IN_1X1"] = False
    if is_known_resnet(state):
        wanted["MODEL.RESNETS.RES5_DILATION"] = 1
    if any(key.startswith("fpn.") for key in state):
        wanted |= {"MODEL.FPN.FUSE_TYPE": "sum", "MODEL.FPN.NORM": ""}
    wrong = [
        f"{name} {config.values[name]!r}, not {value!r}"
        for name, value in wanted.items()
        if config.values[name] != value
    ]
    mean = taken.mean[::-1] if config.order == "bgr" else taken.mean
    if any(abs(a - b) > NEAR for a, b in zip(config.mean, mean, strict=True)):
        wrong.append(f"MODEL.PIXEL_MEAN {list(config.mean)}, not {list(mean)}")
    if wrong:
        raise DataError(
            "the source computed what no backbone and pyramid of casl does; its configuration says\n  "
            + "\n  ".join(wrong)
            + "\n  Other values of these cannot be converted: train it again with ours."
        )


def only_theirs(state: Mapping[str, Tensor], target: str, told: Told) -> dict[str, str]:
    """What the target has and no source of ours, where a state dict under detectron2's names does not have it."""
    del told  # its backbones have no classifier
    alone = [p for p in heads()[target] if not any(key.startswith(p[:-1]) for key in state)]
    return dict.fromkeys(alone, "of this framework only")
