"""Names of torchvision's detectors, and of its classification models as bare backbones.

Source: torchvision models/detection and models/{resnet,swin_transformer}.py, by reading their state dicts; method
reference sec. 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from casl.models.body import BODY
from casl.models.convert import adapt
from casl.models.convert.kind import Told, position_tables, reads_p2, targets
from casl.models.convert.lacks import width_needs
from casl.models.convert.ledger import Ledger
from casl.models.convert.names import Rule
from casl.models.head import group_norm

_HEAD: list[Rule] = [
    ("head.cls_tower.{rest}", "head.classification_head.conv.{rest}"),
    ("head.cls_logits.{rest}", "head.classification_head.cls_logits.{rest}"),
    ("head.box_tower.{rest}", "head.regression_head.conv.{rest}"),
    ("head.bbox_pred.{rest}", "head.regression_head.bbox_reg.{rest}"),
    ("head.ctrness.{rest}", "head.regression_head.bbox_ctrness.{rest}"),
]
_FRAMEWORK: list[Rule] = [
    (f"framework.{module}.{{rest}}", f"{module}.{{rest}}") for module in ("head", "rpn", "roi_heads")
]
_INDEX = ".relative_position_index"


def _neck(lowest: int) -> list[Rule]:
    rules: list[Rule] = []
    for level in range(lowest, 6):
        place = level - lowest
        rules += [
            (f"fpn.lateral{level}.{{rest}}", f"backbone.fpn.inner_blocks.{place}.0.{{rest}}"),
            (f"fpn.output{level}.{{rest}}", f"backbone.fpn.layer_blocks.{place}.0.{{rest}}"),
            (f"fpn.lateral{level}.norm.{{rest}}", f"backbone.fpn.inner_blocks.{place}.1.{{rest}}"),  # refused here
            (f"fpn.output{level}.norm.{{rest}}", f"backbone.fpn.layer_blocks.{place}.1.{{rest}}"),
        ]
    return [*rules, ("fpn.p{n}.{rest}", "backbone.fpn.extra_blocks.p{n}.{rest}")]


def _swin(prefix: str) -> list[Rule]:
    """prefix: "backbone.body." as in an IntermediateLayerGetter of `swin_t().features`, or "features." alone."""
    rules: list[Rule] = [
        ("backbone.body.patch_embed.proj.{rest}", f"{prefix}0.0.{{rest}}"),
        ("backbone.body.patch_embed.norm.{rest}", f"{prefix}0.2.{{rest}}"),
    ]
    for stage in range(4):
        old, new = f"backbone.body.layers.{stage}.blocks.{{n}}", f"{prefix}{2 * stage + 1}.{{n}}"
        rules += [
            (f"{old}.mlp.fc1.{{rest}}", f"{new}.mlp.0.{{rest}}"),
            (f"{old}.mlp.fc2.{{rest}}", f"{new}.mlp.3.{{rest}}"),
            (f"{old}.norm{{k}}.{{rest}}", f"{new}.norm{{k}}.{{rest}}"),
            (f"{old}.attn.{{rest}}", f"{new}.attn.{{rest}}"),
        ]
        if stage:
            rules.append((f"backbone.body.layers.{stage}.downsample.{{rest}}", f"{prefix}{2 * stage}.{{rest}}"))
    return rules


def heads() -> dict[str, tuple[str, ...]]:
    """What weights can be converted into -> names of it that only the same detector has weights for."""
    return {**targets("torchvision"), "backbone": ()}


def rules_to(told: Told, target: str) -> Sequence[Rule]:
    """Rules for a state dict under our names, of which is told what it is; target is a key of `heads()`."""
    bare = target == "backbone"
    if told.swin:
        backbone = _swin("features." if bare else "backbone.body.")
    else:
        backbone = [("backbone.body.{rest}", "{rest}" if bare else "backbone.body.{rest}")]
    if bare:
        return backbone
    head = _FRAMEWORK if told.project == "torchvision" else _HEAD
    return [*backbone, *_neck(2 if reads_p2(target) else 3), *head]


def rules_from(state: Mapping[str, Tensor]) -> Sequence[Rule]:
    """Rules for a state dict under torchvision's names; what it is, is told by the names."""
    if "features.0.0.weight" in state:
        return _swin("features.")
    if "conv1.weight" in state:
        return [(f"backbone.body.{part}{{rest}}", f"{part}{{rest}}") for part in ("conv1", "bn1", "layer")]
    swin = "backbone.body.0.0.weight" in state
    backbone = _swin("backbone.body.") if swin else [("backbone.body.{rest}", "backbone.body.{rest}")]
    lowest = 2 if "backbone.fpn.inner_blocks.3.0.weight" in state else 3
    head = _HEAD if is_fcos(state) else _FRAMEWORK
    return [*backbone, *_neck(lowest), *head]


def is_fcos(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict under torchvision's names is an FCOS."""
    return "head.regression_head.bbox_ctrness.weight" in state


def add_indices(ledger: Ledger) -> None:
    """Swin's constant tables of positions, which torchvision keeps in its state dict, as one row."""
    for key, window in position_tables(ledger.state).items():
        index = key.replace(".relative_position_bias_table", _INDEX)
        ledger.make(index, adapt.position_index(window).flatten(), "constant: which bias two cells look up")


def needs(state: Mapping[str, Tensor], told: Told, taken: adapt.Input) -> list[str]:
    """What torchvision's model must be, for those weights under our names that it is given."""
    said = _backbone_needs(told, taken) if any(key.startswith(BODY) for key in state) else []
    said += width_needs(state, "FeaturePyramidNetwork(..., out_channels={})", "FCOSHead(..., num_convs={})")
    if "fpn.p6.weight" in state:
        p6, p5 = state["fpn.p6.weight"].shape[1], state["fpn.output5.weight"].shape[0]
        said.append(f"P6 from {'P5' if p6 == p5 else 'C5'}: LastLevelP6P7({p6}, {len(state['fpn.p6.weight'])})")
    if (norm := state.get("framework.head.classification_head.conv.0.1.weight")) is not None:
        said.append(f"RetinaNetHead(..., norm_layer=partial(nn.GroupNorm, {group_norm(len(norm)).num_groups}))")
    return said


def _backbone_needs(told: Told, taken: adapt.Input) -> list[str]:
    if told.swin:
        said = ["maps whose last stage is larger than 7 cells on both sides: else torchvision shifts no windows there"]
        said.append("norms of your own on each stage's map: torchvision has none")
    else:
        said = [] if told.known_resnet else ["a backbone of timm's: torchvision has none with such a stem"]
    if taken != adapt.Input():
        mean, std = ([value / 255 for value in values] for values in (taken.mean, taken.std))
        said.append(f"image_mean {mean}, image_std {std}")
    return said


def only_theirs(state: Mapping[str, Tensor], target: str, told: Told) -> dict[str, str]:
    """What the target has and no source of ours, where a state dict under torchvision's names does not have it."""
    alone = [p for p in heads()[target] if not any(key.startswith(p[:-1]) for key in state)]
    behind = ("norm.*", "head.*") if told.swin else ("fc.*",)
    return dict.fromkeys(alone, "of this framework only") | (
        dict.fromkeys(behind, "a classifier; we have none") if target == "backbone" else {}
    )
