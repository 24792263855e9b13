"""A trained detector as a Python object: images of any form in, boxes and masks as arrays or tensors out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as mask_api

from casl.api.opened import open_detector
from casl.data.image import read_image
from casl.data.pseudo import Prediction
from casl.errors import DataError, MissingPackageError, SpecError
from casl.stages.pictures import CONFIDENT
from casl.stages.predict import Detector, Found, Pixels

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

AnyImage: TypeAlias = "str | Path | Image | NDArray[Any] | torch.Tensor"


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one image, highest score first.

    Attributes:
        boxes: (N, 4) float32, XYXY pixels of the image.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64, positions in the model's classes.
        names: N names of classes.
        masks: (N, H, W) bool, or None of a detector without masks.
        keypoints: (N, K, 3) float32, x, y in pixels and COCO's visibility; or None.
        semantic: (H, W) uint8, stuff from 1 on, 0 for none; or None of a detector that knows no stuff.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    masks: NDArray[np.bool_] | None = None
    keypoints: NDArray[np.float32] | None = None
    semantic: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, chosen: int | slice | Sequence[int] | NDArray[np.bool_] | NDArray[np.integer]) -> Detections:
        """Some of them, such as `found[found.scores > 0.5]`, `found[:10]` or `found[3]`; `semantic` stays.

        Raises:
            IndexError: there is no such position, or the mask is not of N.
        """
        places = np.atleast_1d(np.arange(len(self))[chosen])
        return replace(
            self,
            boxes=self.boxes[places],
            scores=self.scores[places],
            labels=self.labels[places],
            names=tuple(self.names[place] for place in places),
            masks=None if self.masks is None else self.masks[places],
            keypoints=None if self.keypoints is None else self.keypoints[places],
        )

    def __iter__(self) -> Iterator[Detections]:
        return (self[place] for place in range(len(self)))

    def to_torch(self) -> dict[str, torch.Tensor]:
        """The same as tensors on the CPU, under torchvision's names: boxes, scores, labels, masks, keypoints."""
        import torch

        arrays = {name: getattr(self, name) for name in ("boxes", "scores", "labels", "masks", "keypoints")}
        return {name: torch.from_numpy(value.copy()) for name, value in arrays.items() if value is not None}

    def to_supervision(self) -> Any:
        """The same as `supervision.Detections`, with names of classes as data["class_name"].

        Raises:
            MissingPackageError: supervision is not installed.
        """
        try:
            import supervision  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise MissingPackageError("to_supervision needs supervision: `pip install supervision`.") from error
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            mask=self.masks,
            data={"class_name": np.array(self.names, dtype=str)},
        )


