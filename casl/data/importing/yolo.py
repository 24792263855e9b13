"""YOLO: a text file an image with normalised boxes or polygons, and a list of class names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path, PurePath
from typing import Any, TypeVar

import yaml

from casl.data.importing.looks import format_of
from casl.data.importing.no_image import image_size
from casl.data.importing.source import Folder, Picture, Points, Shape, Source, box_around, numbers, read_text
from casl.data.importing.splits import split_of
from casl.errors import DataError

NAME_FILES = ("classes.txt", "obj.names")
IMAGES = "images"
P = TypeVar("P", bound=PurePath)
LISTS = ("train", "val", "valid", "test")
NOWHERE = "splits of data.yaml of which no image is there"
LONGEST_NAME = 255  # letters of a file's name


def read_yolo(folder: Folder) -> Source:
    """Every image that has a text file of its name: beside it, or in labels/ where it is in images/.

    Folders and suffixes may be in capitals ("Images/a.JPG" and "Labels/a.TXT"); names of images may not differ in them.
    Class names are those of data.yaml, else of classes.txt or obj.names. Splits are those of data.yaml, of train.txt
    and its like, else of folders.
    """
    settings = _settings(folder)
    names = _names(settings, folder)
    left_out: Counter[str] = Counter()
    splits = _splits(settings, folder, left_out)
    texts = set(folder.ending(".txt"))
    alike: dict[tuple[str, ...], list[Path]] = {}
    for path in sorted(texts):
        alike.setdefault(_in_small_letters(path), []).append(path)
    pictures, used = [], set()
    for image in folder.images:
        label = _label_of(image, alike)
        if label is not None:
            used.add(label)
            shapes = _shapes(label, image, names, "kpt_shape" in settings, left_out)
            pictures.append(Picture(image, shapes, label, splits.get(image) or split_of(image, folder.root)))
    _no_orphans(texts - used, folder)
    return Source("yolo", folder.root, folder.with_unlabeled(pictures), names, left_out)


def _label_of(image: Path, alike: Mapping[tuple[str, ...], Sequence[Path]]) -> Path | None:
    """The text file of an image; alike: text files by their path `_in_small_letters`."""
    inside = IMAGES in map(str.lower, image.parent.parts)
    for wanted in [*([beside(image, "labels")] if inside else []), image.with_suffix(".txt")]:
        found = alike.get(_in_small_letters(wanted), ())
        if len(found) > 1 and wanted not in found:
            raise DataError(f"{image}: its labels may be {found[0]} and {found[1]}; keep one of them.")
        if found:
            return wanted if wanted in found else found[0]
    return None


def _in_small_letters(path: Path) -> tuple[str, ...]:
    """A path with folders and suffix in small letters, its name as it is: a.jpg and A.jpg are two images."""
    return (*map(str.lower, path.parent.parts), path.stem, path.suffix.lower())


def beside(image: P, folder: str) -> P:
    """The text file of an image in a folder beside that of images: the last folder of that name is called otherwise.

    Args:
        image: a path with a folder "images" in it, in letters of any size.
        folder: "labels", as trainers want it, or another.
    """
    parts = list(image.parent.parts)
    parts[len(parts) - 1 - [part.lower() for part in parts[::-1]].index(IMAGES)] = folder
    return type(image)(*parts, image.name).with_suffix(".txt")


def _shapes(label: Path, image: Path, names: list[str], posed: bool, left_out: Counter[str]) -> list[Shape]:
    size, shapes = image_size(image), []
    for n, line in enumerate(read_text(label).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{label}: line {n}"
        values = numbers(line.split(), where)
        if posed:
            left_out["keypoints of objects (the boxes stay)"] += 1
            values = values[:5]
        shapes.append(_shape(values, size, names, where))
    return shapes


def _shape(values: Points, size: tuple[int, int], names: list[str], where: str) -> Shape:
    number, rest = values[0], values[1:]
    if number != int(number) or not 0 <= number < len(names):
        raise DataError(f"{where}: there is no class {number:g}; there are {len(names)}, from 0 ({names[0]}) on.")
    name, (width, height) = names[int(number)], size
    if len(rest) != 4 and (len(rest) < 6 or len(rest) % 2):
        raise DataError(
            f"{where}: a class and then 4 numbers (a box) or x y of three points or more (a polygon), "
            f"has {len(rest)} after the class."
        )
    if len(rest) == 4 and min(rest[2:]) < 0:
        raise DataError(f"{where}: the box has a negative size.")
    if odd := [value for value in rest if value > 1 + 1 / min(size) or value < -1 / min(size)]:
        raise DataError(f"{where}: {odd[0]:g} is outside [0, 1]; YOLO's numbers are shares of the image's sides.")
    if len(rest) == 4:
        x, y, w, h = rest
        return Shape(name, ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height), where)
    points = tuple(value * (height if i % 2 else width) for i, value in enumerate(rest))
    return Shape(name, box_around(points), where, (points,))


def _settings(folder: Folder) -> dict[str, Any]:
    files = [path for path in folder.ending(".yaml", ".yml") if format_of(path) == "yolo"]
    if len(files) > 1:
        raise DataError(f"{folder.root}: {files[0].name} and {files[1].name} both list class names; keep one of them.")
    if not files:
        return {}
    text = read_text(files[0])
    if "&" in text and "*" in text:  # aliases of aliases grow without bound
        tokens = list(_tokens(text, files[0]))
        if any(isinstance(token, yaml.AliasToken) for token in tokens):
            raise DataError(f"{files[0]}: has YAML aliases, which are not read; write the values out.")
    try:
        settings = yaml.safe_load(text)
        written = yaml.load(text, yaml.BaseLoader)  # all as text: 010 stays 010
        twice = _named_twice(yaml.compose(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{files[0]}: not YAML ({' '.join(str(error).split())}).") from error
    if twice:
        raise DataError(f"{files[0]}: {twice!r:.80} stands twice; keep one of them.")
    if not isinstance(settings, dict):
        raise DataError(f"{files[0]}: wanted 'names: [...]' and the like, holds a {type(settings).__name__}.")
    return {**settings, "file": files[0], "written": written.get("names")}


def _named_twice(node: Any) -> str:
    """A name with two values below a node of YAML, of which the last would be read; empty if there is none."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, yaml.SequenceNode):
            waiting += here.value
        elif isinstance(here, yaml.MappingNode):
            names = Counter(name.value for name, _ in here.value if isinstance(name, yaml.ScalarNode))
            if twice := next((name for name, count in names.items() if count > 1), None):
                return str(twice)
            waiting += [value for _, value in here.value]
    return ""


