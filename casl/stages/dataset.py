"""A folder of the user's becomes the data of a profile: checked, counted, and named by its content.

`casl data check` and planning ask the same functions, so that both accept the same sets. Imports no torch: planning on
a new data set must stay quick.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from casl.data.check import RULES, Report, check
from casl.data.coco import CocoSplit, load_split, with_keypoints
from casl.data.digest import digest
from casl.data.layout import SplitFiles, find_splits, unread
from casl.errors import DataError
from casl.files import if_writable, recalled, write_json
from casl.spec.data_kinds import Folder
from casl.spec.data_sets import TRUTH, FolderData

REQUIRED = ("labeled", "unlabeled", "val")
OPTIONAL = ("keypoints", "panoptic")
CROWDS_OPTION = "--crowds-are-objects"
Progress = Callable[[int, int], None]
Place = tuple[str, str]  # split, kind of labels
Naming = Callable[[SplitFiles, str], str]  # of a split and the kind of its labels -> its digest


@dataclass(frozen=True)
class OpenedData:
    """data: for the profile. roots: digest -> folder, for the workers. said: lines for the user. warnings: of the
    check, also of one that was made by an earlier command."""

    data: FolderData
    roots: dict[str, str]
    said: list[str]
    warnings: list[str]


@dataclass(frozen=True)
class _Read:
    """What reading a split with one kind of labels showed.

    names: of classes by rising category id. nothing: why nothing can be learned from it, or empty.
    """

    folder: Folder
    has_masks: bool
    stuff: int
    keypoints: int
    names: tuple[str, ...]
    nothing: str


def open_data(
    root: Path, memory: Path, progress: Progress | None = None, crowds_are_objects: bool = False
) -> OpenedData:
    """Check a data set once per content and describe it.

    Args:
        root: folder in one of the layouts of casl.data.layout.
        memory: folder in the store for remembered hashes, passed checks and their warnings.
        progress: (images done, images in all), while decoding.
        crowds_are_objects: see SplitFiles.

    Raises:
        DataError: it lacks a split, the check found errors, or there is nothing to learn; all of them are listed.
    """
    root = root.resolve()
    splits = find_splits(root, crowds_are_objects)
    if missing := _missing(root, splits):
        raise DataError(missing)
    checked = partial(check, root, progress=progress, crowds_are_objects=crowds_are_objects)
    try:
        read, left_out = _read_all(splits, lambda files, kind: digest(files, kind, memory / "digests.json").value)
    except DataError:
        checked().raise_if_bad()  # which names everything that is wrong, not the first that reading came upon
        raise
    warnings = _checked_once(read, memory / "checked.json", checked)
    Report(errors=_nothing_to_learn(read)).raise_if_bad()
    data = _described(root, read)
    counts = ", ".join(f"{f.count} {s} ({k})" for (s, k), f in sorted(data.folders.items()))
    said = [f"data set {root.name}: {counts}"]
    return OpenedData(data, {f.digest: str(root) for f in data.folders.values()}, said, [*warnings, *left_out])


def inspect(
    root: Path, progress: Progress | None = None, crowds_are_objects: bool = False, decode: bool = True
) -> tuple[Report, FolderData | None]:
    """All that `open_data` would refuse or warn of, as a report; and the data for a profile, None if it refuses.

    Arguments as `open_data` and `check`. The data are for looking at tables only: they have no digests.

    Raises:
        DataError: there is no data set in `root`.
    """
    root = root.resolve()
    splits = find_splits(root, crowds_are_objects)
    report = check(root, decode=decode, progress=progress, crowds_are_objects=crowds_are_objects)
    if missing := _missing(root, splits):
        report.errors.append(missing)
    if report.errors:
        return report, None
    try:
        read, left_out = _read_all(splits, lambda files, kind: "")
    except DataError as error:
        report.errors.append(str(error))
        return report, None
    report.warnings += left_out
    report.errors += _nothing_to_learn(read)
    return report, None if report.errors else _described(root, read)


def _missing(root: Path, splits: Mapping[str, SplitFiles]) -> str:
    """A sentence about the splits without which no stage can begin; empty if all are there."""
    scales = {"unlabeled": [name for name in splits if name.startswith("unlabeled") and name != TRUTH]}
    missing = [name for name in REQUIRED if not scales.get(name, name in splits)]
    if not missing and splits["labeled"].instances and splits["val"].instances:
        return ""
    if not missing:
        bare = next(name for name in ("labeled", "val") if not splits[name].instances)
        return f"{root}: split {bare!r} has no objects; write instances_{bare}.json (COCO instances).{unread(root)}"
    return (
        f"{root} has no {' and no '.join(missing)} split; it has: {', '.join(sorted(splits))}.\n"
        f"  a data set for CA-SSL needs labeled, unlabeled and val.{unread(root)}"
    )


def _read_all(splits: Mapping[str, SplitFiles], naming: Naming) -> tuple[dict[Place, _Read], list[str]]:
    """Every split with every kind of labels, and a sentence for each kind that cannot be used.

    Keypoints and panoptic labels are for single tables; a set whose own are of no use still serves the others.
    """
    read: dict[Place, _Read] = {}
    left_out = []
    for name, files in splits.items():
        for kind in _kinds(name, files):
            try:
                read[name, kind] = _read(files, kind, naming)
            except DataError as error:
                if kind not in OPTIONAL:
                    raise
                why = " ".join(str(error).replace(f"{files.images.parent}/", "").split())  # a line of reports too
                left_out.append(f"{kind} labels of {name} are not used: {why}")
    return read, left_out + _counted_differently(read)


def _counted_differently(read: Mapping[Place, _Read]) -> list[str]:
    """A sentence if labeled and val count boxes of entities in different ways: a model learns one and is judged by the
    other, a pixel apart."""
    boxes = {name: read[name, "entities"].folder.boxes for name in ("labeled", "val") if (name, "entities") in read}
    if len(set(boxes.values())) < 2:
        return []
    ways = " and ".join(f"{way} in {name}" for name, way in boxes.items())
    return [
        f"boxes of entities are {ways}: exact ones come from entity_<split>.json, inclusive ones, a pixel short, from "
        "panoptic files; write that file for both or for neither"
    ]


def _kinds(name: str, files: SplitFiles) -> list[str]:
    if name.startswith("unlabeled") and name != TRUTH:
        return ["images"]
    panoptic = bool(files.panoptic and files.panoptic_pngs)
    has = {
        "objects": bool(files.instances),
        "entities": bool(files.entity) or panoptic,
        "panoptic": panoptic,
        "keypoints": bool(files.keypoints),
    }
    kinds = ("objects", "entities") if name == TRUTH else tuple(has)  # oracles learn and judge these
    return [kind for kind in kinds if has[kind]]


def _read(files: SplitFiles, kind: str, naming: Naming) -> _Read:
    split = load_split(files, kind)
    if kind == "keypoints" and not len(with_keypoints(split)):
        raise DataError(f"{_named(split)}: no object has a labeled keypoint.")
    folder = Folder(
        split=files.name,
        labels=kind,
        digest=naming(files, kind),
        classes=len(split.classes),
        count=len(split),
        boxes="inclusive" if files.derives(kind) else "exact",
    )
    learned = files.name in ("labeled", "val") and kind in ("objects", "entities")
    nothing = _nothing(split, "learn" if files.name == "labeled" else "find") if learned else ""
    if not len(split):
        nothing = f"{_named(split)}: 0 images in {files.name}; list at least one"
    names = tuple(name for _, name in sorted(zip(split.category_ids, split.classes, strict=True)))
    return _Read(folder, split.has_masks, len(split.stuff_classes), len(split.keypoint_names), names, nothing)


def _in_both(kind: str, read: Mapping[Place, _Read]) -> bool:
    """Whether labeled and val have this kind of labels, so that it can be learned and judged."""
    return ("labeled", kind) in read and ("val", kind) in read


def _described(root: Path, read: Mapping[Place, _Read]) -> FolderData:
    objects = read["labeled", "objects"]
    return FolderData(
        name=root.name,
        folders={place: found.folder for place, found in read.items()},
        classes=objects.folder.classes,
        has_masks=objects.has_masks,
        has_entities=_in_both("entities", read),
        stuff=read["labeled", "panoptic"].stuff if _in_both("panoptic", read) else 0,
        keypoints=read["labeled", "keypoints"].keypoints if _in_both("keypoints", read) else 0,
        names=objects.names,
    )


def _nothing_to_learn(read: Mapping[Place, _Read]) -> list[str]:
    """What leaves a stage without images, classes or objects, one sentence each."""
    used = {kind: _in_both(kind, read) for kind in ("entities", "panoptic", "keypoints")}
    return list(dict.fromkeys(r.nothing for (_, kind), r in read.items() if r.nothing and used.get(kind, True)))


def _nothing(split: CocoSplit, verb: str) -> str:
    if not split.classes:
        return f"{_named(split)}: 'categories' is empty, so there is no class to {verb}; list every class there"
    problem = _no_object(split, verb)
    return problem and f"{_named(split)}: {problem}"


def _no_object(split: CocoSplit, verb: str) -> str:
    """That no annotation of a split is an object with an area and not a crowd, and why; empty if one is."""
    if any(not split.labels(i).crowd.all() for i in range(len(split))):
        return ""
    crowds = Counter(bool(record.get("iscrowd", 0)) for records in split.annotations for record in records)
    if not crowds:
        return f"there is no annotation, so there is no object to {verb}; annotate at least one"
    why = [f"{crowds[True]} are crowds (iscrowd 1)"] * bool(crowds[True])
    why += [f"{crowds[False]} have no area or an empty mask"] * bool(crowds[False])
    way_out = (
        f"CVAT writes brush masks as crowds. If each is one object, add {CROWDS_OPTION} (make: CROWDS=yes)"
        if crowds[True]
        else "annotate at least one object"
    )
    return f"none of {crowds.total()} annotations is an object to {verb}: {' and '.join(why)}. {way_out}"


def _named(split: CocoSplit) -> str:
    path = Path(split.source)
    return f"{path.parent.name}/{path.name}"


def _checked_once(read: Mapping[Place, _Read], memory: Path, checked: Callable[[], Report]) -> list[str]:
    """Validate every file, unless exactly this content passed before; the warnings of then or now."""
    known = recalled(memory)
    content = json.dumps([RULES, sorted((*place, r.folder.digest) for place, r in read.items())])
    key = hashlib.sha256(content.encode()).hexdigest()
    if isinstance(remembered := known.get(key), list):
        return [str(line) for line in remembered]
    report = checked()
    report.raise_if_bad()
    with if_writable():
        write_json(memory, {**known, key: report.warnings})
    return report.warnings
