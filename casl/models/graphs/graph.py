"""What all graphs share: one image in, padded as detectors pad it, and boxes clipped to it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from casl.models.detect import InferenceSettings
from casl.models.detector import DIVISOR
from casl.models.graphs.operators import Operators


class Graph(nn.Module):
    """A detector in evaluation mode that looks at one image.

    Args:
        detector: of the class that the graph is for.
        settings: thresholds, which become constants.
        operators: of torch or ONNX.

    Attributes:
        outputs: names of what `forward` gives, in order: "boxes" (N, 4) float32 XYXY in pixels of the image, "scores"
            (N,) float32, best first, "labels" (N,) int64; of some "masks" (N, h, w) bool or "keypoints" (N, K, 3)
            float32, x and y in pixels and torchvision's constant 1.
    """

    outputs: ClassVar[tuple[str, ...]] = ("boxes", "scores", "labels")

    def __init__(self, detector: Any, settings: InferenceSettings, operators: Operators) -> None:
        super().__init__()
        self.detector, self.settings, self.operators = detector, settings, operators

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """What is found.

        Args:
            image: (3, h, w) float32, RGB on 0..255.
        """
        raise NotImplementedError

    def batch(self, image: Tensor) -> Tensor:
        """(1, 3, H, W) of one image, as `casl.models.detector.to_batch` makes it."""
        height, width = image.shape[1], image.shape[2]
        backbone = self.detector.backbone
        normal = (image - backbone.mean) / backbone.std
        return functional.pad(normal, (0, -width % DIVISOR, 0, -height % DIVISOR))[None]


def limits(image: Tensor) -> Tensor:
    """(4,) float32: width, height, width, height of a (3, h, w) image, which a trace does not take for constants."""
    rows, columns = image[0, :, :1], image[0, :1, :]
    height, width = torch.ones_like(rows).sum(), torch.ones_like(columns).sum()
    return torch.stack((width, height, width, height))


def places(chosen: Tensor) -> Tensor:
    """(M,) int64, where (N,) bool is true."""
    return chosen.nonzero()[:, 0]


def clipped(boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """As `casl.models.detect.to_original` of an image that was not resized; the second are places."""
    inside = torch.minimum(boxes.clamp(min=0.0), limits(image))
    return inside, places((inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1]))
