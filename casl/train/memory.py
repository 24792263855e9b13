"""Training steps that do not fit into a device's memory: recognising, explaining and avoiding them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from casl.errors import DeviceMemoryError, StageError

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")  # of RuntimeErrors


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python means that memory was short, on a GPU or not."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def spared(device: torch.device, wanted: bool) -> AbstractContextManager[object]:
    """A context in which tensors for the backward pass are kept in the host's memory, if `wanted`.

    Nothing is computed differently, so the result is the same bit for bit; on a GPU a step then takes a fraction of the
    memory and, for the copies, more time.
    """
    return torch.autograd.graph.save_on_cpu(pin_memory=device.type == "cuda") if wanted else nullcontext()


def memory_error(
    device: torch.device, images: int, size: tuple[int, int], micro_batches: int, obstacle: str | None
) -> StageError:
    """The error for a step that did not fit; a DeviceMemoryError only if there is more to try on this device.

    Args:
        device: that was too small.
        images: of the step, on this device.
        size: largest (height, width) among them.
        micro_batches: pieces that were wanted already.
        obstacle: why they cannot be cut into pieces, None if they can.
    """
    what = f"out of memory: {device} does not hold a training step of {images} images of up to {size[0]} x {size[1]} px"
    others = "use a device with more memory" + (
        ", or several for each stage: --gpus-per-stage N." if images > 1 else "."
    )
    if obstacle is None and images > micro_batches:
        what += f", {-(-images // micro_batches)} at a time" if micro_batches > 1 else ""
        how = "in smaller pieces the same batch may fit, with the same result"
    elif obstacle is not None and micro_batches == 1 and device.type != "cpu":
        how = f"the batch stays whole ({obstacle}), but what the backward pass needs can be kept in the host's memory"
    else:
        tried = f"the batch stays whole: {obstacle}" if obstacle else "a single image is too large"
        return StageError(f"{what}.\n  {tried}; {others}")
    return DeviceMemoryError(f"{what}.\n  {how}; the runner tries that by itself. Otherwise {others}")
