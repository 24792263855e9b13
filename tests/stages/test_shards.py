"""Labelling in shards: any number of ranks, stopped or damaged, ends with the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from casl.data.image_info import ImageInfo
from casl.data.pseudo import Prediction, count_pseudo_labels, write_pseudo_labels
from casl.errors import DataError, StoppedError
from casl.spec import PseudoLabel, SceneData, labeler, pseudo_label
from casl.spec.context import Context
from casl.spec.run import WEIGHTS
from casl.stages import detectors, pseudolabel, shards
from casl.stages.detectors import BATCH, build_detector, predict_split, to_prediction
from casl.stages.shards import Shards
from casl.stages.sources import LABELS, open_split
from casl.train.checkpoint import load_weights
from tests.runner.stores import NANO
from tests.stages.ranks import carry_out, free_port, join, meet_at, start_ranks, with_inputs

SMALL = 16  # images a shard here
PROFILE = replace(NANO, data=SceneData(labeled=4, unlabeled={"tiny": 40}, val=2, size=64))


def stage() -> PseudoLabel:
    return pseudo_label(PROFILE, labeler(PROFILE))


def context(root: Path, **changes: Any) -> Context:
    inputs = {s.name: root / s.name for s in (stage().labeler, stage().data, stage().labeler.data)}
    given: dict[str, Any] = {"folder": root, "inputs": inputs, "roots": {}, "device": "cpu"}
    return Context(**given | {"progress": lambda *_: None, "say": lambda _: None} | changes)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labels")
    with_inputs(stage(), root)
    return root


@pytest.fixture(scope="module")
def expected(root: Path) -> dict[str, bytes]:
    """The file that one pass over the split without any shards leaves."""
    ctx = context(root)
    split = open_split(stage().data, "images", ctx)
    detector = build_detector(stage().labeler.model, ctx, pretrained=False, non_overlap=stage().non_overlap)
    detector.load_state_dict(load_weights(root / stage().labeler.name / WEIGHTS))
    settings = detectors.TestSettings(stage().size, stage().max_size, stage().detections)
    found = [to_prediction(p) for p in predict_split(detector, split, settings, "cpu", ctx.progress)]
    write_pseudo_labels(root / "expected", split.images, found)
    return content(root / "expected")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", SMALL)


def labels(folder: Path) -> dict[str, bytes]:
    assert sorted(path.name for path in folder.iterdir()) == ["labels", "pictures"]
    return content(folder / LABELS)


def test_shards_cut_no_batch() -> None:
    assert shards.SHARD % BATCH == 0 and SMALL % BATCH == 0


def test_one_shard_and_several_leave_the_bytes_of_a_single_pass(
    root: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out(stage(), root, tmp_path / "one")
    assert labels(tmp_path / "one") == expected
    monkeypatch.setattr(shards, "SHARD", SMALL)
    carry_out(stage(), root, tmp_path / "three")
    assert labels(tmp_path / "three") == expected


def test_what_is_counted_and_judged_are_the_labels_on_disk(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = carry_out(stage(), root, tmp_path / "plain")

    def with_nothing(image: Any) -> Prediction:
        """A first prediction whose mask is empty, as a labeler of objects may give one."""
        one = to_prediction(image)
        if one.rles is None or not len(one.scores):
            return one
        size = one.rles[0]["size"]
        nothing = rle_tools.encode(np.zeros(size, np.uint8, order="F"))
        top = Prediction(one.boxes[:1], np.ones(1, np.float32), one.labels[:1], [nothing])
        return Prediction(
            np.concatenate([top.boxes, one.boxes]),
            np.concatenate([top.scores, one.scores]),
            np.concatenate([top.labels, one.labels]),
            [nothing, *one.rles],
        )

    monkeypatch.setattr(pseudolabel, "to_prediction", with_nothing)
    more = carry_out(stage(), root, tmp_path / "more")
    assert labels(tmp_path / "more") == labels(tmp_path / "plain")
    assert plain.facts["labels"] == count_pseudo_labels(tmp_path / "plain" / LABELS, 0.0)[1] > 0
    assert (more.facts, more.metrics) == (plain.facts, plain.metrics) and plain.metrics


def label_small_shards(rank: int, world: int, root: Path, folder: Path, port: int) -> None:
    shards.SHARD = SMALL
    meet_at(port)
    carry_out(stage(), root, folder, rank=rank, world=world)


def test_two_ranks_leave_the_same_bytes(root: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    assert join(start_ranks(2, label_small_shards, root, tmp_path / "two", free_port())) == [0, 0]
    assert labels(tmp_path / "two") == expected


@pytest.mark.parametrize("batches", [1, 2])
def test_a_stopped_labelling_goes_on_with_the_missing_shards(
    root: Path, expected: dict[str, bytes], tmp_path: Path, small_shards: None, batches: int
) -> None:
    seen: list[int] = []

    def progress(done: int, total: int, figures: Mapping[str, float]) -> None:
        seen.append(done)

    with pytest.raises(StoppedError):
        carry_out(stage(), root, tmp_path, progress=progress, stopping=lambda: len(seen) >= batches)
    assert seen == [16, 32][:batches]
    carry_out(stage(), root, tmp_path, progress=progress)
    assert seen == [16, 32, 40]  # nothing twice
    assert labels(tmp_path) == expected


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_shard_is_named_and_labelled_again(
    root: Path, expected: dict[str, bytes], tmp_path: Path, small_shards: None, damage: str
) -> None:
    seen: list[int] = []
    with pytest.raises(StoppedError):
        carry_out(stage(), root, tmp_path, progress=lambda d, *_: seen.append(d), stopping=lambda: len(seen) >= 2)
    path = Shards(tmp_path / "shards", ()).path(1)
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-7], "flip": data[:-7] + bytes([data[-7] ^ 4]) + data[-6:], "empty": b""}[damage])
    said: list[str] = []
    carry_out(stage(), root, tmp_path, say=said.append, progress=lambda d, *_: seen.append(d))
    assert seen == [16, 32, 32, 40]
    assert [str(path) in line for line in said] == [True]
    assert labels(tmp_path) == expected


def prediction(count: int, masks: bool) -> Prediction:
    generator = np.random.default_rng(count)
    rles = [{"size": [7, 9], "counts": bytes(generator.integers(48, 111, 1 + n, np.uint8))} for n in range(count)]
    boxes, scores = generator.random((count, 4), np.float32), generator.random(count, np.float32)
    return Prediction(boxes, scores, generator.integers(0, 9, count), rles if masks else None)


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("counts", [[3, 0, 5], [0], [0, 0], [1]])
def test_a_shard_is_read_as_it_was_written(tmp_path: Path, counts: list[int], masks: bool) -> None:
    written = [prediction(count, masks) for count in counts]
    images = [ImageInfo(n, f"{n}.png", width=9, height=7) for n in range(len(counts))]
    kept = Shards(tmp_path, images)
    assert kept.read(0) is None
    kept.write(0, written)
    for one, other in zip(written, kept.read(0) or [], strict=True):
        for name in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)
        assert one.rles == other.rles
    kept.path(0).write_bytes(kept.path(0).read_bytes() + b"x")
    with pytest.raises(DataError, match="is damaged"):
        kept.read(0)


def test_a_whole_file_of_another_format_is_refused_by_name(tmp_path: Path) -> None:
    kept = Shards(tmp_path, [ImageInfo(1, "a.png", width=9, height=7)])
    content = b"labels of another version"
    kept.path(0).write_bytes(hashlib.sha256(content).digest() + content)
    with pytest.raises(DataError, match=r"000000\.shard: damaged"):
        kept.read(0)
