"""Pseudo labels on disk: casl's store, COCO JSON, and one npz an image.

Run:    .venv/bin/python benchmarks/labels.py [--images 20000] [--objects 12] [--rounds 3] [--large 1000000]
Shows:  bytes an image, images written and read a second, and the memory that writing and reading need at their peak,
        beyond what the process had before; then the same carried on to the 3.66 million images of the paper's largest
        split. Reading is opening the store at delta = 0.3 and taking the labels of 5,000 images in random order, as
        training does. All three hold the same boxes, scores and masks, which is checked by a digest of what is read.
        Every measurement is a process of its own. The labels are those of 64 drawn images, over and over. --large
        measures casl alone once more with so many images: its memory must not grow with them, and its rates not fall.
"""

from __future__ import annotations

import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import arguments, report, versions
from pycocotools import mask as rle_tools

from casl.data.image_info import ImageInfo
from casl.data.pseudo import Prediction, read_pseudo_labels, write_pseudo_labels

THRESHOLD = 0.3
READS = 5000
LARGE = 3_660_000
WIDTH, HEIGHT = 640, 480
PERIOD = 64  # different images
Labels = list[tuple[list[float], float, bytes]]  # XYWH box, score, mask


@dataclass(frozen=True)
class Format:
    """write(folder, images, predictions); open_at(folder): number of an image -> its labels above THRESHOLD."""

    write: Callable[[Path, Sequence[ImageInfo], Sequence[Prediction]], None]
    open_at: Callable[[Path], Callable[[int], Labels]]


class Repeated(Sequence[Prediction]):
    """Predictions of so many images, made of few."""

    def __init__(self, few: Sequence[Prediction], count: int) -> None:
        self.few, self.length = few, count

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: Any) -> Any:
        if not 0 <= i < self.length:
            raise IndexError(i)
        return self.few[i % len(self.few)]

    def __iter__(self) -> Iterator[Prediction]:
        return (self.few[i % len(self.few)] for i in range(self.length))


def main() -> None:
    options = arguments(__doc__, images=20000, objects=12, rounds=3, large=0)
    options.add_argument("--one", nargs=3, metavar=("DO", "FORMAT", "FOLDER"), help="a single measurement, for itself")
    chosen = options.parse_args()
    if chosen.one:
        verb, name, folder = chosen.one
        print(json.dumps(VERBS[verb](FORMATS[name], Path(folder), chosen.images, chosen.objects)))
        return
    figures: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(chosen.rounds):
        for name in FORMATS:
            figures[name].append(measured(name, chosen.images, chosen.objects))
    digests = {turn["digest"] for turns in figures.values() for turn in turns}
    if len(digests) != 1:
        sys.exit("the formats do not hold the same labels")
    facts = versions("casl", "numpy", "pyarrow", "pycocotools")
    facts |= {"images": chosen.images, "objects an image": chosen.objects, "rounds": chosen.rounds}
    lines = table(figures, chosen.images)
    if chosen.large:
        large = {"casl": [measured("casl", chosen.large, chosen.objects)]}
        lines += [f"casl with {chosen.large:,} images:", *table(large, chosen.large)]
        figures[f"casl, {chosen.large} images"] = large["casl"]
    report("labels: pseudo labels on disk", facts, lines, figures, chosen.json)


def measured(name: str, images: int, objects: int) -> dict[str, Any]:
    """Write, then read, each in a new process."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for verb in VERBS:
            numbers = ["--images", str(images), "--objects", str(objects)]
            command = [sys.executable, str(Path(__file__).resolve()), "--one", verb, name, folder, *numbers]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{verb} {name} failed:\n{done.stderr[-2000:]}")
            found |= json.loads(done.stdout)
    return found


def write(form: Format, folder: Path, count: int, objects: int) -> dict[str, Any]:
    images = infos(count)
    predictions = Repeated(drawn(objects), count)
    before, began = peak_mb(), time.perf_counter()
    form.write(folder, images, predictions)
    seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"write_s": seconds, "write_mb": peak_mb() - before, "bytes": size}


def read(form: Format, folder: Path, count: int, objects: int) -> dict[str, Any]:
    order = np.random.default_rng(1).integers(0, count, READS).tolist()
    before, began = peak_mb(), time.perf_counter()
    labels_of = form.open_at(folder)
    opened = time.perf_counter()
    digest = hashlib.sha256()
    for number in order:
        for box, score, mask in labels_of(number):
            digest.update(np.array([*box, score], np.float32).tobytes() + mask)
    seconds = time.perf_counter() - opened
    return {"open_s": opened - began, "read_s": seconds, "read_mb": peak_mb() - before, "digest": digest.hexdigest()}


VERBS = {"write": write, "read": read}


def table(figures: dict[str, list[dict[str, Any]]], count: int) -> list[str]:
    """A line a format, medians; then what the largest split would need."""
    head = f"{'':12}{'bytes/image':>12}{'written/s':>11}{'open s':>8}{'read/s':>9}{'write MB':>10}{'read MB':>9}"
    lines = [head + f"{'3.66 M: GB':>12}{'write':>8}{'memory GB':>11}"]
    for name, turns in figures.items():
        at = {key: statistics.median(turn[key] for turn in turns) for key in turns[0] if key != "digest"}
        size, rate = at["bytes"] / count, count / at["write_s"]
        row = f"{name:12}{size:12.0f}{rate:11.0f}{at['open_s']:8.2f}{READS / at['read_s']:9.0f}"
        row += f"{at['write_mb']:10.0f}{at['read_mb']:9.0f}{size * LARGE / 1e9:12.1f}{LARGE / rate / 3600:6.1f} h"
        memory = max(at["write_mb"], at["read_mb"]) / 1e3
        # casl's does not grow, but for the eight bytes of each image that is left: see --large
        lines.append(row + f"{memory + 8 * LARGE / 1e9 if name == 'casl' else memory * LARGE / count:11.1f}")
    return lines


def peak_mb() -> float:
    """Most memory this process has had, in units of 10^6 bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def infos(count: int) -> list[ImageInfo]:
    return [ImageInfo(number + 1, f"{number + 1:012d}.jpg", WIDTH, HEIGHT) for number in range(count)]


