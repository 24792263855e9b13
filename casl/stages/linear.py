"""Stage `probe`: what a linear classifier makes of the features of a backbone that stays as it is, or learns too."""

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
from casl.stages.detectors import stoppable, weights_file
from casl.stages.feed import image_tensor
from casl.stages.pretrain import WEIGHT_DECAY, Classifier, Crops, OfBackbone, crop_of, objects_of
from casl.stages.sources import open_split
from casl.stages.starting import take_backbone, train_start
from casl.train.loop import Steps
from casl.train.optimizer import adamw

BATCH = 64  # crops that go through the backbone together


def run(stage: Probe, ctx: Context) -> Outcome:
    """Fit on the crops of one split, after tuning the backbone on them where that is asked, judge on those of another.

    Raises:
        DataError: a split has no object to crop, or they have other classes.
    """
    backbone = _backbone(stage, ctx)
    learned, judged = (open_split(data, "objects", ctx) for data in (stage.data, stage.judged))
    if learned.category_ids != judged.category_ids:
        raise DataError(f"{judged.folder}: its classes are not those of {learned.folder}, which the probe learns")
    places = [drawn(split, stage) for split in (learned, judged)]
    for split, chosen in zip((learned, judged), places, strict=True):
        if not chosen:
            raise DataError(f"{split.folder}: the split has no object to crop, so nothing can be probed")
    tuned = _tuned(stage, ctx, backbone, learned, places[0]) if stage.tuned else None
    done, whole = 0, sum(map(len, places))
    progress = stoppable(ctx, whole)
    found: list[tuple[Tensor, Tensor]] = []
    for split, chosen in zip((learned, judged), places, strict=True):
        features = []
        for first in range(0, len(chosen), BATCH):
            features.append(_features(backbone, split, chosen[first : first + BATCH], stage.size, ctx.device))
            done += len(features[-1])
            progress(done, whole, {})
        found.append((torch.cat(features), torch.tensor([int(split.labels(i).labels[n]) for i, n in chosen])))
    (seen, names), (unseen, truth) = found
    named = Linear(seen, names, len(learned.classes)).named(unseen) if tuned is None else tuned(unseen).argmax(1)
    metrics = load("metric", stage.metric)(truth.tolist(), named.tolist())
    facts = {"images": len(judged), "crops": len(names), "judged": len(truth), "channels": seen.shape[1]}
    return Outcome(metrics=metrics, facts=facts)


def drawn(split: CocoSplit, stage: Probe) -> list[tuple[int, int]]:
    """Image and number of each object that is cropped, in the split's order."""
    objects = objects_of(split)
    if not stage.crops or len(objects) <= stage.crops:
        return objects
    chosen = torch.randperm(len(objects), generator=torch.Generator().manual_seed(stage.seed))[: stage.crops]
    return [objects[n] for n in sorted(chosen.tolist())]


def _tuned(
    stage: Probe, ctx: Context, backbone: Backbone, split: CocoSplit, objects: list[tuple[int, int]]
) -> nn.Linear:
    """The linear layer that learned with the backbone, which is changed in place and left in evaluation mode."""
    model = Classifier(backbone, backbone.channels[-1], len(split.classes)).to(ctx.device)
    crops = Crops(split, stage.size, stage.batch, stage.seed, objects)

    def steps_from(start: int) -> Steps:
        device = torch.device(ctx.device)
        return Steps(
            crops,
            lambda i: stage.lr,
            start,
            stage.tuned,
            stage.seed,
            device,
            checkpoint_s=ctx.checkpoint_s,
            stopping=ctx.stopping,
        )

    train_start(ctx, OfBackbone(model), adamw(model, stage.lr, WEIGHT_DECAY), steps_from)
    model.eval()
    return model.linear.cpu()


def _backbone(stage: Probe, ctx: Context) -> Backbone:
    torch.manual_seed(stage.seed)
    weights = weights_file(stage.backbone, stage.weights, ctx)
    backbone: Backbone = load("backbone", stage.backbone)(stage.backbone, weights=weights)
    if stage.start is not None:
        take_backbone(backbone, ctx.inputs[stage.start.name])
    module: nn.Module = backbone.to(ctx.device).eval()
    assert isinstance(module, Backbone)
    return module


@torch.no_grad()
def _features(backbone: Backbone, split: CocoSplit, objects: list[tuple[int, int]], size: int, device: str) -> Tensor:
    """(N, C) means over C5 of crops."""
    crops = torch.stack([image_tensor(crop_of(split, image, n, size)) for image, n in objects]).to(device)
    features: Tensor = backbone((crops - backbone.mean) / backbone.std)[-1].mean((2, 3))
    return features.cpu()
