"""The content of a split as one hash: equal for equal data wherever it lies, different once any byte matters.

Standard library only, so that a plan can hash data without loading numpy.
"""

from __future__ import annotations

import hashlib
import json
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

from casl.coco.reading import read_object
from casl.data.content import SETTLED_S, Digest, unreadable
from casl.data.layout import MANIFEST, SplitFiles
from casl.errors import DataError
from casl.files import if_writable, recalled, write_atomic

CACHE_FORMAT = 1
WITH_CROWDS = {"objects", "entities", "keypoints"}  # files whose annotations may be marked iscrowd


def digest(files: SplitFiles, kind: str, cache: Path | None = None) -> Digest:
    """Hash everything that reading a split as `kind` depends on.

    That is the annotation file, the images it lists and, where panoptic is read, its PNGs; for kind "panoptic" also the
    instance file where the split has one. Folders and the name of the annotation file are not part of it. For kind
    "images" the annotation file counts only for its list of images, so that labels that are not read change nothing;
    nor does it count whether the list is JSON or a manifest (casl.data.manifest).
    Crowds read as objects make another digest of every file in which they are.

    Args:
        files: from `find_splits`.
        kind: "objects", "entities", "images", "keypoints" or "panoptic".
        cache: JSON file that remembers hashes by path, size, modification time and inode; those of manifests are in a
            folder beside it. With it, a second call on unchanged files reads none of them. Made if missing, made anew
            if damaged, done without where it cannot be written.

    Returns:
        The digest.

    Raises:
        DataError: the split has no such annotations, they are not COCO, or a file is missing.
        SpecError: no such kind.
    """
    source = files.source(kind)
    panoptic = kind in ("entities", "panoptic") and source == files.panoptic
    known = _Cache(cache)
    if source.suffix == MANIFEST:
        return _of_manifest(source, files.images, known)
    content, names = known.annotations(source)
    role = "panoptic" if panoptic else kind
    found = {"image list": names["list"]} if kind == "images" else {role: content}
    if kind == "panoptic" and files.instances:
        found["objects"] = known.sha256(files.instances)
    for name in names["images"]:
        found[f"images/{name}"] = known.sha256(files.images / name)
    if panoptic and files.panoptic_pngs:
        for name in names["pngs"]:
            found[f"panoptic/{name}"] = known.sha256(files.panoptic_pngs / name)
    known.save()
    content_of = sorted(found.items())
    if files.crowds_are_objects and found.keys() & WITH_CROWDS:
        content_of.append(("crowds", "objects"))
    return Digest(_sha256_of(content_of), found)


def _of_manifest(path: Path, images: Path, known: _Cache) -> Digest:
    from casl.data.list_digest import list_digest  # which needs pyarrow

    content = known.sha256(path)
    known.save()
    if known.path is not None:
        place = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]
        with if_writable():
            return list_digest(path, images, content, known.path.with_suffix("") / f"{place}{MANIFEST}")
    with tempfile.TemporaryDirectory() as folder:
        return list_digest(path, images, content, Path(folder) / f"known{MANIFEST}")


def changes(old: Digest, new: Digest) -> list[str]:
    """What differs between two digests, one line a file: "changed: ...", "added: ...", "removed: ..."; sorted."""
    lines = [f"removed: {name}" for name in old.files.keys() - new.files.keys()]
    lines += [f"added: {name}" for name in new.files.keys() - old.files.keys()]
    lines += [f"changed: {name}" for name in old.files.keys() & new.files.keys() if old.files[name] != new.files[name]]
    return sorted(lines)


class _Cache:
    """Hashes by path, each with the stamp of the file it was made from; nothing in it is trusted beyond its stamp."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.entries: dict[str, dict[str, Any]] = _load(path) if path else {}
        self.changed = False

    def sha256(self, path: Path) -> str:
        return str(self._entry(path)["sha256"])

    def annotations(self, path: Path) -> tuple[str, dict[str, Any]]:
        """Hash of an annotation file, and the names in it."""
        entry = self._entry(path)
        if "names" not in entry:
            entry["names"] = _names(path)
            self.changed = True
        return str(entry["sha256"]), entry["names"]

    def save(self) -> None:
        if self.path is None or not self.changed:
            return
        settled = {name: entry for name, entry in self.entries.items() if not entry.get("young")}
        with if_writable():
            write_atomic(self.path, json.dumps({"format": CACHE_FORMAT, "entries": settled}).encode())

    def _entry(self, path: Path) -> dict[str, Any]:
        key = str(path.absolute())
        try:
            facts = path.stat()  # before reading: a write in between makes the stamp stale, not the hash
            if not stat.S_ISREG(facts.st_mode):  # opening a pipe waits for ever, and a device may have no end
                raise OSError("it is no regular file")
            stamp = [facts.st_size, facts.st_mtime_ns, facts.st_ino]
            if key not in self.entries or self.entries[key]["stamp"] != stamp:
                with path.open("rb") as stream:
                    value = hashlib.file_digest(stream, "sha256").hexdigest()
                self.entries[key] = {"stamp": stamp, "sha256": value}
                if time.time() - facts.st_mtime < SETTLED_S:
                    self.entries[key]["young"] = True
                self.changed = True
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            raise unreadable(path, error) from error
        return self.entries[key]


def _load(path: Path) -> dict[str, dict[str, Any]]:
    data = recalled(path)
    if data.get("format") != CACHE_FORMAT or not isinstance(data.get("entries"), dict):
        return {}
    return {
        key: entry
        for key, entry in data["entries"].items()
        if isinstance(entry, dict) and {"stamp", "sha256"} <= entry.keys()
    }


def _names(path: Path) -> dict[str, Any]:
    data = read_object(path)
    try:
        images = [[image["id"], image["file_name"], image["width"], image["height"]] for image in data["images"]]
        names = sorted({str(image[1]) for image in images})
        held = data.get("annotations")  # may be anything in a list of images, of which only `images` is read
        records = [record for record in held if isinstance(record, dict)] if isinstance(held, list) else []
        pngs = sorted({str(record["file_name"]) for record in records if "segments_info" in record})
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not COCO: {error!r}. Run casl data check for all problems.") from error
    return {"images": names, "list": _sha256_of(images), "pngs": pngs}


def _sha256_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