def _tokens(text: str, path: Path) -> list[Any]:
    try:
        return list(yaml.scan(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path}: not YAML ({' '.join(str(error).split())}).") from error


def _names(settings: dict[str, Any], folder: Folder) -> list[str]:
    where = settings.get("file", folder.root)
    if "names" in settings and settings["names"] is not None:
        names = [_class_name(n, *entry, where) for n, entry in enumerate(_in_order(settings, where))]
    else:
        lists = {path: _lines(path) for path in folder.files if path.name.lower() in NAME_FILES}
        where, names = next(iter(lists.items()), (where, []))
        for other, lines in lists.items():
            if lines != names:
                raise DataError(f"{where} and {folder.relative(other)}: are different lists of classes; keep one.")
    if not names:
        raise DataError(f"{where}: the names of the classes are missing: add data.yaml with 'names', or classes.txt.")
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise DataError(f"{where}: two classes are named {twice!r}; rename one of them.")
    return names


def _lines(path: Path) -> list[str]:
    """The names of a list: the number of a class is that of its line, so only lines after the last may be empty."""
    names = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if "" in names:
        empty = names.index("")
        raise DataError(
            f"{path}: line {empty + 1} is empty, and classes are numbered by lines.\n"
            f"  Write the name of class {empty} there, or remove the line if labels do not count it."
        )
    return names


def _in_order(settings: dict[str, Any], where: Path) -> list[tuple[object, object]]:
    """The entries of 'names', a list or an object by number: each as YAML reads it, and as it is written."""
    names, written = settings["names"], settings["written"]
    if isinstance(names, dict):
        keys = list(names)
        if not all(type(key) is int for key in keys) or sorted(keys) != list(range(len(written))):
            raise DataError(f"{where}: 'names' must be numbered from 0 without gaps, has {list(written)[:10]!s:.200}.")
        entries = zip(names.values(), written.values(), strict=True)
        return [entry for _, entry in sorted(zip(keys, entries, strict=True), key=itemgetter(0))]
    if not isinstance(names, list):
        raise DataError(f"{where}: 'names' must be a list, or an object by number, is {names!r:.80}.")
    return list(zip(names, written, strict=True))


def _class_name(number: int, value: object, written: object, where: Path) -> str:
    """A name as text, a number as it is written. YAML takes bare words such as no, on and null for something else."""
    legal = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not legal or not isinstance(written, str) or not written.strip():
        raise DataError(f"{where}: class {number} is {written!r:.60}, which is no text in YAML; write it in quotes.")
    return written.strip()


def _splits(settings: dict[str, Any], folder: Folder, said: Counter[str]) -> dict[Path, str]:
    """Split of each image that data.yaml, or a list such as train.txt, puts in one; val wins over test.

    A val or test that is train itself, as in sets to try a tool with, is none; so is one of which nothing is there.
    Both are counted.

    Raises:
        DataError: a part of the images of val or test is in train too.
    """
    where = settings.get("file", folder.root)
    members: dict[str, set[Path]] = {}
    for word in LISTS:
        told = settings.get(word)
        entries = told if isinstance(told, list) else [f"{word}.txt" if told is None else told]
        found = [_members(str(entry), settings, folder) for entry in entries]
        said[NOWHERE] += sum(not images for images in found) * (told is not None)
        members.setdefault("val" if word == "valid" else word, set()).update(*found)
    train = members["train"]
    for word in ("val", "test"):
        if members[word] and members[word] == train:
            said[f"images of {word} that are those of train, so that the source has no {word}"] += len(
                members.pop(word)
            )
        elif both := train & members[word]:
            named = folder.relative(min(both)) + f" and {len(both) - 1} more" * (len(both) > 1)
            raise DataError(
                f"{where}: {named} of {word} would be trained on, as train has them too; take them out of one."
            )
    return {image: word for word in ("test", "val", "train") for image in members.get(word, ())}


def _members(entry: str, settings: dict[str, Any], folder: Folder) -> list[Path]:
    """Images of one entry: a folder, or a list of files. Roboflow's "../train/images" begins one folder too high."""
    base = Path(settings["file"]).parent if settings else folder.root
    below = base / str(settings.get("path") or "")
    stripped = entry.replace("\\", "/")
    while stripped.startswith(("../", "./")):
        stripped = stripped.partition("/")[2]
    for place in (below / entry, base / entry, base / stripped):
        if "\0" in str(place) or max(map(len, place.parts)) > LONGEST_NAME:
            continue  # no path: what is asked of the disk must be one
        place, root = Path(os.path.realpath(place)), Path(os.path.realpath(folder.root))
        above = root != place and root.is_relative_to(place)
        if not above and (inside := [image for image in folder.images if _real(image).is_relative_to(place)]):
            return inside
        if place.is_file() and place.suffix.lower() == ".txt":
            return [folder.image(line.strip(), place) for line in read_text(place).splitlines() if line.strip()]
    return []


def _real(image: Path) -> Path:
    """Where an image is, behind links to its folder; one to the image itself leads to where others may be too."""
    return Path(os.path.realpath(image.parent), image.name)


def _no_orphans(texts: set[Path], folder: Folder) -> None:
    """Refuse labels without an image."""
    lists = {f"{word}.txt" for word in LISTS} | set(NAME_FILES)
    for path in sorted(texts):
        if path.name.lower() not in lists and format_of(path) == "yolo":
            raise DataError(
                f"{path}: no image {path.stem!r} beside it or in images/ of {folder.root}{folder.dead_link()}.\n"
                "  Put the image there, or delete the file."
            )
