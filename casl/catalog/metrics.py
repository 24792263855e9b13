"""Metrics: what each is about, what it needs, its headline and what reports show beside it."""

from __future__ import annotations

from typing import Any

from casl.rows import Metric

_DRAWS = "casl.metrics.bootstrap:"
_LATER = ("AP70",)  # of every AP, since 2026-11-29


def _recall(name: str, draws: str, **facts: Any) -> Metric:
    """Average recall: 100 predictions an image are the headline."""
    return Metric(f"casl.metrics.recall:{name}", headline="AR100", interval=f"{_DRAWS}{draws}_recall", **facts)


METRICS = {
    "ap_det": Metric(
        "casl.metrics.ap:ap_det",
        symbol="AP^det",
        interval=_DRAWS + "boxes",
        by_class="casl.metrics.per_class:boxes",
        recall="ar_det_a",
        chooses=True,
        later=_LATER,
    ),
    "ap_det_a": Metric(
        "casl.metrics.ap:ap_det_a",
        symbol="AP^det-a",
        interval=_DRAWS + "agnostic_boxes",
        recall="ar_det_a",
        later=_LATER,
    ),
    "ap_det_rare": Metric("casl.metrics.rare:ap_det_rare", symbol="AP^det-rare"),
    "ap_e": Metric(
        "casl.metrics.ap:ap_e",
        "entities",
        symbol="AP^e",
        needs=("entities",),
        interval=_DRAWS + "agnostic_boxes",
        beside="ap_e_mask",
        recall="ar_e",
        later=_LATER,
    ),
    "ap_e_mask": Metric(
        "casl.metrics.ap:ap_e_mask",
        "entities",
        symbol="AP^e",
        needs=("entities", "masks"),
        interval=_DRAWS + "entity_masks",
        recall="ar_e_mask",
        later=_LATER,
    ),
    "ap_point": Metric(
        "casl.metrics.keypoints:ap_point",
        "keypoints",
        "keypoints",
        symbol="AP^point",
        needs=("keypoints",),
        interval=_DRAWS + "keypoints",
        later=_LATER,
    ),
    "ap_seg": Metric(
        "casl.metrics.ap:ap_seg",
        form="masks",
        symbol="AP^seg",
        needs=("masks",),
        interval=_DRAWS + "masks",
        by_class="casl.metrics.per_class:masks",
        recall="ar_seg_a",
        later=_LATER,
    ),
    "ap_seg_a": Metric(
        "casl.metrics.ap:ap_seg_a",
        form="masks",
        symbol="AP^seg-a",
        needs=("masks",),
        interval=_DRAWS + "agnostic_masks",
        recall="ar_seg_a",
        later=_LATER,
    ),
    "ar_det_a": _recall("ar_det_a", "agnostic_boxes", symbol="AR^det-a", chooses=True),
    "ar_e": _recall("ar_e", "agnostic_boxes", labels="entities", symbol="AR^e", needs=("entities",)),
    "ar_e_mask": _recall("ar_e_mask", "entity_masks", labels="entities", symbol="AR^e", needs=("entities", "masks")),
    "ar_proposals": _recall("ar_proposals", "agnostic_boxes", symbol="AR of proposals"),
    "ar_proposals_1000": _recall("ar_proposals_1000", "agnostic_boxes", symbol="AR of proposals", detections=1000),
    "ar_seg_a": _recall("ar_seg_a", "agnostic_masks", form="masks", symbol="AR^seg-a", needs=("masks",), chooses=True),
    "fit": Metric("casl.metrics.confidence:confidence", symbol="confidence and IoU", headline="iou"),
    "fit_raw": Metric(
        "casl.metrics.confidence:confidence",
        symbol="confidence and IoU before suppression",
        headline="iou",
        detections=1000,
        raw=True,
    ),
    "linear_probe": Metric("casl.metrics.linear:top1", form="features", symbol="top-1 of crops", headline="top1"),
    "miou": Metric(
        "casl.metrics.segmentation:miou",
        "panoptic",
        "semantic",
        symbol="mIoU",
        needs=("stuff", "masks"),
        headline="mIoU",
        interval="casl.metrics.segmentation:miou_of_draws",
    ),
    "missed_objects": Metric("casl.metrics.occlusion:missed", symbol="missed", needs=("occlusion",), headline="missed"),
    "pq": Metric(
        "casl.metrics.pq:pq_of_arrays",
        "panoptic",
        "panoptic",
        symbol="PQ",
        needs=("stuff", "masks"),
        headline="PQ",
        interval=_DRAWS + "pq_of_draws",
    ),
}
