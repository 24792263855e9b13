"""Pictures of one chain of stages, drawn from what they kept: no detector runs, and nothing is trained.

Labels are drawn as everywhere in casl, but masks as outlines alone, so that one image looks alike whatever is found in
it, and with NAMED names at most, or they would hide each other. A picture is a JPEG of at most SIDE pixels, and the
same results give the same bytes with one version of Pillow.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from casl.coco.masks import has_mask, to_rle
from casl.data.coco import CocoSplit, agnostic
from casl.data.pictures import draw_labels, side_by_side
from casl.data.pseudo import read_pseudo_labels
from casl.errors import DataError
from casl.metrics.per_image import f1_by_image
from casl.metrics.results import Result, read_results
from casl.spec.data_kinds import Folder
from casl.spec.kinds import Evaluate, PseudoLabel, Train
from casl.spec.run import PREDICTIONS
from casl.spec.stage import Stage
from casl.stages.kept import Finished
from casl.stages.licence import Terms, terms
from casl.stages.pictures import CONFIDENT, true
from casl.stages.sources import IMAGES, LABELS, known_truth, open_split, split_files

SIDE = 384  # px, of a picture's longer side
QUALITY = 88  # of the JPEG, with colours at full resolution: thin coloured lines stay
NAMED = 6  # labels of a picture with name and score, those of the highest scores
FIRST = 50  # labeled images among which the one with most classes is shown


@dataclass(frozen=True)
class Drawn:
    """One picture. image: name of the image file, without its suffix. boxes: how many are drawn."""

    image: str
    picture: Image.Image
    boxes: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.picture.size

    @property
    def jpeg(self) -> bytes:
        """The content of its file."""
        file = io.BytesIO()
        self.picture.save(file, "JPEG", quality=QUALITY, subsampling=0)
        return file.getvalue()


class Pictures(Finished):
    """Draws what finished stages kept, and remembers which images it showed; arguments as of Finished.

    licence: of images whose annotations name none, "" where the user states none.
    """

    above = CONFIDENT  # predictions that score no more are left out
    named = NAMED

    def __init__(
        self, folder_of: Callable[[str], Path], roots: Mapping[str, Path], digests: Path, licence: str = ""
    ) -> None:
        super().__init__(folder_of, roots, digests)
        self.licence = licence
        self._seen: dict[tuple[Stage, str], dict[str, None]] = defaultdict(dict)
        self._splits: dict[tuple[str, str], CocoSplit] = {}
        self._found: dict[str, Mapping[int, Sequence[Result]]] = {}

    def labeled(self, trained: Train) -> Drawn:
        """An image that a training learned from, with its labels: of the first FIRST the one with most classes.

        Raises:
            DataError: the split is not there any more, or changed.
        """
        split = self._split(trained.data, trained.labels)
        first = range(min(FIRST, len(split)))
        richest = max(first, key=lambda i: len({record["category_id"] for record in split.annotations[i]}))
        self._show(trained.data, trained.labels, split, richest)
        return _true(split, richest)

    def pseudo(self, labelled: PseudoLabel, threshold: float, count: int) -> list[tuple[Drawn, Drawn | None]]:
        """Images with the labels that score above a threshold, spread evenly over those that have any, each beside the
        truth where a data set knows it.

        Raises:
            DataError: labels or images are not there any more, or damaged.
        """
        images = split_files(labelled.data, self.context(labelled.data)).images
        split = read_pseudo_labels(self.folder_of(labelled.name) / LABELS, images, threshold)
        truth = self._truth_of(labelled)
        at = {image.file_name: n for n, image in enumerate(truth.images)} if truth else {}
        found = []
        for i in spread(len(split), count):
            labels = split.labels(i)
            classes = labels.labels if len(split.classes) > 1 else None
            image = IMAGES.read(split.path(i))
            drawn = _labelled(image, labels.boxes, classes, labels.scores, labels.rles, split.classes)
            self._show(labelled.data, "images", split, i)
            beside = at.get(split.images[i].file_name)
            known = None if truth is None or beside is None else _true(truth, beside)
            found.append((_drawn(split, i, drawn, len(labels.boxes)), known))
        return found

    def judged(self, done: Evaluate, image: int) -> Drawn:
        """An image of val, by its id, with what an evaluation found above `above`.

        Raises:
            DataError: predictions or images are not there any more, or damaged.
        """
        split, i = self._at(done, image)
        found = [r for r in self._results(done.name).get(image, ()) if r["score"] > self.above]
        boxes = np.array([r["bbox"] for r in found], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        info, many = split.images[i], done.trained.model.classes > 1
        labels = [split.label_of[r["category_id"]] for r in found] if many else None
        masks = bool(found) and all(has_mask(r) for r in found)
        rles = [to_rle(r["segmentation"], info.height, info.width) for r in found] if masks else None
        scores = [r["score"] for r in found]
        self._show(done.data, done.labels, split, i)
        drawn = _labelled(IMAGES.read(split.path(i)), boxes, labels, scores, rles, split.classes)
        return _drawn(split, i, drawn, len(found))

    def true(self, done: Evaluate, image: int) -> Drawn:
        """An image of val, by its id, with its labels; errors as `judged`."""
        split, i = self._at(done, image)
        self._show(done.data, done.labels, split, i)
        return _true(split, i)

    def shown(self, done: Evaluate, count: int) -> list[int]:
        """Ids of images of val, spread evenly over it."""
        split = self._split(done.data, done.labels)
        return [split.images[i].id for i in spread(len(split), count)]

    def f1(self, done: Evaluate) -> Mapping[int, float]:
        """F1 of each image of val by its id, percent, of what scores above `above`; see casl.metrics.per_image.

        Raises:
            DataError: predictions or split are not there any more, or damaged.
        """
        found = [result for results in self._results(done.name).values() for result in results]
        return f1_by_image(self.truth(done), found, self.above)

    def terms(self) -> Terms:
        """Whether everyone may be shown the images that were drawn; built-in scenes always.

        Raises:
            DataError: a data set is not there any more, or changed.
        """
        credit: dict[str, None] = {}
        for (data, kind), names in self._seen.items():
            if isinstance(data, Folder):
                found = terms(split_files(data, self.context(data)), kind, names, self.licence)
                if found.closed:
                    return found
                credit |= dict.fromkeys(found.credit)
        return Terms(credit=tuple(credit))

    def strip(self, pictures: Sequence[Drawn], headings: Sequence[str]) -> bytes:
        """PNG of pictures in a row under headings, in 256 colours."""
        row = side_by_side([[drawn.picture for drawn in pictures]], headings)
        file = io.BytesIO()
        row.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        return file.getvalue()

    def _split(self, data: Stage, labels: str) -> CocoSplit:
        """A split, read once."""
        if (data.name, labels) not in self._splits:
            self._splits[data.name, labels] = open_split(data, labels, self.context(data))
        return self._splits[data.name, labels]

    def _results(self, name: str) -> Mapping[int, Sequence[Result]]:
        """The predictions of an evaluation by image, read once."""
        if name not in self._found:
            found: dict[int, list[Result]] = defaultdict(list)
            for result in read_results(self.folder_of(name) / PREDICTIONS):
                found[result["image_id"]].append(result)
            self._found[name] = found
        return self._found[name]

    def _at(self, done: Evaluate, image: int) -> tuple[CocoSplit, int]:
        """The split of an evaluation, and the position of an image in it."""
        split = self._split(done.data, done.labels)
        place = next((n for n, one in enumerate(split.images) if one.id == image), None)
        if place is None:
            raise DataError(f"{split.source} has no image {image}; it changed since it was judged")
        return split, place

    def _truth_of(self, labelled: PseudoLabel) -> CocoSplit | None:
        """The true labels of images with pseudo labels, with as many classes as these; None where it is not known."""
        data, labels = labelled.data, labelled.labeler.labels
        truth = known_truth(data, labels, self.context(data))
        return truth if truth is None or labelled.labeler.model.classes > 1 else agnostic(truth)

    def _show(self, data: Stage, kind: str, split: CocoSplit, i: int) -> None:
        self._seen[data, kind][split.images[i].file_name] = None


def spread(length: int, count: int) -> list[int]:
    """So many positions, or all, spread evenly over a list."""
    count = min(count, length)
    return [i * length // count for i in range(count)]


_labelled = partial(draw_labels, filled=False, named=NAMED)


def _drawn(split: CocoSplit, i: int, picture: Image.Image, boxes: int) -> Drawn:
    picture.thumbnail((SIDE, SIDE))
    return Drawn(Path(split.images[i].file_name).stem, picture, boxes)


def _true(split: CocoSplit, i: int) -> Drawn:
    return _drawn(split, i, true(split, i, filled=False), len(split.annotations[i]))
