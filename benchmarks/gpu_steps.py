"""Detectors and training steps of the GPU check: what a batch gives on two devices, and how fast steps are."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from gpu_watch import Meter
from torch import Tensor, nn

from casl.catalog import load
from casl.spec import Model
from casl.spec.context import Context
from casl.stages.detectors import build_detector
from casl.stages.probe import random_batch
from casl.train.checkpoint import Checkpoints, Curves
from casl.train.learner import Batch, Plain
from casl.train.loop import Steps, train

SEED = 0
RATE = 1e-5  # of all steps: so low that random weights stay where losses are finite
WARM_UP = 3  # steps before the timed ones, compilation among them
SHAPE = 3 / 4  # short over long side
# Relative. Weights changed by 1e-5 of themselves, more than sums in another order do, move a loss by up to 3e-4 and the
# gradient by up to 6e-3 (CPU, nine detectors): R-CNNs rank thousands of almost equal proposals of random weights.
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-3, 3e-2


def context(device: str) -> Context:
    """A stage's context, as far as building a detector reads it."""
    here = Path()
    return Context(here, {}, {}, device, progress=lambda *_: None, say=lambda _: None)


def main_detectors(backbone: str, channels: int) -> dict[str, Model]:
    """Every detector of ours and torchvision's, EntitySeg's CondInst, and CondInst on a Swin."""
    shape = {"backbone": backbone, "classes": 3, "channels": channels, "mask_channels": channels // 2}
    changes: dict[str, dict[str, Any]] = {
        "fcos": {},
        "condinst": {},
        "condinst, entity head": {"entity_head": True},
        "condinst, swin_t": {"backbone": "swin_t"},
        "retinanet": {},
        "faster_rcnn": {},
        "mask_rcnn": {},
        "keypoint_rcnn": {"keypoints": 5},
        "panoptic_fpn": {"stuff": 3},
    }
    return {name: Model(**{"detector": name.partition(",")[0], **shape, **own}) for name, own in changes.items()}


def photos(detector: Any, model: Model, sizes: tuple[int, int, int]) -> Batch:
    """A batch on the host, of images, height and width, with what a feed would give this detector to learn."""
    images, targets = random_batch(model, *sizes, "cpu")
    names = ("boxes", "labels", *detector.needs)
    return images, [{name: target[name] for name in names} for target in targets]


@contextlib.contextmanager
def drawn_on_host() -> Iterator[None]:
    """torchvision's samplers draw on the device, whose generator is another; here all devices draw the same."""
    original = torch.randperm

    def randperm(count: int, *, device: Any = None, **options: Any) -> Tensor:
        return original(count, **options).to(device or "cpu")

    torch.randperm = randperm  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.randperm = original


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Without TF32, which rounds the factors of convolutions to 10 bits, and is torch's default for them."""
    backends: Any = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def compared(model: Model, px: int, device: str) -> dict[str, Any]:
    """Losses and gradient of one batch on the CPU and on a device, from the same weights and the same seed.

    Where the device is the CPU, its other side has the other memory layout, in which sums have another order.

    Returns:
        "losses": name -> (here, there). "worst_loss", "gradient": largest relative difference, and that of the vector
        of all gradients. "agrees": both within LOSS_TOLERANCE and GRADIENT_TOLERANCE. On a GPU also "as_trained":
        the worst loss with TF32, as "float32" profiles run, and with bfloat16, as "mixed" ones do.
    """
    torch.manual_seed(SEED)
    ours = build_detector(model, context("cpu"), pretrained=False).train()
    layout = torch.channels_last if device != "cpu" else torch.contiguous_format
    theirs: Any = copy.deepcopy(ours).to(device, memory_format=layout)  # type: ignore[call-overload]
    images, targets = photos(ours, model, (2, px, round(px / SHAPE)))
    there = [image.to(device) for image in images], [{n: t.to(device) for n, t in one.items()} for one in targets]
    with drawn_on_host():
        here, gradient = losses_of(ours, images, targets)
        with exact_float32():
            found, there_gradient = losses_of(theirs, *there)
        result: dict[str, Any] = {
            "losses": {name: (value, found[name]) for name, value in here.items()},
            "worst_loss": worst(here, found),
            "gradient": float((gradient - there_gradient).norm() / gradient.norm()),
        }
        if device != "cpu":
            result["as_trained"] = {
                "float32": worst(here, losses_of(theirs, *there)[0]),
                "bfloat16": worst(here, losses_of(theirs, *there, mixed=True)[0]),
            }
    near = result["worst_loss"] <= LOSS_TOLERANCE and result["gradient"] <= GRADIENT_TOLERANCE
    return result | {"agrees": near}  # False for NaN


def losses_of(detector: Any, images: Any, targets: Any, mixed: bool = False) -> tuple[dict[str, float], Tensor]:
    """Losses by name, and the gradients of all parameters that have one as one vector."""
    torch.manual_seed(SEED)
    detector.zero_grad(set_to_none=True)
    with torch.autocast(images[0].device.type, torch.bfloat16, enabled=mixed):
        losses: Mapping[str, Tensor] = detector.losses(images, targets)
        total = torch.stack(list(losses.values())).sum()
    total.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad.detach().flatten().double().cpu() for p in detector.parameters() if p.grad is not None]
    return {name: float(value.detach()) for name, value in losses.items()}, torch.cat(gradients)