class Model:
    """A trained detector; `casl.load` opens one.

    Attributes:
        classes: names of its classes, in the order of labels.
        about: one sentence: what it is and what it learned from.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.classes: tuple[str, ...] = detector.names.classes
        self.about: str = detector.about
        self._warned = False

    def __repr__(self) -> str:
        return f"<casl.Model {self.about}>"

    @overload
    def predict(self, images: AnyImage, threshold: float = ...) -> Detections: ...
    @overload
    def predict(self, images: list[Any] | tuple[Any, ...], threshold: float = ...) -> list[Detections]: ...
    def predict(
        self, images: AnyImage | list[Any] | tuple[Any, ...], threshold: float = CONFIDENT
    ) -> Detections | list[Detections]:
        """What is in one image, or in each of a list of them.

        Args:
            images: a file, an image of Pillow, an (H, W, 3) uint8 RGB or (H, W) uint8 grey array, a (3, H, W) tensor of
                uint8 or of floats in 0..1; or a list of such.
            threshold: only what scores above it; in [0, 1).

        Raises:
            DataError: an image cannot be read, or is of none of these forms.
            SpecError: the threshold is no score.

        Warns once in the life of a model, where images cannot be like those that it learned from.
        """
        if not 0.0 <= threshold < 1.0:
            raise SpecError(f"threshold is a score in [0, 1), got {threshold:g}")
        several = isinstance(images, list | tuple)
        pixels = [_pixels(image) for image in (images if several else [images])]  # type: ignore[union-attr]
        unlike = "" if self._warned else self._detector.unlike([image.shape[:2] for image in pixels])
        if unlike:
            self._warned = True
            warnings.warn(unlike, stacklevel=2)
        answers = self._detector.find_in(pixels, threshold)
        found = [self._detections(one, image.shape[:2]) for one, image in zip(answers, pixels, strict=True)]
        return found if several else found[0]

    def draw(self, image: AnyImage, detections: Detections) -> Image:
        """The image with boxes, masks, names and scores of what `predict` found in it; small ones are enlarged.

        Raises:
            DataError: the image cannot be read.
            SpecError: a label is no class of the model, or masks are not of the image's size.
        """
        pixels, d = _pixels(image), detections
        if len(d) and not 0 <= d.labels.min() <= d.labels.max() < len(self.classes):
            count = len(self.classes)
            raise SpecError(f"labels {d.labels.min()} to {d.labels.max()} for the {count} classes of the model")
        rles = None
        if d.masks is not None:
            if d.masks.shape[1:] != pixels.shape[:2]:
                sizes = [" x ".join(map(str, shape)) for shape in (d.masks.shape[1:], pixels.shape[:2])]
                raise SpecError(f"masks are {sizes[0]} and the image {sizes[1]} pixels, rows by columns")
            rles = [mask_api.encode(np.asfortranarray(mask, np.uint8)) for mask in d.masks]
        points = None if d.keypoints is None else [list(map(float, points.ravel())) for points in d.keypoints]
        return self._detector.picture(pixels, Found(Prediction(d.boxes, d.scores, d.labels, rles), points, d.semantic))

    def _detections(self, found: Found, shape: tuple[int, ...]) -> Detections:
        p, masks = found.prediction, None
        if p.rles is not None:
            masks = np.array([mask_api.decode(rle) for rle in p.rles], bool).reshape(-1, *shape)
        points = None
        if found.keypoints is not None:
            points = np.array(found.keypoints, np.float32).reshape(len(p.boxes), self._detector.keypoints, 3)
        names = tuple(self.classes[label] for label in p.labels)
        return Detections(p.boxes, p.scores, p.labels, names, masks, points, found.semantic)


def load(
    model: str | Path,
    *,
    store: str | Path = "store",
    mlflow: str | None = None,
    device: str = "auto",
    size: int | None = None,
) -> Model:
    """Open a trained detector.

    Args:
        model: a stage's name or the beginning of its key ("finetune-48a4"), a registered model
            ("models:/casl-mini-scenes-table4@best"), or a folder or file of either.
        store: folder of results, where names of stages are looked up.
        mlflow: tracking URI where registered models are looked up; None for the store's own.
        device: auto, cpu, cuda, cuda:1.
        size: short side that the detector sees, from 32 to 4096 pixels; None for the largest that it was trained at.

    Raises:
        SpecError: nothing has this name, it is no training, or there is no such device or size; the message suggests
            the near miss.
        DataError: the weights are damaged, or no detector's. Loading executes no code of theirs.
    """
    return Model(open_detector(str(model), Path(store), mlflow, device, size))


def _pixels(image: Any) -> Pixels:
    """(H, W, 3) uint8 RGB of an image of any form that `predict` takes."""
    if isinstance(image, str | Path):
        return read_image(Path(image))
    sides = tuple(image.size if hasattr(image, "convert") else np.shape(image))
    if 0 in sides:
        raise DataError(f"an image has no pixels: its shape is {sides}.")
    if hasattr(image, "convert"):
        return _of_pillow(image)
    if hasattr(image, "detach"):
        return _of_tensor(image)
    array = np.asarray(image)
    if array.dtype == np.uint8 and array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return array
    raise DataError(
        f"an image is an array of {array.dtype} and shape {array.shape}; (H, W, 3) uint8 in RGB is what is understood."
    )


def _of_pillow(image: Image) -> Pixels:
    """As Pillow converts it; of more than 8 bit as `read_image` has them from a file, where Pillow makes white of all
    above 255."""
    if not image.mode.startswith(("I", "F")):
        return np.asarray(image.convert("RGB"))
    content = BytesIO()
    image.save(content, "TIFF")  # which holds all these modes
    try:
        return read_image(content)
    except DataError as error:
        raise DataError(f"an image of Pillow's mode {image.mode}: {error.__cause__}.") from error


def _of_tensor(tensor: torch.Tensor) -> Pixels:
    import torch

    if tensor.ndim != 3 or tensor.shape[0] != 3 or not (tensor.dtype == torch.uint8 or tensor.is_floating_point()):
        raise DataError(
            f"an image is a tensor of {tensor.dtype} and shape {tuple(tensor.shape)}; (3, H, W) of uint8, or of floats "
            "in 0..1, is what is understood."
        )
    if tensor.is_floating_point():
        low, high = (float(v) for v in torch.aminmax(tensor))
        if not 0.0 <= low <= high <= 1.0:
            raise DataError(f"an image is a tensor of floats from {low:g} to {high:g}; floats are read as 0..1.")
        tensor = (tensor * 255).round().to(torch.uint8)
    array: Pixels = tensor.detach().cpu().permute(1, 2, 0).contiguous().numpy()
    return array
