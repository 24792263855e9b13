"""What a configuration of detectron2 says about our models, under MODEL.CASL."""

from __future__ import annotations

from typing import Any

from casl.errors import need_detectron2


def add_casl_config(cfg: Any) -> None:
    """Add MODEL.CASL with its defaults to a configuration; without effect where it is there.

    BACKBONE: a backbone of casl.catalog. WEIGHTS: a file for it, of timm or `casl convert`, or empty.
    DROP_PATH, FROZEN_STAGES: as in `build_backbone`; where stages are frozen, so are all batch norms.
    NUM_CLASSES, CHANNELS, TOWERS, MASK_CHANNELS, RANGES: as in FCOS' and CondInst's settings.
    ENTITY: EntitySeg's additions to CondInst, and no two of its predictions share a pixel. INCLUSIVE_BOXES: their boxes
    are the first and last pixel of their masks, as those of entities derived from panoptic files are; False beside
    boxes of an entity file.

    Raises:
        MissingPackageError: detectron2 is not installed.
    """
    need_detectron2("a configuration of detectron2")
    from detectron2.config import CfgNode

    if "CASL" in cfg.MODEL:
        return
    cfg.MODEL.CASL = CfgNode(
        {
            "BACKBONE": "swin_t",
            "WEIGHTS": "",
            "DROP_PATH": 0.0,
            "FROZEN_STAGES": 0,
            "NUM_CLASSES": 80,
            "CHANNELS": 256,
            "TOWERS": 4,
            "MASK_CHANNELS": 128,
            "RANGES": [64, 128, 256, 512],
            "ENTITY": False,
            "INCLUSIVE_BOXES": True,
        }
    )
