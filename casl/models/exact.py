"""Functions whose float32 results are the same on every processor where torch's own are not."""

from __future__ import annotations

from torch import Tensor


def square_root(x: Tensor) -> Tensor:
    """The correctly rounded square root of float32 values; of other types, torch's.

    torch hands contiguous float32 to MKL, which refines an estimate of the hardware where it is to be compatible: the
    last bit then depends on the processor. A root in float64 rounds to the correct one of float32.
    """
    return x.double().sqrt().to(x.dtype)
