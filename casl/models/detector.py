"""What a detector is: images and targets in, losses or objects out.

`Detector` says it once, with shapes and units; the docstrings of FCOS, CondInst and the frameworks say what differs.
`Builder` is what the catalog names, and `to_batch` how all of them prepare their images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from casl.errors import SpecError, unknown
from casl.models.backbone import Backbone
from casl.models.detect import InferenceSettings

DIVISOR = 32  # of the padded input: the stride of C5, so that the pyramid doubles exactly

Target = Mapping[str, Tensor]
Part = tuple[Sequence[Tensor], Sequence[Target]]  # images and targets, as `losses` takes them


class Settings(Protocol):
    """What all settings have: frozen dataclasses whose fields have defaults."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def inference(self) -> InferenceSettings:
        """Thresholds that `predict` uses when it is given none."""


class Detector(Protocol):
    """A module that learns to find objects, and finds them.

    Attributes:
        num_classes: without the background; 1 is class-agnostic.
        settings: what it was built with.
        needs: what a target must have besides boxes and labels: any of "masks", "keypoints", "semantic".
        weighted: whether targets may have "weights".

    A target describes one image, in the pixels of that image as it is given:

        "boxes"      (N, 4) float XYXY, N = 0 is legal.
        "labels"     (N,) int64 in [0, num_classes).
        "masks"      (N, h, w) bool, the pixels of each object.
        "keypoints"  (N, K, 3) float: x and y, and a visibility of which 0 means that nothing is known.
        "semantic"   (h, w) int64: 0 where there is an object, s + 1 where there is stuff class s, 255 where nothing is
                     known.
        "weights"    (N,) float32 >= 0, optional, one for each box. It multiplies every loss term of the locations,
                     anchors, regions, masks and keypoints that are matched with the box; terms of background stay.
                     Which of them are matched or drawn does not depend on it.

    What a loss is divided by, its normaliser (the number of positives, of drawn regions, of visible keypoints, or a sum
    of centre-ness), counts every box once whatever its weight. So a weight of 2 counts the terms of a box twice and a
    weight of 0 takes them away, without changing what other boxes contribute. A target without "weights" is one whose
    weights are all 1, bit for bit, in losses and gradients.
    """

    num_classes: int
    needs: ClassVar[tuple[str, ...]]
    weighted: ClassVar[bool]

    @property
    def settings(self) -> Settings: ...

    def losses(self, images: Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """Losses of a batch, to be added up.

        Args:
            images: (3, h, w) each, uint8 or float, RGB on 0..255, sizes may differ.
            targets: one for each image, see the class.

        Returns:
            Scalars by name, already multiplied by what weighs one loss against another.

        Raises:
            ValueError: images and targets do not fit together, or a target cannot be learned from.
            RuntimeError: the detector is a framework and in evaluation mode, where frameworks draw no samples.
        """

    def predict(
        self,
        images: Sequence[Tensor],
        original_sizes: Sequence[tuple[int, int]],
        settings: InferenceSettings | None = None,
    ) -> list[dict[str, Tensor]]:
        """Objects found in every image, best first; without gradient. They do not depend on the other images, up to the
        order of additions: images go through the network with those that pad to the same size, see `in_shapes`.

        Args:
            images: as in `losses`.
            original_sizes: (height, width) of each image before it was resized.
            settings: thresholds; None for those in `self.settings`.

        Returns:
            One dict for each image, in the pixels of the original image: "boxes" (N, 4) XYXY clipped to it, "scores"
            (N,), "labels" (N,), and where the detector finds them "masks" (N, height, width) bool, "keypoints"
            (N, K, 3), "semantic" (height, width) int64. N = 0 is legal.

        Raises:
            RuntimeError: the detector is in training mode, where predicting would move the statistics of its batch
                norms.
        """


B = TypeVar("B", bound=Settings)
D = TypeVar("D", bound=Detector)


@dataclass(frozen=True)
class Builder(Generic[B, D]):
    """How a detector is built: what its entry in the catalog names.

    Attributes:
        settings: a frozen dataclass; its fields are what can be set of this detector.
        make: backbone, number of classes and settings -> detector, ready to train.
    """

    settings: type[B]
    make: Callable[[Backbone, int, B], D]

    def __call__(self, backbone: Backbone, num_classes: int, settings: B) -> D:
        """The detector.

        Raises:
            SpecError: fewer than one class.
            MissingPackageError: it needs a package that is not installed.
        """
        if num_classes < 1:
            raise SpecError(f"a detector needs at least one class, got {num_classes}")
        return self.make(backbone, num_classes, settings)


def known_options(settings: type[Settings], taken: Sequence[str] = ()) -> dict[str, Any]:
    """Settings of a detector that an option of a spec may set -> their defaults.

    Args:
        settings: of the detector.
        taken: settings that come from elsewhere, such as from fields of the spec's Model.

    Returns:
        Those whose value is a number, a text, true or false, None, or a tuple of these.
    """
    defaults = {f.name: f.default for f in fields(settings) if f.default is not MISSING and f.name not in taken}
    return {
        name: value for name, value in defaults.items() if isinstance(value, bool | int | float | str | tuple | None)
    }


def check_options(detector: str, options: Sequence[tuple[str, Any]], known: Mapping[str, Any]) -> None:
    """Refuse options that a detector does not have.

    Args:
        detector: its name.
        options: name and value of each.
        known: of `known_options`.

    Raises:
        SpecError: an unknown option, with the near miss; one that is given twice; or a value of another type than the
            default's.
    """
    for name, value in options:
        if name not in known:
            raise SpecError(unknown(f"option of {detector}", name, known))
        if sum(other == name for other, _ in options) > 1:
            raise SpecError(f"option {name!r} of {detector} is given twice; give it one value")
        legal = (int, float) if type(known[name]) is float else (type(known[name]),)
        if known[name] is not None and type(value) not in legal:
            raise SpecError(
                f"option {name!r} of {detector} is {known[name]!r} by default, and {value!r} is of another type: "
                f"give a value of type {legal[-1].__name__}"
            )


def padded(height: int, width: int) -> tuple[int, int]:
    """The next multiples of 32."""
    return -(-height // DIVISOR) * DIVISOR, -(-width // DIVISOR) * DIVISOR


def to_batch(images: Sequence[Tensor], mean: Tensor, std: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Normalise images, then pad them with zeros at the bottom and the right to one size, a multiple of 32.

    Args:
        images: (3, h, w) each, uint8 or float, RGB on 0..255, sizes may differ.
        mean, std: (3, 1, 1) float, of the input.
        size: (H, W) to pad to, None for the smallest that holds all.

    Returns:
        (B, 3, H, W) on the device of `mean` and of its type.

    Raises:
        ValueError: no image, or one that is not (3, h, w).
    """
    if not images:
        raise ValueError("no images")
    if wrong := [tuple(image.shape) for image in images if image.dim() != 3 or len(image) != 3]:
        raise ValueError(f"an image is (3, height, width) RGB, got {wrong[0]}")
    height, width = size or padded(max(i.shape[1] for i in images), max(i.shape[2] for i in images))
    batch = mean.new_zeros(len(images), 3, height, width)
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = (image.to(mean) - mean) / std
    return batch


def in_shapes(
    images: Sequence[Tensor],
    original_sizes: Sequence[tuple[int, int]],
    predict: Callable[[list[Tensor], list[tuple[int, int]]], list[dict[str, Tensor]]],
) -> list[dict[str, Tensor]]:
    """What `predict` finds, given together only images that pad to one size.

    Networks see padding: convolutions at the border, and norms that take statistics of the whole map. So what is found
    in an image would depend on the images beside it, if it was padded for them.

    Args:
        images: (3, h, w) each.
        original_sizes: one for each.
        predict: some of the images and their original sizes -> a result for each.

    Returns:
        The results in the order of the images.

    Raises:
        ValueError: there is no image, or images and sizes differ in number.
    """
    if not images:
        raise ValueError("no images")
    if len(images) != len(original_sizes):
        raise ValueError(f"{len(images)} images but {len(original_sizes)} original sizes: one for each")
    shapes = [padded(image.shape[-2], image.shape[-1]) for image in images]
    results: list[dict[str, Tensor]] = [{} for _ in images]
    for shape in dict.fromkeys(shapes):
        places = [place for place, own in enumerate(shapes) if own == shape]
        found = predict([images[place] for place in places], [original_sizes[place] for place in places])
        for place, result in zip(places, found, strict=True):
            results[place] = result
    return results


def check_paired(images: Sequence[Tensor], targets: Sequence[Target]) -> None:
    """Whether there is one target for each image.

    Raises:
        ValueError: there is not.
    """
    if len(images) != len(targets):
        raise ValueError(f"{len(images)} images but {len(targets)} targets")


def check_targets(targets: Sequence[Target], num_classes: int) -> None:
    """Whether the boxes of a batch have labels of known classes, and one weight each where a target has weights.

    Raises:
        ValueError: they have not.
    """
    for target in targets:
        boxes, labels, weights = target["boxes"], target["labels"], target.get("weights")
        if boxes.shape != (len(labels), 4):
            raise ValueError(f"boxes {tuple(boxes.shape)} and {len(labels)} labels in a target")
        if weights is not None and (weights.shape != labels.shape or weights.dtype != torch.float32):
            raise ValueError(
                f"{tuple(weights.shape)} weights of {weights.dtype} for {len(labels)} boxes: one float32 each"
            )
    labels = torch.cat([target["labels"] for target in targets])
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(f"labels {sorted(set(labels.tolist()))} for a detector of {num_classes} classes")
    weights = torch.cat([target.get("weights", labels.new_zeros(0)) for target in targets])
    if len(weights) and not 0.0 <= float(weights.min()) <= float(weights.max()) < float("inf"):
        raise ValueError(f"weights of boxes are finite and at least 0, got {weights.tolist()}")


def box_weights(targets: Sequence[Target]) -> list[Tensor] | None:
    """Weights (N,) of the boxes of each image, 1 where a target has none; None if no target has any."""
    if not any("weights" in target for target in targets):
        return None
    return [target.get("weights", torch.ones_like(target["labels"], dtype=torch.float32)) for target in targets]
