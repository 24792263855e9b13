"""From the spec's Model to a module, and to predictions on a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as mask_api
from torch import nn

from casl.catalog import load, row
from casl.data.augment import resize
from casl.data.coco import CocoSplit
from casl.data.pseudo import Prediction
from casl.errors import SpecError, StageError, StoppedError
from casl.models import lite
from casl.models.backbone import freezes_norms
from casl.models.detect import InferenceSettings
from casl.models.detector import Builder, check_options, known_options
from casl.models.views import merged, mirrored
from casl.pretrained import IMAGENET, find
from casl.spec.context import Context, Progress
from casl.spec.records import OWN_WAY, SETTINGS, Applied, Model
from casl.stages.feed import image_tensor
from casl.stages.sources import IMAGES
from casl.train.memory import is_out_of_memory

BATCH = 16  # images a detector is given at inference; those that pad to one size go through the network together


def build_detector(
    model: Model, ctx: Context, *, pretrained: bool, non_overlap: bool = False, boxes: str = "exact"
) -> nn.Module:
    """The detector of a spec, on the stage's device.

    Args:
        pretrained: read the backbone's weights, if the model names any; not needed when a state is loaded afterwards.
        non_overlap: predict as EntitySeg does: one entity a pixel, candidates chosen by class probability alone.
        boxes: of such entities, counted as the data's are, one of casl.spec.data_kinds.BOXES.

    Raises:
        SpecError: the detector does not have what the model sets.
        DataError: the named weights are not there, not whole or of another architecture.
        MissingPackageError: they are in a package that is not installed.
    """
    backbone = load("backbone", model.backbone)(
        model.backbone,
        weights=weights_file(model.backbone, model.weights, ctx) if pretrained else None,
        drop_path=model.drop_path,
        frozen_stages=model.frozen_stages,
        frozen_norm=freezes_norms(model.backbone, model.frozen_stages),
        **({"usage": model.usage} if model.usage < 1.0 else {}),
    )
    build = load("detector", model.detector)
    if not isinstance(build, Builder):
        place, found = row("detector", model.detector).build, type(build).__name__
        raise SpecError(f"detector {model.detector!r}: {place} is of type {found}, and must be a Builder")
    settings = settings_of(build, model, non_overlap=non_overlap, boxes=boxes)
    detector: nn.Module = build(backbone, model.classes, settings)
    return detector.to(ctx.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def check_settings(model: Model) -> None:
    """Read what a model sets of its detector, without building it.

    Raises:
        SpecError: the detector does not have what is set, or does not allow the value.
    """
    settings_of(load("detector", model.detector), model)


# Fields of Model that are the shape of a profile. All its detectors are given it, and leave out what they have not.
SHAPE = ("channels", "ranges", "mask_channels", "clip")


def settings_of(build: Builder[Any, Any], model: Model, *, non_overlap: bool = False, boxes: str = "exact") -> Any:
    """A detector's settings, filled from the spec: SHAPE as far as the detector has it, and everything that the model
    sets for this detector in particular.

    Raises:
        SpecError: the detector does not have what is set, or does not allow the value.
    """
    known = {f.name for f in fields(build.settings)}
    own = [name for name in row("detector", model.detector).settings if name in SETTINGS]
    check_options(model.detector, model.options, known_options(build.settings, (*SHAPE, *SETTINGS)))
    values = {name: getattr(model, name) for name in (*(known.intersection(SHAPE)), *own)}
    if "rois" in values:
        values["rois"] = model.rois or None
    values |= ENTITY_HEAD if values.pop("entity_head", False) else {}
    values |= ENTITY_INFERENCE if non_overlap else {}
    values |= {"inclusive_boxes": True} if non_overlap and boxes == "inclusive" else {}
    values |= dict(model.options)
    if lacking := sorted(values.keys() - known):
        raise SpecError(
            f"detector {model.detector!r} was to be built with {', '.join(lacking)}, which its settings do not have; "
            f"they have {', '.join(sorted(known))}.\n"
            f"  leave that out, or add it to {build.settings.__name__}."
        )
    return build.settings(**values)


# EntitySeg's additions to CondInst; weights of its entity_r50_1x configuration (method reference sec. 2.1)
ENTITY_HEAD: dict[str, Any] = {
    "kernel_head": True,
    "bank": True,
    "cluster_weight": 0.5,
    "max_per_image": 120,
    "bias_on_box": False,
}
ENTITY_INFERENCE: dict[str, Any] = {"non_overlap": True, "inference": InferenceSettings()}


def check_weights(backbone: str, weights: str, folder: Path) -> None:
    """Read the weights that a backbone starts from, once before anything is computed.

    Args:
        backbone: of the catalog.
        weights: of a model, not "random".
        folder: as in `casl.pretrained.find`; the file that is made of a package's is left there.

    Raises:
        DataError, MissingPackageError: as in `build_detector`.
    """
    load("backbone", backbone)(backbone, weights=_file(backbone, weights, folder))


def weights_file(backbone: str, weights: str, ctx: Context) -> Path | None:
    """The file of the weights that a backbone starts from; None for "random".

    Raises:
        SpecError: there is no folder for such.
        DataError, MissingPackageError: as in `build_detector`.
    """
    if weights == "random":
        return None
    if ctx.weights is None:
        raise SpecError(
            f"the model starts from {weights!r} weights of {backbone}, and no folder for such was given.\n"
            f"  put {backbone}.safetensors (a timm checkpoint) into a folder and pass --weights FOLDER."
        )
    return _file(backbone, weights, ctx.weights)


def _file(backbone: str, weights: str, folder: Path) -> Path:
    if weights == IMAGENET and row("backbone", backbone).package:
        return lite.kept(backbone, folder)
    return find(backbone, weights, folder)


@dataclass(frozen=True)
class TestSettings:
    """How to predict: short and long side in pixels, most detections an image, what else a spec may ask for, and
    whether masks are wanted, for detectors that can leave them out."""

    size: int
    max_size: int
    detections: int = 100
    applied: Applied = OWN_WAY
    masks: bool = True


def predict_split(
    detector: nn.Module,
    split: CocoSplit,
    settings: TestSettings,
    device: str,
    progress: Progress,
    within: range | None = None,
) -> Iterator[dict[str, torch.Tensor]]:
    """What the detector finds in every image of a split, in its order, in the pixels of the image on disk.

    Args:
        progress: told after every batch; see `stoppable`.
        within: only these images. Begins at a multiple of BATCH, so that the same images go together as without it:
            the last bit of a sum may depend on how many do.

    Raises:
        StageError: the device's memory did not hold a batch.
    """
    detector.eval()
    within = within or range(len(split))
    assert within.start % BATCH == 0
    for first in range(within.start, within.stop, BATCH):
        indices = range(first, min(first + BATCH, within.stop))
        originals = [IMAGES.read(split.path(i)) for i in indices]
        yield from predict_images(detector, originals, settings, device)
        progress(indices[-1] + 1, len(split), {})


def stoppable(ctx: Context, last: int) -> Progress:
    """The context's progress, which also ends the work between two batches when that is asked.

    Args:
        last: number of images at which the work is complete, so that stopping would only waste it.
    """

    def progress(done: int, total: int, figures: Mapping[str, float]) -> None:
        if ctx.rank == 0:
            ctx.progress(done, total, figures)
        if done < last and ctx.stopping():
            raise StoppedError(f"stopped after {done} of {total} images, as asked.")

    return progress


def predict_images(
    detector: Any, originals: Sequence[NDArray[np.uint8]], settings: TestSettings, device: str
) -> list[dict[str, torch.Tensor]]:
    """What a detector in evaluation mode finds in one batch of images, in their own pixels: each seen once, or in
    several views that are put together.

    Args:
        originals: (H, W, 3) uint8 RGB each; at most BATCH, so that a batch fits a small device.

    Raises:
        StageError: the device's memory did not hold the batch.
    """
    applied, inference = settings.applied, inference_of(detector, settings)
    first, *others = applied.views
    if not others:
        return _seen(detector, originals, settings, first, inference, device)
    views = [_seen(detector, originals, settings, view, inference.of_view, device) for view in applied.views]
    return [merged(of_image, inference) for of_image in zip(*views, strict=True)]


def inference_of(detector: Any, settings: TestSettings) -> InferenceSettings:
    """A detector's own thresholds, as far as the settings of a test leave them."""
    applied, own = settings.applied, detector.settings.inference
    found: InferenceSettings = replace(
        own,
        max_detections=settings.detections,
        suppression=applied.suppression,
        sigma=applied.sigma,
        masks=settings.masks,
        score_threshold=applied.least or own.score_threshold,
    )
    return found


