"""One training step and one inference of our FCOS, torchvision's and detectron2's, in turn.

Run:    .venv/bin/python benchmarks/detector_step.py [--size 256] [--batch 4] [--rounds 7] [--threads 1,2]
            [--backbone resnet50] [--classes 80] [--device cpu] [--profile]
Peers:  torchvision comes with casl. detectron2 is used where it is installed: pip install 'setuptools<81' and then
        pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2
Shows:  medians of the ratios of our time to each peer's. All have the same backbone and pyramid (ours), weights,
        images, targets and thresholds; head, assignment, losses and selection are each one's own. The largest
        difference between their class maps is printed, so that equal is seen to be equal. A training step is forward,
        backward and the step of plain SGD. --profile lists where our step's time goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from detector_sides import Inputs, Side, Sizes, agreement, make_inputs, sides
from measuring import arguments, report, spread, taking_turns, versions

INSTALL = (
    "detectron2 is left out: pip install 'setuptools<81' && pip install --no-build-isolation "
    "git+https://github.com/facebookresearch/detectron2"
)


def main() -> None:
    options = arguments(__doc__, size=256, batch=4, rounds=7, classes=80)
    options.add_argument("--backbone", default="resnet50")
    options.add_argument("--threads", default="1,2")
    options.add_argument("--device", default="cpu")
    options.add_argument("--profile", action="store_true")
    chosen = options.parse_args()
    torch.manual_seed(0)
    inputs = make_inputs(chosen.size, chosen.batch, chosen.classes, chosen.device)
    built = sides(Sizes(chosen.backbone, chosen.size, chosen.classes), chosen.device)
    lines = [f"class maps differ by at most {agreement(built, inputs):.1e}"]
    figures: dict[str, Any] = {}
    for threads in [int(n) for n in chosen.threads.split(",")]:
        torch.set_num_threads(threads)
        for what, work in (("train step", training(built, inputs)), ("inference", inference(built, inputs))):
            turns = taking_turns(work, chosen.rounds)
            figures[f"{what}, {threads} threads"] = vars(turns)
            lines.append(line(f"{what}, {threads} threads, by the wall", turns.wall))
            if threads == 1 and chosen.device == "cpu":
                lines.append(line(f"{what}, {threads} threads, processor time", turns.own))
    lines += [] if "detectron2" in built else [INSTALL]
    facts = versions("casl", "torch", "torchvision", "detectron2")
    facts |= {n: getattr(chosen, n) for n in ("backbone", "size", "batch", "classes", "device", "rounds")}
    report("detector step: FCOS", facts, lines, figures, chosen.json)
    if chosen.profile:
        print(profiled(training(built, inputs)["casl"]))


def line(what: str, times: Mapping[str, list[float]]) -> str:
    """The ratios to each peer, and our best time."""
    peers = [f"{spread(times, 'casl', peer)} of {peer}'s" for peer in times if peer != "casl"]
    return f"{what}: ours takes {', '.join(peers)}; at best {1e3 * min(times['casl']):.0f} ms"


def training(built: Mapping[str, Side], inputs: Inputs) -> dict[str, Callable[[], object]]:
    """One step of each side."""

    def step_of(side: Side) -> Callable[[], object]:
        optimizer = torch.optim.SGD([p for p in side.model.parameters() if p.requires_grad], lr=1e-5)

        def step() -> None:
            side.model.train()
            optimizer.zero_grad()
            loss = torch.stack(list(side.losses(inputs).values())).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            finish(inputs)

        return step

    return {name: step_of(side) for name, side in built.items()}


def inference(built: Mapping[str, Side], inputs: Inputs) -> dict[str, Callable[[], object]]:
    """Detections of each side."""

    def predict_of(side: Side) -> Callable[[], object]:
        @torch.no_grad()
        def predict() -> None:
            side.model.eval()
            side.predict(inputs)
            finish(inputs)

        return predict

    return {name: predict_of(side) for name, side in built.items()}


def finish(inputs: Inputs) -> None:
    """Wait for what a GPU still does."""
    if inputs.images[0].is_cuda:
        torch.cuda.synchronize()


def profiled(step: Callable[[], object]) -> str:
    """Operators of one step by their own time."""
    step()
    with torch.profiler.profile() as profile:
        for _ in range(3):
            step()
    return str(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=50))


if __name__ == "__main__":
    main()
