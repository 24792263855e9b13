"""One run as it is written into MLflow, whichever way, with its curves and files read from the store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from casl.spec.run import CURVES, PICTURES, Run
from casl.spec.stage import DataUse
from casl.tracking.text import ARTIFACTS, Sheet, legal
from casl.tracking.usage import SYSTEM

SOURCE, CONTEXT = "casl", "mlflow.data.context"  # of data sets: the type of their source, and the tag of their use

Curve = tuple[str, float, int]
Point = tuple[str, float, int, int]


@dataclass(frozen=True)
class Draft:
    """A whole run.

    run_id: for a database; a server gives its own. started, ended: ms since 1970; now where it is not known, as of a
    failed one. points: (name, value, ms since 1970, step).
    """

    run_id: str
    title: str
    status: str
    started: int
    ended: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Sequence[Point]
    data: Sequence[DataUse]
    folder: Path


def draft_of(run: Run, sheet: Sheet, tags: Mapping[str, str], data: Sequence[DataUse]) -> Draft:
    """A run that is done or failed, as it is to be written. tags: all of them."""
    now = round(time.time() * 1000)
    begun = milliseconds(run.started)
    start, end = (now, now) if begun is None else (begun, begun + round(1000 * run.seconds))
    points, damage = read_curves(run.folder / CURVES)
    samples, _ = read_curves(run.folder / SYSTEM)
    last = max((step for _, _, step in points), default=0)
    final = [(name, value, last) for name, value in sheet.metrics.items()]
    span = start, end
    system = [(f"system/{name}", value, step) for name, value, step in samples]
    return Draft(
        run_id=uuid.uuid4().hex,
        title=sheet.title,
        status="FINISHED" if run.status == "done" else "FAILED",
        started=start,
        ended=end,
        tags={**tags, "casl.damage": damage} if damage else tags,
        params=sheet.params,
        points=[*_timed([*points, *final], span), *_timed(system, span)],
        data=data,
        folder=run.folder,
    )


def content_of(run: Run) -> str:
    """Digest of all that is known of a run but its folder: it tells another result or failure from the one sent."""
    fields = vars(dataclasses.replace(run, folder=Path()))
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()


def artifacts(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files of a run that MLflow gets, each with the folder it lies in there, "" for the top."""
    yield from ((folder / name, "") for name in ARTIFACTS if (folder / name).is_file())
    yield from ((path, PICTURES) for path in sorted((folder / PICTURES).glob("*")) if path.is_file())


def source_of(data: DataUse) -> str:
    """Where a data set comes from, as MLflow keeps it."""
    return json.dumps({"stage": data.stage})


def profile_of(data: DataUse) -> str:
    """Counts and sizes of a data set, as MLflow keeps them."""
    return json.dumps(dict(data.profile))


def _timed(curves: Sequence[Curve], span: tuple[int, int]) -> Iterator[Point]:
    """Values with their times in ms, spread evenly over span; the same value twice is one."""
    first, last = span
    steps = max((step for _, _, step in curves), default=0)
    for name, value, step in dict.fromkeys(curves):
        yield name, value, first + (last - first) * step // steps if steps else last, step


def read_curves(path: Path) -> tuple[list[Curve], str]:
    """Points of a curves.csv: header iteration,<name>,..., one line an iteration, empty where there is no value.

    Returns:
        (name, value, iteration) of every finite value up to the first damaged line, and what is damaged ("" if
        nothing). A killed stage leaves half a last line, so a line without its end counts as damaged.
    """
    if not path.is_file():
        return [], ""
    points: list[Curve] = []
    header, *lines = path.read_text(errors="replace").splitlines(keepends=True) or [""]
    names = [legal(name) for name in header.strip().split(",")[1:]]
    for number, line in enumerate(lines, start=2):
        try:
            points += _points(names, line)
        except ValueError:
            return points, f"{path.name} is damaged from line {number} on"
    return points, ""


def _points(names: list[str], line: str) -> list[Curve]:
    if not line.endswith("\n"):
        raise ValueError("half a line")
    step, *texts = line.strip().split(",")
    pairs = list(zip(names, texts, strict=True))
    return [(name, float(text), int(step)) for name, text in pairs if text and math.isfinite(float(text))]


def milliseconds(moment: str) -> int | None:
    """UTC ISO 8601 to ms since 1970; None if unknown."""
    if not moment:
        return None
    when = datetime.fromisoformat(moment)
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
