"""Adaptive computation: which parts of a vision transformer an image needs, decided by the network itself.

Linear policies look at the input of a block and decide whether its attention and its MLP run, which heads and which
tokens take part. In training decisions are drawn with Gumbel noise, everything is computed, and what was dropped is
multiplied by 0; a straight-through gradient teaches the policies, and a usage loss pulls the mean of the decisions to a
target. At inference what is dropped is not computed.

Source: AdaViT (CVPR 2022) and its released code, as specified in docs/method.md. Swin here skips the two halves of
blocks (casl/models/swin.py); tokens and heads are here as routines, and no detector of casl uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

TEMPERATURE = 5.0
_SMALL = 1e-6  # added where no head ran at all


def decide(
    logits: Tensor, *, training: bool, temperature: float = TEMPERATURE, threshold: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Decisions to keep something, and what they were made by.

    Args:
        logits: any shape.
        training: draw a two-class Gumbel softmax from torch's generator, sigmoid((logit + g1 - g2) / temperature), so
            that P(keep) = sigmoid(logit) at any temperature; otherwise sigmoid(logit), without noise.
        temperature: scales the gradient.
        threshold: kept where strictly above it.

    Returns:
        (hard, soft): 0 or 1, with the gradient of the soft ones; and the soft ones, in (0, 1).
    """
    if training:
        first, second = (-torch.empty_like(logits).exponential_().log() for _ in range(2))
        soft = ((logits + first - second) / temperature).sigmoid()
    else:
        soft = logits.sigmoid()
    hard = (soft > threshold).to(soft)
    return hard - soft.detach() + soft, soft


def binary_entropy(probability: Tensor, eps: float = 1e-7) -> Tensor:
    """-p ln p - (1 - p) ln(1 - p) of probabilities of any shape; what is below eps counts as eps in the logarithm."""
    q = 1 - probability
    return -(probability * probability.clamp(min=eps).log() + q * q.clamp(min=eps).log())


@dataclass(frozen=True)
class Usage:
    """How a mean of decisions is pulled to a target.

    target: share to keep. factor: of the term in the total. diversity: weight of the mean distance of each block (and
    head) from the target. entropy: weight of the entropy of the policies, which is subtracted. least: share below which
    an image's tokens of a block are also pulled up, and least_weight the weight of that.
    """

    target: float = 0.5
    factor: float = 2.0
    diversity: float = 0.0
    entropy: float = 0.0
    least: float = 0.0
    least_weight: float = 0.0


def blocks_term(decisions: Tensor, usage: Usage, logits: Tensor | None = None) -> Tensor:
    """|mean - target| of decisions to run halves of blocks, without the factor.

    Args:
        decisions: (B, blocks, halves) of 0 and 1.
        usage: the target, and the weights of diversity over blocks and of entropy.
        logits: of the policies, for the entropy.
    """
    term = (decisions.mean() - usage.target).abs()
    if usage.diversity:
        term = term + usage.diversity * (decisions.mean((0, 2)) - usage.target).abs().mean()
    return term - usage.entropy * _entropy(logits, usage)


def heads_term(decisions: Tensor, usage: Usage, blocks: Tensor | None = None, logits: Tensor | None = None) -> Tensor:
    """|mean - target| of decisions to use heads, without the factor; of blocks that run at all.

    Args:
        decisions: (B, blocks, heads) of 0 and 1.
        usage: the target, and the weights of diversity over blocks and heads and of entropy.
        blocks: (B, blocks, halves), decisions to run halves of these blocks; None if all run.
        logits: of the policies, for the entropy.
    """
    runs = torch.ones_like(decisions)
    if blocks is not None:
        runs = (blocks.sum(2, keepdim=True) > 0).to(decisions).expand_as(decisions)
    term = ((decisions * runs).sum() / (runs.sum() + _SMALL) - usage.target).abs()
    if usage.diversity:
        means = (decisions * runs).sum(0) / (runs.sum(0) + _SMALL)
        term = term + usage.diversity * (means - usage.target).abs().mean()
    return term - usage.entropy * _entropy(logits, usage)


def tokens_term(decisions: Tensor, usage: Usage) -> Tensor:
    """(mean - target)^2 of decisions to keep tokens, without the factor.

    Args:
        decisions: (B, blocks, tokens) of 0 and 1.
        usage: the target, and the share below which an image's tokens of a block are pulled up.
    """
    term = (decisions.mean() - usage.target).square()
    if usage.least_weight:
        term = term + usage.least_weight * (usage.least - decisions.mean(2)).clamp(min=0.0).sum()
    return term


