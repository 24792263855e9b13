"""Stage 0, `contrast`: a backbone that learns without labels, by MoCo v2 or DenseCL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from casl.catalog import load
from casl.data.coco import CocoSplit
from casl.data.contrast_view import contrast_view
from casl.data.stream import generator_at, image_at
from casl.models.contrast import (
    Encoder,
    Features,
    KeyEncoder,
    Queue,
    contrastive_loss,
    dense_similarities,
    matches,
    picked,
    pooled,
    similarities,
    spread,
    weighted,
)
from casl.spec.context import Context, Outcome
from casl.spec.starts import Contrast, ContrastRecipe
from casl.stages.feed import image_tensor
from casl.stages.sources import IMAGES, open_split
from casl.stages.starting import last, train_start
from casl.train.average import follow
from casl.train.checkpoint import Curves
from casl.train.learner import WATCHED, Batch, Targets
from casl.train.loop import Steps

PICKED, SPREAD, CHANCE = f"{WATCHED}picked", f"{WATCHED}spread", f"{WATCHED}chance"
COLLAPSED = 0.1  # of 1/sqrt(d): a spread below it is that of vectors that are nearly the same
UNTOLD = 0.01  # of the loss without information: one that stays within it has learned nothing
TAIL = 0.1  # of a training, that is looked at


def cosine_rate(base: float, step: float, steps: float) -> float:
    """Rate at a step, 0-based, of so many: half a cosine from `base` down to 0.

    Source: MoCo main_moco.py --cos, in epochs; here in iterations.
    """
    return base * 0.5 * (1 + math.cos(math.pi * step / steps))


class Pairs:
    """Two views of each image of a batch: first all queries' views, then all keys'. The batch of an iteration is a
    function of it, as in Feed."""

    def __init__(self, split: CocoSplit, size: int, batch: int, seed: int) -> None:
        self.split, self.size, self.batch, self.seed = split, size, batch, seed

    def __call__(self, iteration: int) -> Batch:
        """Images (3, size, size) uint8, twice as many as the batch has, and no targets."""
        places = range(iteration * self.batch, (iteration + 1) * self.batch)
        images = [self.view(position, number) for number in (0, 1) for position in places]
        return images, [{} for _ in images]

    def view(self, position: int, number: int) -> Tensor:
        """View 0 or 1 of the image at a position of the stream."""
        image = IMAGES.read(self.split.path(image_at(position, len(self.split), self.seed)))
        return image_tensor(contrast_view(image, generator_at(position, self.seed, number), self.size))


class Pair(nn.Module):
    """The encoders of queries and of keys, and the queues of negatives; all of them are state."""

    def __init__(self, encoder: Encoder, recipe: ContrastRecipe, *, cells: bool) -> None:
        super().__init__()
        self.query = encoder
        self.key = KeyEncoder(deepcopy(encoder), recipe.groups)
        self.queue = Queue(recipe.queue, recipe.dim)
        if cells:
            self.queue_of_cells = Queue(recipe.queue, recipe.dim)


class ContrastLearner:
    """Trains the encoder of queries. The keys' follows it before it computes keys; keys enter the queues after the
    optimiser's step, so that no image is its own negative.

    Args:
        encoder: with initial weights; it has cells where `dense` is above 0.
        recipe: how.
        dense: weight of the loss of cells.
    """

    divisible = False

    def __init__(self, encoder: Encoder, recipe: ContrastRecipe, dense: float) -> None:
        self.recipe, self.dense = recipe, dense
        self.module = Pair(encoder, recipe, cells=dense > 0)
        self.kept: nn.Module = nn.ModuleDict({"backbone": encoder.backbone})
        self._keys: Features | None = None  # of the iteration under way

    def losses(self, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """Weighted losses of images and cells, and what is watched: how many positives are picked, the spread of the
        queries, and the loss of one who knows nothing.

        Args:
            images: (3, size, size) each; the first half are views of queries, the second those of their keys.
            targets: empty.
        """
        del targets
        views = torch.stack(images)
        queries, keys = views.chunk(2)
        module, recipe = self.module, self.recipe
        found: Features = module.query(queries)
        follow(module.key.encoder, module.query, recipe.momentum, buffers=not recipe.groups)
        self._keys = module.key(keys)
        with torch.autocast(views.device.type, enabled=False):  # cosines of 8 bits would be all alike
            positives, negatives = similarities(found.vector, self._keys.vector, module.queue.keys)
            whole = contrastive_loss(positives, negatives, recipe.temperature)
            chance = whole.new_tensor(math.log(1 + recipe.queue))
            watched = {PICKED: picked(positives, negatives), SPREAD: spread(found.vector), CHANCE: chance}
            cells = None
            if self.dense:
                pairs = self._pairs_of_cells(found, self._keys)
                cells = contrastive_loss(*pairs, recipe.temperature)
                watched[f"{PICKED}_cells"] = picked(*pairs)
        return weighted(whole, cells, self.dense) | {name: value.detach() for name, value in watched.items()}

    def _pairs_of_cells(self, found: Features, keys: Features) -> tuple[Tensor, Tensor]:
        assert found.cells is not None and found.grid is not None and keys.cells is not None and keys.grid is not None
        match = matches(found.cells.detach(), keys.cells)
        return dense_similarities(found.grid, keys.grid, match, self.module.queue_of_cells.keys)

    def after_step(self, iteration: int) -> None:
        """Put the keys of this iteration into the queues."""
        assert self._keys is not None
        self.module.queue.put(self._keys.vector)
        if self._keys.grid is not None:
            self.module.queue_of_cells.put(pooled(self._keys.grid))
        self._keys = None


def warning(figures: Mapping[str, float], dim: int) -> str:
    """A sentence on what went wrong in a contrastive pre-training; empty if nothing did.

    Args:
        figures: of the losses, means over the end of the training.
        dim: of the space of the loss.
    """
    if figures[SPREAD] < COLLAPSED / math.sqrt(dim):
        return (
            f"collapsed: features spread by {figures[SPREAD]:.2g} a channel, where {1 / math.sqrt(dim):.2g} is that of "
            "evenly spread ones; all images look alike to this backbone. A lower rate or another momentum may help"
        )
    if figures["loss"] > (1 - UNTOLD) * figures[CHANCE]:
        return (
            f"learned nothing: the loss {figures['loss']:.3g} is that of chance, ln(1 + queue) = "
            f"{figures[CHANCE]:.3g}; train longer, or at another rate"
        )
    return ""


def at_the_end(curves: Curves) -> dict[str, float]:
    """Means of all figures over the last tenth of a training."""
    rows = curves.rows[-max(1, round(TAIL * len(curves.rows))) :]
    return {name: sum(row[n] for row in rows) / len(rows) for n, name in enumerate(curves.names, start=1)}


class Watch:
    """Passes progress on, and says once when the features have collapsed for a tenth of the training in a row."""

    def __init__(self, ctx: Context, dim: int) -> None:
        self.ctx, self.dim, self.since, self.said = ctx, dim, -1, False

    def __call__(self, done: int, total: int, figures: Mapping[str, float]) -> None:
        self.ctx.progress(done, total, figures)
        if not figures[SPREAD] < COLLAPSED / math.sqrt(self.dim):
            self.since = -1
            return
        self.since = done if self.since < 0 else self.since
        if not self.said and done - self.since >= TAIL * total:
            self.said = True
            self.ctx.say(f"iteration {done}/{total}: {warning(figures, self.dim)}")


def run(stage: Contrast, ctx: Context) -> Outcome:
    """Train on two views of each image and keep the backbone of the queries.

    Raises:
        DataError: the split cannot be read, or has no image.
    """
    recipe, device = stage.recipe, torch.device(ctx.device)
    split = open_split(stage.data, getattr(stage.data, "labels", "images"), ctx)
    torch.manual_seed(stage.seed)
    backbone = load("backbone", stage.backbone)(stage.backbone)
    encoder = Encoder(backbone, recipe.dim, stage.grid if stage.dense else None)
    learner = ContrastLearner(encoder, recipe, stage.dense)
    learner.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # as detectors
    optimizer = load("optimizer", recipe.optimizer)(learner.module, recipe.lr, recipe.weight_decay)
    steps_from = partial(
        Steps,
        Pairs(split, recipe.size, recipe.batch, stage.seed),
        lambda i: cosine_rate(recipe.lr, i, stage.iters),
        stop=stage.iters,
        seed=stage.seed,
        device=device,
        precision=recipe.precision,
        loaders=ctx.loaders,
        checkpoint_s=ctx.checkpoint_s,
        stopping=ctx.stopping,
    )
    curves = train_start(ctx, learner, optimizer, steps_from, Watch(ctx, recipe.dim))
    end = at_the_end(curves)
    facts: dict[str, object] = {"images": len(split), "epochs": stage.iters * recipe.batch / len(split)}
    if problem := warning(end, recipe.dim):
        ctx.say(problem)
        facts["note"] = problem
    figures = {"final_loss": last(curves)["loss"], "loss_of_chance": end[CHANCE]}
    figures |= {"spread_of_evenly": 1 / math.sqrt(recipe.dim)}
    figures |= {name.removeprefix(WATCHED): value for name, value in end.items() if name.startswith(WATCHED)}
    figures.pop("chance")
    return Outcome(metrics=figures, facts=facts)