def _seen(
    detector: Any,
    originals: Sequence[NDArray[np.uint8]],
    settings: TestSettings,
    view: tuple[float, bool],
    inference: InferenceSettings,
    device: str,
) -> list[dict[str, torch.Tensor]]:
    """What is found in one view of each image: at a factor of the test size, and mirrored or not."""
    scale, turned = view
    size, max_size = round(settings.size * scale), round(settings.max_size * scale)
    resized = [image_tensor(resize(image, size, max_size)[0]) for image in originals]
    shown = [image.flip(-1) if turned else image for image in resized]
    sizes = [(image.shape[0], image.shape[1]) for image in originals]
    try:
        results: list[dict[str, torch.Tensor]] = detector.predict([i.to(device) for i in shown], sizes, inference)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        height, width = (max(image.shape[axis] for image in resized) for axis in (1, 2))
        raise StageError(
            f"out of memory: {device} does not hold {len(resized)} images of up to {height} x {width} px to predict.\n"
            "  use a device with more memory, or run fewer stages at once on this one."
        ) from error
    if not turned:
        return results
    return [mirrored(found, width) for found, (_, width) in zip(results, sizes, strict=True)]


def to_prediction(found: dict[str, torch.Tensor]) -> Prediction:
    """Boxes, scores, labels and masks of one image as arrays; masks as RLE."""
    rles = None
    if "masks" in found:
        masks = found["masks"].cpu().numpy().astype(np.uint8)
        rles = mask_api.encode(np.asfortranarray(masks.transpose(1, 2, 0))) if len(masks) else []
    return Prediction(
        boxes=found["boxes"].cpu().numpy().astype(np.float32),
        scores=found["scores"].cpu().numpy().astype(np.float32),
        labels=found["labels"].cpu().numpy().astype(np.int64),
        rles=rles,
    )


def coco_results(split: CocoSplit, predictions: list[Prediction]) -> list[dict[str, Any]]:
    """Predictions as a COCO result list: bbox [x, y, width, height], masks as compressed RLE with text counts.

    A detector of one class on a split of several gives them all the first category; agnostic metrics look no further.
    """
    results = []
    for image, prediction in zip(split.images, predictions, strict=True):
        for n, (box, score, label) in enumerate(
            zip(prediction.boxes.tolist(), prediction.scores.tolist(), prediction.labels.tolist(), strict=True)
        ):
            entry: dict[str, Any] = {
                "image_id": image.id,
                "category_id": split.category_ids[label],
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "score": score,
            }
            if prediction.rles is not None:
                rle = prediction.rles[n]
                counts = rle["counts"]
                entry["segmentation"] = {
                    "size": list(rle["size"]),
                    "counts": counts.decode() if isinstance(counts, bytes) else counts,
                }
            results.append(entry)
    return results
