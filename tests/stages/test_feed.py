"""Batches of one split and of several: what is in them, and that they depend on the iteration alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

from casl.data.augment import Sample, weak
from casl.data.coco import CocoSplit, Labels, load_split
from casl.data.image_info import ImageInfo
from casl.data.layout import find_splits
from casl.data.scenes import write_scenes
from casl.data.stream import image_at, stream_seed
from casl.errors import DataError, SpecError, StageError
from casl.spec import Recipe, labeler, pseudo_label, warmup
from casl.stages.feed import Feed, MixedFeed, Source, View, read_sample
from casl.train.distributed import Peers
from casl.train.learner import Batch
from casl.train.views import between, inside, moved, of_view
from tests.runner.stores import NANO

RECIPE = Recipe(lr=1.0, batch=3, sizes=(48, 64, 80), max_size=96)
WEAK, STRONG = (View(name, (48, 64, 80), 96) for name in ("weak", "strong"))
NUMBERED = ("boxes", "labels", "masks")


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CocoSplit]:
    """Seven labeled scenes, and five whose labels have scores as a labeler would give them, all different."""
    folder = tmp_path_factory.mktemp("scenes")
    for split, count in (("labeled", 7), ("unlabeled", 5)):
        write_scenes(folder, split, count, size=64, seed=0)
    files = find_splits(folder)
    plain, pseudo = load_split(files["labeled"]), load_split(files["unlabeled_gt"])
    scored = [
        [{**record, "score": 1 / (2 + place + 20 * image)} for place, record in enumerate(records)]
        for image, records in enumerate(pseudo.annotations)
    ]
    return {"labeled": plain, "pseudo": replace(pseudo, annotations=scored, scored=True)}


def doubled(labels: Labels) -> NDArray[np.float32]:
    return 2 * labels.scores


def mixed(splits: dict[str, CocoSplit], peers: Peers | None = None) -> MixedFeed:
    """Two labeled images, and three others in two views each."""
    sources = [
        Source(splits["labeled"], 2, (WEAK,), ("masks",)),
        Source(splits["pseudo"], 3, (WEAK, STRONG), ("scores", "matrix"), doubled),
    ]
    return MixedFeed(sources, 11, peers or Peers())


def equal(first: Batch, second: Batch) -> bool:
    images = len(first[0]) == len(second[0]) and all(map(torch.equal, first[0], second[0]))
    return images and [{n: t.tolist() for n, t in target.items()} for target in first[1]] == [
        {n: t.tolist() for n, t in target.items()} for target in second[1]
    ]


def test_a_batch_of_one_split_is_its_stream_augmented_from_seed_and_position(splits: dict[str, CocoSplit]) -> None:
    split, feed = splits["labeled"], Feed(splits["labeled"], RECIPE, 4, ("masks",))
    for iteration in (0, 5, 2):
        images, targets = feed(iteration)
        assert len(images) == len(targets) == 3
        for place, (image, target) in enumerate(zip(images, targets, strict=True)):
            position = iteration * 3 + place
            raw = read_sample(split, image_at(position, 7, 4), ("masks",))
            sample: Sample = weak(raw, np.random.default_rng([4, position, 1]), (48, 64, 80), 96)
            assert torch.equal(image, torch.from_numpy(sample.image).permute(2, 0, 1))
            assert tuple(target) == ("boxes", "labels", "masks"), "what is not asked for is not there"
            assert sample.masks is not None
            for name, array in zip(target, (sample.boxes, sample.labels, sample.masks), strict=True):
                np.testing.assert_array_equal(target[name].numpy(), array)


def test_a_mixed_batch_has_the_images_of_each_source_and_all_their_views(splits: dict[str, CocoSplit]) -> None:
    images, targets = mixed(splits)(3)
    tags = [(int(t["source"]), int(t["view"])) for t in targets]
    assert tags == [(0, 0)] * 2 + [(1, 0), (1, 1)] * 3
    assert all("masks" in t and "matrix" not in t and "weights" not in t for t in targets[:2])
    assert all("masks" not in t and t["matrix"].shape == (3, 3) for t in targets[2:])
    assert len(images) == 8


def test_the_first_source_gives_what_it_gives_alone(splits: dict[str, CocoSplit]) -> None:
    alone = Feed(splits["labeled"], replace(RECIPE, batch=2), 11, ("masks",))
    for iteration in range(6):
        images, targets = of_view(*mixed(splits)(iteration), source=0)
        untagged = [{n: t for n, t in target.items() if n in NUMBERED} for target in targets]
        assert equal((images, untagged), alone(iteration))


def test_every_epoch_of_a_source_shows_every_image_once_in_an_order_of_its_own(splits: dict[str, CocoSplit]) -> None:
    feed = mixed(splits)
    seen = [float(t["scores"].max()) for i in range(5) for t in of_view(*feed(i), 1)[1]]
    order = [image_at(position, 5, stream_seed(11, 1)) for position in range(15)]
    assert seen == pytest.approx([1 / (2 + 20 * image) for image in order], abs=0.02)
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))


def test_the_views_of_an_image_show_the_same_boxes_moved_by_their_matrices(splits: dict[str, CocoSplit]) -> None:
    feed, split, compared = mixed(splits), splits["pseudo"], 0
    for iteration in range(12):
        batch = feed(iteration)
        pairs = zip(*of_view(*batch, 1, 0), *of_view(*batch, 1, 1), strict=True)
        for place, (_, first, image, second) in enumerate(pairs):
            index = image_at(iteration * 3 + place, 5, stream_seed(11, 1))
            labels = split.labels(index)
            for target in (first, second):  # scores are all different, so they say which box is which
                original = [labels.scores.tolist().index(score) for score in target["scores"].tolist()]
                assert target["labels"].tolist() == labels.labels[original].tolist()
                assert torch.equal(target["weights"], 2 * target["scores"])
            boxes, useful = inside(moved(first["boxes"], between(first["matrix"], second["matrix"])), *image.shape[1:])
            assert torch.equal(first["scores"][useful], second["scores"])
            torch.testing.assert_close(boxes[useful], second["boxes"], rtol=0, atol=2e-3)
            compared += len(second["boxes"])
    assert compared > 100


def test_views_are_augmented_independently(splits: dict[str, CocoSplit]) -> None:
    sources = [Source(splits["pseudo"], 8, (WEAK, WEAK), ("matrix",))]
    batch = MixedFeed(sources, 0)(0)
    flips = [[bool(t["matrix"][0, 0] < 0) for t in of_view(*batch, 0, view)[1]] for view in (0, 1)]
    assert flips[0] != flips[1] and all(0 < sum(flip) < 8 for flip in flips)


def test_a_batch_is_a_function_of_the_iteration(splits: dict[str, CocoSplit]) -> None:
    feed = mixed(splits)
    forward = [feed(i) for i in range(6)]
    fresh = mixed(splits)
    with ThreadPoolExecutor(3) as pool:
        backward = list(pool.map(fresh, reversed(range(6))))[::-1]
    assert all(map(equal, forward, backward))
    assert not equal(forward[0], forward[1])


@pytest.mark.parametrize("world", [1, 2, 3, 4, 5])
def test_the_parts_of_the_ranks_are_the_batch(splits: dict[str, CocoSplit], world: int) -> None:
    parts = [mixed(splits, Peers(rank, world))(2) for rank in range(world)]
    assert equal(([i for part in parts for i in part[0]], [t for part in parts for t in part[1]]), mixed(splits)(2))
    assert all(int(part[1][0]["view"]) == 0 for part in parts), "views of an image stay together"


def test_more_processes_than_images_are_refused(splits: dict[str, CocoSplit]) -> None:
    with pytest.raises(StageError, match=r"5 images .* 6 processes.*\n.*--gpus-per-stage 5"):
        mixed(splits, Peers(0, 6))


def test_a_source_without_images_masks_or_views_is_refused(splits: dict[str, CocoSplit]) -> None:
    split = splits["labeled"]
    with pytest.raises(DataError, match="at least one image"):
        Source(replace(split, images=(), annotations=()), 1, (WEAK,))
    with pytest.raises(DataError, match="boxes only"):
        Source(replace(split, has_masks=False), 1, (WEAK,), ("masks",))
    for count, views in ((0, (WEAK,)), (1, ())):
        with pytest.raises(ValueError, match="at least one view of one image"):
            Source(split, count, views)


def test_the_images_of_a_batch_are_all_wide_or_all_tall(tmp_path: Path) -> None:
    shapes = [(40, 60)] * 9 + [(60, 40)] * 4  # height, width
    generator = np.random.default_rng(0)
    infos = []
    for number, (height, width) in enumerate(shapes):
        pixels = generator.integers(0, 255, (height, width, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        infos.append(ImageInfo(number + 1, f"{number}.png", width, height))
    split = CocoSplit("mixed", tmp_path, infos, ("a",), (1,), [()] * 13, {1: 0}, has_masks=False)
    recipe = replace(RECIPE, sizes=(40,))
    batches = [Feed(split, recipe, 0, ())(iteration)[0] for iteration in range(13)]
    wide = [{image.shape[2] > image.shape[1] for image in images} for images in batches]
    assert sorted(map(list, wide)) == [[False]] * 4 + [[True]] * 9
    parts = [Feed(split, recipe, 0, (), Peers(rank, 2))(5)[0] for rank in range(2)]
    assert all(map(torch.equal, [image for part in parts for image in part], batches[5]))


@pytest.mark.parametrize("name", ["stac", "ut"])
def test_a_published_view_is_chosen_by_its_name(splits: dict[str, CocoSplit], name: str) -> None:
    views = (WEAK, View(name, (48, 64), 96))
    feed = MixedFeed([Source(splits["pseudo"], 2, views, ("masks", "matrix"))], 3)
    assert equal(feed(4), feed(4))
    for target in of_view(*feed(4), 0, 1)[1]:
        assert target["matrix"].shape == (3, 3) and target["masks"].any(dim=(1, 2)).all()
    assert Feed(splits["labeled"], replace(RECIPE, augmentation=name), 4, ())(0)[0][0].dtype == torch.uint8


def test_a_view_that_does_not_exist_is_named_with_its_nearest(splits: dict[str, CocoSplit]) -> None:
    with pytest.raises(SpecError, match=r"unknown augmentation 'stacc'; known: .*\n  did you mean 'stac'"):
        MixedFeed([Source(splits["labeled"], 2, (View("stacc", (48,), 96),))], 3)
    with pytest.raises(SpecError, match="did you mean 'weak'"):
        replace(RECIPE, augmentation="week")


def pasting(splits: dict[str, CocoSplit], share: float, needs: tuple[str, ...] = ("masks",)) -> MixedFeed:
    views = (View("lsj", (48,), 64, share), WEAK)
    return MixedFeed([Source(splits["labeled"], 2, views, needs)], 5)


def test_objects_of_another_image_of_the_split_are_pasted_and_a_batch_stays_a_function_of_the_iteration(
    splits: dict[str, CocoSplit],
) -> None:
    feed, none, changed = pasting(splits, 0.5), pasting(splits, 0.0), 0
    with ThreadPoolExecutor(3) as pool:
        threaded = list(pool.map(feed, range(12)))
    for iteration in (7, 3, 11, *range(12)):
        batch = feed(iteration)
        assert equal(batch, threaded[iteration])
        for view, plain in zip(of_view(*batch, 0, 0)[0], of_view(*none(iteration), 0, 0)[0], strict=True):
            assert view.shape == plain.shape == (3, 64, 64)
            changed += iteration < 12 and not torch.equal(view, plain)
        assert equal(of_view(*batch, 0, 1), of_view(*none(iteration), 0, 1)), "the view without stays as it is"
    assert 4 <= changed <= 26, "of 30 images half have a partner, and some of these give no object"


def test_masks_that_are_read_to_paste_reach_no_detector_of_boxes(splits: dict[str, CocoSplit]) -> None:
    batch, with_masks = pasting(splits, 1.0, ())(2), pasting(splits, 1.0)(2)
    assert all("masks" not in target for target in batch[1])
    for image, target, other, masked in zip(*batch, *with_masks, strict=True):
        assert torch.equal(image, other) and torch.equal(target["boxes"], masked["boxes"])


def test_pasting_without_masks_is_refused_before_training(splits: dict[str, CocoSplit]) -> None:
    boxes = replace(splits["labeled"], has_masks=False)
    recipe = replace(RECIPE, copy_paste=0.5)
    with pytest.raises(DataError, match="copy_paste pastes objects by their masks, but the annotations have"):
        Feed(boxes, recipe, 4, ())
    profile = replace(NANO, warmup_recipe=replace(NANO.warmup_recipe, copy_paste=0.5))
    boxes_only = pseudo_label(NANO, replace(labeler(NANO), model=replace(NANO.shape, detector="fcos", mask_channels=8)))
    with pytest.raises(SpecError, match=r"the pseudo labels of 'fcos' have boxes only\n.*condinst"):
        warmup(profile, pseudo=boxes_only)
    assert warmup(profile).recipe.copy_paste == 0.5
