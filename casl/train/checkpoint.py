"""Checkpoints: everything that affects the next step, in files that load without executing code.

A state is model parameters and buffers, the optimiser's moments and counters, and the iteration. Random generators are
not in it because each iteration seeds them anew from (seed, iteration), and the data order is a function of the
iteration too; so the iteration stands for both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load, load_file, save
from torch import nn

from casl.errors import StageError, StoreError
from casl.files import read_json_object, sha256, write_atomic, write_json
from casl.train.distributed import Peers
from casl.train.optimizer import load_state_tensors, state_tensors

KEPT = 2  # a damaged newest one then still leaves one to continue from
_LIST = "checkpoints.json"
_NAME = re.compile(r"\d{9,}\.safetensors")


@dataclass
class Curves:
    """Figures along a training: one row an iteration, as columns."""

    names: tuple[str, ...] = ()
    rows: list[list[float]] = field(default_factory=list)

    def add(self, iteration: int, figures: Mapping[str, float]) -> None:
        """Append one iteration's figures; every call names the same ones."""
        self.names = self.names or tuple(figures)
        self.rows.append([float(iteration), *(figures[n] for n in self.names)])

    def csv(self) -> str:
        """Header `iteration,<names>` and a line an iteration."""
        lines = [",".join(("iteration", *self.names))]
        lines += [",".join([str(int(row[0])), *(f"{v:.6g}" for v in row[1:])]) for row in self.rows]
        return "\n".join(lines) + "\n"


def save_weights(path: Path, model: nn.Module) -> None:
    """Model parameters and buffers as safetensors."""
    write_atomic(path, save({n: t.detach().cpu().contiguous() for n, t in model.state_dict().items()}))


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file.

    Raises:
        StageError: truncated, damaged or missing; names the file.
    """
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise StageError(f"{path} is damaged or unreadable ({error}).") from error
    return tensors


def save_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, iteration: int, curves: Curves) -> None:
    """The whole state of a training after `iteration` steps."""
    tensors = _tensors(model, optimizer)
    tensors["curves"] = torch.tensor(curves.rows, dtype=torch.float64).reshape(len(curves.rows), len(curves.names) + 1)
    metadata = {"iteration": str(iteration), "curves": json.dumps(curves.names)}
    write_atomic(path, save({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, metadata))


def share_state(model: nn.Module, optimizer: torch.optim.Optimizer, iteration: int, peers: Peers) -> int:
    """Give every rank the state of rank 0, which alone reads files; returns the iteration of rank 0.

    Raises:
        PeerLostError: a rank is gone.
    """
    if peers.world == 1:
        return iteration
    iteration = int(peers.gather([iteration])[0][0])
    own = {n: t.detach().cpu().contiguous() for n, t in _tensors(model, optimizer).items()} if peers.rank == 0 else {}
    data = peers.broadcast(save(own))
    if peers.rank:
        _restore(load(data), model, optimizer)
    return iteration


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {f"model/{n}": t for n, t in model.state_dict().items()}
    return tensors | {f"optimizer/{n}": t for n, t in state_tensors(model, optimizer)}


def _restore(tensors: Mapping[str, torch.Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.load_state_dict({n[6:]: t for n, t in tensors.items() if n.startswith("model/")})
    load_state_tensors(model, optimizer, {n[10:]: t for n, t in tensors.items() if n.startswith("optimizer/")})


def load_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, Curves]:
    """Continue from a file of `save_state`.

    Returns:
        The number of iterations already done, and the curves so far.

    Raises:
        StageError: truncated or damaged, or of another model; names the file.
    """
    tensors = load_weights(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    try:
        _restore(tensors, model, optimizer)
    except (RuntimeError, KeyError) as error:
        raise StageError(f"{path} holds the state of another model: {error}") from error
    curves = Curves(tuple(json.loads(metadata["curves"])), tensors["curves"].tolist())
    return int(metadata["iteration"]), curves


class Checkpoints:
    """The last few states of an unfinished training in a folder, listed with their checksums."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, iteration: int, curves: Curves) -> None:
        """Write a new one, list it, then remove those no longer kept."""
        name = f"{iteration:09d}.safetensors"
        save_state(self.folder / name, model, optimizer, iteration, curves)
        entries = {**self._entries()[0], name: sha256(self.folder / name)}
        kept = dict(sorted(entries.items())[-KEPT:])
        write_json(self.folder / _LIST, kept)
        for stale in entries.keys() - kept.keys():
            (self.folder / stale).unlink(missing_ok=True)

    def newest(self) -> tuple[Path | None, list[str]]:
        """The newest undamaged one, and a sentence for each damaged one passed over."""
        entries, damaged = self._entries()
        for name, digest in sorted(entries.items(), reverse=True):
            path = self.folder / name
            if path.is_file() and sha256(path) == digest:
                return path, damaged
            damaged.append(f"checkpoint {path} is damaged; continuing from an earlier one")
        return None, damaged

    def clear(self) -> None:
        """Remove all, once the result is there."""
        if self.folder.exists():
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()

    def _entries(self) -> tuple[dict[str, str], list[str]]:
        """Checksums by name; of a damaged list a sentence, and none: no checkpoint is known to be sound without it."""
        path = self.folder / _LIST
        try:
            entries = read_json_object(path) if path.exists() else {}
        except StoreError as error:
            return {}, [f"{error} None of its checkpoints counts; going on without them"]
        odd = [name for name in entries if not _NAME.fullmatch(name)]  # never removed: they may be anywhere
        said = [f"{path} is damaged: it lists {name!r:.80}, which is no checkpoint" for name in odd]
        return {name: entries[name] for name in entries if name not in odd}, said
