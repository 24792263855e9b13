"""What a state dict under our names is of, told by its names and shapes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from casl.errors import SpecError

BODY = "backbone.body."
PLAIN_STEM = 7  # side of the stem's filter in the ResNets that others know
_FRAMEWORKS = {  # a tensor -> whose framework it is, and which; the first that is there counts
    "framework.rpn.head.cls_logits.weight": ("torchvision", "faster_rcnn"),
    "framework.head.classification_head.cls_logits.weight": ("torchvision", "retinanet"),
    "framework.proposal_generator.rpn_head.objectness_logits.weight": ("detectron2", "faster_rcnn"),
    "framework.head.cls_score.weight": ("detectron2", "retinanet"),
}
_SPECIAL = {  # beginning of a name that makes an R-CNN more than Faster R-CNN
    "semantic.": "panoptic_fpn",
    "framework.sem_seg_head.": "panoptic_fpn",
    "framework.roi_heads.keypoint_head.": "keypoint_rcnn",
    "framework.roi_heads.mask_head.": "mask_rcnn",
}


def is_swin(state: Mapping[str, Tensor]) -> bool:
    """Whether the backbone is a Swin Transformer."""
    return f"{BODY}patch_embed.proj.weight" in state


def is_known_resnet(state: Mapping[str, Tensor]) -> bool:
    """Whether the backbone is a ResNet that torchvision and detectron2 have too: one 7 x 7 filter as its stem."""
    stem = state.get(f"{BODY}conv1.weight")
    return stem is not None and stem.shape[-1] == PLAIN_STEM


def position_tables(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Every Swin block's table of position biases, with the side of its window."""
    end = ".relative_position_bias_table"
    return {key: (round(len(v) ** 0.5) + 1) // 2 for key, v in state.items() if key.endswith(end)}


def framework_of(state: Mapping[str, Tensor]) -> tuple[str, str]:
    """Whose framework a detector is, and which: ("casl", "fcos"), ("torchvision", "mask_rcnn"), ("casl", "backbone").

    Raises:
        SpecError: no detector of ours has such names.
    """
    if not any(key.startswith(BODY) for key in state):
        example = next(iter(state), "nothing")
        raise SpecError(f"these are no weights of a detector of casl: the first tensor is {example!r}, no {BODY}*.")
    found = next((who for key, who in _FRAMEWORKS.items() if key in state), None)
    if found is None:
        which = "condinst" if any(key.startswith("mask_branch.") for key in state) else "fcos"
        return "casl", which if any(key.startswith("head.") for key in state) else "backbone"
    special = next((s for begins, s in _SPECIAL.items() if any(key.startswith(begins) for key in state)), found[1])
    return found[0], special
