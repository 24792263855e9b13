"""What a backbone is made of: timm's network that gives C2..C5, and whether weights are of the same network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import timm
import torch
from timm.models.swin_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from casl import catalog, rows
from casl.errors import DataError
from casl.models import lite
from casl.models.swin import Swin

BODY = "backbone.body."  # what begins the names of a backbone's tensors in a detector
COUNTER = ".num_batches_tracked"  # of a batch norm; frozen ones have none
_CONSTANT = (COUNTER, ".relative_position_index", ".attn_mask")  # computed where they are missing
# modules behind C5 in timm's and torchvision's networks
_CLASSIFIERS = {"fc", "classifier", "norm", "conv_head", "bn2"}
# of a Swin of ours: timm's and torchvision's have none
_OPTIONAL = ("norm0.", "norm1.", "norm2.", "norm3.", "policies.")
_PATCHES = "patch_embed.proj.weight"
_TABLE = ".relative_position_bias_table"


def is_swin(row: rows.Backbone) -> bool:
    """Whether the backbone of a row is a Swin Transformer."""
    return row.timm.startswith("swin_")


def make_body(row: rows.Backbone, drop_path: float = 0.0, usage: float = 1.0) -> tuple[nn.Module, tuple[int, ...]]:
    """The network of a row with random weights, and the channels of C2..C5; arguments as of `build_backbone`."""
    if is_swin(row):
        swin = Swin(timm.create_model(row.timm, num_classes=0, drop_path_rate=drop_path, **row.arguments), usage)
        return swin, swin.channels
    body = timm.create_model(
        row.timm, features_only=True, out_indices=(1, 2, 3, 4), drop_path_rate=drop_path, **row.arguments
    )
    return body, tuple(body.feature_info.channels())


def by_timm(state: Mapping[str, Tensor], body: nn.Module) -> Mapping[str, Tensor]:
    """Published weights under the names of a body; those that it has no place for keep theirs.

    A Swin's tables of positions are resized to the body's window.

    Raises:
        DataError: EfficientNet-Lite's own names, and the body is another network.
    """
    if isinstance(body, Swin):
        own = body.state_dict()
        foreign = {k: v for k, v in state.items() if k.endswith(_TABLE) and not _is_table(v, own.get(k))}
        foreign |= {k: v for k, v in state.items() if k == _PATCHES and v.dim() != own[_PATCHES].dim()}
        renamed = checkpoint_filter_fn({k: v for k, v in state.items() if k not in foreign}, body)
        return {**renamed, **foreign}
    return lite.by_timm(state, body) if lite.is_own(state) else state


def _is_table(value: Tensor, own: Tensor | None) -> bool:
    """Whether a table of positions can be resized to a body's: of as many heads, for square windows."""
    square = value.dim() == 2 and round(len(value) ** 0.5) ** 2 == len(value)
    return own is not None and square and value.shape[1] == own.shape[1]


@dataclass(frozen=True)
class Difference:
    """How weights differ from those of a backbone: names that are missing, foreign, or of another shape."""

    missing: tuple[str, ...]
    foreign: tuple[str, ...]
    other: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.foreign or self.other)


