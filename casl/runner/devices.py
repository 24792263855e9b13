"""Devices: which ones this machine has, and which one a word such as "auto" means."""

from __future__ import annotations

import re

from casl.errors import SpecError, unknown

WORDS = ("auto", "cpu", "cuda", "cuda:0")
_GPU = re.compile(r"cuda(:\d+)?")
_NAMED = "GPUs are called cuda, or by number: cuda:1 is the second."


def devices() -> list[str]:
    """What can be asked for on this machine: "auto", "cpu", and "cuda" with each number where torch can use GPUs."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["auto", "cpu", *["cuda"] * (count > 0), *(f"cuda:{n}" for n in range(count))]


def check_device(name: str, *, here: bool = True) -> None:
    """Check a device before anything is computed on it. torch is imported only for one that is neither auto nor cpu.

    Args:
        here: whether it is one of this machine; of that of another one only the word can be judged.

    Raises:
        SpecError: it is none; the message names those that are there and the near miss.
    """
    if name in ("auto", "cpu"):
        return
    is_gpu = bool(_GPU.fullmatch(name))
    if not here:
        if not is_gpu:
            raise SpecError(unknown("device", name, WORDS, _NAMED))
        return
    there = devices()
    if is_gpu and "cuda" not in there:
        raise SpecError(
            f"device {name!r} was asked for, and torch can use no GPU here; there are: {', '.join(there)}.\n"
            "  `casl doctor` says why; `--device auto` takes a GPU where there is one."
        )
    if name not in there:
        raise SpecError(unknown("device", name, there, _NAMED))


def pick_device(name: str, rank: int = 0) -> str:
    """ "auto" becomes "cuda" where there is one, else "cpu"; of several ranks on GPUs each gets its own.

    Raises:
        SpecError: as `check_device`.
    """
    check_device(name)
    if name == "auto":
        name = "cuda" if "cuda" in devices() else "cpu"
    return f"cuda:{rank}" if name == "cuda" and rank else name
