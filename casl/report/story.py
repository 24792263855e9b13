"""The record of what a report opens with: the method in pictures of its own runs, and what the warmup changed.

It lies beside the pages as story.json, so that they can be written anew without the results; pictures are files in the
folder story/. `casl.report.story_told` makes it, `casl.report.story_page` shows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from casl.errors import DataError, StoreError
from casl.files import read_json_object
from casl.report import blocks

RECORD = "story.json"
STRIP = "story.png"  # the same images in one picture, for a README
FOLDER = "story"  # of the pictures
SHOWS, SHOWS_TOO = ": what it finds in an image of val", " What it finds in val."  # of a step, about its picture


@dataclass(frozen=True)
class Shown:
    """Pictures of one image, with what is said of it."""

    heading: str
    tiles: tuple[blocks.Tile, ...]


@dataclass(frozen=True)
class ClassLine:
    """AP of a class in percent, one number a seed, with the warmup and without. objects: in val."""

    name: str
    objects: int
    warm: tuple[float, ...]
    base: tuple[float, ...]


@dataclass(frozen=True)
class Story:
    """The record. warm, base: row and column of the numbers that it compares; base is () where there is none.

    iterations: of the target with the warmup, its own included, and without; () where there is no base. steps: of
    the method. long: row and column of a training without the warmup that is as long as with it. labels: images
    with pseudo labels, beside the truth where it is known. quality: figures of them, percent. val: images of val,
    without and with the warmup. gains, losses: those where F1 rises and falls most. rose, fell, same: in how many
    images. above: the score that shown predictions exceed. named: how many labels of a picture have name and score at
    most, 0 where all have. classes: most objects first. closed: why pictures are
    left out, "" where they are not. credit: licences of the images. notes: what could not be shown, and why.
    """

    table: str
    metric: str
    figure: str
    seed: int
    warm: tuple[str, str]
    base: tuple[str, ...]
    steps: tuple[blocks.Tile, ...]
    iterations: tuple[int, ...] = ()
    long: tuple[str, ...] = ()
    labels: tuple[Shown, ...] = ()
    quality: tuple[tuple[str, float], ...] = ()
    val: tuple[Shown, ...] = ()
    gains: tuple[Shown, ...] = ()
    losses: tuple[Shown, ...] = ()
    rose: int = 0
    fell: int = 0
    same: int = 0
    above: float = 0.0
    named: int = 0
    classes: tuple[ClassLine, ...] = ()
    closed: str = ""
    credit: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def to_json(story: Story) -> str:
    """The record as it lies beside the pages."""
    return json.dumps(asdict(story), indent=1, allow_nan=False) + "\n"


def files_of(story: Story) -> set[str]:
    """Names of the pictures that a story shows, as its pages link them."""
    rows = (*story.labels, *story.val, *story.gains, *story.losses)
    tiles = [*story.steps, *(tile for row in rows for tile in row.tiles)]
    return {tile.file for tile in tiles if tile.file}


def read_story(folder: Path) -> Story | None:
    """The story of a folder of reports, None where it has none.

    Raises:
        DataError: its record is damaged, or of another version.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        return _story(read_json_object(path))
    except (StoreError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it, and `casl report` writes it anew") from error


def _story(record: Mapping[str, Any]) -> Story:
    """A story of JSON values. Raises KeyError, TypeError and ValueError for what is none."""
    return Story(
        **{
            **{name: _frozen(value) for name, value in record.items()},
            "steps": tuple(map(_tile, record["steps"])),
            **{name: tuple(map(_shown, record[name])) for name in ("labels", "val", "gains", "losses")},
            "classes": tuple(ClassLine(**{k: _frozen(v) for k, v in line.items()}) for line in record["classes"]),
        }
    )


def _tile(record: Mapping[str, Any]) -> blocks.Tile:
    width, height = record["size"]
    return blocks.Tile(**{**record, "size": (int(width), int(height))})


def _shown(record: Mapping[str, Any]) -> Shown:
    return Shown(str(record["heading"]), tuple(map(_tile, record["tiles"])))


def _frozen(value: Any) -> Any:
    """A JSON value with tuples in place of lists."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
