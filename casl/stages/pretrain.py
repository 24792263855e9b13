"""Stage 0, `pretrain`: a backbone that classifies crops of objects, in the place of ImageNet's weights."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from casl.catalog import load
from casl.data.coco import CocoSplit
from casl.data.stream import generator_at, image_at
from casl.models.backbone import Backbone, freezes_norms
from casl.spec.context import Context, Outcome
from casl.spec.data_kinds import Pretrain
from casl.stages.detectors import weights_file
from casl.stages.feed import image_tensor
from casl.stages.sources import IMAGES, facts_of, open_split
from casl.stages.starting import last, take_backbone, train_start
from casl.train.learner import Batch, Plain
from casl.train.loop import Steps
from casl.train.optimizer import adamw

CONTEXT = 0.2  # of the object's size, seen on each side of it
WEIGHT_DECAY = 0.05


class Classifier(nn.Module):
    """A backbone, the mean over C5, and a linear layer."""

    def __init__(self, backbone: Backbone, channels: int, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.linear = nn.Linear(channels, classes)

    def losses(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Cross-entropy of crops (3, size, size) uint8 with targets "label" ()."""
        normal = (torch.stack(images) - self.backbone.mean) / self.backbone.std
        logits = self.linear(self.backbone(normal)[-1].mean((2, 3)))
        return {"loss_cls": functional.cross_entropy(logits, torch.stack([t["label"] for t in targets]))}


class OfBackbone(Plain):
    """The learner of a module that holds a backbone, which alone is kept."""

    @property
    def kept(self) -> nn.Module:
        """The backbone, its tensors named as in a detector."""
        return nn.ModuleDict({"backbone": self.module.get_submodule("backbone")})


class Crops:
    """Crops of a split's objects; the batch of an iteration is a function of it, as in Feed.

    objects: image and number of each that is cropped; None for all, crowds too.
    """

    def __init__(
        self, split: CocoSplit, size: int, batch: int, seed: int, objects: list[tuple[int, int]] | None = None
    ) -> None:
        self.split, self.size, self.batch, self.seed = split, size, batch, seed
        every = [(i, n) for i in range(len(split)) for n in range(len(split.labels(i).labels))]
        self.objects = every if objects is None else objects

    def __call__(self, iteration: int) -> Batch:
        first = iteration * self.batch
        crops = [self.crop(p) for p in range(first, first + self.batch)]
        return [image_tensor(pixels) for pixels, _ in crops], [{"label": torch.tensor(label)} for _, label in crops]

    def crop(self, position: int) -> tuple[NDArray[np.uint8], int]:
        """(size, size, 3) uint8, flipped at random, and the label."""
        image, n = self.objects[image_at(position, len(self.objects), self.seed)]
        pixels = crop_of(self.split, image, n, self.size)
        if generator_at(position, self.seed).random() < 0.5:
            pixels = pixels[:, ::-1]
        return pixels, int(self.split.labels(image).labels[n])


def objects_of(split: CocoSplit) -> list[tuple[int, int]]:
    """Image and number of every object of a split that is no crowd."""
    return [(i, int(n)) for i in range(len(split)) for n in np.flatnonzero(~split.labels(i).crowd)]


def crop_of(split: CocoSplit, image: int, n: int, size: int) -> NDArray[np.uint8]:
    """An object with CONTEXT around it, as far as the image reaches, (size, size, 3) uint8."""
    x1, y1, x2, y2 = split.labels(image).boxes[n].tolist()
    dx, dy = CONTEXT * (x2 - x1), CONTEXT * (y2 - y1)
    picture = Image.fromarray(IMAGES.read(split.path(image)))
    box = (max(0.0, x1 - dx), max(0.0, y1 - dy), min(picture.width, x2 + dx), min(picture.height, y2 + dy))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box=box))


def run(stage: Pretrain, ctx: Context) -> Outcome:
    """Train at a constant rate and keep the backbone."""
    split = open_split(stage.data, "objects", ctx)
    torch.manual_seed(stage.seed)
    backbone = load("backbone", stage.backbone)(
        stage.backbone,
        weights=weights_file(stage.backbone, stage.weights, ctx),
        frozen_stages=stage.frozen_stages,
        frozen_norm=freezes_norms(stage.backbone, stage.frozen_stages),
    )
    if stage.before is not None:
        take_backbone(backbone, ctx.inputs[stage.before.name])
    model = Classifier(backbone, backbone.channels[-1], len(split.classes)).to(ctx.device)
    optimizer = adamw(model, stage.lr, WEIGHT_DECAY)
    crops = Crops(split, stage.size, stage.batch, stage.seed)

    def steps_from(start: int) -> Steps:
        return Steps(
            crops,
            lambda i: stage.lr,
            start,
            stage.iters,
            stage.seed,
            torch.device(ctx.device),
            checkpoint_s=ctx.checkpoint_s,
            stopping=ctx.stopping,
        )

    curves = train_start(ctx, OfBackbone(model), optimizer, steps_from)
    facts = {**facts_of(split), "crops": len(crops.objects)}
    return Outcome(metrics={"final_loss": last(curves)["loss"]}, facts=facts)
