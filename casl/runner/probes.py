"""Rates tried on a device for a few steps, kept in the store beside what finished stages took."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casl.files import write_json

FILE = "probes.json"


def mark_of(alike: tuple[Any, ...]) -> str:
    """A short name for what stages of one rate have in common."""
    return hashlib.sha256(repr(alike).encode()).hexdigest()[:24]


def read_probes(root: Path) -> dict[str, dict[str, Any]]:
    """Mark -> {"seconds" a unit, "device", "what", "images"}; empty where nothing was tried, or the file is damaged."""
    try:
        found = json.loads((root / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_probes(root: Path, probes: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep these and what was there."""
    write_json(root / FILE, {**read_probes(root), **probes})
