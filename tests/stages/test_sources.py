"""What a stage reads of a data set."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from casl.data.coco import agnostic, load_split
from casl.data.layout import find_splits
from casl.data.scenes import write_scenes
from casl.spec import Scenes, labeler
from casl.spec.context import Context
from casl.stages.dataset import open_data
from casl.stages.sources import hidden_truth, open_split
from casl.stages.training import run_training
from tests.runner.stores import NANO
from tests.stages.ranks import context

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


def test_the_scales_of_a_folder_are_drawn_from_all_of_it_and_each_is_part_of_the_next(tmp_path: Path) -> None:
    root = tmp_path / "video"
    for split, count in (("labeled", 2), ("unlabeled", 32), ("val", 2)):
        write_scenes(root, split, count, 64, 0)
    opened = open_data(root, tmp_path)
    ctx = Context(tmp_path, {}, {d: Path(at) for d, at in opened.roots.items()}, "cpu", lambda *_: None, lambda _: None)
    stages = [opened.data.split("unlabeled", "images", scale) for scale in ("tiny", "small", "base", "large")]
    files = [[image.file_name for image in open_split(stage, "images", ctx).images] for stage in stages]
    assert [len(names) for names in files] == [4, 8, 16, 32]
    assert all(set(less) < set(more) for less, more in pairwise(files))
    assert files[0] != files[3][:4] and files[2] != files[3][:16], "not its beginning, which may be one place"
    assert len({stage.key for stage in stages}) == 4


@pytest.mark.parametrize("empty_images", [False, True])
def test_images_without_labels_are_trained_on_only_if_the_recipe_says_so(tmp_path: Path, empty_images: bool) -> None:
    """As detectron2, which leaves them out (FILTER_EMPTY_ANNOTATIONS). Four scenes, two of them emptied."""
    recipe = replace(NANO.warmup_recipe, empty_images=empty_images)
    stage = replace(labeler(replace(NANO, warmup_recipe=recipe)), schedule=((2, 1.0),))
    write_scenes(tmp_path / "set", "labeled", 4, 64, 0)
    split = load_split(find_splits(tmp_path / "set")["labeled"])
    emptied = agnostic(replace(split, annotations=[*split.annotations[:2], (), ()]))
    facts = run_training(stage, emptied, context(stage, tmp_path, tmp_path / "out")).facts
    assert facts["images"] == (4 if empty_images else 2)
    assert facts["labels"] == sum(len(records) for records in emptied.annotations)
