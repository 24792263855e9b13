"""A Swin that skips blocks of its third stage beside the plain one and beside smaller images, in turn.

Run:    .venv/bin/python benchmarks/adaptive.py [--backbone swin_t] [--size 320] [--batch 8] [--rounds 5]
Shows:  multiply-adds of the backbone, as torch counts them and as casl.models.adaptive does for its blocks, and medians
        of the ratios of its time to the plain backbone's. Policies are set so that a random share of the block halves
        runs: the ratios say what a trained policy can save, not what it costs in AP (`casl run adaptive`). The rival
        is the plain backbone on images of 3/4 the side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torch
from measuring import arguments, report, spread, taking_turns, versions
from torch import Tensor, nn

from casl.catalog import BACKBONES
from casl.models.adaptive import swin_cost
from casl.models.swin import ADAPTIVE, Swin
from casl.stages.costs import multiply_adds

USAGES = (1.0, 0.9, 0.7, 0.5)
SIDE = 0.75


def main() -> None:
    options = arguments(__doc__, size=320, batch=8, rounds=5)
    options.add_argument("--backbone", default="swin_t", choices=[n for n, row in BACKBONES.items() if row.skips])
    chosen = options.parse_args()
    torch.set_num_threads(1)
    whole, small = (torch.randn(chosen.batch, 3, side, side) for side in (chosen.size, round(SIDE * chosen.size)))
    sides: dict[str, tuple[Swin, Tensor]] = {f"usage {u:g}": (swin(chosen.backbone, u), whole) for u in USAGES}
    sides["smaller images"] = (sides["usage 1"][0], small)
    turns = taking_turns({name: step(*side) for name, side in sides.items()}, chosen.rounds)
    counted = {name: multiply_adds(step(*side)) for name, side in sides.items()}
    plain = counted["usage 1"]
    lines = [
        f"{name}: {counted[name] / 1e9 / chosen.batch:.2f} G multiply-adds an image, "
        f"{counted[name] / plain:.3f} of all; time {spread(turns.own, name, 'usage 1')}"
        for name in sides
    ]
    body = sides["usage 1"][0]
    depths = [len(layer.blocks) for layer in body.layers]
    blocks = swin_cost(chosen.size, chosen.size, body.channels, depths, body.window)
    lines.append(f"stage 3 has {blocks[ADAPTIVE] / sum(blocks):.3f} of the blocks' multiply-adds")
    facts = versions("casl", "torch", "timm")
    facts |= {n: getattr(chosen, n) for n in ("backbone", "size", "batch", "rounds")}
    figures: dict[str, Any] = {"turns": vars(turns), "multiply_adds": counted}
    report("adaptive: blocks that are skipped", facts, lines, figures, chosen.json)


def swin(name: str, usage: float) -> Swin:
    """A backbone in which each image runs about so many of its third stage's block halves, at random."""
    torch.manual_seed(0)
    row = BACKBONES[name]
    body = Swin(timm.create_model(row.timm, num_classes=0, **row.arguments), usage).eval()
    if usage < 1.0:
        for number, layer in enumerate(body.policies.linear):
            layer.register_forward_hook(at_random(usage, number))
    return body


def at_random(usage: float, number: int) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """Decisions in place of a policy's, which were never learned: about so many run, the same at every call."""

    def hook(module: nn.Module, inputs: Any, logits: Tensor) -> Tensor:
        drawn = torch.rand(logits.shape, generator=torch.Generator().manual_seed(number))
        return torch.where(drawn < usage, 1.0, -1.0)

    return hook


def step(body: Swin, images: Tensor) -> Callable[[], object]:
    """One forward pass."""

    @torch.no_grad()
    def run() -> object:
        return body(images)

    return run


if __name__ == "__main__":
    main()