def _entropy(logits: Tensor | None, usage: Usage) -> Tensor | float:
    if not usage.entropy:
        return 0.0
    if logits is None:
        raise ValueError("the entropy of policies has a weight, and no logits were given")
    return binary_entropy(logits.sigmoid()).mean()


class TokenPolicy(nn.Module):
    """Which tokens take part in attention. The first one, the class token, always does.

    Args:
        channels: of tokens.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, channels) normalised -> (B, N) decisions of 0 and 1."""
        logits = self.linear(tokens[:, 1:]).squeeze(2)
        decisions, _ = decide(logits, training=self.training)
        return torch.cat([torch.ones_like(decisions[:, :1]), decisions], dim=1)


def attention_among(scores: Tensor, decisions: Tensor) -> Tensor:
    """Attention among the tokens that are kept; one that is dropped attends to itself alone, and no other to it.

    Args:
        scores: (B, heads, N, N), before the softmax.
        decisions: (B, N) of 0 and 1; no gradient flows through them here.

    Returns:
        (B, heads, N, N), rows sum to 1.
    """
    kept = decisions.detach() > 0.5
    both = kept[:, None, :, None] & kept[:, None, None, :]
    itself = torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
    return scores.masked_fill(~(both | itself), -torch.inf).softmax(-1)


class BlockPolicies(nn.Module):
    """Whether the two halves of each of some blocks run: attention and MLP. At first all do.

    Args:
        channels: of the map.
        blocks: how many.
    """

    FIRST = 2.0  # logit before anything is learned: sigmoid(2) = 0.88, so all run at inference and some are tried

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(channels, 2) for _ in range(blocks))
        for layer in self.linear:
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, self.FIRST)

    def forward(self, block: int, features: Tensor) -> Tensor:
        """(B, H, W, channels), the input of a block -> (B, 2) decisions of 0 and 1."""
        logits = self.linear[block](features.mean((1, 2)))
        decisions: Tensor = decide(logits, training=self.training)[0]
        return decisions


class Half(Protocol):
    """A residual branch: (B, H, W, channels) -> the same shape; what an image gives does not depend on the others."""

    def __call__(self, features: Tensor, /) -> Tensor: ...


def add_where(features: Tensor, decisions: Tensor, half: Half, training: bool) -> Tensor:
    """Features plus a residual branch, of the images that are to have it.

    Args:
        features: (B, H, W, channels).
        decisions: (B,) of 0 and 1.
        half: the branch.
        training: compute it for all, times the decisions; otherwise for those alone that are to have it.
    """
    if training:
        return features + decisions[:, None, None, None] * half(features)
    chosen = decisions.nonzero().squeeze(1)
    if len(chosen) == len(features):
        return features + half(features)
    if not len(chosen):
        return features
    return features.index_add(0, chosen, half(features[chosen]))


def transformer_block_cost(channels: int, tokens: float, heads: float = 1.0, ratio: int = 4) -> float:
    """Multiply-adds of a transformer block over all tokens: projections, attention, MLP.

    Args:
        channels: of a token.
        tokens: that take part.
        heads: share of the heads in use: queries, keys, values and attention cost in proportion, the output projection
            does not.
        ratio: of the MLP's width to the channels.
    """
    projections = (3 * heads + 1 + 2 * ratio) * tokens * channels**2
    return projections + 2 * heads * tokens**2 * channels


def swin_block_cost(channels: int, windows: int, window: int = 7) -> float:
    """Multiply-adds of a Swin block: that of a transformer block over each window."""
    return windows * transformer_block_cost(channels, window * window)


def swin_cost(
    height: int,
    width: int,
    channels: Sequence[int],
    depths: Sequence[int],
    window: int = 7,
    usage: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> list[float]:
    """Multiply-adds of the blocks of a Swin Transformer, a number a stage.

    Args:
        height, width: of the image, px.
        channels, depths: of the four stages.
        window: side of a window, cells.
        usage: share of each stage's block halves that run. Attention and MLP count alike, as the usage loss has them.
    """
    found = []
    for stage, (wide, deep, share) in enumerate(zip(channels, depths, usage, strict=True)):
        cells = (-(-height // (4 << stage)), -(-width // (4 << stage)))
        windows = -(-cells[0] // window) * -(-cells[1] // window)
        found.append(share * deep * swin_block_cost(wide, windows, window))
    return found
