"""A folder of the user's becomes the data of a profile: checked, counted, and named by its content.

Imports no torch: planning on a new data set must stay quick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from casl.data.check import check
from casl.data.coco import load_split
from casl.data.digest import digest
from casl.data.layout import SplitFiles, find_splits
from casl.errors import DataError
from casl.files import read_json, write_json
from casl.spec.data_kinds import Folder
from casl.spec.profile import FolderData

REQUIRED = ("labeled", "unlabeled", "val")
OPTIONAL = ("keypoints", "panoptic")


@dataclass(frozen=True)
class OpenedData:
    """data: for the profile. roots: digest -> folder, for the workers. said: lines for the user."""

    data: FolderData
    roots: dict[str, str]
    said: list[str]


def open_data(root: Path, memory: Path, progress: Callable[[int, int], None] | None = None) -> OpenedData:
    """Check a data set once per content and describe it.

    Args:
        root: folder in one of the layouts of casl.data.layout.
        memory: folder in the store for remembered hashes and passed checks.
        progress: (images done, images in all), while decoding.

    Raises:
        DataError: it lacks a split, or the check found errors; all of them are listed.
    """
    root = root.resolve()
    splits = find_splits(root)
    if missing := [
        s for s in REQUIRED if not any(name.split("_")[0] == s for name in splits if name != "unlabeled_gt")
    ]:
        raise DataError(
            f"{root} has no {' and no '.join(missing)} split; it has: {', '.join(sorted(splits))}.\n"
            "  a data set for CA-SSL needs labeled, unlabeled and val."
        )
    folders, left_out = _folders(splits, memory / "digests.json")
    _checked_once(root, folders, memory, progress)
    labeled = load_split(splits["labeled"], "objects")
    data = FolderData(
        name=root.name,
        folders=folders,
        classes=len(labeled.classes),
        has_masks=labeled.has_masks,
        has_entities=_in_both("entities", folders),
        stuff=len(load_split(splits["labeled"], "panoptic").stuff_classes) if _in_both("panoptic", folders) else 0,
        keypoints=len(load_split(splits["labeled"], "keypoints").keypoint_names)
        if _in_both("keypoints", folders)
        else 0,
    )
    counts = ", ".join(f"{f.count} {s} ({k})" for (s, k), f in sorted(folders.items()))
    said = [f"data set {root.name}: {counts}", *left_out]
    return OpenedData(data, {f.digest: str(root) for f in folders.values()}, said)


def _folders(splits: dict[str, SplitFiles], cache: Path) -> tuple[dict[tuple[str, str], Folder], list[str]]:
    """Every split with every kind of labels, and a sentence for each kind that cannot be used.

    Keypoints and panoptic labels are for single tables; a set whose own are of no use still serves the others.
    """
    folders: dict[tuple[str, str], Folder] = {}
    left_out = []
    for name, files in splits.items():
        for kind in _kinds(name, files) if name != "unlabeled_gt" else ():
            try:
                folders[name, kind] = _folder(files, kind, cache)
            except DataError as error:
                if kind not in OPTIONAL:
                    raise
                left_out.append(f"  {kind} labels of {name} are not used: {error}")
    return folders, left_out


def _in_both(kind: str, folders: dict[tuple[str, str], Folder]) -> bool:
    """Whether labeled and val have this kind of labels, so that it can be learned and judged."""
    return ("labeled", kind) in folders and ("val", kind) in folders


def _kinds(name: str, files: SplitFiles) -> list[str]:
    if name.startswith("unlabeled"):
        return ["images"]
    panoptic = bool(files.panoptic and files.panoptic_pngs)
    has = {
        "objects": bool(files.instances),
        "entities": bool(files.entity) or panoptic,
        "panoptic": panoptic,
        "keypoints": bool(files.keypoints),
    }
    return [kind for kind, present in has.items() if present]


def _folder(files: SplitFiles, kind: str, cache: Path) -> Folder:
    split = load_split(files, kind)
    value = digest(files, kind, cache).value
    return Folder(split=files.name, labels=kind, digest=value, classes=len(split.classes), count=len(split))


def _checked_once(
    root: Path, folders: dict[tuple[str, str], Folder], memory: Path, progress: Callable[[int, int], None] | None
) -> None:
    """Validate every file, unless exactly this content passed before."""
    passed = memory / "checked.json"
    known: dict[str, bool] = read_json(passed) if passed.exists() else {}
    digests = sorted({f.digest for f in folders.values()})
    if all(known.get(d) for d in digests):
        return
    check(root, progress=progress).raise_if_bad()
    write_json(passed, {**known, **dict.fromkeys(digests, True)})
