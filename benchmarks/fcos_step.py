"""One training step of our FCOS and of torchvision's, same backbone, pyramid, images and batch, in turn.

Run:  .venv/bin/python benchmarks/fcos_step.py [--size 256] [--batch 4] [--rounds 5] [--backbone resnet50]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS as TorchvisionFCOS  # noqa: N811

from casl.models.backbone import build_backbone
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.fpn import FPN


class Pyramid(nn.Module):
    """Our backbone and pyramid in the form torchvision's detectors want."""

    out_channels = 256

    def __init__(self, name: str) -> None:
        super().__init__()
        self.body = build_backbone(name)
        self.fpn = FPN(self.body.channels, 256)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict((str(i), level) for i, level in enumerate(self.fpn(self.body(x))))


def step_seconds(
    model: nn.Module, losses: dict[str, Tensor], started: float, optimizer: torch.optim.Optimizer
) -> float:
    optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return time.perf_counter() - started


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("size", 256), ("batch", 4), ("rounds", 5)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--backbone", default="resnet50")
    chosen = options.parse_args()
    size = chosen.size
    images = [torch.rand(3, size, size) for _ in range(chosen.batch)]
    corners = torch.rand(8, 2) * size * 0.6
    boxes = torch.cat([corners, corners + 10 + torch.rand(8, 2) * size * 0.3], dim=1)
    targets = [{"boxes": boxes, "labels": torch.randint(0, 80, (8,))} for _ in images]
    ours = FCOS(build_backbone(chosen.backbone), 80, FCOSSettings(lowest=3))
    theirs = TorchvisionFCOS(Pyramid(chosen.backbone), 80, min_size=size, max_size=size)
    optimizers = [torch.optim.SGD(m.parameters(), lr=1e-4) for m in (ours, theirs)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(chosen.rounds + 1):
        started = time.perf_counter()
        scaled = [image * 255 for image in images]
        times[0].append(step_seconds(ours, ours.losses(scaled, targets), started, optimizers[0]))
        started = time.perf_counter()
        times[1].append(step_seconds(theirs, theirs(images, targets), started, optimizers[1]))
    ratios = [a / b for a, b in zip(times[0][1:], times[1][1:], strict=True)]  # the first round warms up
    print(f"{chosen.backbone}, {size} px, batch {chosen.batch}, {torch.get_num_threads()} threads")
    print(f"  ours {statistics.median(times[0][1:]):.3f} s, torchvision {statistics.median(times[1][1:]):.3f} s a step")
    print(f"  ratio {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")


if __name__ == "__main__":
    main()
