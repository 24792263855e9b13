"""The data set of CA-SSL (sec. 4, Table 7) from scanned collections: labeled and val of COCO, four unlabeled scales.

Composition (inferred: the paper gives sizes only; method reference sec. 5):

    tiny    COCO unlabeled2017                                      123 thousand in the paper
    small   that, and the tenths 0, 1 and 3 of Places365 train      660 thousand
    base    Open Images train                                       1.74 million
    large   all three                                               3.66 million

So small is no part of base. The tenth of an image of Places is the CRC-32 of its name modulo 10. Out of every scale go
images that are damaged, that equal one of val2017 (leakage) or train2017, or an earlier image of the same scale; equal
means equal bytes. Order: COCO, Open Images, Places, each by folder and name. A scale whose collections were not all
scanned is not written.

The set is a folder in the native layout whose images are links; nothing is copied. The lists of the scales are
manifests (casl.data.manifest), short ones too: they keep the hashes that the scan made, so that no image is read a
second time when a run begins, and a scale that grows past some length does not become another kind of file.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from casl.data.content import SETTLED_S
from casl.data.inventory import LAYOUTS, Group, groups_in, groups_of
from casl.data.layout import MANIFEST
from casl.data.manifest import SCHEMA, write_manifest
from casl.errors import DataError
from casl.files import disk_errors, write_atomic, write_json

INVENTORY, REPORT, QUARANTINE = "inventory", "prepared.json", "quarantine.json"
ROOTS = "roots.json"  # in the inventory: source -> its folder
PAPER = {"tiny": 123_403, "small": 660_000, "base": 1_740_000, "large": 3_660_000}
TENTHS = (0, 1, 3)  # of Places, in small
Member = tuple[str, str]  # source, group
UNLABELED: tuple[Member, ...] = (("coco", "unlabeled2017"), ("openimages", "train"), ("places", "train"))
SCALES: Mapping[str, tuple[Member, ...]] = {
    "tiny": UNLABELED[:1],
    "small": (UNLABELED[0], UNLABELED[2]),
    "base": (UNLABELED[1],),
    "large": UNLABELED,
}
LABELED = {"labeled": "train2017", "val": "val2017"}


@dataclass
class Scale:
    """What became of the images of a scale: found = kept + damaged + in_val + in_labeled + duplicates.

    planned: in the paper. found: before anything is left out.
    """

    planned: int
    found: int = 0
    kept: int = 0
    damaged: int = 0
    in_val: int = 0
    in_labeled: int = 0
    duplicates: int = 0
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Rows:
    """All images of a group. digests (N, 4) uint64; sound, tenth (N,)."""

    digests: NDArray[np.uint64]
    sound: NDArray[np.bool_]
    tenth: NDArray[np.int8]


def check_places(source: str, root: Path, out: Path) -> None:
    """Check the folders before anything is scanned, which takes hours, or written.

    Args:
        source: a collection.
        root: its folder as downloaded.
        out: folder of the set, which is made if it is missing.

    Raises:
        SpecError: no such source. DataError: the folder is in no known layout of it, COCO lacks images or annotations
            of labeled or val; or `out` is that folder, inside what is scanned, or holds something else than such a set.
    """
    groups = groups_of(source, root)
    if source == "coco":
        if missing := [name for name in LABELED.values() if name not in groups]:
            raise DataError(
                f"{root} has no {' and no '.join(missing)}: labeled and val are COCO's; unpack its images there."
            )
        _check_annotations(root / "annotations")
    real = out.resolve()
    if real == root.resolve():
        raise DataError(f"{out}: is the folder of {source} itself; name another --out.")
    for folder in (folder for parts in groups.values() for folder in parts):
        if real.is_relative_to(folder.resolve()):
            raise DataError(f"{out}: lies inside {folder}, which is scanned; name another --out.")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; name another --out.")
    if out.is_dir() and any(out.iterdir()) and not _is_prepared(out):
        raise DataError(
            f"{out}: holds something else than a set that `casl data prepare` began; name another --out, or a folder "
            "that is empty or not there."
        )


def _is_prepared(out: Path) -> bool:
    """Whether there is an inventory, of nothing but collections; a scan that was cut off has left it too."""
    inventory = out / INVENTORY
    return inventory.is_dir() and {path.name for path in inventory.iterdir()} <= {*LAYOUTS, ROOTS}


def _check_annotations(folder: Path) -> None:
    for name in LABELED.values():
        if not (folder / f"instances_{name}.json").is_file():
            raise DataError(f"{folder} has no instances_{name}.json: unpack COCO's annotations there.")


def compose(out: Path, roots: Mapping[str, Path]) -> dict[str, Any]:
    """Write the set from what was scanned into <out>/inventory.

    Args:
        out: folder of the set.
        roots: source -> its folder.

    Returns:
        What is also in <out>/prepared.json: per scale the numbers of Scale; damaged images; labeled images equal to
        images of val, which stay, since the benchmark has them.

    Raises:
        DataError: COCO was not scanned, or lacks annotations. StoreError: the folder cannot be written.
    """
    groups = groups_in(out / INVENTORY)
    coco = groups.get("coco", {})
    if missing := [name for name in LABELED.values() if name not in coco]:
        raise DataError(
            f"{out} has no {' and no '.join(missing)} yet: labeled and val are COCO's.\n"
            "  casl data prepare coco PATH --out SET comes first."
        )
    for source, root in roots.items():
        _link(out / "images" / source, root)
    _link_labeled(out, roots["coco"])
    rows = {(s, n): _load(group) for s, named in groups.items() for n, group in named.items()}
    val, labeled = rows["coco", "val2017"], rows["coco", "train2017"]
    report = {name: _scale(name, rows, val, labeled, groups, out) for name in SCALES}
    damaged = _quarantine(out, groups)
    again = ~_firsts(np.concatenate([val.digests, labeled.digests]))[len(val.digests) :]
    result = {
        "scales": {name: asdict(scale) for name, scale in report.items()},
        "damaged": damaged,
        "damaged_labeled": int((~labeled.sound).sum() + (~val.sound).sum()),
        "labeled_equal_to_val_or_another": int(again.sum()),
    }
    write_json(out / REPORT, result)
    return result


def _scale(
    name: str,
    rows: Mapping[Member, _Rows],
    val: _Rows,
    labeled: _Rows,
    groups: Mapping[str, Mapping[str, Group]],
    out: Path,
) -> Scale:
    """Decide about every image of a scale, and write its list."""
    members = SCALES[name]
    path = out / "annotations" / f"unlabeled_{name}{MANIFEST}"
    path.with_suffix(".json").unlink(missing_ok=True)  # as earlier versions wrote it
    scale = Scale(PAPER[name], missing=[f"{s} {g}" for s, g in members if (s, g) not in rows])
    if scale.missing:
        path.unlink(missing_ok=True)
        return scale
    chosen = [np.isin(rows[m].tenth, TENTHS) if name == "small" and m[0] == "places" else None for m in members]
    wanted = [np.ones(len(rows[m].sound), bool) if c is None else c for m, c in zip(members, chosen, strict=True)]
    sound = np.concatenate([rows[m].sound & w for m, w in zip(members, wanted, strict=True)])
    scale.found = int(sum(w.sum() for w in wanted))
    scale.damaged = scale.found - int(sound.sum())
    own = np.concatenate([rows[m].digests for m in members])[sound]
    scale.in_val = int((in_val := _among(own, val.digests)).sum())
    scale.in_labeled = int((in_labeled := _among(own, labeled.digests) & ~in_val).sum())
    free = ~(in_val | in_labeled)
    first = np.zeros_like(free)
    first[free] = _firsts(own[free])
    scale.duplicates = int((free & ~first).sum())
    keep = sound.copy()
    keep[sound] = first
    scale.kept = int(keep.sum())
    write_manifest(path, _listed(out / "images", [groups[s][g] for s, g in members], keep))
    return scale


def _listed(images: Path, groups: Sequence[Group], keep: NDArray[np.bool_]) -> Iterator[pa.Table]:
    """The images that are kept, a chunk at a time in memory."""
    place = number = 0
    for group in groups:
        for table in group.tables(["name", "width", "height", "sha256", "size", "mtime_ns"]):
            mask = keep[place : place + len(table)]
            place += len(table)
            kept = table.filter(mask)
            names = [f"{group.source}/{name}" for name in kept.column("name").to_pylist()]
            number += len(names)
            ids = np.arange(number - len(names) + 1, number + 1)
            listed = kept.drop_columns("name").append_column("id", pa.array(ids, pa.int64()))
            listed = listed.append_column("file_name", pa.array(names, pa.string()))
            listed = listed.append_column("inode", pa.array(_inodes(images, listed), pa.uint64()))
            yield listed.select(SCHEMA.names).cast(SCHEMA)


def _inodes(images: Path, listed: pa.Table) -> Iterator[int | None]:
    """The inode of each file; None of one that is not the one that was scanned, so that its hash does not count."""
    settled_ns = int((time.time() - SETTLED_S) * 1e9)
    columns = (listed.column(name).to_pylist() for name in ("file_name", "size", "mtime_ns"))
    for name, size, mtime_ns in zip(*columns, strict=True):
        try:
            facts = os.stat(f"{images}/{name}")  # noqa: PTH116  of millions
        except OSError:
            yield None
            continue
        same = (facts.st_size, facts.st_mtime_ns) == (size, mtime_ns)
        yield facts.st_ino if same and mtime_ns < settled_ns else None


def _load(group: Group) -> _Rows:
    digests, sound, tenth = [], [], []
    for table in group.tables(["name", "sha256", "problem"]):
        raw = b"".join(table.column("sha256").to_pylist())
        digests.append(np.frombuffer(raw, np.uint64).reshape(-1, 4))
        sound.append(np.array([problem == "" for problem in table.column("problem").to_pylist()], np.bool_))
        names = table.column("name").to_pylist()
        tenth.append(np.array([zlib.crc32(name.encode()) % 10 for name in names], np.int8))
    return _Rows(np.concatenate(digests), np.concatenate(sound), np.concatenate(tenth))


def _earliest(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each row the position of the first one equal to it: (N,) of (N, 4)."""
    count = len(digests)
    order = np.lexsort((np.arange(count), *digests.T))
    ordered = digests[order]
    starts = np.concatenate([np.ones(min(count, 1), bool), (ordered[1:] != ordered[:-1]).any(axis=1)])
    earliest = np.empty(count, np.int64)
    earliest[order] = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]] if count else order
    return earliest


