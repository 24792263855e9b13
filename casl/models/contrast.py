"""Contrastive pre-training of a backbone: MoCo v2's encoder, queue and loss, and DenseCL's loss of cells beside it.

All similarities are cosines. Vectors are (N, d), grids (B, d, S) with the S cells of a map in row-major order, queues
(K, d); what is not normalised on entry is normalised here.

Source: MoCo (CVPR 2020) alg. 1, MoCo v2 (arXiv 2003.04297), DenseCL (CVPR 2021) sec. 3 and its code, SimSiam (CVPR
2021) alg. 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from casl.models.backbone import Backbone
from casl.models.exact import square_root

LEVELS = {"c4": 2, "c5": 3}  # of the maps that a backbone gives


def unit(x: Tensor, dim: int = 1) -> Tensor:
    """Vectors along a dimension divided by their length, in float32 at least; a zero vector stays one."""
    x = x if x.dtype == torch.float64 else x.float()
    squares = (x * x).sum(dim, keepdim=True)
    return x / square_root(squares.clamp_min(1e-24))


def similarities(queries: Tensor, keys: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of queries with their keys, and with all negatives.

    Args:
        queries, keys: (N, d); key n is the positive of query n.
        queue: (K, d), the negatives of all queries.

    Returns:
        (N,) and (N, K).
    """
    q = unit(queries)
    return (q * unit(keys)).sum(1), q @ unit(queue).T


