"""What a run took in: its data sets, for MLflow's column "Dataset". No MLflow here, and no path of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from casl.spec.kinds import Evaluate, Folder, Pretrain, PseudoLabel, Scenes, Train, Warmup
from casl.spec.stage import Stage

DIGEST_LENGTH = 32  # MLflow takes 36


@dataclass(frozen=True)
class DataInput:
    """One data set and what for. digest: of its content; stage: the stage that stands for it in the store."""

    name: str
    digest: str
    context: str
    stage: str
    profile: Mapping[str, Any]

    def source(self) -> str:
        """Where it comes from: a stage, since a path would name a machine."""
        return json.dumps({"stage": self.stage})


def data_inputs(stage: Stage | None) -> list[DataInput]:
    """The data sets a stage reads itself, not those behind its other inputs."""
    return list(_inputs(stage)) if stage else []


def _inputs(stage: Stage) -> Iterator[DataInput]:
    match stage:
        case Warmup(data=PseudoLabel() as labels):
            yield from _pseudo(labels, stage.threshold)
        case Train() | Pretrain():
            yield from _set(stage.data, "training", getattr(stage, "labels", "objects"))
        case PseudoLabel():
            yield from _set(stage.data, "labeling", "images")
        case Evaluate():
            yield from _set(stage.data, "evaluation", stage.labels)


def _pseudo(labels: PseudoLabel, threshold: float) -> Iterator[DataInput]:
    images = getattr(labels.data, "count", 0)
    profile = {"images": images, "threshold": threshold, "labeler": labels.labeler.name}
    yield DataInput("pseudo labels", labels.key[:DIGEST_LENGTH], "training", labels.name, profile)


def _set(data: Stage, context: str, labels: str) -> Iterator[DataInput]:
    match data:
        case Scenes():
            profile: dict[str, Any] = {"images": data.count, "size_px": data.size, "labels": labels}
            yield DataInput(f"scenes {data.split}", data.key[:DIGEST_LENGTH], context, data.name, profile)
        case Folder():
            profile = {"images": data.only_first or data.count, "classes": data.classes, "labels": data.labels}
            name = f"{data.split} {data.labels}"
            digest = data.digest if not data.only_first else data.key
            yield DataInput(name, digest[:DIGEST_LENGTH], context, data.name, profile)
