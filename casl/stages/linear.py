"""Stage `probe`: what a linear classifier makes of the features of a backbone that stays as it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from casl.catalog import load
from casl.data.coco import CocoSplit
from casl.errors import DataError
from casl.metrics.linear import Linear
from casl.models.backbone import Backbone
from casl.spec.context import Context, Outcome
from casl.spec.starts import Probe
from casl.stages.detectors import stoppable
from casl.stages.feed import image_tensor
from casl.stages.pretrain import crop_of, objects_of
from casl.stages.sources import open_split
from casl.stages.training import WEIGHTS
from casl.train.checkpoint import load_weights

BATCH = 64  # crops that go through the backbone together
NAME = "backbone."


def run(stage: Probe, ctx: Context) -> Outcome:
    """Fit on the crops of one split, judge on those of another.

    Raises:
        DataError: a split has no object to crop, or they have other classes.
    """
    backbone = _backbone(stage, ctx)
    learned, judged = (open_split(data, "objects", ctx) for data in (stage.data, stage.judged))
    if learned.category_ids != judged.category_ids:
        raise DataError(f"{judged.folder}: its classes are not those of {learned.folder}, which the probe learns")
    done, places = 0, [drawn(split, stage) for split in (learned, judged)]
    progress, whole = stoppable(ctx, sum(map(len, places))), sum(map(len, places))
    found: list[tuple[Tensor, Tensor]] = []
    for split, chosen in zip((learned, judged), places, strict=True):
        if not chosen:
            raise DataError(f"{split.folder}: the split has no object to crop, so nothing can be probed")
        features = []
        for first in range(0, len(chosen), BATCH):
            features.append(_features(backbone, split, chosen[first : first + BATCH], stage.size, ctx.device))
            done += len(features[-1])
            progress(done, whole, {})
        found.append((torch.cat(features), torch.tensor([int(split.labels(i).labels[n]) for i, n in chosen])))
    (seen, names), (unseen, truth) = found
    classifier = Linear(seen, names, len(learned.classes))
    metrics = load("metric", stage.metric)(truth.tolist(), classifier.named(unseen).tolist())
    facts = {"images": len(judged), "crops": len(names), "judged": len(truth), "channels": seen.shape[1]}
    return Outcome(metrics=metrics, facts=facts)


def drawn(split: CocoSplit, stage: Probe) -> list[tuple[int, int]]:
    """Image and number of each object that is cropped, in the split's order."""
    objects = objects_of(split)
    if not stage.crops or len(objects) <= stage.crops:
        return objects
    chosen = torch.randperm(len(objects), generator=torch.Generator().manual_seed(stage.seed))[: stage.crops]
    return [objects[n] for n in sorted(chosen.tolist())]


def _backbone(stage: Probe, ctx: Context) -> Backbone:
    torch.manual_seed(stage.seed)
    backbone: Backbone = load("backbone", stage.backbone)(stage.backbone)
    if stage.start is not None:
        weights = load_weights(ctx.inputs[stage.start.name] / WEIGHTS)
        own = {name.removeprefix(NAME): value for name, value in weights.items() if name.startswith(NAME)}
        if not own:
            raise DataError(f"{stage.start.name} left no backbone: none of its tensors begins with {NAME!r}")
        # a frozen batch norm of a detector has no counter, and none is needed in evaluation mode
        counters = {name: v for name, v in backbone.state_dict().items() if name.endswith("num_batches_tracked")}
        backbone.load_state_dict({**counters, **own})
    module: nn.Module = backbone.to(ctx.device).eval()
    assert isinstance(module, Backbone)
    return module


@torch.no_grad()
def _features(backbone: Backbone, split: CocoSplit, objects: list[tuple[int, int]], size: int, device: str) -> Tensor:
    """(N, C) means over C5 of crops."""
    crops = torch.stack([image_tensor(crop_of(split, image, n, size)) for image, n in objects]).to(device)
    features: Tensor = backbone((crops - backbone.mean) / backbone.std)[-1].mean((2, 3))
    return features.cpu()
