"""`casl plan --probe`: try each kind of training and prediction of a plan for a few steps, so that it has rates."""

from __future__ import annotations

import platform
import sys
from typing import Any

from casl.errors import CaslError
from casl.runner.plan import Plan
from casl.runner.probes import mark_of, read_probes, write_probes
from casl.runner.store import Store
from casl.spec.kinds import Predict, Train


def probe(plan: Plan, store: Store, images: int | None) -> dict[str, dict[str, Any]]:
    """Try what has no rate yet, on the first GPU or else on this machine's processors, and keep the rates.

    Args:
        images: in a training step, None for whole batches.

    Returns:
        The new rates, as `read_probes` has them; a store that cannot be written holds none of them.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)  # as a stage has
    name = torch.cuda.get_device_name() if device == "cuda" else f"one core of {platform.node()}"
    wanted = _kinds(plan)
    known = read_probes(store.root)
    todo: dict[str, dict[str, Train | Predict]] = {}
    for mark, stage in wanted.items():
        if known.get(mark, {}).get("device") != name:
            todo.setdefault(_what(stage), {})[mark] = stage
    found: dict[str, dict[str, Any]] = {}
    for number, (what, stages) in enumerate(todo.items(), start=1):
        print(f"probing {number}/{len(todo)} on {name}: {what}", end="", file=sys.stderr, flush=True)
        try:
            seconds = _seconds(next(iter(stages.values())), device, images)
        except (CaslError, RuntimeError, MemoryError) as error:
            print(f"  no rate: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        print(f"  {seconds:.3g} s", file=sys.stderr)
        # after each one, since a step of the largest takes a minute on a CPU
        tried = {"seconds": seconds, "device": name, "what": what, "images": images}
        found |= dict.fromkeys(stages, tried)
        write_probes(store.root, found)
    return found


def _kinds(plan: Plan) -> dict[str, Train | Predict]:
    """One stage to run of each detector, backbone, image and batch size."""
    found: dict[str, Train | Predict] = {}
    for name in plan.todo:
        stage = plan.nodes[name].stage
        if isinstance(stage, Train | Predict):
            found.setdefault(mark_of(stage.work(1).alike[1]), stage)
    return found


def _what(stage: Train | Predict) -> str:
    if isinstance(stage, Train):
        return f"train {stage.model.detector} {stage.model.backbone}, {stage.recipe.max_size} px"
    model = stage.trained.model
    return f"predict with {model.detector} {model.backbone}, {stage.sides[1]} px"


def _seconds(stage: Train | Predict, device: str, images: int | None) -> float:
    from casl.stages.probe import predict_seconds, train_seconds

    if isinstance(stage, Train):
        return train_seconds(stage, device, images)
    return predict_seconds(stage.trained.model, *stage.sides, device)
