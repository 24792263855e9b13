"""Scanning image files and composing the unlabeled scales, beside the plain way of doing either.

Run:    .venv/bin/python benchmarks/prepare.py [--rows 1000000] [--files 400] [--rounds 3] [--jobs 1]
Peers:  scanning: a loop over the files with hashlib and Pillow. Composing: a Python set of digests, row by row.
Shows:  our time over the peer's; images a second; the memory that composing needs at its peak, each in a process of its
        own; and what follows for 3.66 million images. One in fifty synthetic digests is a copy of an earlier one.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from labels import LARGE, peak_mb
from measuring import arguments, ratio, report, spread, taking_turns, versions
from PIL import Image

from casl.data.compose import compose
from casl.data.inventory import CHUNK, scan

SHARE = {"coco/unlabeled2017": 0.03, "openimages/train": 0.47, "places/train": 0.5}


def main() -> None:
    options = arguments(__doc__, rows=1_000_000, files=400, rounds=3, jobs=1)
    options.add_argument("--one", nargs=2, metavar=("SIDE", "FOLDER"), help="a single measurement, for itself")
    chosen = options.parse_args()
    if chosen.one:
        side, folder = chosen.one
        before, began = peak_mb(), time.perf_counter()
        kept = SIDES[side](Path(folder))
        print(json.dumps({"seconds": time.perf_counter() - began, "mb": peak_mb() - before, "kept": kept}))
        return
    lines, figures = _scanning(chosen)
    more, composed = _composing(chosen)
    facts = versions("casl", "numpy", "pyarrow", "pillow") | {"rows": chosen.rows, "files": chosen.files}
    report("data prepare", facts, [*lines, *more], {"scan": figures, "compose": composed}, chosen.json)


def _scanning(chosen: Any) -> tuple[list[str], Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = folder / "places" / "data_256" / "a"
        photos.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for n in range(chosen.files):
            coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            coarse.resize((256, 256), Image.Resampling.BICUBIC).save(photos / f"{n:06d}.jpg", quality=90)
        number = iter(range(10**6))

        def ours() -> None:
            scan("places", folder / "places", folder / f"inventory{next(number)}", chosen.jobs)

        def plain() -> None:
            for path in sorted(photos.iterdir()):
                hashlib.sha256(path.read_bytes()).digest()
                with Image.open(path) as image:
                    np.array(image.convert("RGB"))

        turns = taking_turns({"casl": ours, "plain loop": plain}, chosen.rounds)
    rate = chosen.files / min(turns.wall["casl"])
    over = spread(turns.wall, "casl", "plain loop")
    lines = [
        f"scan of {chosen.files} JPEGs of 256 px, {chosen.jobs} process: {over} of a plain loop's time; "
        f"{rate:,.0f} images a second, 3.66 M in {LARGE / rate / 3600:.1f} h",
    ]
    return lines, vars(turns) | {"ratio": ratio(turns.wall, "casl", "plain loop")}


def _composing(chosen: Any) -> tuple[list[str], Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _inventory(folder, chosen.rows)
        found = {side: _measured(side, folder) for side in SIDES}
    if len({side["kept"] for side in found.values()}) != 1:
        sys.exit(f"sides keep different images: {found}")
    ours, plain = found["casl"], found["python set"]
    rate = chosen.rows / ours["seconds"]
    times, large = ours["seconds"] / plain["seconds"], LARGE / chosen.rows / 1e3
    lines = [
        f"composing four scales of {chosen.rows:,} rows: {times:.2f} of the time of a set of digests for the largest "
        f"alone; {rate:,.0f} rows a second",
        f"memory: {ours['mb']:.0f} MB against {plain['mb']:.0f} MB; in proportion {ours['mb'] * large:.1f} and "
        f"{plain['mb'] * large:.1f} GB for 3.66 M",
    ]
    return lines, found


def _inventory(folder: Path, rows: int) -> None:
    """Chunks as a scan leaves them, of files that are not there."""
    rng = np.random.default_rng(0)
    coco = folder / "coco"
    for split in ("train2017", "val2017"):
        (coco / split).mkdir(parents=True)
        (coco / "annotations").mkdir(exist_ok=True)
        (coco / "annotations" / f"instances_{split}.json").write_text("{}")
    counts = {name: round(rows * share) for name, share in SHARE.items()}
    for name, count in {"coco/train2017": 1000, "coco/val2017": 1000, **counts}.items():
        target = folder / "set" / "inventory" / name
        target.mkdir(parents=True)
        for first in range(0, count, CHUNK):
            size = min(CHUNK, count - first)
            raw = rng.integers(0, 256, (size, 32), dtype=np.uint8)
            raw[::50] = raw[0]
            digests = [row.tobytes() for row in raw]
            table = {
                "name": [f"folder/{first + n:012d}.jpg" for n in range(size)],
                "size": [1] * size,
                "mtime_ns": [1] * size,
                "sha256": pa.array(digests, pa.binary(32)),
                "width": pa.array([640] * size, pa.int32()),
                "height": pa.array([480] * size, pa.int32()),
                "problem": [""] * size,
            }
            pq.write_table(pa.table(table), target / f"folder-{first // CHUNK:05d}.parquet")


def _composed(folder: Path) -> int:
    roots = {source: folder / source for source in ("coco", "openimages", "places")}
    for root in roots.values():
        root.mkdir(exist_ok=True)
    return int(compose(folder / "set", roots)["scales"]["large"]["kept"])


def _plain(folder: Path) -> int:
    """The largest scale with a set of digests and a list of rows."""
    seen: set[bytes] = set()
    for split in ("val2017", "train2017"):
        for path in sorted((folder / "set" / "inventory" / "coco" / split).iterdir()):
            seen |= {row["sha256"] for row in pq.read_table(path).to_pylist()}
    kept: list[dict[str, Any]] = []
    for name in SHARE:
        for path in sorted((folder / "set" / "inventory" / name).iterdir()):
            for row in pq.read_table(path).to_pylist():
                if row["sha256"] not in seen:
                    seen.add(row["sha256"])
                    kept.append({"id": len(kept), "file_name": row["name"], "width": 640, "height": 480})
    (folder / "plain.json").write_text(json.dumps({"images": kept}))
    return len(kept)


SIDES: dict[str, Callable[[Path], int]] = {"casl": _composed, "python set": _plain}


def _measured(side: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), "--one", side, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
