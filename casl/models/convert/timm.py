"""Weights of timm's classification models as a backbone of ours.

Source: timm models/resnet.py and swin_transformer.py; their names are those of `casl.models.backbone` but for a prefix.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from casl import catalog, rows
from casl.errors import DataError, SpecError, unknown
from casl.models.backbone import BODY, build_backbone, by_timm
from casl.models.convert.ledger import Ledger
from casl.models.swin import Swin


def from_timm(state: Mapping[str, Tensor], backbone: str) -> Ledger:
    """A backbone of ours.

    Args:
        state: a timm checkpoint.
        backbone: of the catalog's backbones.

    Raises:
        SpecError: no backbone was named, or an unknown one.
        DataError: the checkpoint is of another architecture.
    """
    if backbone not in (known := catalog.names("backbone")):
        raise SpecError(unknown("backbone", backbone, known, "--backbone names the one these weights are of."))
    row: rows.Backbone = catalog.row("backbone", backbone)
    body = build_backbone(backbone).body
    wanted = body.state_dict()
    ledger = Ledger(by_timm(state, body))
    ledger.rename(lambda key: f"{BODY}{key}" if key in wanted else None, "a classifier's, or nothing of this backbone")
    for key, value in wanted.items():
        name = f"{BODY}{key}"
        if name in ledger.state or key.endswith("num_batches_tracked"):
            continue
        if not (isinstance(body, Swin) and key.startswith("norm")):
            fitting = row.weights or "none published"
            raise DataError(f"these are no weights of {backbone}: they lack {key}. Known to fit: {fitting}.")
        ledger.make(name, value, "as initialised: norms on the maps of the stages, which timm has no weights for")
    if wrong := [
        k for k, v in wanted.items() if f"{BODY}{k}" in ledger.state and ledger.state[BODY + k].shape != v.shape
    ]:
        found = tuple(ledger.state[BODY + wrong[0]].shape)
        raise DataError(
            f"these are no weights of {backbone}: {wrong[0]} is {found}, not {tuple(wanted[wrong[0]].shape)}"
        )
    return ledger
