"""The graphs of torchvision's detectors behind our pyramid: torchvision's own code, which it keeps traceable."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image

from casl.models.frameworks.adapter import MASK_THRESHOLD
from casl.models.graphs.graph import Graph, clipped


class FrameworkGraph(Graph):
    """RetinaNet and Faster R-CNN."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found, _ = self.found(image)
        return found["boxes"], found["scores"], found["labels"]

    def found(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Detections clipped to the image, and their places among torchvision's."""
        batch = self.batch(image)
        images = ImageList(batch, [(image.shape[1], image.shape[2])])
        (found,) = self.detector.detect(images, self.detector.features(batch), self.settings)
        boxes, inside = clipped(found["boxes"], image)
        labels = found["labels"] - self.detector.first_label
        return found | {"boxes": boxes[inside], "scores": found["scores"][inside], "labels": labels[inside]}, inside


class MaskGraph(FrameworkGraph):
    """Mask R-CNN."""

    outputs: ClassVar[tuple[str, ...]] = (*Graph.outputs, "masks")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found, inside = self.found(image)
        size = (image.shape[1], image.shape[2])
        masks = paste_masks_in_image(found["masks"][inside], found["boxes"], size)
        return found["boxes"], found["scores"], found["labels"], masks[:, 0] > MASK_THRESHOLD


class KeypointGraph(FrameworkGraph):
    """Keypoint R-CNN."""

    outputs: ClassVar[tuple[str, ...]] = (*Graph.outputs, "keypoints")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found, inside = self.found(image)
        return found["boxes"], found["scores"], found["labels"], found["keypoints"][inside]
