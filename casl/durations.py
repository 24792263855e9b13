"""Lengths of time as people type them in options: 3h, 45m, 90s."""

from __future__ import annotations

import re

from casl.errors import SpecError

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_MOST = 10_000 * _SECONDS["d"]


def seconds_of(text: str, option: str) -> float:
    """Seconds of "3h", "45m", "90s" or "1d"; "0" needs no unit.

    Raises:
        SpecError: it is none of these, or longer than 10,000 days; says which option it was given for.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]+)", "0s" if text == "0" else text, re.ASCII)
    if not found or found[2] not in _SECONDS:
        raise SpecError(f"{option} is a time such as 3h, 45m or 90s, got {text!r:.80}")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > _MOST:
        raise SpecError(f"{option} is at most 10000d, got {text}")
    return seconds
