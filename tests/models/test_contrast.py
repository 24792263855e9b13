"""MoCo v2 and DenseCL: the losses by hand, the queue, the encoder of keys."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from casl.models.backbone import build_backbone
from casl.models.contrast import (
    Encoder,
    KeyEncoder,
    Queue,
    contrastive_loss,
    dense_similarities,
    matches,
    negative_cosine,
    picked,
    pooled,
    similarities,
    spread,
    unit,
    weighted,
)
from casl.train.average import follow

QUERIES, KEYS = torch.tensor([[1.0, 2, 2], [2, -1, 0]]), torch.tensor([[2.0, 1, 2], [2, -1, 1]])
NEGATIVES = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 1, 1]])


def grid(*cells: tuple[float, ...]) -> Tensor:
    """(1, C, S) of cells given one after the other."""
    return torch.tensor(cells).T[None]


def close(found: Tensor, wanted: list[float] | list[list[float]] | float, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found, torch.tensor(wanted), atol=atol, rtol=0)


def test_m1_similarities_with_the_positive_and_with_every_negative() -> None:
    positives, negatives = similarities(QUERIES, KEYS, NEGATIVES)
    close(positives, [0.888889, 0.912871])
    close(negatives, [[0.333333, 0.666667, 0.666667, 0.577350], [0.894427, -0.447214, 0.0, -0.774597]])


@pytest.mark.parametrize(("temperature", "loss"), [(0.2, 0.656179), (0.07, 0.330704)])
def test_m2_loss_of_the_image(temperature: float, loss: float) -> None:
    close(contrastive_loss(*similarities(QUERIES, KEYS, NEGATIVES), temperature), loss)


def test_m3_the_oldest_keys_of_the_queue_are_replaced() -> None:
    queue, written = Queue(8, 3), []
    for number in range(5):
        before, first = queue.keys.clone(), int(queue.place)
        queue.put(torch.full((2, 3), float(number + 1)))
        changed = (queue.keys != before).any(1).nonzero().flatten().tolist()
        written.append((first, first + 2))
        assert changed in ([*range(first, first + 2)], [])  # equal keys of the first round are written again
    assert written == [(0, 2), (2, 4), (4, 6), (6, 8), (0, 2)]
    assert queue.state_dict().keys() == {"keys", "place"}


def test_a_queue_holds_keys_of_length_one_and_is_filled_exactly() -> None:
    queue = Queue(6, 4)
    close(queue.keys.norm(dim=1), [1.0] * 6)
    queue.put(torch.tensor([[3.0, 0, 4, 0], [0, 0, 0, 2.0]]))
    close(queue.keys[:2], [[0.6, 0.0, 0.8, 0.0], [0.0, 0.0, 0.0, 1.0]])
    with pytest.raises(ValueError, match="4 keys do not divide a queue of 6"):
        queue.put(torch.ones(4, 4))


def scalar(value: float) -> nn.Module:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


@pytest.mark.parametrize(("momentum", "steps", "value"), [(0.999, 1, 1.002), (0.999, 3, 1.005994), (0.99, 1, 1.02)])
def test_m4_the_encoder_of_keys_follows(momentum: float, steps: int, value: float) -> None:
    held, leader = scalar(1.0), scalar(3.0)
    for _ in range(steps):
        follow(held, leader, momentum)
    close(next(held.parameters()).detach(), [[value]])
    close(next(leader.parameters()).detach(), [[3.0]])


def test_statistics_follow_only_where_that_is_asked() -> None:
    for buffers, wanted in ((False, 0.0), (True, 0.5)):
        held, leader = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
        leader(torch.tensor([[1.0], [9.0]]))
        follow(held, leader, 0.0, buffers=buffers)
        assert held.running_mean is not None and held.num_batches_tracked is not None
        close(held.running_mean, [wanted])
        assert int(held.num_batches_tracked) == int(buffers)


def test_d1_cells_are_matched_by_features_of_the_backbone() -> None:
    query, key = grid((1.0, 0, 1), (0, 1, 1)), grid((0.0, 1, 0.5), (1, 0.1, 1))
    cosines = torch.einsum("bcs,bct->bst", unit(query), unit(key))[0]
    close(cosines, [[0.316228, 0.997509], [0.948683, 0.548630]])
    assert matches(query, key).tolist() == [[1, 0]]
    assert matches(100 * query, key / 7).tolist() == [[1, 0]], "lengths do not matter"


def test_d2_and_d3_loss_of_the_cells_and_of_both() -> None:
    queue = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    positives, negatives = dense_similarities(
        grid((1.0, 2), (0, 1)), grid((1.0, 1), (-1, 2)), torch.tensor([[1, 0]]), queue
    )
    close(positives, [0.6, 0.707107])
    cells = contrastive_loss(positives, negatives, 0.2)
    close(cells, 2.147534)
    parts = weighted(torch.tensor(1.5), cells, 0.5)
    close(torch.stack([*parts.values()]).sum(), 1.823767)


def test_without_a_weight_of_cells_the_loss_is_that_of_the_image() -> None:
    assert weighted(torch.tensor(1.5), None, 0.0) == {"loss_image": torch.tensor(1.5)}


def test_d4_a_queue_of_cells_takes_the_mean_before_it_is_normalised() -> None:
    close(pooled(grid((1.0, 1), (-1, 2))), [[0.0, 1.0]])


def test_ss1_simsiam() -> None:
    p1, z2 = torch.tensor([[1.0, 2, 2], [0, 3, 4]]), torch.tensor([[2.0, 2, 1], [4, 3, 0]])
    p2, z1 = torch.tensor([[0.0, 1, 0], [1, 1, 0]]), torch.tensor([[0.0, 2, 0], [1, 0, 0]])
    z2.requires_grad_()
    p1.requires_grad_()
    loss = negative_cosine(p1, z2, p2, z1)
    close(loss.detach(), -0.738999)
    loss.backward()  # type: ignore[no-untyped-call]
    assert z2.grad is None and p1.grad is not None


@pytest.mark.parametrize("length", [4, 512, 1024, 4096, 65_536])
def test_the_loss_without_information_is_the_logarithm_of_all_choices(length: int) -> None:
    same = torch.zeros(3)
    close(contrastive_loss(same, same[:, None].expand(3, length), 0.2), math.log(1 + length), atol=1e-4)


def test_units_are_torchs_and_zero_stays_zero() -> None:
    values = torch.randn(5, 7, 3)
    torch.testing.assert_close(unit(values), functional.normalize(values, dim=1))
    assert unit(torch.zeros(2, 4)).abs().sum() == 0
    assert unit(values.bfloat16()).dtype == torch.float32


def test_the_loss_is_torchs_cross_entropy_of_the_first_choice() -> None:
    positives, negatives = torch.randn(6, dtype=torch.float64), torch.randn(6, 11, dtype=torch.float64)
    terms = [
        -math.log(math.exp(p) / (math.exp(p) + sum(map(math.exp, n))))
        for p, n in zip((positives / 0.5).tolist(), (negatives / 0.5).tolist(), strict=True)
    ]
    assert float(contrastive_loss(positives, negatives, 0.5)) == pytest.approx(sum(terms) / 6)


def test_picked_counts_queries_whose_positive_beats_every_negative() -> None:
    close(picked(torch.tensor([0.5, 0.5, 0.9]), torch.tensor([[0.4, 0.3], [0.6, 0.1], [0.9, 0.0]])), 1 / 3)


def test_the_spread_tells_collapse_from_even_vectors() -> None:
    torch.manual_seed(0)
    assert float(spread(torch.randn(4000, 64))) == pytest.approx(1 / 8, rel=0.01)
    assert float(spread(torch.ones(50, 64) + 1e-4 * torch.randn(50, 64))) < 1e-3


def encoder(grid: str | None = None) -> Encoder:
    torch.manual_seed(1)
    return Encoder(build_backbone("resnet_nano"), 8, grid)


@pytest.mark.parametrize(("level", "cells", "channels"), [("c4", 16, 32), ("c5", 4, 48)])
def test_cells_are_those_of_the_level(level: str, cells: int, channels: int) -> None:
    vector, found, grid = encoder(level)(torch.rand(2, 3, 64, 64) * 255)
    assert found is not None and grid is not None
    assert (vector.shape, found.shape, grid.shape) == ((2, 8), (2, channels, cells), (2, 8, cells))


def test_an_encoder_without_cells_has_no_layers_for_them() -> None:
    found = encoder()(torch.rand(2, 3, 64, 64) * 255)
    assert found.cells is None and found.grid is None
    assert not [name for name in encoder().state_dict() if "cells" in name]


def test_groups_of_keys_have_statistics_of_their_own_and_come_back_in_order() -> None:
    images = torch.rand(8, 3, 64, 64) * 255
    query = encoder("c4").train()
    keys = KeyEncoder(deepcopy(query), groups=2).train()
    torch.manual_seed(5)
    found = keys(images)
    torch.manual_seed(5)
    order = torch.randperm(8)
    assert order.tolist() != sorted(order.tolist())
    for group in order.chunk(2):
        alone = query(images[group])
        torch.testing.assert_close(found.vector[group], alone.vector.detach())
        torch.testing.assert_close(found.grid[group], alone.grid.detach())
    assert not torch.allclose(found.vector, query(images).vector, atol=1e-4)
    assert not any(p.requires_grad for p in keys.parameters()) and not found.vector.requires_grad


def test_without_groups_an_encoder_of_keys_stays_in_evaluation_mode() -> None:
    keys = KeyEncoder(encoder(), groups=0).train()
    assert not any(module.training for module in keys.modules())
    images = torch.rand(4, 3, 64, 64) * 255
    torch.testing.assert_close(keys(images).vector[:1], keys(images[:1]).vector, atol=1e-5, rtol=1e-4)