def difference(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Difference:
    """Names and shapes of weights compared with those of a body, both ways.

    Classifiers behind C5, counters and constants do not count, nor do norms and policies that a Swin lacks.

    Args:
        state: weights under the names of a body.
        wanted: state dict of the body.
    """
    return Difference(
        missing=tuple(
            k for k in wanted if k not in state and not k.endswith(_CONSTANT) and not k.startswith(_OPTIONAL)
        ),
        foreign=tuple(k for k in state if k not in wanted and not k.endswith(_CONSTANT) and not _is_beside(k)),
        other=tuple(
            k for k, v in wanted.items() if k in state and not k.endswith(_CONSTANT) and state[k].shape != v.shape
        ),
    )


def _is_beside(key: str) -> bool:
    """Whether weights may have a tensor that a body has not, and be the same network up to C5."""
    top = key.partition(".")[0]
    return top in _CLASSIFIERS or "head" in top or top == "policies"


def check_fits(
    name: str,
    state: Mapping[str, Tensor],
    where: str = "the source",
    *,
    published: bool = False,
    body: nn.Module | None = None,
) -> None:
    """Refuse weights of another network than a backbone's.

    Args:
        name: of the catalog's backbones.
        state: weights under the names of a body, or as published.
        where: what the weights are, as the subject of the message.
        published: they are a checkpoint of timm's, with its own names for some networks and a Swin of any window.
        body: of the backbone; None for one made by name, where the backbone is not a function of another package.

    Raises:
        SpecError: an unknown name.
        DataError: they are of another network; the message says what differs, and which backbone they fit.
    """
    row: rows.Backbone = catalog.row("backbone", name)
    if body is None and not _is_ours(row):
        return
    network = body or _empty(name)
    named, wanted = (by_timm(state, network) if published else state), network.state_dict()
    found = difference(named, wanted)
    if not found:
        return
    fitting = fitting_backbones(state, published)
    known = f"\n  Known to fit: {row.weights}." if row.weights else ""
    advice = f"\n  It fits {' and '.join(fitting)}." if fitting else known
    raise DataError(f"{where} does not fit {name}: {_told(name, found, named, wanted)}.{advice}")


def fitting_backbones(state: Mapping[str, Tensor], published: bool = False) -> list[str]:
    """Backbones of the catalog that weights are of; arguments as of `check_fits`."""
    bodies = {n: _empty(n) for n in catalog.names("backbone") if _is_ours(catalog.row("backbone", n))}
    if published and lite.is_own(state):
        bodies = {name: body for name, body in bodies.items() if lite.is_of(state, body)}
    if published:
        return [name for name, body in bodies.items() if not difference(by_timm(state, body), body.state_dict())]
    return [name for name, body in bodies.items() if not difference(state, body.state_dict())]


def nearest_missing(state: Mapping[str, Tensor]) -> list[str]:
    """What weights under the names of a body lack of the backbone of the catalog that they are the most of.

    Empty where they are whole, there are none, or they are of no backbone of the catalog. A Swin's norms count.
    """
    bodies = [_tensors(n) for n in catalog.names("backbone") if _is_ours(catalog.row("backbone", n))]
    found = [
        [key for key in wanted if key not in state and not key.endswith(_CONSTANT)]
        for wanted in (bodies if state else ())
        if all(_is_same(key, value, wanted) for key, value in state.items())
    ]
    return min(found, key=len, default=[])


def _is_same(key: str, value: Tensor, wanted: Mapping[str, Tensor]) -> bool:
    if key.endswith(_CONSTANT) or (key not in wanted and _is_beside(key)):
        return True
    return key in wanted and value.shape == wanted[key].shape


def _is_ours(row: rows.Backbone) -> bool:
    """Whether a row is made by the function that casl has for all that timm has."""
    return row.build == rows.Backbone("").build


@lru_cache(maxsize=64)
def _empty(name: str) -> nn.Module:
    """The body of a backbone of which nothing is allocated."""
    with torch.device("meta"):
        return make_body(catalog.row("backbone", name))[0]


@lru_cache(maxsize=64)
def _tensors(name: str) -> dict[str, Tensor]:
    return _empty(name).state_dict()


def _told(name: str, found: Difference, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """One example of each kind of difference."""
    said = []
    if found.missing:
        said.append(f"it lacks {_first(found.missing)}")
    if found.foreign:
        said.append(f"it has {_first(found.foreign)}, which {name} has not")
    if key := next(iter(found.other), ""):
        more = f", and {len(found.other) - 1} more differ" if found.other[1:] else ""
        said.append(f"{key} is {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}{more}")
    return "; ".join(said)


def _first(keys: tuple[str, ...]) -> str:
    return keys[0] + (f" and {len(keys) - 1} more" if keys[1:] else "")
