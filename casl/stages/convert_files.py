"""What `casl convert` leaves: the converted weights, and beside them an account of every tensor."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from casl.errors import SpecError
from casl.files import write_atomic, write_json
from casl.models.convert.conversion import Wish as Wish  # for the command line, which imports stages only
from casl.models.convert.conversion import convert_from, convert_to
from casl.models.weights import read_state

SUFFIXES = (".pth", ".safetensors")


def write_converted(source: Path, out: Path, to: str, origin: str, wish: Wish, backbone: str) -> dict[str, Any]:
    """Convert a file of weights into another.

    Args:
        source: .safetensors, or what torch.load reads without running code.
        out: .safetensors, or .pth: a dict with the tensors under "model", as detectron2's DetectionCheckpointer reads.
        to, origin: the format to convert to, or from; one of them is empty.
        wish: when converting to a format; of one converted from, only `input` counts.
        backbone: when converting from a format, as in `convert_from`.

    Returns:
        The report as JSON values, which also are in the file `<out>.json`.

    Raises:
        SpecError, DataError: as in `convert_to` and `convert_from`; or an unknown suffix. Nothing is written then.
    """
    if out.suffix not in SUFFIXES:
        raise SpecError(f"the result is written as {' or '.join(SUFFIXES)}, got {out.name!r}")
    state = read_state(source)
    tensors, report = (
        convert_to(to, state, wish) if to else convert_from(origin, state, backbone, source_input=wish.input)
    )
    account = {
        "source": str(source),
        "result": str(out),
        "from": origin or "casl",
        "to": to or "casl",
        "tensors": len(tensors),
        **report.values(),
    }
    write_atomic(out, _bytes(tensors, out.suffix))
    write_json(out.with_name(f"{out.name}.json"), account)
    return account


def _bytes(tensors: Mapping[str, Tensor], suffix: str) -> bytes:
    if suffix == ".safetensors":
        return bytes(save(dict(tensors)))
    buffer = io.BytesIO()
    torch.save({"model": dict(tensors)}, buffer)
    return buffer.getvalue()
