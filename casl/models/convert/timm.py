"""Weights of timm's classification models as a backbone of ours.

Source: timm models/resnet.py and swin_transformer.py; their names are those of `casl.models.backbone` but for a prefix.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from casl import catalog
from casl.errors import SpecError, unknown
from casl.models.backbone import build_backbone
from casl.models.body import BODY, COUNTER, by_timm, check_fits
from casl.models.convert.ledger import Ledger


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
    check_fits(backbone, state, published=True)
    body = build_backbone(backbone).body
    wanted = body.state_dict()
    ledger = Ledger(by_timm(state, body))
    ledger.rename(lambda key: f"{BODY}{key}" if key in wanted else None, "a classifier's, or computed here")
    for key, value in wanted.items():
        if f"{BODY}{key}" not in ledger.state and not key.endswith(COUNTER):
            what = "as initialised: norms on the maps of the stages, which timm has no weights for"
            ledger.make(f"{BODY}{key}", value, what)
    return ledger
