"""A data set on disk as JSON and back, and what is refused there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from casl.errors import SpecError
from casl.spec.data_kinds import Folder
from casl.spec.data_sets import FolderData
from casl.spec.described import content, described, read_described

KINDS = {
    "labeled": ("objects", "entities"),
    "unlabeled": ("images",),
    "unlabeled_tiny": ("images",),
    "val": ("objects",),
}
FOLDERS = {
    (split, labels): Folder(
        split, labels, f"{split}:{labels}", 3, 20, boxes="inclusive" if labels == "entities" else "exact"
    )
    for split, of in KINDS.items()
    for labels in of
}
OWN = FolderData("own", FOLDERS, 3, has_masks=True, has_entities=True, stuff=2, keypoints=5, names=("cat", "dog", "é"))


def of(data: FolderData = OWN) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(json.dumps(described(data)))
    return record


def test_a_set_is_the_same_after_it_was_written_and_read() -> None:
    again = read_described(of())
    assert again == OWN and content(again) == content(OWN)
    for place, folder in OWN.folders.items():
        assert again.folders[place].key == folder.key


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.pop(name)


def puts(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.update({name: value})


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (without("splits"), "its splits are not described"),
        (puts("splits", {"labeled objects": "e25b"}), "its splits are not described"),  # of an earlier version
        (puts("splits", []), "its splits are not described"),
        (puts("splits", [3]), "its splits are not described"),
        (puts("splits", [{"type": "Fodler"}]), "unknown stage type 'Fodler'"),
        (lambda record: record["splits"][0].pop("digest"), "a stored Folder does not fit"),
        (lambda record: record["splits"][0].update(digest="other"), "its splits are not those of content"),
        (lambda record: record["splits"].pop(), "its splits are not those of content"),
        (without("classes"), "'classes' must be of type int, got None"),
        (puts("classes", True), "'classes' must be of type int, got True"),
        (puts("has_masks", "yes"), "'has_masks' must be of type bool, got 'yes'"),
        (without("content"), "its splits are not those of content None"),
    ],
)
def test_a_record_that_was_changed_is_refused(harm: Callable[[dict[str, Any]], None], said: str) -> None:
    record = of()
    harm(record)
    with pytest.raises(SpecError) as caught:
        read_described(record)
    assert said in str(caught.value)
