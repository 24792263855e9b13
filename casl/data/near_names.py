"""Files that are there under another name than the annotations write: in a folder, in other letters, quoted."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path
from urllib.parse import unquote


def strange(path: Path) -> str:
    """What is at a path where a file is needed, as the end of a sentence; empty for a file, or for nothing at all."""
    try:
        found = path.lstat().st_mode
        if stat.S_ISLNK(found):
            found = path.stat().st_mode
    except FileNotFoundError:
        return f"is a link to {path.readlink()}, which is not there" if path.is_symlink() else ""
    except (OSError, ValueError):  # a name that no file can have, or links in a circle
        return ""
    if stat.S_ISREG(found):
        return ""
    return "is a folder" if stat.S_ISDIR(found) else "is no regular file"


class NearNames:
    """The files below a folder, to be asked for names that are nearly theirs. It is listed at the first question.

    Args:
        folder: that the names of the annotations are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, list[str]] | None = None

    def hint(self, name: str) -> str:
        """Which file was probably meant by a name that no file has, and how to write it; empty if none is near."""
        if self._files is None:
            self._files = _by_plain_name(self.folder)
        found = self._files.get(_plain(name), [])
        if len(found) != 1:  # of several none is known to be meant
            return ""
        there = f"{self.folder.name}/{found[0]} is there"
        return f"{there}: {_difference(name, found[0], self.folder.name)}"


def _by_plain_name(folder: Path) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.relpath(os.path.join(place, name), folder)  # noqa: PTH118  a million of them
            files.setdefault(_plain(name), []).append(path)
    return files


def _plain(name: str) -> str:
    """The last part of a name as it compares without case, quoting, and the form of its accents."""
    last = unquote(name.replace("\\", "/")).rsplit("/", 1)[-1]
    return unicodedata.normalize("NFC", last).casefold()


def _difference(name: str, found: str, folder: str) -> str:
    if "\\" in name or ("/" in name and name.rsplit("/", 1)[-1] == found.rsplit("/", 1)[-1]):
        return f"write names relative to {folder}/ with /"
    if "%" in name and unquote(name).rsplit("/", 1)[-1] == found.rsplit("/", 1)[-1]:
        return "write names as they are on disk, not as in an address (%20 is a space)"
    if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", found):
        forms = [form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, found)]
        return f"the same letters in another Unicode form ({' or '.join(forms) or 'mixed'} on disk); write that one"
    if name.casefold() == found.casefold():
        return "upper and lower case count"
    return f"write names relative to {folder}/, letter by letter"
