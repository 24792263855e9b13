"""Which of many overlapping boxes are kept, and with which scores: hard suppression, or Soft-NMS.

Source: Soft-NMS (ICCV 2017), eq. 3 and sec. 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

from casl.models.detect import InferenceSettings, suppress


def kept(boxes: Tensor, scores: Tensor, labels: Tensor, settings: InferenceSettings) -> tuple[Tensor, Tensor]:
    """The detections among the candidates of one image, as `settings` say.

    Args:
        boxes: (N, 4) XYXY, any range.
        scores: (N,).
        labels: (N,) int64; boxes of different classes do not touch each other.
        settings: `suppression`, `nms`, `sigma`, `max_detections`, and for Soft-NMS `score_threshold`.

    Returns:
        (M,) int64, rows of the kept boxes, best first, M <= max_detections; and their (M,) scores. Hard suppression
        keeps scores as they are. So does Soft-NMS if not `settings.decayed`; rows then come in the order of the decayed
        scores, which only their choice depends on.
    """
    if settings.suppression == "hard":
        rows = suppress(boxes, scores, labels, settings.nms)[: settings.max_detections]
        return rows, scores[rows]
    rows, decayed = _soft(boxes, scores, labels, settings)
    return rows, decayed if settings.decayed else scores[rows]


def _soft(boxes: Tensor, scores: Tensor, labels: Tensor, settings: InferenceSettings) -> tuple[Tensor, Tensor]:
    """Again and again the best box is taken, and the scores of those that overlap it decay.

    Scores only fall, so rows come best first, and nothing changes once the best that is left does not pass the
    threshold. Computed on the processor: each step depends on the one before.
    """
    corners, left, classes = boxes.double().cpu(), scores.double().cpu(), labels.cpu()
    taken: list[int] = []
    found: list[float] = []
    while len(left) and len(taken) < settings.max_detections:
        best = int((left == left.max()).nonzero()[0])  # of equal scores the earlier
        score = float(left[best])
        if not score > settings.score_threshold:
            break
        taken.append(best)
        found.append(score)
        shares = box_iou(corners[best : best + 1], corners)[0].nan_to_num(nan=0.0)  # of two boxes without area 0 / 0
        overlap = shares * (classes == classes[best])
        left = left * decay(overlap, settings)
        left[best] = -1.0
    return torch.tensor(taken, dtype=torch.int64, device=scores.device), scores.new_tensor(found)


def decay(overlap: Tensor, settings: InferenceSettings) -> Tensor:
    """What Soft-NMS multiplies scores by.

    Args:
        overlap: (N,) IoU with the box that was taken.
        settings: "linear" 1 - IoU where it is at least `nms`, else 1; "gaussian" exp(-IoU^2 / sigma) everywhere.

    Returns:
        (N,) in [0, 1].
    """
    if settings.suppression == "linear":
        return torch.where(overlap >= settings.nms, 1.0 - overlap, 1.0)
    return torch.exp(-(overlap**2) / settings.sigma)
