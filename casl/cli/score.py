"""Verb `score`: a COCO result file against its ground truth."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from casl import catalog
from casl.cli.study import known_names
from casl.errors import SpecError
from casl.rows import Metric
from casl.spec.starts import FEATURES


def add(verbs: Any) -> None:
    """Verb `score`."""
    score = verbs.add_parser("score", help="score a COCO result file, print JSON")
    score.add_argument("--gt", required=True, help="COCO ground truth")
    score.add_argument("--dt", required=True, help="COCO results: a list of detections")
    known_names(score.add_argument("--metric", required=True, help="%(known)s"), "metric")
    score.add_argument("--gt-pngs", default="", help="panoptic: folder of PNGs (default: named as the JSON file)")
    score.add_argument("--dt-pngs", default="", help="panoptic: the same of the predictions")
    score.add_argument("--json", action="store_true", help="as always")
    score.set_defaults(command=score_command)


def score_command(options: argparse.Namespace) -> int:
    """Score a COCO result file."""
    from casl.metrics.score import score, score_panoptic

    row: Metric = catalog.row("metric", options.metric)
    if row.form == FEATURES:
        raise SpecError(f"metric {options.metric!r} judges features of a backbone, and a result file holds none")
    if row.form == "semantic":
        raise SpecError(f"metric {options.metric!r} judges maps of stuff, and a result file holds none; pq reads PNGs")
    truth, found = Path(options.gt), Path(options.dt)
    if row.form == "panoptic":
        pngs = [Path(p) if p else None for p in (options.gt_pngs, options.dt_pngs)]
        answer = score_panoptic(truth, pngs[0], found, pngs[1])
    else:
        of_masks = catalog.load("metric", row.beside) if row.beside else None
        answer = score(truth, found, options.metric, catalog.load("metric", options.metric), of_masks)
    print(json.dumps(answer, indent=1))
    return 0
