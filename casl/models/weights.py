"""Weights of other projects, read without running anything that is in the file."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from casl.errors import DataError

WRAPPERS = ("model", "state_dict")  # under which others keep their state dict
BEGINNING = 512  # bytes that tell a web page or a pointer from weights
_TELLING = (SafetensorError, RuntimeError, ValueError, OSError)  # these say what is wrong
# what opening a file raises; a pickle is a program, and a damaged one fails as any program does
_REFUSED = (
    *(*_TELLING, UnpicklingError, EOFError, struct.error),
    *(LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, MemoryError),
)


def read_state(path: Path, absent: str = "") -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of any other that torch.load reads with weights_only.

    Args:
        path: of the file.
        absent: advice for when there is none, appended to the message.

    Raises:
        DataError: no such file, not readable without running code, or no state dict of plain tensors in it.
    """
    if not path.is_file():
        raise DataError(f"no weights at {path}.{absent}")
    if path.suffix == ".pkl":
        raise DataError(
            f"{path} is a pickle, which can run any code when it is opened, so it is not.\n"
            "  detectron2 itself turns it into a plain .pth: DetectionCheckpointer(model).load(path), and then\n"
            '  torch.save({"model": model.state_dict()}, "weights.pth").'
        )
    if what := _is_something_else(path):
        raise DataError(f"{path} is {what}")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _REFUSED as e:
        raise DataError(f"{path} is no checkpoint of plain tensors: {_reason(e)}") from e
    for wrapper in WRAPPERS:
        state = state.get(wrapper, state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise DataError(f"{path} holds no state dict")
    if odd := [key for key, value in state.items() if not _is_plain(value)]:
        raise DataError(
            f"{path} holds tensors that are sparse, quantized or without values: {odd[0]} is the first of {len(odd)}.\n"
            "  Only plain ones are read: save them with to_dense() or dequantize()."
        )
    return state


def _is_plain(value: Tensor) -> bool:
    return value.layout == torch.strided and not value.is_quantized and not value.is_meta


def _is_something_else(path: Path) -> str:
    """What a file is that often stands in the place of weights, and what to do; empty if it may be weights."""
    with path.open("rb") as file:
        begins = file.read(BEGINNING)
    if not begins:
        return "empty: the download was stopped, or the disk was full. Get it again."
    if begins.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the weights: `git lfs pull` in its repository gets them."
    if begins.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not weights: the address it came from wants a login, or shows the file. Get it again."
    return ""


def _reason(error: Exception) -> str:
    """One sentence of an error that torch explains at length, with advice that casl has no option for."""
    objects = sorted(set(re.findall(r"GLOBAL ([\w.]+)", str(error))))
    if objects:
        return (
            f"it holds Python objects ({', '.join(objects)}), and opening those can run any code.\n"
            '  where it comes from, save its tensors alone: torch.save({"model": model.state_dict()}, "weights.pth").'
        )
    if isinstance(error, MemoryError):
        return "it is damaged, or larger than the memory of this machine."
    said = str(error).strip().splitlines()
    return said[0] if said and isinstance(error, _TELLING) else "it is damaged, or was never written by torch.save."
