"""Layers whose result depends on the whole batch, in a form for processes that have a part of it each.

Batch norms take their statistics over all processes. Stochastic depth draws for all images of the batch, as one process
would, and uses the rows of the images at hand; so which paths are dropped does not depend on how a batch was divided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from casl.errors import StageError
from casl.train.distributed import Peers


class RowsOfDropPath(DropPath):  # type: ignore[misc]
    """Stochastic depth of a part of a batch.

    Attributes:
        first, images: number of the part's first image in the batch, and of images in the batch.
    """

    first: int = 0
    images: int = 0

    def forward(self, x: Tensor) -> Tensor:
        """(b, ...), rows first..first + b of a batch."""
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep = 1.0 - self.drop_prob
        mask = x.new_empty((self.images, *[1] * (x.ndim - 1))).bernoulli_(keep)
        if keep > 0.0 and self.scale_by_keep:
            mask.div_(keep)
        return x * mask[self.first : self.first + len(x)]


class SynchronizedNorm(nn.BatchNorm2d):
    """Batch norm over the images of all processes, on any device.

    Attributes:
        peers: the processes that have the other images.
    """

    peers: Peers

    def forward(self, x: Tensor) -> Tensor:
        """(b, C, h, w); b may differ between ranks."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        assert self.momentum is not None
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = wide.new_tensor([wide.numel() / wide.shape[1]])
        sums = _sum_over_ranks(torch.cat([wide.sum((0, 2, 3)), count]), self.peers)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = wide - mean[:, None, None]
        variance = _sum_over_ranks(centred.square().sum((0, 2, 3)), self.peers) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), self.momentum)
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _SumOverRanks(torch.autograd.Function):
    """Every rank's loss depends on every rank's input; so the gradients are summed over ranks too."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, peers: Peers) -> Tensor:
        ctx.peers = peers
        result = tensor.clone()
        peers.add(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        result = gradients[0].contiguous().clone()
        ctx.peers.add(result)
        return result, None


def _sum_over_ranks(tensor: Tensor, peers: Peers) -> Tensor:
    result: Tensor = _SumOverRanks.apply(tensor, peers)
    return result


def live_norms(model: nn.Module) -> list[str]:
    """Names of batch norms that take their statistics from the batch."""
    return [name for name, module in model.named_modules() if isinstance(module, _BatchNorm) and module.training]


def synchronize_norms(model: nn.Module, peers: Peers, device: torch.device) -> None:
    """Make batch norms see the images of all ranks. Parameters, buffers and their names stay the same.

    Raises:
        StageError: a kind of batch norm that has no synchronised form for CPUs.
    """
    if device.type == "cuda":
        # torch's own is faster, and for GPUs only
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return
    for name in live_norms(model):
        module = model.get_submodule(name)
        if type(module) is not nn.BatchNorm2d or not module.affine or module.momentum is None:
            raise StageError(
                f"{name} is a {type(module).__name__}, which cannot be shared by several processes without a GPU.\n"
                "  use one process (--gpus-per-stage 1)."
            )

    def shared(norm: Any) -> nn.Module:
        module = SynchronizedNorm(norm.num_features, norm.eps, norm.momentum)
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(module, name, getattr(norm, name))
        module.peers = peers
        return module.train(norm.training)

    _replace(model, nn.BatchNorm2d, shared)


def divide_drop_paths(model: nn.Module) -> list[RowsOfDropPath]:
    """Make stochastic depth draw for whole batches; the modules, to be told which rows they have."""

    def rows(path: Any) -> RowsOfDropPath:
        module = RowsOfDropPath(path.drop_prob, path.scale_by_keep)
        module.training = path.training
        return module

    _replace(model, DropPath, rows)
    return [module for module in model.modules() if isinstance(module, RowsOfDropPath)]


def _replace(model: nn.Module, kind: type[nn.Module], make: Callable[[Any], nn.Module]) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is kind:
                setattr(parent, name, make(child))
