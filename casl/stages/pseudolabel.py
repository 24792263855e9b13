"""Stage 1b, `pseudolabel`: a labeler's scored predictions on unlabeled images (CA-SSL eq. 2, before the threshold)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from casl.data.coco import CocoSplit, agnostic
from casl.data.pseudo import Prediction, write_pseudo_labels
from casl.errors import DataError, StoppedError
from casl.metrics.counts import label_quality
from casl.spec.context import Context, Outcome
from casl.spec.kinds import PseudoLabel
from casl.stages.detectors import TestSettings, build_detector, coco_results, predict_split, stoppable, to_prediction
from casl.stages.pictures import CONFIDENT, chosen, predicted, save_grid, true
from casl.stages.shards import Shards
from casl.stages.sources import LABELS, hidden_truth, open_split
from casl.stages.training import WEIGHTS
from casl.train.checkpoint import load_weights
from casl.train.distributed import Peers, joined

SHARDS = "shards"
QUALITY_AT = (0.1, 0.3, 0.5)  # thresholds at which labels are compared with the hidden truth, where there is one


def run(stage: PseudoLabel, ctx: Context) -> Outcome:
    """Label the images as they are, without augmentation, and keep every score.

    Images are labelled in shards, which ranks take in turn; rank 0 puts them together. A stopped stage goes on with the
    shards that are missing.
    """
    split = open_split(stage.data, "images", ctx)
    work = _Labelling(stage, split, ctx)
    with joined(ctx.rank, ctx.world, torch.device(ctx.device)) as peers:
        work.label(peers)
    if ctx.rank:
        return Outcome()
    found = work.all()
    taught = open_split(stage.labeler.data, stage.labeler.labels, ctx)
    classes = taught if stage.labeler.model.classes > 1 else agnostic(taught)
    write_pseudo_labels(ctx.folder / LABELS, split.images, found, classes.classes, classes.category_ids)
    truth = hidden_truth(stage.data, stage.labeler.labels, ctx)
    _draw(classes.classes, split, truth, found, ctx)
    work.shards.clear()
    facts = {"images": len(split), "labels": sum(len(p.scores) for p in found)}
    return Outcome(metrics=_quality(truth, found) if truth else {}, facts=facts)


class _Labelling:
    """The labelling of one split, shard by shard."""

    def __init__(self, stage: PseudoLabel, split: CocoSplit, ctx: Context) -> None:
        self.split, self.ctx = split, ctx
        self.shards = Shards(ctx.folder / SHARDS, len(split))
        self.settings = TestSettings(stage.size, stage.max_size, stage.detections)
        self.labeler = build_detector(stage.labeler.model, ctx, pretrained=False, non_overlap=stage.non_overlap)
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

    def all(self) -> list[Prediction]:
        """The predictions of all shards; what has become unreadable is made again."""
        return [prediction for number in range(len(self.shards)) for prediction in self.shard(number)]


def _quality(truth: CocoSplit, found: list[Prediction]) -> dict[str, float]:
    """Precision, recall and F1 of the labels against the hidden truth, in percent: "f1@0.3" and so on."""
    results: list[dict[str, Any]] = coco_results(truth, found)
    metrics: dict[str, float] = {}
    for threshold in QUALITY_AT:
        quality = label_quality(truth.coco(), results, threshold)
        metrics |= {f"{name}@{threshold}": quality[name] for name in ("precision", "recall", "f1")}
    return metrics


def _draw(
    classes: Sequence[str], split: CocoSplit, truth: CocoSplit | None, found: list[Prediction], ctx: Context
) -> None:
    rows = []
    for i in chosen(split):
        row = [predicted(split, i, found[i], classes)]
        rows.append([*row, true(truth if len(classes) > 1 else agnostic(truth), i)] if truth else row)
    headings = [f"pseudo labels, score > {CONFIDENT}", "hidden truth, never trained on"]
    save_grid(ctx.folder, "pseudo_labels", rows, headings[: len(rows[0])])
