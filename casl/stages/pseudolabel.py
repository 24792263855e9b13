"""Stage 1b, `pseudolabel`: a labeler's scored predictions on unlabeled images (CA-SSL eq. 2, before the threshold)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from casl.data.coco import CocoSplit, agnostic
from casl.data.pseudo import LabelWriter, Prediction
from casl.errors import DataError, StoppedError
from casl.metrics.ap import ap_det_a
from casl.metrics.counts import label_quality
from casl.spec.context import Context, Outcome
from casl.spec.kinds import PseudoLabel
from casl.spec.run import WEIGHTS
from casl.stages.detectors import TestSettings, build_detector, coco_results, predict_split, stoppable, to_prediction
from casl.stages.pictures import CONFIDENT, chosen, predicted, save_grid, true
from casl.stages.shards import Shards
from casl.stages.sources import LABELS, hidden_truth, open_split
from casl.train.checkpoint import load_weights
from casl.train.distributed import Peers, joined

SHARDS = "shards"
NOTHING = Prediction(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), [])
QUALITY_AT = (0.1, 0.3, 0.5)  # thresholds at which labels are compared with the hidden truth, where there is one


def run(stage: PseudoLabel, ctx: Context) -> Outcome:
    """Label the images as they are, without augmentation, and keep every score.

    Images are labelled in shards, which ranks take in turn; rank 0 puts them together, one after the other, so that
    memory holds the labels of a few thousand images. A stopped stage goes on with the shards that are missing.
    """
    split = open_split(stage.data, "images", ctx)
    work = _Labelling(stage, split, ctx)
    with joined(ctx.rank, ctx.world, torch.device(ctx.device)) as peers:
        work.label(peers)
    if ctx.rank:
        return Outcome()
    taught = open_split(stage.labeler.data, stage.labeler.labels, ctx)
    classes = taught if stage.labeler.model.classes > 1 else agnostic(taught)
    truth = hidden_truth(stage.data, stage.labeler.labels, ctx)
    writer = LabelWriter(ctx.folder / LABELS, classes.classes, classes.category_ids)
    kept = work.keep(writer, boxes=truth is not None)
    _draw(classes.classes, split, truth, kept.shown, ctx)
    work.shards.clear()
    facts = {"images": len(split), "labels": kept.count}
    return Outcome(metrics=_quality(truth, kept.boxes) if truth else {}, facts=facts)


@dataclass
class _Kept:
    """What is remembered of the labels that are on disk, and of no other.

    shown: the images that are drawn. boxes: of all, without masks.
    """

    shown: dict[int, Prediction]
    boxes: list[Prediction]
    count: int = 0


class _Labelling:
    """The labelling of one split, shard by shard."""

    def __init__(self, stage: PseudoLabel, split: CocoSplit, ctx: Context) -> None:
        self.split, self.ctx = split, ctx
        self.shards = Shards(ctx.folder / SHARDS, split.images)
        self.settings = TestSettings(stage.size, stage.max_size, stage.detections)
        self.labeler = build_detector(
            stage.labeler.model, ctx, pretrained=False, non_overlap=stage.non_overlap, boxes=stage.boxes
        )
        self.labeler.load_state_dict(load_weights(ctx.inputs[stage.labeler.name] / WEIGHTS))

    def label(self, peers: Peers) -> None:
        """Make every shard that is not there, each rank those that are its turn.

        Raises:
            StoppedError: some rank was asked to stop; finished shards are kept.
            PeerLostError: a rank is gone; likewise.
        """
        for first in range(0, len(self.shards), peers.world):
            stopped = False
            if (number := first + peers.rank) < len(self.shards):
                try:
                    self.shard(number)
                except StoppedError:
                    stopped = True
            if peers.any(stopped or self.ctx.stopping()):
                raise StoppedError(f"stopped after about {first} of {len(self.shards)} shards, as asked.")

    def shard(self, number: int) -> list[Prediction]:
        """The predictions of one shard, from its file or else made now."""
        try:
            found = self.shards.read(number)
        except DataError as error:
            self.ctx.say(f"{error}; its images are labelled again")
            found = None
        if found is None:
            within = self.shards.within(number)
            progress = stoppable(self.ctx, within.stop)
            images = predict_split(self.labeler, self.split, self.settings, self.ctx.device, progress, within)
            found = [to_prediction(image) for image in images]
            self.shards.write(number, found)
        return found

    def keep(self, writer: LabelWriter, boxes: bool) -> _Kept:
        """Write all shards as pseudo labels, one in memory at a time; what has become unreadable is made again.

        Args:
            boxes: also give all boxes back, to compare them with a truth.
        """
        kept = _Kept(dict.fromkeys(chosen(self.split), NOTHING), [])
        for number in range(len(self.shards)):
            within = self.shards.within(number)
            found = writer.add([self.split.images[i] for i in within], self.shard(number))
            kept.count += sum(len(prediction.scores) for prediction in found)
            kept.shown |= {i: found[i - within.start] for i in within if i in kept.shown}
            kept.boxes += [replace(prediction, rles=None) for prediction in found] if boxes else []
        writer.close()
        return kept


def _quality(truth: CocoSplit, found: list[Prediction]) -> dict[str, float]:
    """The labels against the hidden truth, in percent: class-agnostic AP of all of them as "AP" and "AP75"; precision,
    recall and F1 of those above a threshold as "f1@0.3" and so on."""
    results: list[dict[str, Any]] = coco_results(truth, found)
    metrics = {name: value for name, value in ap_det_a(truth.coco(), results).items() if name in ("AP", "AP75")}
    for threshold in QUALITY_AT:
        quality = label_quality(truth.coco(), results, threshold)
        metrics |= {f"{name}@{threshold}": quality[name] for name in ("precision", "recall", "f1")}
    return metrics


def _draw(
    classes: Sequence[str], split: CocoSplit, truth: CocoSplit | None, found: Mapping[int, Prediction], ctx: Context
) -> None:
    rows = []
    for i in chosen(split):
        row = [predicted(split, i, found[i], classes)]
        rows.append([*row, true(truth if len(classes) > 1 else agnostic(truth), i)] if truth else row)
    headings = [f"pseudo labels, score > {CONFIDENT}", "hidden truth, never trained on"]
    save_grid(ctx.folder, "pseudo_labels", rows, headings[: len(rows[0])])
