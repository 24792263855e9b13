"""What a stage reads of a data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from casl.data.scenes import write_scenes
from casl.spec import Scenes
from casl.spec.context import Context
from casl.stages.sources import hidden_truth, open_split

UNLABELED = Scenes(split="unlabeled", count=3, size=64)


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    write_scenes(tmp_path / "made" / "set", "unlabeled", 3, 64, 0)
    return Context(tmp_path, {UNLABELED.name: tmp_path / "made"}, {}, "cpu", lambda *_: None, lambda _: None)


def test_unlabeled_scenes_are_images_only_unless_their_hidden_truth_is_asked_for(ctx: Context) -> None:
    images, objects, entities = (open_split(UNLABELED, kind, ctx) for kind in ("images", "objects", "entities"))
    counts = [sum(len(split.labels(i).boxes) for i in range(3)) for split in (images, objects, entities)]
    assert counts[0] == 0 < counts[1] < counts[2]
    truth = hidden_truth(UNLABELED, "objects", ctx)
    assert truth is not None and truth.coco() == objects.coco()
