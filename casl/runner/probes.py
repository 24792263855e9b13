"""Probes: seconds a unit of work that a device took in a few steps of `casl plan --probe`, kept in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casl.files import if_writable, recalled, write_json

FILE = "probes.json"


def mark_of(alike: tuple[Any, ...]) -> str:
    """A short name for what stages with the same rate have in common, a part of `Work.alike`."""
    return hashlib.sha256(repr(alike).encode()).hexdigest()[:24]


def read_probes(root: Path) -> dict[str, dict[str, Any]]:
    """Mark -> {"seconds" a unit, "device", "what", "images"}; empty where nothing was tried, or the file is damaged."""
    return recalled(root / FILE)


def write_probes(root: Path, probes: Mapping[str, Mapping[str, Any]]) -> None:
    """Add rates to those in the file, where it can be written; of equal marks the new ones stay."""
    with if_writable():
        write_json(root / FILE, {**read_probes(root), **probes})