def worst(here: Mapping[str, float], there: Mapping[str, float]) -> float:
    """Largest relative difference of two sets of losses; one below 1e-3 counts as that. NaN if one is."""
    differences = [abs(value - there[name]) / max(abs(value), 1e-3) for name, value in here.items()]
    return float("nan") if any(d != d for d in differences) else max(differences)


@dataclass
class Training:
    """Steps of a real training, `casl.train.loop`, on one batch over and over: nothing is read or augmented.

    sizes: images, height and width. Batches are page-locked by loaders as in a run.
    """

    model: Model
    sizes: tuple[int, int, int]
    device: str
    precision: str
    optimizer: str
    folder: Path

    def __post_init__(self) -> None:
        torch.manual_seed(SEED)
        self.detector: Any = build_detector(self.model, context(self.device), pretrained=False)
        self.optimizing = load("optimizer", self.optimizer)(self.detector, RATE, 1e-4)
        self.batch = photos(self.detector, self.model, self.sizes)

    def compile(self, compiler: str) -> None:
        """Compile everything from the batch to the maps that losses compare; matching and losses, whose shapes follow
        the objects of each image, stay as they are.

        Args:
            compiler: backend of torch.compile.
        """
        for name in ("backbone", "fpn", "head", "mask_branch"):
            if isinstance(module := getattr(self.detector, name, None), nn.Module):
                module.compile(dynamic=False, backend=compiler)

    def run(self, count: int, done: Callable[[int], None] = lambda _: None) -> None:
        """Do `count` steps; done(n) is called when the losses of the n-th are known."""
        steps = Steps(
            batch_at=lambda _: self.batch,
            rate_at=lambda _: RATE,
            start=0,
            stop=count,
            seed=SEED,
            device=torch.device(self.device),
            precision=self.precision,
            loaders=2,
            checkpoint_s=float("inf"),
        )
        train(Plain(self.detector), self.optimizing, steps, Curves(), Checkpoints(self.folder), lambda n, *_: done(n))

    def measured(self, seconds: float, meter: Meter) -> dict[str, Any]:
        """Warm up, then time steps for about so many seconds.

        Returns:
            "images_a_second", "step_s" (median, shortest, longest), "steps", "warm_up_s", and what the meter saw.
        """
        began = time.perf_counter()
        times = [began]
        self.run(WARM_UP, lambda _: times.append(time.perf_counter()))
        warm_up = times[-1] - began
        count = max(4, min(400, round(seconds / (times[-1] - times[-2]))))
        times = []
        with meter:
            self.run(count, lambda _: times.append(time.perf_counter()))
        steps = [b - a for a, b in pairwise(times)]  # without the first, which also fills the pipeline
        return {
            "images_a_second": round(self.sizes[0] * len(steps) / (times[-1] - times[0]), 3),
            "step_s": {"median": statistics.median(steps), "shortest": min(steps), "longest": max(steps)},
            "steps": len(steps),
            "warm_up_s": round(warm_up, 2),
            **meter.seen(),
        }
