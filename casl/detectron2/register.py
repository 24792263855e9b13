"""Our models in detectron2's registries."""

from __future__ import annotations

from casl.errors import need_detectron2


def register() -> None:
    """Put our backbones and detectors into detectron2's registries; a second call does nothing.

    Then a configuration may name, beside what `add_casl_config` adds to it:

    MODEL.BACKBONE.NAME
        build_casl_backbone                C2..C5 of any of our backbones, as res2..res5
        build_casl_fpn_backbone            with detectron2's FPN, P2..P6, for its R-CNNs and PanopticFPN
        build_casl_retinanet_fpn_backbone  with P3..P7, P6 from P5 as in our pyramid, for its RetinaNet
    MODEL.META_ARCHITECTURE
        CaslFCOS, CaslCondInst             our detectors, whole

    Raises:
        MissingPackageError: detectron2 is not installed.
    """
    need_detectron2("casl.detectron2.register()")
    from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY

    from casl.detectron2 import backbones, meta_archs

    for registry, entries in (
        (BACKBONE_REGISTRY, backbones.ENTRIES),
        (META_ARCH_REGISTRY, meta_archs.ENTRIES),
    ):
        for entry in entries:
            if entry.__name__ not in registry:
                registry.register(entry)
