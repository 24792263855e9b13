"""ImageSets/Main/train.txt and the like of Pascal VOC: which image is in which split."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from casl.data.importing.source import Folder, read_text
from casl.data.importing.splits import WORDS
from casl.errors import DataError, nearest

MISSING = "entries of ImageSets whose image is not there"
Parts = tuple[str, ...]
_FLAG = re.compile(r"(.*\S)\s+(?:-1|0|1)")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")


def listed_splits(folder: Folder, annotations: Mapping[Path, Path], said: Counter[str]) -> dict[Path, str]:
    """Split of each image that ImageSets/Main/{train,trainval,val,test}.txt names; val wins over trainval.

    An entry is the path of an image or of its annotation file, with or without suffix, below JPEGImages or Annotations
    beside ImageSets, or the end of its path. A 1, 0 or -1 behind all of them, as lists of one class have, is passed
    over.

    Args:
        folder: of the source, which may hold several such folders.
        annotations: annotation file of each labeled image.
        said: counts entries whose image is not there, as in a part of VOC.

    Raises:
        DataError: a list of which no image is there, or an entry that may be several images.
    """
    found: dict[Path, str] = {}
    missing: set[tuple[Path, str]] = set()
    known: dict[Path, _Kit] = {}
    for word in sorted(WORDS, key=lambda word: WORDS[word] == "val"):
        for path in folder.files:
            if path.parts[-3:] != ("ImageSets", "Main", f"{word}.txt"):
                continue
            base = path.parents[2]
            kit = known.setdefault(base, _Kit(base, folder, annotations))
            lines = [line for line in read_text(path).split("\n") if line.strip()]
            flagged = all(_FLAG.fullmatch(line.strip()) for line in lines)
            images = {line: kit.image(line, path, flagged) for line in lines}
            if images and not any(images.values()):
                raise DataError(f"{path}: {kit.unknown(next(iter(images)))}")
            found.update({image: WORDS[word] for image in images.values() if image})
            missing.update((base, line.strip()) for line, image in images.items() if not image)
    said[MISSING] += len(missing)
    return found


class _Kit:
    """The images of one folder with ImageSets in it, by the last name that an entry may have."""

    def __init__(self, base: Path, folder: Folder, annotations: Mapping[Path, Path]) -> None:
        self.base, self._labeled = base, annotations.keys()
        here = [image for image in folder.images if image.is_relative_to(base)] or folder.images
        self._ids: dict[str, list[tuple[Parts, Path]]] = {}
        self._files: dict[str, list[tuple[Parts, Path]]] = {}
        for image in here:
            for file in {image, annotations.get(image, image)}:
                self._ids.setdefault(_plain(file.stem), []).append((_parts(file.with_suffix("")), image))
                self._files.setdefault(_plain(file.name), []).append((_parts(file), image))

    def image(self, line: str, source: Path, flagged: bool) -> Path | None:
        """The image that a line names, None if there is none. flagged: it may have a flag at its end.

        Raises:
            DataError: there are several.
        """
        without = _FLAG.fullmatch(line.strip()) if flagged else None
        for entry in (line.rstrip("\r"), line.strip(), without[1] if without else ""):
            text = _plain(entry.replace("\\", "/"))
            wanted = PurePosixPath(re.sub(r"^(\.\.?/)+", "", text)).parts
            for index in (self._ids, self._files) if wanted else ():
                if found := self._nearest(index.get(wanted[-1], ()), wanted, bool(_ABSOLUTE.match(text))):
                    return self._only(found, entry, source)
        return None

    def _nearest(self, choices: Iterable[tuple[Parts, Path]], wanted: Parts, absolute: bool) -> set[Path]:
        """The images that an entry may be: those exactly below JPEGImages or Annotations, else all that end like it.

        Labeled ones come before others, such as the masks in SegmentationClass/.
        """
        exact, ending = set(), set()
        for parts, image in choices:
            below = parts[len(self.base.parts) :]
            inner = below[1:] if below[:1] in (("JPEGImages",), ("Annotations",)) else below
            if inner == wanted:
                exact.add(image)
            if parts[-len(wanted) :] == wanted or (absolute and wanted[-len(inner) :] == inner):
                ending.add(image)
        return (exact & self._labeled) or exact or (ending & self._labeled) or ending

    def _only(self, found: set[Path], entry: str, source: Path) -> Path:
        if len(found) > 1:
            places = " and ".join(str(path) for path in sorted(found)[:2])
            raise DataError(f"{source}: {entry!r:.80} may be {places}; write the folder before the name.")
        return next(iter(found))

    def unknown(self, line: str) -> str:
        """That an entry, as all others, names no image."""
        name = line.strip()
        last = _plain(name).replace("\\", "/").rpartition("/")[2]
        alike = (other for other in self._ids if other.casefold() == last.casefold())
        near = next(alike, "") or nearest(last, self._ids)
        hint = f"; did it mean {near!r:.80}?" if near else "."
        return f"{name!r:.80} and all other entries name no image of {self.base}{hint}"


def _parts(path: Path) -> Parts:
    return tuple(map(_plain, path.parts))


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)
