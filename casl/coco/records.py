"""Readers of the lists in a COCO file. Every record that comes out is legal (see casl.coco.judge)."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from casl.coco.judge import (
    Size,
    annotation_problems,
    category_problems,
    image_problems,
    mask_problems,
    panoptic_problems,
)
from casl.coco.masks import Rle, to_rle, whole_masks
from casl.errors import DataError

Record = Mapping[str, Any]  # one entry of a COCO list, as the file has it
Problems = Callable[[Any], list[str]]
Say = Callable[[str], None]
Source = Path | str  # where the records are from, for messages: a file, or "ground truth"


def refuse(message: str) -> NoReturn:
    """Raise a problem as a DataError: what a reader does with the first one."""
    raise DataError(message)


def legal_records(
    records: Iterable[Any], what: str, problems_of: Problems, error: Say = refuse, unique: bool = True
) -> Iterator[Any]:
    """The records without problems, in their order.

    Args:
        records: entries of a COCO list.
        what: what they are and where, for messages: "instances_val.json: annotation". The id follows, or the position.
        problems_of: a judge of one record.
        error: called with every problem; one that returns lets the next record be judged.
        unique: they have ids, and a record with the id of an earlier one is refused.
    """
    seen: set[int] = set()
    for position, record in enumerate(records):
        problems = problems_of(record)
        if unique and not problems and record["id"] in seen:
            problems = ["this id is used twice; give every entry its own"]
        if problems:
            named = record.get("id") if isinstance(record, dict) else None
            where = f"{what} {f'at position {position}' if named is None else named!s:.80}"
            for problem in problems:
                error(f"{where}: {problem}")
            continue
        if unique:
            seen.add(record["id"])
        yield record


def image_records(
    data: Mapping[str, Any], source: Source, named: bool = True, error: Say = refuse
) -> dict[int, Record]:
    """Entries of "images" by id, in the order of the file.

    Args:
        data: content of a COCO file.
        source: where it is from, for messages.
        named: their files will be opened, so they need names.
        error: called with every problem.

    Raises:
        DataError: there is no such list, or what `error` raises.
    """
    entries = section(data, "images", source)
    found = legal_records(entries, f"{source}: image", lambda record: image_problems(record, named), error)
    return {record["id"]: record for record in found}


def category_records(
    data: Mapping[str, Any], source: Source, named: bool = True, panoptic: bool = False, error: Say = refuse
) -> dict[int, Record]:
    """Entries of "categories" by id, in the order of the file; the rest as `image_records`.

    Args:
        data, source, error: as in `image_records`.
        named: they will be shown, so they need names.
        panoptic: every category must say whether it is a thing.
    """

    def problems(record: Any) -> list[str]:
        return category_problems(record, named, panoptic)

    found = legal_records(section(data, "categories", source), f"{source}: category", problems, error)
    return {record["id"]: record for record in found}


def annotation_records(
    data: Mapping[str, Any],
    source: Source,
    sizes: Mapping[int, Size],
    categories: Container[int] | None,
    error: Say = refuse,
) -> Iterator[Record]:
    """Entries of "annotations" of an instance file; masks and keypoints are not looked at.

    Args:
        data, source, error: as in `image_records`.
        sizes, categories: as in `annotation_problems`.
    """

    def problems(record: Any) -> list[str]:
        return annotation_problems(record, sizes, categories)

    return legal_records(section(data, "annotations", source), f"{source}: annotation", problems, error)


def panoptic_records(
    data: Mapping[str, Any],
    source: Source,
    images: Container[int] | None,
    categories: Container[int],
    error: Say = refuse,
) -> dict[int, Record]:
    """Entries of "annotations" of a panoptic file by image, in the order of the file; no PNG is opened.

    Args:
        data, source, error: as in `image_records`.
        images, categories: as in `panoptic_problems`.
    """
    found: dict[int, Record] = {}
    for position, record in enumerate(section(data, "annotations", source)):
        problems = panoptic_problems(record, images, categories)
        if not problems and record["image_id"] in found:
            problems = ["it is annotated twice; keep one entry"]
        number = record.get("image_id") if isinstance(record, dict) else None
        where = f"annotation at position {position}" if number is None else f"image {number!s:.80}"
        for problem in problems:
            error(f"{source}: {where}: {problem}")
        if not problems:
            found[record["image_id"]] = record
    return found


def sizes_of(images: Mapping[int, Record]) -> dict[int, Size]:
    """(height, width) of every image by id."""
    return {number: (image["height"], image["width"]) for number, image in images.items()}


def check_masks(records: Sequence[Record], source: Source, sizes: Mapping[int, Size]) -> None:
    """Refuse the first annotation whose mask is illegal; all are legal otherwise. No mask is drawn."""
    whole = whole_masks(records)
    for position, record in enumerate(records):
        for problem in mask_problems(record, sizes[record["image_id"]], position in whole):
            refuse(f"{source}: annotation {record['id']}: {problem}")


def mask_of(record: Record, size: Size, owner: str, whole: bool = False) -> Rle:
    """Compressed RLE of a record that has a segmentation.

    Args:
        record: an annotation or result.
        size: of its image.
        owner: whose mask it is, for messages: "instances_val.json: annotation 12".
        whole: see casl.coco.masks.to_rle.

    Raises:
        DataError: the segmentation is illegal.
    """
    try:
        return to_rle(record["segmentation"], *size, whole)
    except ValueError as error:
        raise DataError(f"{owner}: {error}") from error


def section(data: Any, key: str, source: Source) -> Sequence[Any]:
    """The list `key` of a COCO file.

    Raises:
        DataError: there is no such list.
    """
    found = data.get(key) if isinstance(data, dict) else None
    if not isinstance(found, list | tuple):
        raise DataError(f"{source}: not COCO: '{key}' is missing or not a list.")
    return found
