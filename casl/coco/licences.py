"""Licences of photographs as COCO's files state them: a list `licenses`, of which each image names one by `license`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Licence:
    """One entry of the list; name or url may be empty, not both."""

    name: str
    url: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.name} {self.url}".strip()


class Licences:
    """The list of one file, and what it says of an image. A list of one stands for all images.

    What is none of COCO's form is left out, as is an entry that neither has a name nor says where its text is; CVAT
    writes one into every file.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        found = data.get("licenses")
        entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
        known = {entry["id"]: _licence(entry) for entry in entries if _is_number(entry.get("id"))}
        self._alone = next(iter(known)) if len(known) == 1 else None
        self._known = {number: licence for number, licence in known.items() if licence.words}

    def __bool__(self) -> bool:
        return bool(self._known)

    def of(self, image: Mapping[str, Any]) -> Licence | None:
        """The licence of an entry of "images", None where the file names none."""
        number = image.get("license", self._alone)
        return self._known.get(number) if _is_number(number) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _licence(entry: Mapping[str, Any]) -> Licence:
    return Licence(*(str(entry[key]).strip() if entry.get(key) is not None else "" for key in ("name", "url")))
