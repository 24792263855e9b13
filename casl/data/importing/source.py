"""What a reader hands on: images with shapes, in the pixels that the annotation tool showed."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from urllib.parse import unquote

from casl.coco.licences import Licence
from casl.coco.masks import LEAST_NUMBERS, Rle
from casl.coco.reading import read_json
from casl.data.importing.looks import Passed, files_under, is_image, is_listing, is_other_picture
from casl.data.importing.splits import split_of
from casl.data.near_names import strange
from casl.errors import DataError, unknown

Points = tuple[float, ...]  # x, y, x, y, ...
READ = (".json", ".xml", ".txt", ".yaml", ".yml", ".names", ".data")  # suffixes of files that readers open
NOT_READ = "pictures of formats that are not read; convert them to JPEG or PNG"
AGAIN = "links to folders that are read under another name, or that lie above the link"
UNREAD = "files that are named as annotations, of no known format; their images are unlabeled"
SHORT = "outlines of fewer than three points (the boxes stay)"


@dataclass(frozen=True)
class Shape:
    """One annotated object.

    Attributes:
        name: of its class.
        box: x, y, width, height in pixels of the image.
        polygons: its mask as polygons, or
        rle: as run lengths; neither for a box.
        crowd: COCO's iscrowd.
        where: file and place in it, for messages.
    """

    name: str
    box: tuple[float, float, float, float]
    where: str
    polygons: tuple[Points, ...] = ()
    rle: Rle | None = None
    crowd: bool = False


@dataclass
class Picture:
    """One image.

    Attributes:
        path: its file.
        shapes: its objects; none is legal.
        annotation: the file that says so; None for an image that is in no annotation file, and so unlabeled.
        split: "train", "val" or "test" where the source says it.
        stated: width and height as the annotation file has them, None where it has none.
        licence: as the source states it, None where it states none.
    """

    path: Path
    shapes: list[Shape] = field(default_factory=list)
    annotation: Path | None = None
    split: str | None = None
    stated: tuple[int, int] | None = None
    licence: Licence | None = None


@dataclass
class Source:
    """All that was read.

    Attributes:
        form: name of the format.
        root: folder that paths are told relative to.
        pictures: every image.
        classes: names in the order of the source; alphabetical where it has no order.
        left_out: what is not taken over, by reason.
    """

    form: str
    root: Path
    pictures: list[Picture]
    classes: list[str]
    left_out: Counter[str] = field(default_factory=Counter)


class Folder:
    """The files of a source, and where the images are that annotation files name.

    Raises:
        DataError: a folder cannot be read, or what is called as a file that counts is none, as a pipe, which would be
            waited for without end.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        passed = Passed()
        self.files = list(files_under(root, passed))
        self._again = len(passed.again)
        for path, why in passed.odd.items():
            if is_image(path) or path.suffix.lower() in READ or path.is_dir():
                raise DataError(f"{path}: {why}; take it out of {root}.")
        self.images = [path for path in self.files if is_image(path)]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in self.images:
            found.setdefault(_plain(path.name), []).append(path)
        return found

    def ending(self, *suffixes: str) -> list[Path]:
        """Files with one of these suffixes, in lower case."""
        return [path for path in self.files if path.suffix.lower() in suffixes]

    @property
    def passed_over(self) -> Counter[str]:
        """How many folders and files are not read that may have been meant, by reason."""
        pictures = [path.suffix.lower() for path in self.files if is_other_picture(path)]
        return Counter({AGAIN: self._again, f"{NOT_READ} ({', '.join(sorted(set(pictures)))})": len(pictures)})

    def relative(self, path: Path) -> str:
        """A path as messages and the manifest have it."""
        return path.relative_to(self.root).as_posix()

    def image(self, named: object, annotation: Path) -> Path:
        """The image that an annotation file names.

        Tools write names relative to folders of their own ("../../upload/3/a.jpg", "C:\\data\\a.jpg"), so among the
        files of that name the one counts whose folders agree longest, then one near the annotation file. Names are
        compared in Unicode's composed form, since macOS stores the decomposed one.

        Raises:
            DataError: no such image, or several that it may be.
        """
        if not isinstance(named, str) or not named.strip() or "\0" in named:
            raise DataError(f"{annotation}: the name of its image is missing or no text ({named!r:.80}).")
        wanted = PurePosixPath(_plain(named.replace("\\", "/"))).parts
        if wanted and wanted[-1] not in self._by_name:  # Label Studio and VIA may write names as addresses have them
            wanted = tuple(unquote(part) for part in wanted)
        choices = self._by_name.get(wanted[-1], []) if wanted else []
        if not choices:
            self._missing(wanted[-1] if wanted else named, annotation)
        ranks = [(self._agreeing(path, wanted), _nearness(path, annotation)) for path in choices]
        best = [path for path, rank in zip(choices, ranks, strict=True) if rank == max(ranks)]
        if len(best) > 1:
            places = " and ".join(self.relative(path) for path in best[:2])
            raise DataError(f"{annotation}: {named!r} may be {places}; rename one of them.")
        return best[0]

    def listed(self, named: object) -> Path | None:
        """The image whose path ends as a list of images names it; None where there is none, or several."""
        wanted = PurePosixPath(_plain(named)).parts if isinstance(named, str) else ()
        choices = self._by_name.get(wanted[-1], []) if wanted else []
        found = [path for path in choices if self._agreeing(path, wanted) == len(wanted)]
        return found[0] if len(found) == 1 else None

    def _agreeing(self, path: Path, wanted: tuple[str, ...]) -> int:
        parts = [_plain(part) for part in path.relative_to(self.root).parts]
        count = 0
        while count < min(len(parts), len(wanted)) and parts[-1 - count] == wanted[-1 - count]:
            count += 1
        return count

    def _missing(self, name: str, annotation: Path) -> NoReturn:
        problem = unknown("image", name, self._by_name) if len(self._by_name) <= 10 else f"no image {name!r}"
        near = next((other for other in self._by_name if other.casefold() == name.casefold()), None)
        hint = f"; {near!r} differs in case" if near else self._other(name) or self.dead_link()
        raise DataError(
            f"{annotation}: {problem.partition('; known')[0]} in {self.root}{hint}.\n"
            "  Put the images there, or take the entry out of the annotations."
        )

    def _other(self, name: str) -> str:
        """The picture that is there and not read, as the end of a sentence."""
        found = next((path for path in self.files if _plain(path.name) == name and is_other_picture(path)), None)
        return f"; {self.relative(found)} is there, but {found.suffix} is not read: convert it" if found else ""

    def dead_link(self) -> str:
        """The first link that leads nowhere, which may be why an image is missing, as the end of a sentence."""
        dead = next((path for path in self.files if path.is_symlink() and strange(path)), None)
        return f"; {self.relative(dead)} {strange(dead)}" if dead else ""

    def with_unlabeled(self, pictures: Iterable[Picture]) -> list[Picture]:
        """The pictures that were read, and those images that no annotation file names.

        Raises:
            DataError: an image that two annotation files describe.
        """
        found: dict[Path, Picture] = {}
        for picture in pictures:
            if (other := found.setdefault(picture.path, picture)) is not picture:
                both = sorted({str(other.annotation), str(picture.annotation)})
                raise DataError(f"{picture.path}: described twice, in {' and '.join(both)}; keep one of them.")
        rest = [Picture(path, split=split_of(path, self.root)) for path in self.images if path not in found]
        return sorted([*found.values(), *rest], key=lambda picture: picture.path)


