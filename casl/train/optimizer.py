"""Optimisers, and which parameters decay: all but those of normalisation layers (method reference sec. 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

FACTOR = "rate_factor"  # of a group: what its rate is multiplied by
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


def named_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: with weight decay, and those of norm layers without.

    Biases and position tables decay, as in the reference recipes.
    """
    free = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(recurse=False)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trainable if id(p) not in free]
    undecayed = [p for p in trainable if id(p) in free]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW, betas (0.9, 0.999).

    Fused: one kernel for all, whose square root has the same bits on every processor. It takes parameter, gradient and
    moments as they lie in memory, so all of one parameter must have its layout; `load_state_tensors` sees to that.
    """
    return torch.optim.AdamW(named_groups(model, weight_decay), lr=lr, betas=(0.9, 0.999), fused=True)


def sgd(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, fused as AdamW."""
    return torch.optim.SGD(named_groups(model, weight_decay), lr=lr, momentum=0.9, fused=True)


def scale_rate(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], factor: float) -> None:
    """Give some parameters another rate: a factor of it, in groups of their own.

    Args:
        optimizer: of any kind; each of its groups is divided in two, and keeps all else that it has.
        parameters: those that it does not train are passed over.
        factor: above 0. The groups hold it as FACTOR; the training loop multiplies their rates by it.
    """
    chosen = {id(parameter) for parameter in parameters}
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        mine = [p for p in group["params"] if id(p) in chosen]
        groups.append({**group, "params": [p for p in group["params"] if id(p) not in chosen]})
        groups.append({**group, "params": mine, "lr": group["lr"] * factor, FACTOR: factor})
    optimizer.param_groups[:] = [group for group in groups if group["params"]]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step, in each group times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(FACTOR, 1.0)


def state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of the optimiser's state as (<parameter name>/<state name>, tensor)."""
    names = {id(p): n for n, p in model.named_parameters()}
    for parameter, state in optimizer.state.items():
        for field, value in state.items():
            if value is not None:
                yield f"{names[id(parameter)]}/{field}", torch.as_tensor(value)


def load_state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Inverse of `state_tensors`; the tensors are copied, moments into the memory layout of their parameter."""
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        owner, _, field = name.rpartition("/")
        parameter = parameters[owner]
        if field == "step":  # where one kernel does all it counts there too, else on the CPU
            beside = bool(optimizer.param_groups[0].get("fused"))
            optimizer.state[parameter][field] = tensor.clone().to(parameter.device if beside else tensor.device)
        elif tensor.shape == parameter.shape:
            optimizer.state[parameter][field] = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        else:
            optimizer.state[parameter][field] = tensor.clone().to(parameter.device)
