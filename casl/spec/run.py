"""Run: what is known of one stage. The store on disk is the truth; MLflow is a mirror of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

PORTABLE = "portable"  # bits that every processor with AVX2 computes (casl/runner/bits.py)
# files in the folder of a stage
RESULT = "result.json"  # the record of a committed one
FAILURE = "failure.json"  # why an attempt failed
WEIGHTS = "model.safetensors"
CURVES = "curves.csv"
PICTURES = "pictures"  # a folder
CARD = "detector.json"  # in the folder of a registered model: what its weights are
DRAWS = "draws.json"  # in the folder of an evaluation: its headline on each draw of the bootstrap over images, percent
PREDICTIONS = "predictions.json"  # in the folder of an evaluation: COCO results of all its images
ELSEWHERE = "elsewhere"  # not here and not missed: what was made from it was taken over as numbers
REPORTED = "data.json"  # in a folder of reports: the data set on disk that they are of
STATUSES = ("done", "running", "failed", "blocked", "not run")


class Use(NamedTuple):
    """What a stage is for: a table, and the place there whose number it leads to, such as "F 3x / W 5x"."""

    table: str
    place: str

    def __str__(self) -> str:
        return f"{self.table}: {self.place}"


@dataclass(frozen=True)
class Run:
    """One stage's result, or why there is none.

    name: kind and 16 digits of the key. metrics: figure -> value, AP in percent. seconds: wall time of the work,
    earlier attempts included. started: UTC, ISO 8601. commit: of the code, with `dirty` when the tree had changes.
    versions: package -> version. files: name -> {"sha256", "bytes"}. stage: the frozen stage as JSON values.
    folder: where its files lie (result, or work in progress). error: what stopped a failed one.
    facts: anything else worth keeping, such as counts of images and labels; "note" is shown with the figure.
    source: digest of the code that made it.
    attempts: one entry for each process that worked on it: {"host", "started", "seconds"}.
    arithmetic: "bits", "processor" and "capability" of what computed it (casl/runner/bits.py).
    left_out: files that an export of numbers alone left where it was computed. status: one of STATUSES, or ELSEWHERE of
    what such numbers were made from.
    """

    name: str
    key: str
    kind: str
    status: str
    folder: Path
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    started: str = ""
    host: str = ""
    commit: str = ""
    dirty: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stage: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    attempts: Sequence[Mapping[str, Any]] = ()
    error: str = ""
    arithmetic: Mapping[str, str] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    @property
    def kernels(self) -> str:
        """What computed it, as far as bits depend on that: PORTABLE, else capability and processor, "" if unknown."""
        bits, by = self.arithmetic.get("bits", ""), " of ".join(self._machine)
        return bits if bits in ("", PORTABLE) else f"{bits}, {by}"

    @property
    def _machine(self) -> list[str]:
        return [part for name in ("capability", "processor") if (part := self.arithmetic.get(name, ""))]
