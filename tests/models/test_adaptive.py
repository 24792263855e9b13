"""Adaptive computation: cases V1 to V10 of AdaViT's released code and formulas, and a Swin that skips blocks."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from casl.catalog import BACKBONES
from casl.errors import SpecError
from casl.models.adaptive import (
    BlockPolicies,
    TokenPolicy,
    Usage,
    add_where,
    attention_among,
    binary_entropy,
    blocks_term,
    decide,
    heads_term,
    swin_block_cost,
    swin_cost,
    tokens_term,
    transformer_block_cost,
)
from casl.models.backbone import build_backbone
from casl.models.swin import ADAPTIVE, Swin

LOGITS = torch.tensor([-2.0, -0.1, 0.0, 0.1, 3.0])
HEADS = torch.tensor([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [1, 1, 1]]]).float()
BLOCKS = torch.tensor([[[1, 1], [0, 0]], [[1, 0], [1, 1]]]).float()
TOKENS = torch.tensor([[[1, 1, 0, 0], [1, 0, 0, 0]], [[1, 1, 1, 0], [1, 1, 0, 0]]]).float()


def close(found: torch.Tensor, expected: list[float] | float, tol: float = 1e-5) -> bool:
    return torch.allclose(found.double(), torch.tensor(expected, dtype=torch.float64), atol=tol)


def test_v1_decisions_without_noise_are_strictly_above_one_half() -> None:
    hard, soft = decide(LOGITS, training=False)
    assert close(soft, [0.119203, 0.475021, 0.5, 0.524979, 0.952574])
    assert hard.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (5.0, [0.363245, 0.404530, 0.482400, 0.451716, 0.593204]),
        (1.0, [0.056972, 0.126404, 0.412864, 0.275140, 0.868314]),
    ],
)
def test_v2_v3_decisions_with_noise_and_their_gradient(temperature: float, expected: list[float]) -> None:
    torch.manual_seed(0)
    logits = LOGITS.clone().requires_grad_()
    hard, soft = decide(logits, training=True, temperature=temperature)
    assert close(soft, expected)
    assert hard.detach().round().tolist() == [0, 0, 0, 0, 1]
    torch.autograd.backward(hard.sum())
    assert logits.grad is not None
    assert torch.allclose(logits.grad, (soft * (1 - soft) / temperature).detach(), atol=1e-7)
    if temperature == 5.0:
        assert close(logits.grad, [0.046260, 0.048177, 0.049938, 0.049534, 0.048263])


@pytest.mark.parametrize(("logit", "kept"), [(-2.0, 0.118), (0.0, 0.501), (1.0, 0.731)])
def test_v4_the_share_that_is_kept_does_not_depend_on_the_temperature(logit: float, kept: float) -> None:
    torch.manual_seed(0)
    for temperature in (5.0, 1.0):
        hard, _ = decide(torch.full((200_000,), logit), training=True, temperature=temperature)
        assert abs(float(hard.mean()) - kept) < 0.005


def test_v5_terms_of_usage() -> None:
    usage = Usage(target=0.7)
    head, block, token = heads_term(HEADS, usage, BLOCKS), blocks_term(BLOCKS, usage), tokens_term(TOKENS, usage)
    assert close(head, 0.033333) and close(block, 0.075) and close(token, 0.04)
    assert close(1 + usage.factor * (head + block + token), 1.296667)
    alone = heads_term(HEADS, usage)
    assert close(alone, 0.116667) and close(1 + usage.factor * (alone + token), 1.313333)


def test_v6_terms_with_diversity_entropy_and_a_least_share() -> None:
    usage = Usage(diversity=0.1, entropy=0.1)
    head = heads_term(HEADS, usage, BLOCKS, logits=torch.zeros_like(HEADS))
    block = blocks_term(BLOCKS, usage, logits=torch.ones_like(BLOCKS))
    token = tokens_term(TOKENS, Usage(least=0.1, least_weight=1.0))
    assert close(head, 0.139018) and close(block, 0.079280) and close(token, 0.0)
    assert close(1 + 2 * (head + block + token), 1.436596)
    pulled = tokens_term(TOKENS, Usage(target=0.5, least=0.5, least_weight=1.0))
    assert close(pulled, 0.25)  # one image of one block keeps a quarter
    with pytest.raises(ValueError, match="logits"):
        blocks_term(BLOCKS, usage)


def test_v7_entropy() -> None:
    assert close(binary_entropy(torch.tensor([0.5, 0.1, 1.0])), [0.693147, 0.325083, 0.0])


def test_v8_tokens_that_are_dropped_attend_to_themselves() -> None:
    policy = TokenPolicy(4).eval()
    with torch.no_grad():
        policy.linear.weight.copy_(torch.tensor([[1.0, -1.0, 0.5, 0.0]]))
        policy.linear.bias.fill_(0.2)
    tokens = torch.tensor([[[0.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]])
    scores = torch.tensor([[[[0.0, 1, 2, 0], [1, 0, 1, 2], [0, 0, 1, 1], [2, 1, 0, 0]]]])
    decisions = policy(tokens)
    assert decisions.tolist() == [[1, 1, 0, 1]]
    expected = [
        [0.211942, 0.576117, 0.0, 0.211942],
        [0.244728, 0.090031, 0.0, 0.665241],
        [0.0, 0.0, 1.0, 0.0],
        [0.665241, 0.244728, 0.0, 0.090031],
    ]
    for row, wanted in zip(attention_among(scores, decisions)[0, 0], expected, strict=True):
        assert close(row, wanted)


def test_v9_multiply_adds_of_a_transformer_block() -> None:
    whole = transformer_block_cost(384, 197)
    assert whole == 378_391_296 and round(12 * whole / 1e9, 6) == 4.540696
    for tokens, heads, share in (
        (0.7, 1.0, 0.683459),
        (1.0, 0.7, 0.907277),
        (0.7, 0.7, 0.623515),
        (0.5, 0.5, 0.412885),
    ):
        assert transformer_block_cost(384, 197 * tokens, heads) / whole == pytest.approx(share, abs=1e-6)


def test_v10_multiply_adds_of_swin() -> None:
    millions = [swin_block_cost(d, 1) / 1e6 for d in (96, 192, 384, 768)]
    assert millions == pytest.approx([5.880, 22.598, 88.548, 350.504], abs=1e-3)
    small = [c / 1e9 for c in swin_cost(800, 1344, (96, 192, 384, 768), (2, 2, 6, 2))]
    large = [c / 1e9 for c in swin_cost(800, 1344, (192, 384, 768, 1536), (2, 2, 18, 2))]
    assert small == pytest.approx([16.4, 16.3, 51.0, 16.8], abs=0.05)
    assert large == pytest.approx([62.9, 63.8, 605.7, 66.9], abs=0.05)
    less = swin_cost(800, 1344, (192, 384, 768, 1536), (2, 2, 18, 2), usage=(1, 1, 0.7, 1))
    assert sum(less) / 1e9 / sum(large) == pytest.approx(0.773, abs=5e-4)


def swin(usage: float = 0.7) -> Swin:
    """A small Swin whose policies differ from image to image."""
    torch.manual_seed(0)
    row = BACKBONES["swin_mini"]
    body = Swin(timm.create_model(row.timm, num_classes=0, **row.arguments), usage)
    if usage < 1.0:
        for layer in body.policies.linear:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=30.0)
            nn.init.zeros_(layer.bias)
    return body


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_usage_1_is_the_plain_backbone_bit_for_bit() -> None:
    plain, other = swin(1.0).eval(), swin(0.7).eval()
    assert not any("policies" in name for name in plain.state_dict())
    for layer in other.policies.linear:
        assert isinstance(layer, nn.Linear)
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.bias)  # everything runs
    other.load_state_dict(plain.state_dict(), strict=False)
    for a, b in zip(plain(images(3)), other(images(3)), strict=True):
        assert torch.equal(a, b)


def test_what_is_skipped_differs_from_image_to_image_and_not_with_its_company() -> None:
    body = swin().eval()
    batch = images(6)
    together = body(batch)
    taken = body.decisions
    assert taken is not None and taken.shape == (6, 4, 2)
    assert 0 < taken.mean() < 1 and len({tuple(one.flatten().tolist()) for one in taken}) > 1
    for alone in range(6):
        for a, b in zip(body(batch[alone : alone + 1]), together, strict=True):
            assert torch.allclose(a[0], b[alone], atol=1e-5)
        assert body.decisions is not None and torch.equal(body.decisions[0], taken[alone])


def test_what_is_skipped_counts_as_what_is_multiplied_by_0() -> None:
    features, decisions = torch.randn(5, 2, 3, 4), torch.tensor([1.0, 0, 0, 1, 1])
    calls: list[int] = []

    def half(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return 2 * x + 1

    masked = add_where(features, decisions, half, training=True)
    gathered = add_where(features, decisions, half, training=False)
    assert torch.equal(masked, gathered) and calls == [5, 3]
    assert torch.equal(add_where(features, 0 * decisions, half, training=False), features) and calls == [5, 3]


def test_policies_learn_the_usage_they_are_asked_for() -> None:
    torch.manual_seed(0)
    policies, usage = BlockPolicies(8, 4).train(), Usage(target=0.5)
    features = torch.randn(64, 2, 2, 8)
    optimizer = torch.optim.Adam(policies.parameters(), 0.1)
    shares = []
    for _ in range(120):
        decisions = torch.stack([policies(block, features) for block in range(4)], dim=1)
        shares.append(float(decisions.detach().mean()))
        optimizer.zero_grad()
        torch.autograd.backward(usage.factor * blocks_term(decisions, usage))
        optimizer.step()
    assert shares[0] > 0.8 and abs(sum(shares[-20:]) / 20 - 0.5) < 0.1


def test_gradients_reach_the_policies_through_the_maps() -> None:
    body = swin().train()
    torch.autograd.backward(torch.stack([m.square().mean() for m in body(images(2))]).sum())
    for layer in body.policies.linear:
        assert isinstance(layer, nn.Linear) and layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0


def test_a_backbone_that_skips_nothing_is_refused() -> None:
    assert [name for name, row in BACKBONES.items() if row.skips] == [n for n in BACKBONES if n.startswith("swin_")]
    assert ADAPTIVE == 2
    with pytest.raises(SpecError, match="resnet_nano has none"):
        build_backbone("resnet_nano", usage=0.5)
