"""The story of a report from the runs it is about: what is shown, in which words.

Nothing is picked by eye. Images of val and of the labels are spread evenly; best and worst cases are those with the
largest rise and fall of F1, ties in the order of val; and the one of the steps has the median change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from casl.errors import DataError
from casl.report.blocks import Tile
from casl.report.story import FOLDER, RECORD, SHOWS, SHOWS_TOO, STRIP, ClassLine, Shown, Story, files_of, to_json
from casl.report.story_choice import Choice, Side
from casl.report.written import Contents
from casl.spec.data_kinds import DataSet
from casl.spec.kinds import Evaluate, PseudoLabel, Train
from casl.spec.stage import Stage
from casl.words import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LABELED = 3  # images with pseudo labels
VAL = 4  # images of val
CASES = 2  # best, and as many worst
HEADINGS = ("labeled image", "pseudo labels", "true objects", "without warmup", "with warmup")
QUALITY = {"precision": "precision", "recall": "recall", "f1": "F1"}  # of labels above a threshold

Figures = Callable[[Side], Sequence[Any]]  # of each seed of a cell: [{"name", "objects", "ap"}], or why not as text


class Drawn(Protocol):
    """One picture."""

    @property
    def image(self) -> str: ...
    @property
    def boxes(self) -> int: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def jpeg(self) -> bytes: ...


class Terms(Protocol):
    """What the licences of images say."""

    @property
    def closed(self) -> str: ...
    @property
    def credit(self) -> tuple[str, ...]: ...


class Painter(Protocol):
    """What draws: casl.stages.story.Pictures. Its methods raise DataError where results or images are gone."""

    @property
    def above(self) -> float: ...
    @property
    def named(self) -> int: ...
    def labeled(self, trained: Train) -> Drawn: ...
    def pseudo(self, labelled: PseudoLabel, threshold: float, count: int) -> Sequence[tuple[Drawn, Drawn | None]]: ...
    def judged(self, done: Evaluate, image: int) -> Drawn: ...
    def true(self, done: Evaluate, image: int) -> Drawn: ...
    def shown(self, done: Evaluate, count: int) -> list[int]: ...
    def f1(self, done: Evaluate) -> Mapping[int, float]: ...
    def terms(self) -> Terms: ...
    def strip(self, pictures: Sequence[Any], headings: Sequence[str]) -> bytes: ...


def tell(
    choice: Choice,
    painter: Painter,
    classes: Figures,
    quality: Mapping[str, float],
    *,
    for_everyone: bool,
    private: Sequence[str] = (),
) -> Contents:
    """The record and its pictures, by file name.

    Args:
        classes: AP of each class.
        quality: figures that the pseudo labels were measured by, "f1@0.3" and so on; empty where there is no truth.
        for_everyone: leave out photographs whose licence does not let everyone pass them on.
        private: folders of this machine, which no page names.
    """
    teller = _Teller(choice, painter, private)
    story = teller.story(classes, quality)
    terms = painter.terms()
    if terms.closed and for_everyone:
        return {RECORD: to_json(without_pictures(story, terms.closed))}
    shown = files_of(story)
    pictures = {name: content for name, content in teller.files.items() if name in shown or name == STRIP}
    return {RECORD: to_json(replace(story, credit=terms.credit)), **pictures}


def without_pictures(story: Story, closed: str) -> Story:
    """A story with its words and numbers alone. closed: why."""
    steps = tuple(replace(tile, file="", alt="", size=(0, 0)) for tile in story.steps)
    return replace(story, steps=steps, labels=(), val=(), gains=(), losses=(), closed=closed)


class _Teller:
    """Draws one choice. files: what is drawn, by file name."""

    def __init__(self, choice: Choice, painter: Painter, private: Sequence[str]) -> None:
        self.choice, self.painter, self.private = choice, painter, private
        self.files: dict[str, str | bytes] = {}
        self.notes: dict[str, None] = {}
        self.in_line: dict[str, Drawn] = {}  # of the strip, by heading
        self.before: Mapping[int, float] = {}  # F1 of each image of val
        self.after: Mapping[int, float] = {}

    def story(self, classes: Figures, quality: Mapping[str, float]) -> Story:
        """All of it; parts whose results are gone are left out, and noted."""
        choice = self.choice
        base = choice.base
        with self._part():
            if base:
                self.before, self.after = self.painter.f1(base.done), self.painter.f1(choice.warm.done)
        labels = self._labels()
        steps = self._steps(labels)
        val = self._val()
        cell = choice.warm.cell
        story = Story(
            table=choice.table.name,
            metric=cell.metric,
            figure=cell.figure,
            seed=choice.seed,
            warm=(cell.row, cell.column),
            base=(base.cell.row, base.cell.column) if base else (),
            steps=steps,
            long=(choice.long.cell.row, choice.long.cell.column) if choice.long else (),
            iterations=(choice.warmup.iters + choice.finetune.iters, base.done.model.iters) if base else (),
            labels=labels[:LABELED],
            quality=_quality(quality, choice.warmup.threshold),
            val=val,
            above=self.painter.above,
            named=self.painter.named,
            classes=_classes(classes(choice.warm), classes(base) if base else ()),
        )
        story = self._with_cases(story)
        if all(heading in self.in_line for heading in HEADINGS):
            self.files[STRIP] = self.painter.strip([self.in_line[heading] for heading in HEADINGS], HEADINGS)
        return replace(story, notes=tuple(self.notes))

    @contextmanager
    def _part(self) -> Iterator[None]:
        """A part that is left out where its results are gone."""
        try:
            yield
        except DataError as error:
            said = str(error).splitlines()[0].removesuffix(".")
            for folder in self.private:
                said = said.replace(f"{folder}/", "")
            self.notes[said] = None

    def _tile(self, name: str, drawn: Drawn, title: str, text: str = "") -> Tile:
        file = f"{FOLDER}/{name}.jpg"
        self.files[file] = drawn.jpeg
        alt = f"{title}: image {drawn.image} with {number_of(drawn.boxes, 'box', 'boxes')}"
        return Tile(title, text, file, alt, drawn.size)

    def _judged(self, name: str, done: Evaluate, image: int, title: str) -> Tile:
        drawn = self.painter.judged(done, image)
        return self._tile(name, drawn, title, "" if drawn.boxes else f"nothing scores above {self.painter.above:g}")

    def _labels(self) -> tuple[Shown, ...]:
        """Images with pseudo labels beside the truth; the last of them is for the step of the warmup."""
        rows = []
        with self._part():
            warmup = self.choice.warmup
            found = self.painter.pseudo(self.choice.labelled, warmup.threshold, LABELED + 1)
            for n, (drawn, truth) in enumerate(found, start=1):
                tiles = [self._tile(f"labels-{n}", drawn, "pseudo labels", f"score > {warmup.threshold:g}")]
                tiles += [self._tile(f"labels-{n}-truth", truth, "truth")] if truth and n <= LABELED else []
                rows.append(Shown(f"image {drawn.image}", tuple(tiles)))
            if found:
                self.in_line["pseudo labels"] = found[0][0]
        return tuple(rows)

    def _said(self) -> list[Tile]:
        """The steps in words."""
        choice = self.choice
        labelled, labeler, warmup, finetune = choice.labelled, choice.labeler, choice.warmup, choice.finetune
        delta = f"{warmup.threshold:g}"
        return [
            Tile(
                "1. Labeled images",
                f"{_images(labeler.data)} labeled images teach a labeler ({_model(labeler)}), classes dropped.",
            ),
            Tile(
                "2. Pseudo labels",
                f"It marks {_images(labelled.data)} unlabeled images. Labels that score above {delta} stay.",
            ),
            Tile("3. Warmup", f"{_model(warmup)} learns from them for {warmup.iters:,} iterations, without classes."),
            Tile(
                "4. Finetune",
                f"Then {finetune.iters:,} iterations on {_images(finetune.data)} labeled images with their classes"
                f"{SHOWS}.",
            ),
        ]

    def _steps(self, labels: Sequence[Shown]) -> tuple[Tile, ...]:
        """The steps with their pictures."""
        choice, steps = self.choice, self._said()
        labeler, finetune = choice.labeler, choice.finetune
        with self._part():
            drawn = self.painter.labeled(labeler if labeler.labels == "objects" else finetune)
            self.in_line["labeled image"] = drawn
            steps[0] = self._tile("labeled", drawn, steps[0].title, str(steps[0].text))
        if labels:
            steps[1] = _as(labels[0].tiles[0], steps[1])
            steps[2] = _as(labels[-1].tiles[0], steps[2])
        with self._part():
            typical = self._typical()
            if choice.between:
                shown = self.painter.judged(choice.between, typical)
                steps[2] = self._tile("warmup", shown, steps[2].title, f"{steps[2].text}{SHOWS_TOO}")
            drawn = self.painter.judged(choice.warm.done, typical)
            steps[3] = self._tile("finetune", drawn, steps[3].title, str(steps[3].text))
            self.in_line["true objects"] = self.painter.true(choice.warm.done, typical)
            self.in_line["with warmup"] = drawn
            if choice.base:
                self.in_line["without warmup"] = self.painter.judged(choice.base.done, typical)
        return tuple(steps)

    @property
    def rise(self) -> dict[int, float]:
        """By how much the warmup raises F1 of each image of val that has one on both sides, least first."""
        rise = {image: self.after[image] - self.before[image] for image in self.after if image in self.before}
        return dict(sorted(rise.items(), key=lambda item: item[1]))

    def _typical(self) -> int:
        """The image whose F1 changes by the median; the first of val where there is nothing to compare with."""
        rise = list(self.rise)
        return rise[len(rise) // 2] if rise else self.painter.shown(self.choice.warm.done, 1)[0]

    def _val(self) -> tuple[Shown, ...]:
        rows: list[Shown] = []
        with self._part():
            for n, image in enumerate(self.painter.shown(self.choice.warm.done, VAL), start=1):
                rows.append(self._sides(f"val-{n}", image, ""))
        return tuple(rows)

    def _sides(self, name: str, image: int, words: str) -> Shown:
        """Truth, without the warmup where that is measured, and with it."""
        warm, base = self.choice.warm.done, self.choice.base
        truth = self.painter.true(warm, image)
        before = [self._judged(f"{name}-without", base.done, image, "without")] if base else []
        after = self._judged(f"{name}-with", warm, image, "with")
        return Shown(f"image {truth.image}{words}", (self._tile(f"{name}-truth", truth, "truth"), *before, after))

    def _with_cases(self, story: Story) -> Story:
        rise = self.rise
        up = sorted((i for i in rise if rise[i] > 0), key=lambda i: -rise[i])
        down = [i for i in rise if rise[i] < 0]
        with self._part():
            story = replace(story, gains=self._cases("gain", up), losses=self._cases("loss", down))
        return replace(story, rose=len(up), fell=len(down), same=len(rise) - len(up) - len(down))

    def _cases(self, name: str, images: Sequence[int]) -> tuple[Shown, ...]:
        shown = enumerate(images[:CASES], start=1)
        return tuple(
            self._sides(f"{name}-{n}", i, f": F1 {self.before[i]:.0f} without, {self.after[i]:.0f} with")
            for n, i in shown
        )


def _as(drawn: Tile, step: Tile) -> Tile:
    """A step with a picture that is there already."""
    return replace(drawn, title=step.title, text=step.text)


def _images(data: Stage) -> str:
    return f"{data.images:,}" if isinstance(data, DataSet) else "the"


def _model(trained: Train) -> str:
    return f"{trained.model.detector} {trained.model.backbone}"


def _quality(measured: Mapping[str, float], threshold: float) -> tuple[tuple[str, float], ...]:
    """AP of all labels, and precision, recall and F1 above the threshold where they were counted there."""
    wanted = {
        "AP": "AP of all labels",
        **{f"{n}@{threshold}": f"{words} above {threshold:g}" for n, words in QUALITY.items()},
    }
    return tuple((words, float(measured[name])) for name, words in wanted.items() if name in measured)


def _classes(warm: Sequence[Any], base: Sequence[Any]) -> tuple[ClassLine, ...]:
    """One line a class from the figures of each seed; seeds without figures are left out."""
    sides: list[dict[str, list[float]]] = [{}, {}]
    objects: dict[str, int] = {}
    for values, seeds in zip(sides, (warm, base), strict=True):
        for entry in (one for seed in seeds if not isinstance(seed, str) for one in seed):
            objects[entry["name"]] = int(entry["objects"])
            values.setdefault(entry["name"], []).extend([entry["ap"]] if entry["ap"] >= 0 else [])
    ordered = sorted(objects, key=lambda name: (-objects[name], name))
    return tuple(ClassLine(n, objects[n], *(tuple(side.get(n, ())) for side in sides)) for n in ordered)
