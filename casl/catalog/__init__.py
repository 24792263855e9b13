"""Every name a spec may use, and what is known of the thing behind it: name -> row.

A row is the place of an object as "module:attribute", or a small record that has such a place and the facts that
planning, reports and conversions need. Rows hold strings only, so that planning imports no torch; `load` imports the
module at the moment of use. Nothing is registered by importing. Beside the rows here stand those that other packages
offer (casl/offers.py).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from casl import offers
from casl.catalog.backbones import BACKBONES
from casl.catalog.detectors import DETECTORS
from casl.catalog.metrics import METRICS
from casl.catalog.registry import (
    ABLATIONS,
    AUGMENTATIONS,
    CLAIMS,
    DISSERTATION,
    LAUNCHERS,
    OF_THE_PAPER,
    OPTIMIZERS,
    PROFILES,
    STAGES,
)
from casl.errors import SpecError, unknown
from casl.offers import Offer
from casl.rows import Backbone, Detector, Kind, Metric, Row, place_of

__all__ = [
    "ABLATIONS",
    "AUGMENTATIONS",
    "BACKBONES",
    "CATALOGS",
    "CLAIMS",
    "DETECTORS",
    "DISSERTATION",
    "FORMS",
    "LAUNCHERS",
    "METRICS",
    "OF_THE_PAPER",
    "OPTIMIZERS",
    "PROFILES",
    "STAGES",
    "check_name",
    "load",
    "load_place",
    "names",
    "offer_of",
    "offered",
    "row",
]


CATALOGS: dict[str, Mapping[str, Row]] = {
    "ablation": ABLATIONS,
    "augmentation": AUGMENTATIONS,
    "backbone": BACKBONES,
    "claims": CLAIMS,
    "detector": DETECTORS,
    "launcher": LAUNCHERS,
    "metric": METRICS,
    "optimizer": OPTIMIZERS,
    "profile": PROFILES,
    "stage": STAGES,
}


# kinds that other packages may offer rows of, and the type of a row
FORMS: dict[str, type] = {kind: str for kind in CATALOGS if kind != "claims"} | {
    "backbone": Backbone,
    "detector": Detector,
    "metric": Metric,
    "stage": Kind,
}


def names(kind: str) -> Mapping[str, Row]:
    """Every name of a kind with its row: the built-in ones, then those that other packages offer.

    Args:
        kind: a key of CATALOGS, such as "detector".

    Raises:
        SpecError: what a package offers, of any kind, is not sound or has a name that is taken.
    """
    others = {name: row for offer in offered() for name, row in offer.rows.get(kind, {}).items()}
    return {**CATALOGS[kind], **others} if others else CATALOGS[kind]


@lru_cache(maxsize=1)
def offered() -> tuple[Offer, ...]:
    """What other packages offer, read and checked once a process.

    Raises:
        SpecError: as in `names`.
    """
    found = offers.read_offers()
    if found:
        offers.check(found, FORMS, CATALOGS)
    return found


def offer_of(kind: str, name: str) -> Offer | None:
    """The offer that a name comes from; None where it is casl's own."""
    return next((offer for offer in offered() if name in offer.rows.get(kind, {})), None)


def check_name(kind: str, name: str) -> str:
    """The name itself, if the catalog of that kind knows it.

    Args:
        kind: a key of CATALOGS, such as "detector".
        name: what a spec or a command line asked for.

    Raises:
        SpecError: unknown name; the message lists the known ones and the nearest.
    """
    row(kind, name)
    return name


def row(kind: str, name: str) -> Any:
    """The row of a name.

    Raises:
        SpecError: unknown name; the message lists the known ones and the nearest.
    """
    known = names(kind)
    if name not in known:
        advice = f"Your own {kind} is a row that your package offers: docs/extend.md."
        raise SpecError(unknown(kind, name, known, advice))
    return known[name]


def load(kind: str, name: str) -> Any:
    """The object a name stands for, imported now.

    Raises:
        SpecError: unknown name.
    """
    return load_place(place_of(row(kind, name)))


def load_place(place: str) -> Any:
    """The object at "module:attribute", imported now."""
    module, attribute = place.split(":")
    return getattr(importlib.import_module(module), attribute)