def _firsts(digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether no earlier row is equal."""
    first: NDArray[np.bool_] = _earliest(digests) == np.arange(len(digests))
    return first


def _among(digests: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each row is one of the others."""
    found: NDArray[np.bool_] = _earliest(np.concatenate([others, digests]))[len(others) :] < len(others)
    return found


def _quarantine(out: Path, groups: Mapping[str, Mapping[str, Group]]) -> int:
    """List what cannot be decoded, of all sources; how many."""
    listed = [
        {"file": f"{source}/{row['name']}", "reason": row["problem"]}
        for source, named in groups.items()
        for group in named.values()
        for table in group.tables(["name", "problem"])
        for row in table.to_pylist()
        if row["problem"]
    ]
    write_atomic(out / QUARANTINE, (json.dumps(listed, indent=1) + "\n").encode())
    return len(listed)


def _link_labeled(out: Path, coco: Path) -> None:
    """Labeled and val as links to COCO's own files."""
    here, source = out / "annotations", coco / "annotations"
    _check_annotations(source)
    for split, folder in LABELED.items():
        _link(out / f"images_{split}", coco / folder)
        for kind in ("instances", "panoptic", "person_keypoints"):
            if (file := source / f"{kind}_{folder}.json").is_file():
                _link(here / f"{kind}_{split}.json", file)
        for place in (source / f"panoptic_{folder}", coco / f"panoptic_{folder}"):
            if place.is_dir():
                _link(here / f"panoptic_{split}", place)
                break


def _link(link: Path, target: Path) -> None:
    with disk_errors("link", link):
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target.resolve())
