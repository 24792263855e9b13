"""What a detector costs: parameters, multiply-adds of one image, images a second on a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from casl.spec.records import Model
from casl.stages.detectors import build_detector
from casl.stages.probe import bare_context, wait

DETECTIONS = 100  # an image, as in every evaluation; untrained weights would give none, and no mask to pay for


@dataclass(frozen=True)
class Cost:
    """parameters: trained or fixed. multiply_adds: of convolutions, linear layers and attention, for one image."""

    parameters: int
    multiply_adds: int


def cost(model: Model, height: int, width: int) -> Cost:
    """Cost of a detector with as many detections as a test allows; weights do not matter but for R-CNNs, whose heads
    cost in proportion to the proposals: those of fresh weights are counted, up to the limit of the framework.

    Args:
        height, width: of the image it sees, px; it is padded as in a test.
    """
    detector = _fresh(model, "cpu")
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    image = _image(height, width, "cpu")
    return Cost(parameters, multiply_adds(lambda: _find(detector, image)))


def multiply_adds(step: Callable[[], object]) -> int:
    """Multiply-adds of what a function computes: half of the operations that torch counts."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops()) // 2


def images_a_second(model: Model, height: int, width: int, device: str, repeats: int) -> float:
    """Median over some repetitions, one image at a time, after one that is not counted; reading images is left out.

    Raises:
        RuntimeError, MemoryError: the device does not hold it.
    """
    detector, image = _fresh(model, device), _image(height, width, device)
    seconds = []
    for _ in range(repeats + 1):
        wait(device)
        start = time.perf_counter()
        _find(detector, image)
        wait(device)
        seconds.append(time.perf_counter() - start)
    return 1 / statistics.median(seconds[1:])


def _fresh(model: Model, device: str) -> nn.Module:
    torch.manual_seed(0)
    return build_detector(model, bare_context(device), pretrained=False).eval()


def _image(height: int, width: int, device: str) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=source).to(device)


def _find(detector: Any, image: Tensor) -> None:
    settings = replace(detector.settings.inference, score_threshold=0.0, max_detections=DETECTIONS)
    detector.predict([image], [(image.shape[1], image.shape[2])], settings)