def drawn(objects: int, count: int = PERIOD) -> list[Prediction]:
    """Predictions with masks, about `objects` an image, one in two above THRESHOLD."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    found = []
    for _ in range(count):
        number = int(rng.integers(1, 2 * objects))
        sides = 8 * 40 ** rng.random((number, 2))
        corners = rng.random((number, 2)) * ([WIDTH, HEIGHT] - sides)
        masks = []
        for (x, y), (w, h) in zip(corners, sides, strict=True):
            right, down = (columns - x - w / 2) / w, (rows - y - h / 2) / h
            wavy = 1 - 0.2 * np.sin(9 * np.arctan2(down, right))  # about as many runs as predicted masks have
            inside = right**2 + down**2 <= 0.25 * wavy**2
            masks.append(rle_tools.encode(np.asfortranarray(inside.astype(np.uint8))))
        boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
        scores = (rng.random(number) * 0.6).astype(np.float32)
        found.append(Prediction(boxes, scores, np.zeros(number, np.int64), masks))
    return found


def open_casl(folder: Path) -> Callable[[int], Labels]:
    split = read_pseudo_labels(folder, folder, THRESHOLD)
    # the drawn images repeat, so which of a period are left says where any image stands
    left = np.array([split.images[row].id - 1 for row in range(min(PERIOD, len(split)))])
    left = left[left < PERIOD]
    place = dict(zip(left.tolist(), range(len(left)), strict=True))

    def labels_of(number: int) -> Labels:
        if (row := place.get(number % PERIOD)) is None:
            return []
        records = split.annotations[number // PERIOD * len(left) + row]
        return [(a["bbox"], a["score"], _bytes(a["segmentation"]["counts"])) for a in records]

    return labels_of


def write_json(folder: Path, images: Sequence[ImageInfo], predictions: Sequence[Prediction]) -> None:
    results = []
    for image, found in zip(images, predictions, strict=True):
        for box, score, rle in zip(xywh(found), found.scores.tolist(), found.rles or [], strict=True):
            mask = {"size": rle["size"], "counts": rle["counts"].decode()}
            result = {"image_id": image.id, "category_id": 1, "bbox": box, "score": score, "segmentation": mask}
            results.append(result)
    with (folder / "results.json").open("w") as file:
        json.dump(results, file)


def open_json(folder: Path) -> Callable[[int], Labels]:
    of_image: dict[int, Labels] = defaultdict(list)
    with (folder / "results.json").open() as file:
        for result in json.load(file):
            if result["score"] > np.float32(THRESHOLD):
                label = (result["bbox"], result["score"], result["segmentation"]["counts"].encode())
                of_image[result["image_id"]].append(label)
    return lambda number: of_image.get(number + 1, [])


def write_npz(folder: Path, images: Sequence[ImageInfo], predictions: Sequence[Prediction]) -> None:
    for image, found in zip(images, predictions, strict=True):
        masks = [rle["counts"] for rle in found.rles or []]
        joined, ends = np.frombuffer(b"".join(masks), np.uint8), np.cumsum([len(mask) for mask in masks])
        path = folder / f"{image.id // 1000:04d}" / f"{image.id}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, boxes=np.array(xywh(found), np.float32), scores=found.scores, masks=joined, ends=ends)


def open_npz(folder: Path) -> Callable[[int], Labels]:
    def labels_of(number: int) -> Labels:
        with np.load(folder / f"{(number + 1) // 1000:04d}" / f"{number + 1}.npz") as arrays:
            kept = np.flatnonzero(arrays["scores"] > np.float32(THRESHOLD))
            boxes, scores, ends, joined = (arrays[name] for name in ("boxes", "scores", "ends", "masks"))
        begins = np.concatenate([[0], ends])
        return [(boxes[i].tolist(), float(scores[i]), joined[begins[i] : ends[i]].tobytes()) for i in kept]

    return labels_of


FORMATS = {
    "casl": Format(write_pseudo_labels, open_casl),
    "COCO JSON": Format(write_json, open_json),
    "npz an image": Format(write_npz, open_npz),
}


def xywh(found: Prediction) -> list[list[float]]:
    boxes = [[float(v) for v in box] for box in found.boxes]
    return [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in boxes]


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


if __name__ == "__main__":
    main()
