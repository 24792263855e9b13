"""Words for splits in the names of folders and files."""

from __future__ import annotations

import re
from pathlib import Path

WORDS = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "labeled": "train",  # as sets of casl's own call it
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_FOLDER = re.compile(rf"(?:(?:images?|labels?|annotations?|instances)_)?({'|'.join(WORDS)})(?:\d{{4}})?")
_FILE = re.compile(rf"(?:(?:instances?|annotations?|labels?|coco)_)?({'|'.join(WORDS)})(?:\d{{4}})?(?:[._]\w+)?")


def split_of(path: Path, root: Path, by_name: bool = False) -> str | None:
    """ "train", "val" or "test" of a file by the folder it is in, innermost first; None where none says so.

    by_name: the file's own name may say it, as annotations/instances_train.json does.
    """
    parts = list(path.relative_to(root).parts[:-1])
    if by_name and (own := _FILE.fullmatch(path.stem.lower())):
        return WORDS[own[1]]
    found = (_FOLDER.fullmatch(part.lower()) for part in reversed(parts))
    return next((WORDS[match[1]] for match in found if match), None)
