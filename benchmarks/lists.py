"""The list of an unlabeled split: a manifest in Arrow's file format, and COCO JSON.

Run:    .venv/bin/python benchmarks/lists.py [--rows 1000000] [--quarter 250000] [--rounds 3]
Shows:  bytes an image; seconds of the processor and peak memory, beyond what the process had before, of what every run
        does with a list: hash its images once (the first run), see that none has changed (every stage that begins),
        open it, and take 5,000 images in random order, as training does. Times also as the manifest's over JSON's. The
        same with fewer rows shows what grows with them. Both sides are casl's, and must give the same digest and the
        same images. Every measurement is a process of its own. The files are a thousand, each reached through links
        under so many names.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from labels import LARGE, READS, peak_mb
from measuring import arguments, ratio, report, spread, versions

from casl.data.coco import load_split
from casl.data.digest import digest
from casl.data.layout import SplitFiles
from casl.data.manifest import BATCH, SCHEMA, write_manifest

FILES = 1000  # that are really there
SUFFIXES = {"arrow": ".arrow", "json": ".json"}
PHASES = {"first": "hash all, once", "again": "see that none changed", "open": "open", "read": "5,000 images"}


def main() -> None:
    options = arguments(__doc__, rows=1_000_000, quarter=250_000, rounds=3)
    options.add_argument("--one", nargs=3, metavar=("DO", "SIDE", "FOLDER"), help="a single measurement, for itself")
    chosen = options.parse_args()
    if chosen.one:
        verb, side, folder = chosen.one
        print(json.dumps(VERBS[verb](files_of(Path(folder), side), chosen.rows)))
        return
    figures = {rows: measured(rows, chosen.rounds) for rows in (chosen.quarter, chosen.rows)}
    lines = [line for rows, found in figures.items() for line in table(rows, found)]
    facts = versions("casl", "numpy", "pyarrow") | {"rounds": chosen.rounds}
    report("lists: the images of an unlabeled split", facts, lines, figures, chosen.json)


def measured(rows: int, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Every phase of both sides in turn, `rounds` times."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        one("make", "arrow", folder, rows)
        for turn in range(rounds):
            for side in list(SUFFIXES)[:: 1 if turn % 2 else -1]:
                for old in Path(folder).glob(f"{side}-memory*"):
                    subprocess.run(["rm", "-r", str(old)], check=True)
                found[side].append({phase: one(phase, side, folder, rows) for phase in ("first", "again", "open")})
                found[side][-1]["bytes"] = files_of(Path(folder), side).listing.stat().st_size  # type: ignore[union-attr]
    told = {
        (turn[phase]["digest"], turn["open"]["read"])
        for turns in found.values()
        for turn in turns
        for phase in ("first", "again")
    }
    if len(told) != 1:
        sys.exit("the two lists are not of the same images")
    return found


def one(verb: str, side: str, folder: str, rows: int) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), "--one", verb, side, folder, "--rows", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{verb} {side} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def files_of(folder: Path, side: str) -> SplitFiles:
    return SplitFiles("unlabeled", folder / "images", listing=folder / f"unlabeled{SUFFIXES[side]}")


def make(files: SplitFiles, rows: int) -> dict[str, Any]:
    """The files, and both lists of them, without hashes, so that both sides have the same to do."""
    folder = files.images.parent
    real = folder / "real"
    real.mkdir()
    for number in range(FILES):
        (real / f"{number:03d}.jpg").write_bytes(hashlib.sha256(str(number).encode()).digest() * 32)
        os.utime(real / f"{number:03d}.jpg", (1e9, 1e9))
    for number in range(-(-rows // FILES)):
        (link := files.images / "places" / f"{number:04d}").parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(real)
    write_manifest(folder / "unlabeled.arrow", tables(rows))
    with (folder / "unlabeled.json").open("w") as file:
        file.write('{"categories": [], "annotations": [], "images": [\n')
        for n, row in enumerate(row for table in tables(rows) for row in table.select(range(4)).to_pylist()):
            file.write((",\n" if n else "") + json.dumps(row))
        file.write("\n]}\n")
    return {}


def tables(rows: int) -> Iterator[pa.Table]:
    for first in range(0, rows, BATCH):
        within = range(first, min(first + BATCH, rows))
        columns: list[Any] = [
            [n + 1 for n in within],
            [f"places/{n // FILES:04d}/{n % FILES:03d}.jpg" for n in within],
            [640] * len(within),
            [480] * len(within),
            *([[None] * len(within)] * 4),
        ]
        yield pa.table([pa.array(c, field.type) for c, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def hashed(files: SplitFiles, rows: int) -> dict[str, Any]:
    """The digest of the split, with what an earlier call remembers where there was one."""
    del rows
    side = "json" if str(files.listing).endswith("json") else "arrow"
    cache = files.images.parent / f"{side}-memory" / "digests.json"
    before, began = peak_mb(), time.process_time()
    found = digest(files, "images", cache).value
    return {"s": time.process_time() - began, "mb": peak_mb() - before, "digest": found}


def opened(files: SplitFiles, rows: int) -> dict[str, Any]:
    order = np.random.default_rng(1).integers(0, rows, READS).tolist()
    before, began = peak_mb(), time.process_time()
    split = load_split(files, "images")
    ready = time.process_time()
    text = hashlib.sha256()
    for i in order:
        image = split.images[i]
        text.update(f"{split.path(i).name} {image.id} {image.width} {len(split.annotations[i])}".encode())
    seconds = time.process_time() - ready
    return {"s": ready - began, "read_s": seconds, "mb": peak_mb() - before, "read": text.hexdigest()}


VERBS: dict[str, Callable[[SplitFiles, int], dict[str, Any]]] = {
    "make": make,
    "first": hashed,
    "again": hashed,
    "open": opened,
}


def table(rows: int, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A line a phase: seconds and memory of both sides, and the ratio of the times."""
    sizes = {side: turns[0]["bytes"] / rows for side, turns in found.items()}
    lines = [f"{rows:,} images, bytes an image: " + ", ".join(f"{side} {size:.0f}" for side, size in sizes.items())]
    lines.append(f"{'':24}{'arrow s':>9}{'json s':>9}{'ratio':>24}{'arrow MB':>10}{'json MB':>9}{'json, 3.66 M':>14}")
    for phase, words in PHASES.items():
        place, key = ("open", "read_s") if phase == "read" else (phase, "s")
        times = {side: [turn[place][key] for turn in turns] for side, turns in found.items()}
        memory = {side: statistics.median(turn[place]["mb"] for turn in turns) for side, turns in found.items()}
        row = f"{words:24}" + "".join(f"{statistics.median(times[side]):9.3f}" for side in SUFFIXES)
        row += f"{spread(times, 'arrow', 'json'):>24}"
        if phase != "read":  # its memory is that of opening
            row += f"{memory['arrow']:10.0f}{memory['json']:9.0f}{memory['json'] * LARGE / rows / 1e3:11.1f} GB"
        lines.append(row)
    both = {
        side: [turn["again"]["s"] + turn["open"]["s"] + turn["open"]["read_s"] for turn in turns]
        for side, turns in found.items()
    }
    lines.append(f"the last three together: {ratio(both, 'arrow', 'json'):.2f} of JSON's time")
    return lines


if __name__ == "__main__":
    main()
