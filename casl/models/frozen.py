"""Frozen stages of a backbone give the same maps for the same image: on the CPU they are computed once for each.

Exact by construction. Every image goes through them alone, whether its maps are remembered or not, and maps are
remembered by all that they depend on: the bits of the image as padded, and those of the frozen tensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

LIMIT_BYTES = 1 << 30  # of a process; C2 to C4 of a 128 x 192 px image take 245 KB in EfficientNet-Lite0


class Maps:
    """Maps of images under one set of frozen tensors, kept up to a number of bytes; others replace all of them.

    Attributes:
        found, computed: images, for tests and benchmarks.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.found = self.computed = 0
        self._of = b""
        self._held = 0
        self._maps: dict[bytes, list[Tensor]] = {}

    def of(self, image: Tensor, frozen: bytes, compute: Callable[[Tensor], list[Tensor]]) -> list[Tensor]:
        """What `compute` gives for an image.

        Args:
            image: (1, 3, H, W).
            frozen: digest of the tensors that `compute` uses.
        """
        if frozen != self._of:
            self._of, self._held, self._maps = frozen, 0, {}
        name = _digest([image], str(torch.is_autocast_enabled(image.device.type)))
        maps = self._maps.get(name)
        if maps is not None:
            self.found += 1
            return maps
        self.computed += 1
        maps = compute(image)
        size = sum(m.nbytes for m in maps)
        if self._held + size <= self.limit_bytes:
            self._maps[name] = maps
            self._held += size
        return maps


MAPS = Maps()  # of the process: the stages that a worker trains one after another mostly share backbone and images


class Frozen:
    """The first stages of a backbone, which do not learn.

    Args:
        stages: the modules of each, the stem first.
    """

    def __init__(self, stages: Sequence[Sequence[nn.Module]]) -> None:
        self._stages = stages
        self._seen: list[tuple[int, int]] = []
        self._name = b""

    @property
    def _tensors(self) -> list[Tensor]:
        """Asked for anew each time: a module that moves gets other buffers."""
        return [t for stage in self._stages for m in stage for t in (*m.parameters(), *m.buffers())]

    @property
    def is_exact(self) -> bool:
        """Whether the maps depend on image and tensors alone: nothing learns, no norm counts, nothing is dropped."""
        modules = [m for stage in self._stages for top in stage for m in top.modules()]
        changing = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules)
        dropping = any(getattr(m, "drop_prob", 0.0) or getattr(m, "p", 0.0) for m in modules)
        return not (changing or dropping or any(t.requires_grad for t in self._tensors))

    def __call__(self, images: Tensor, maps: Maps = MAPS) -> list[Tensor]:
        """(B, 3, H, W) normalised -> the maps after each stage but the stem's, or after the stem if it is alone."""
        frozen = self._digest()
        found = [maps.of(image, frozen, self._compute) for image in torch.split(images, 1)]
        return [torch.cat(level) for level in zip(*found, strict=True)]

    @torch.no_grad()
    def _compute(self, image: Tensor) -> list[Tensor]:
        found = []
        for stage in self._stages:
            for module in stage:
                image = module(image)
            found.append(image)
        return found[1:] or found

    def _digest(self) -> bytes:
        """Of the frozen tensors, computed anew when one was written to."""
        tensors = self._tensors
        seen = [(t.data_ptr(), t._version) for t in tensors]
        if seen != self._seen:
            self._seen, self._name = seen, _digest(tensors, "")
        return self._name


def _digest(tensors: Sequence[Tensor], words: str) -> bytes:
    whole = hashlib.blake2b(words.encode(), digest_size=16)
    for tensor in tensors:
        laid = tensor.detach().permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor.detach()
        whole.update(f"{tuple(laid.shape)} {laid.dtype}".encode())
        whole.update(laid.reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return whole.digest()
