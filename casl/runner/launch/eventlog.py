"""Events of a shepherd that runs somewhere else: it appends them to a file in the store, and the launcher reads on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

UNDER_WAY = ("begun", "progress")


class EventLog:
    """What was appended to a file since the last look. Lines that are no events are for people, and skipped.

    Args:
        path: the file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ending: dict[str, Any] = {}  # the last event that told how an attempt ended
        self.code: int | None = None  # exit status that the script above the shepherd wrote, if it did
        self._offset = 0

    @property
    def has_begun(self) -> bool:
        """Whether anything was written at all."""
        return self._offset > 0

    def news(self) -> list[dict[str, Any]]:
        """What a person should see: "begun" and the newest "progress". How attempts ended is kept in `ending`."""
        shown: dict[str, dict[str, Any]] = {}
        for event in self._events():
            kind = event["event"]
            if kind == "exit":
                self.code = int(event["code"])
            elif kind in UNDER_WAY:
                self.ending, self.code = {}, None
                shown[kind] = event
            elif kind != "busy":
                self.ending = event
        return list(shown.values())

    def _events(self) -> list[dict[str, Any]]:
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        *lines, rest = data.split(b"\n")
        self._offset += len(data) - len(rest)
        return [event for line in lines if (event := _event(line))]


def _event(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "event" in value else None
