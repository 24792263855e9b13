"""How long an iteration or an image takes on a device, tried for a few steps on random images: for estimates only."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from casl.catalog import load
from casl.spec.context import Context
from casl.spec.kinds import Train
from casl.spec.records import Model
from casl.stages.detectors import build_detector
from casl.train.learner import Batch

OBJECTS = 7  # an image; COCO has 7.3
STEPS = 3  # timed, after one that is not
SHAPE = 3 / 4  # short over long side of most photos


def train_seconds(stage: Train, device: str, images: int | None = None) -> float:
    """Seconds of one iteration of a training: forward, backward, optimiser; without reading images.

    Args:
        images: try with so many and take the time in proportion to the batch, None for the whole batch.

    Raises:
        RuntimeError, MemoryError: the device does not hold them.
    """
    batch = stage.recipe.batch
    count = min(images or batch, batch)
    return _timed(training_step(stage, device, count), device) * batch / count


def training_step(stage: Train, device: str, count: int) -> Callable[[], Tensor]:
    """One iteration of a training on so many random images, the same each time, as a function that returns its loss."""
    recipe = stage.recipe
    detector: Any = build_detector(stage.model, bare_context(device), pretrained=False).train()
    optimizer = load("optimizer", recipe.optimizer)(detector, recipe.lr, recipe.weight_decay)
    height, width = photo_size(max(recipe.sizes), recipe.max_size)
    batch, targets = random_batch(stage.model, count, height, width, device)

    def step() -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.precision == "mixed"):
            losses: dict[str, Tensor] = detector.losses(batch, targets)
            total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return total.detach()

    return step


def predict_seconds(model: Model, size: int, max_size: int, device: str) -> float:
    """Seconds to find the objects of one image of the test size."""
    detector: Any = build_detector(model, bare_context(device), pretrained=False).eval()
    height, width = photo_size(size, max_size)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, device=device)
    return _timed(lambda: detector.predict([image], [(height, width)]), device)


def random_batch(model: Model, count: int, height: int, width: int, device: str) -> Batch:
    """Images of that size from the global generator, and the same objects in each, with whatever detectors learn."""
    images = [torch.randint(0, 256, (3, height, width), dtype=torch.uint8, device=device) for _ in range(count)]
    return images, [_target(model, height, width, device) for _ in range(count)]


def _timed(step: Callable[[], object], device: str) -> float:
    step()
    wait(device)
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    wait(device)
    return (time.perf_counter() - start) / STEPS


def wait(device: str) -> None:
    """Until a GPU has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def photo_size(short: int, longest: int) -> tuple[int, int]:
    """(height, width) of a photo with that short side, or what the limit of the long side makes of it."""
    width = min(round(short / SHAPE), longest)
    return min(short, round(width * SHAPE)), width


def _target(model: Model, height: int, width: int, device: str) -> dict[str, Tensor]:
    """Objects of all sizes, each a rectangle, with whatever any framework may learn."""
    places = torch.arange(OBJECTS, device=device)
    sides = torch.stack([width / 2 ** (1 + places % 4), height / 2 ** (1 + places % 4)], dim=1)
    corner = torch.stack([places * width / 16, places * height / 16], dim=1)
    boxes = torch.cat([corner, corner + sides], dim=1).float()
    masks = torch.zeros(OBJECTS, height, width, dtype=torch.bool, device=device)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    points = torch.ones(OBJECTS, max(model.keypoints, 1), 3, device=device)
    points[..., :2] = corner[:, None] + sides[:, None] / 2
    semantic = torch.zeros(height, width, dtype=torch.long, device=device)
    labels = places % model.classes
    return {"boxes": boxes, "labels": labels, "masks": masks, "keypoints": points, "semantic": semantic}


def bare_context(device: str) -> Context:
    """A context without files, for detectors that start from random weights."""
    here = Path()
    return Context(here, {}, {}, device, progress=lambda *_: None, say=lambda _: None)