def read_images(folder: Folder) -> Source:
    """All images of a folder, unlabeled. Files that may have been meant as annotations are counted: texts called as an
    image is, wherever they are, since trainers of YOLO want them in a folder of their own."""
    images = {path.stem for path in folder.images}
    texts = sum(path.stem in images for path in folder.ending(".txt"))
    others = sum(not is_listing(path) for path in folder.ending(".json", ".xml"))
    return Source("images", folder.root, folder.with_unlabeled([]), [], Counter({UNREAD: texts + others}))


def without_short(shape: Shape, said: Counter[str]) -> Shape:
    """A shape whose box is in the file itself, without an outline that is none: the box says what is there.

    said: counts them. A box without area keeps its outline, and is found to have none later.
    """
    short = shape.polygons and max(map(len, shape.polygons)) < LEAST_NUMBERS
    if not short or not min(shape.box[2:]) > 0:
        return shape
    said[SHORT] += 1
    return replace(shape, polygons=())


def box_around(points: Points) -> tuple[float, float, float, float]:
    """x, y, width, height of the box around points x, y, x, y, ..."""
    xs, ys = points[::2], points[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def objects_in(
    folder: Folder, belongs: Callable[[dict[str, Any]], bool], form: str, said: Counter[str]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The JSON files of a format, each read once. What a file is, its content says, not its beginning or name.

    Args:
        folder: of the source.
        belongs: whether an object is one of the format.
        form: name of the format, for what is said.
        said: counts the other JSON files.

    Raises:
        DataError: a file that is no JSON.
    """
    for path in folder.ending(".json"):
        data = read_json(path)
        if isinstance(data, dict) and belongs(data):
            yield path, data
        else:
            said[f"JSON files without {form} annotations"] += 1


def other_size(annotation: Path | None, image: Path, stated: tuple[int, int], size: tuple[int, int]) -> DataError:
    """That an annotation file states another width and height than the upright image has."""
    return DataError(
        f"{annotation}: says that {image.name} is {stated[0]}x{stated[1]} px, but the file is {size[0]}x{size[1]}; "
        "use the image that was annotated, or scale the labels."
    )


def read_text(path: Path) -> str:
    """The text of a small file.

    Raises:
        DataError: it cannot be read or is not UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error


def numbers(texts: Iterable[object], where: str) -> Points:
    """Finite numbers.

    Raises:
        DataError: one of them is something else.
    """
    found = []
    for text in texts:
        try:
            value = float(text) if isinstance(text, str | int | float) and not isinstance(text, bool) else float("nan")
        except (ValueError, OverflowError):
            value = float("nan")
        if not abs(value) < float("inf"):
            raise DataError(f"{where}: {text!r:.60} is no finite number.")
        found.append(value)
    return tuple(found)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _nearness(path: Path, annotation: Path) -> int:
    """How many folders an image shares with an annotation file."""
    return sum(1 for a, b in zip(path.parent.parts, annotation.parent.parts, strict=False) if a == b)
