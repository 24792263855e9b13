"""Weights of other projects, read without running anything that is in the file."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from casl.errors import DataError

WRAPPERS = ("model", "state_dict")  # under which others keep their state dict


def read_state(path: Path, absent: str = "") -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of any other that torch.load reads with weights_only.

    Args:
        path: of the file.
        absent: advice for when there is none, appended to the message.

    Raises:
        DataError: no such file, not readable without running code, or no state dict in it.
    """
    if not path.is_file():
        raise DataError(f"no weights at {path}.{absent}")
    if path.suffix == ".pkl":
        raise DataError(
            f"{path} is a pickle, which can run any code when it is opened, so it is not.\n"
            "  detectron2 itself turns it into a plain .pth: DetectionCheckpointer(model).load(path), and then\n"
            '  torch.save({"model": model.state_dict()}, "weights.pth").'
        )
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, ValueError, EOFError, OSError) as e:
        raise DataError(f"{path} is no checkpoint of plain tensors: {e}") from e
    for wrapper in WRAPPERS:
        state = state.get(wrapper, state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path} holds no state dict")
    return state
