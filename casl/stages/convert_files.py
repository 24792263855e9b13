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
from casl.models.convert.config import read_config
from casl.models.convert.conversion import Wish as Wish  # for the command line, which imports stages only
from casl.models.convert.conversion import convert_from, convert_to
from casl.models.weights import read_state

SUFFIXES = (".pth", ".safetensors")


def write_converted(
    source: Path, out: Path, to: str, origin: str, wish: Wish, backbone: str, config: Path | None = None
) -> dict[str, Any]:
    """Convert a file of weights into another.

    Args:
        source: .safetensors, or what torch.load reads without running code.
        out: .safetensors, or .pth: a dict with the tensors under "model", as detectron2's DetectionCheckpointer reads.
        to, origin: the format to convert to, or from; one of them is empty.
        wish: when converting to a format; of one converted from, only `input` counts.
        backbone: when converting from a format, as in `convert_from`.
        config: of detectron2's model when converting from it, a YAML file.

    Returns:
        The report as JSON values, which also are in the file `<out>.json`.

    Raises:
        SpecError, DataError: as in `convert_to` and `convert_from`; or an unknown suffix. Nothing is written then.
    """
    if out.suffix not in SUFFIXES:
        raise SpecError(f"the result is written as {' or '.join(SUFFIXES)}, got {out.name!r}")
    state, configured = read_state(source), read_config(config) if config else None
    if to:
        tensors, report = convert_to(to, state, wish)
    else:
        tensors, report = convert_from(origin, state, backbone, wish.input, configured)
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