def contrastive_loss(positives: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Mean over the queries of -log exp(p/T) / (exp(p/T) + sum of exp(n/T)): InfoNCE, MoCo's eq. 1.

    Args:
        positives: (N,) cosines with the positive.
        negatives: (N, K) cosines with the negatives.
        temperature: T.
    """
    logits = torch.cat([positives[:, None], negatives], dim=1) / temperature
    return functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def picked(positives: Tensor, negatives: Tensor) -> Tensor:
    """Share of queries that are closer to their positive than to every negative, ()."""
    return (positives > negatives.max(dim=1).values).float().mean()


def spread(vectors: Tensor) -> Tensor:
    """Standard deviation of each channel of the normalised vectors (N, d) over the batch, mean over the channels.

    Vectors that lie evenly on the sphere have 1/sqrt(d), those that are all the same 0: then the loss says nothing.

    Source: SimSiam sec. 4.1.
    """
    return unit(vectors).std(dim=0).mean()


def matches(query_cells: Tensor, key_cells: Tensor) -> Tensor:
    """The cell of the key's view that is most like each cell of the query's, by features of the backbone.

    Args:
        query_cells, key_cells: (B, C, S) and (B, C, S'), as the backbone gives them.

    Returns:
        (B, S) int64 places in S'; the first of equal ones. DenseCL's eq. 3.
    """
    return torch.einsum("bcs,bct->bst", unit(query_cells), unit(key_cells)).argmax(dim=2)


def dense_similarities(query_grid: Tensor, key_grid: Tensor, match: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of the cells of queries with those of the keys that they match, and with all negatives.

    Args:
        query_grid, key_grid: (B, d, S) and (B, d, S'), projected.
        match: (B, S) places in S', from `matches`.
        queue: (K, d), one vector an image.

    Returns:
        (B * S,) and (B * S, K), the cells of an image following each other.
    """
    chosen = key_grid.gather(2, match[:, None].expand(-1, key_grid.shape[1], -1))
    return similarities(query_grid.transpose(1, 2).flatten(0, 1), chosen.transpose(1, 2).flatten(0, 1), queue)


def pooled(grid: Tensor) -> Tensor:
    """The (B, d) vectors that a queue of cells remembers of grids (B, d, S): mean first, length 1 afterwards."""
    return unit(grid.mean(2))


def weighted(whole: Tensor, cells: Tensor | None, dense: float) -> dict[str, Tensor]:
    """The two losses times their weights, to be added up.

    Args:
        whole: loss of the image, weight 1 - dense.
        cells: loss of the cells, weight dense; None where dense is 0, which is MoCo v2.
        dense: lambda of DenseCL's eq. 5, in [0, 1].
    """
    return {"loss_image": (1 - dense) * whole} | ({} if cells is None else {"loss_cells": dense * cells})


def negative_cosine(p1: Tensor, z2: Tensor, p2: Tensor, z1: Tensor) -> Tensor:
    """SimSiam's symmetric loss, -(cos(p1, z2) + cos(p2, z1)) / 2, no gradient through z; all (N, d).

    A measure of how alike the two views of images are. No stage trains with it: docs/method.md says why.
    """
    first, second = ((unit(p) * unit(z.detach())).sum(1).mean() for p, z in ((p1, z2), (p2, z1)))
    return -(first + second) / 2


class Queue(nn.Module):
    """Keys of earlier batches, the oldest replaced first; all of it is state.

    Args:
        length: K, a multiple of the number of keys that are put in at a time.
        dim: d.

    Attributes:
        keys: (K, d), length 1, at first random ones from torch's generator.
        place: () int64, where the next keys go.
    """

    keys: Tensor
    place: Tensor

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", unit(torch.randn(length, dim)))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def put(self, keys: Tensor) -> None:
        """Put (N, d) keys, normalised here, in the place of the oldest.

        Raises:
            ValueError: N does not divide the length of the queue.
        """
        if len(self.keys) % len(keys):
            raise ValueError(f"{len(keys)} keys do not divide a queue of {len(self.keys)}")
        first = int(self.place)
        self.keys[first : first + len(keys)] = unit(keys).to(self.keys.dtype)
        self.place.fill_((first + len(keys)) % len(self.keys))


class Features(NamedTuple):
    """What an encoder gives of a batch. vector: (B, d). cells: (B, C, S) of the backbone. grid: (B, d, S), projected;
    the last two are None without a loss of cells. None is normalised."""

    vector: Tensor
    cells: Tensor | None
    grid: Tensor | None


class Encoder(nn.Module):
    """A backbone with a projector of the mean over C5, C -> C -> d, and one of 1x1 convolutions for the cells of a map.

    Args:
        backbone: that is to be trained.
        dim: d.
        grid: the map whose cells are compared, a key of LEVELS; None for no cells.
    """

    def __init__(self, backbone: Backbone, dim: int, grid: str | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        top = backbone.channels[-1]
        self.project = nn.Sequential(nn.Linear(top, top), nn.ReLU(), nn.Linear(top, dim))
        self.level = LEVELS[grid] if grid else None
        if self.level is not None:
            own = backbone.channels[self.level]
            self.project_cells = nn.Sequential(nn.Conv2d(own, own, 1), nn.ReLU(), nn.Conv2d(own, dim, 1))

    def forward(self, images: Tensor) -> Features:
        """Of (B, 3, H, W) uint8 or float images on 0..255."""
        maps = self.backbone((images - self.backbone.mean) / self.backbone.std)
        vector = self.project(maps[-1].mean((2, 3)))
        if self.level is None:
            return Features(vector, None, None)
        cells = maps[self.level]
        return Features(vector, cells.flatten(2), self.project_cells(cells).flatten(2))


class KeyEncoder(nn.Module):
    """The encoder of keys: it has no gradient and follows that of the queries.

    One process has no second one to shuffle a batch with, as MoCo does against batch norms that give away which images
    are in one batch. So the keys are shuffled and go through in groups that have statistics of their own; or all at
    once in evaluation mode.

    Args:
        encoder: its own copy.
        groups: parts of a batch of keys; 0 for evaluation mode.
    """

    def __init__(self, encoder: Encoder, groups: int) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.groups = groups

    def train(self, mode: bool = True) -> KeyEncoder:
        """Without groups it stays in evaluation mode."""
        return super().train(mode and self.groups > 0)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """As an Encoder; groups are drawn from torch's generator."""
        if not (self.groups and self.training):
            found: Features = self.encoder(images)
            return found
        order = torch.randperm(len(images)).to(images.device)
        parts: list[Any] = [self.encoder(part) for part in images[order].chunk(self.groups)]
        back = order.argsort()
        if parts[0].cells is None:
            return Features(torch.cat([part.vector for part in parts])[back], None, None)
        vector, cells, grid = (torch.cat(column)[back] for column in zip(*parts, strict=True))
        return Features(vector, cells, grid)
