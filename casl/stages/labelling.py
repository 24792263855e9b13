"""What `casl label` does: the pseudo labels of any images, written for any trainer, without a study around them."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from casl.coco.records import Record
from casl.data.coco import AGNOSTIC
from casl.data.exporting.make import FORMATS as FORMATS  # for the command line, which imports stages only
from casl.data.exporting.make import writer_of
from casl.data.exporting.writer import Json, Labelled, Writer, useful
from casl.data.image import dim_values, read_with_range
from casl.data.image_info import ImageInfo
from casl.data.pseudo import read_pseudo_labels
from casl.errors import DataError
from casl.stages.detectors import BATCH
from casl.stages.predict import Detector, Pixels, taught_by
from casl.words import number_of

READERS = 4  # threads that decode the next batch while the detector works on this one
Progress = Callable[[int, int], None]
Image = tuple[Pixels, int | None]  # and the largest value of a 16-bit file


@dataclass
class Labels:
    """What was labelled.

    Attributes:
        root: folder of all images, which their names in the result are relative to.
        images: that are in the result.
        empty: without a label above the threshold, and so left out unless they are wanted.
        masks: whether the result has any.
        objects: labels by name of class.
        unreadable: a sentence for each file that is no image.
        warnings: sentences about what may make the labels poor.
    """

    root: str
    images: int = 0
    empty: int = 0
    masks: bool = False
    objects: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wish:
    """How labels are written.

    Attributes:
        form: a key of FORMATS.
        out: file or folder, as of `writer_of`.
        threshold: delta, in [0, 1); a score must exceed it.
        keep_empty: images without a label are in the result too; CA-SSL leaves them out (eq. 3).
    """

    form: str
    out: Path
    threshold: float
    keep_empty: bool = False


def label_images(detector: Detector, images: Sequence[Path], wish: Wish, progress: Progress) -> Labels:
    """Write the pseudo labels of images. They are what `casl predict` finds in them.

    Args:
        detector: says classes and their category ids.
        images: files; one named twice is labelled once.
        progress: told (images done, images in all) after every batch.

    Raises:
        DataError: two images would have one file of labels, the folder to write is there, or there is nothing to write.
        SpecError: as `writer_of`. StoreError: the disk is full or not to be written. Nothing is left then.

    Source: CA-SSL (ECCV 2022) eq. 2 and 3, sec. 3.1.
    """
    paths = list(dict.fromkeys(Path(os.path.normpath(path.absolute())) for path in images))
    root = Path(os.path.commonpath([path.parent for path in paths]))
    names = [path.relative_to(root).as_posix() for path in paths]
    FORMATS[wish.form].check(names, _classes(detector))
    found, sides, deep = Labels(str(root)), set(), []
    with _writer(_classes(detector), detector.names.category_ids, detector.stage.name, wish) as writer:
        for batch in _read(paths):
            progress(batch[0][0], len(paths))
            whole = []
            for number, image in batch:
                if isinstance(image, DataError):
                    found.unreadable.append(f"{paths[number]}: {image.__cause__ or image}")
                else:
                    whole.append((number, image))
            answers = detector.find_in([pixels for _, (pixels, _) in whole], wish.threshold)
            for (number, (pixels, highest)), answer in zip(whole, answers, strict=True):
                height, width = pixels.shape[:2]
                sides.add((height, width))
                deep += [highest] if highest is not None else []
                objects = detector.results(ImageInfo(number, names[number], width, height), answer)
                shown = Labelled(names[number], width, height, paths[number])
                _keep(found, writer, shown, [_alone(entry) for entry in objects], wish)
        _refuse_nothing(found, len(paths), wish)
    progress(len(paths), len(paths))
    found.warnings = [sentence for sentence in (dim_values(deep), detector.unlike(sides)) if sentence]
    return found


def labels_as_coco(folder: Path, images: str, labeler: str, wish: Wish) -> Labels:
    """Write the labels that a pseudolabel stage left as one file of COCO's.

    Args:
        folder: of the labels. images: what is said of the folder of their images. labeler: name of the stage.
        wish: its threshold is compared as float32, as where a warmup reads them.

    Raises:
        DataError: labels are missing or damaged. SpecError, StoreError: as in `label_images`.
    """
    split, found = read_pseudo_labels(folder, Path(), wish.threshold), Labels(images)
    with _writer(split.classes, split.category_ids, labeler, wish) as writer:
        for image, objects in zip(split.images, split.annotations, strict=True):
            shown = Labelled(image.file_name, image.width, image.height)
            _keep(found, writer, shown, [_alone(entry) for entry in objects], wish)
        _refuse_nothing(found, len(split), wish)
    return found


def _classes(detector: Detector) -> Sequence[str]:
    """Names of a detector's classes; an entity has no class, so it is called as a class-agnostic object."""
    entities = taught_by(detector.stage)[1] == "entities"
    return (AGNOSTIC,) if entities and len(detector.names.classes) == 1 else detector.names.classes


def _writer(classes: Sequence[str], ids: Sequence[int], model: str, wish: Wish) -> Writer:
    said = f"pseudo labels of {model}, score > {wish.threshold:g}"
    about = {"description": said, "model": model, "threshold": wish.threshold}
    return writer_of(wish.form, wish.out, dict(zip(ids, classes, strict=True)), about)


def _keep(found: Labels, writer: Writer, image: Labelled, objects: Sequence[Json], wish: Wish) -> None:
    kept = useful(objects)
    found.empty += not kept and not wish.keep_empty
    if kept or wish.keep_empty:
        writer.add(image, kept)
        found.images += 1
        found.masks |= not writer.without_masks and any("segmentation" in entry for entry in kept)
        found.objects.update(writer.classes[entry["category_id"]] for entry in kept)


def _refuse_nothing(found: Labels, count: int, wish: Wish) -> None:
    if count and len(found.unreadable) == count:
        raise DataError("\n".join(["none of the images can be read, so nothing is written:", *found.unreadable]))
    if not found.images:
        read = number_of(count - len(found.unreadable), "image")
        raise DataError(
            f"nothing scores above {wish.threshold:g} in {read}; nothing is written.\n"
            "  lower --threshold (detectors give scores from 0.05 on), or label with a model that was trained longer."
        )


def _alone(entry: Record) -> Json:
    """What formats have a place for: keypoints would need names, and ids are given anew."""
    return {name: entry[name] for name in ("category_id", "bbox", "score", "segmentation") if name in entry}


def _read(paths: Sequence[Path]) -> Iterator[list[tuple[int, Image | DataError]]]:
    """Batches of images with their positions, the next one decoded while the last is used."""
    batches = [range(first, min(first + BATCH, len(paths))) for first in range(0, len(paths), BATCH)]
    with ThreadPoolExecutor(READERS) as threads:
        waiting = [threads.submit(_decoded, paths[number]) for number in batches[0]]
        for batch, following in zip(batches, [*batches[1:], range(0)], strict=True):
            ahead = [threads.submit(_decoded, paths[number]) for number in following]
            yield [(number, future.result()) for number, future in zip(batch, waiting, strict=True)]
            waiting = ahead


def _decoded(path: Path) -> Image | DataError:
    try:
        return read_with_range(path)
    except DataError as error:
        return error
