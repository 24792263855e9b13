"""Pictures of a chain's results, from real images with made-up labels and predictions."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from casl.data.coco import load_split
from casl.data.layout import find_splits
from casl.data.pictures import READABLE_SIDE
from casl.errors import DataError
from casl.metrics.per_image import f1_by_image
from casl.runner.store import Store
from casl.spec import evaluate, finetune, warmup
from casl.spec.kinds import PseudoLabel
from casl.spec.run import PREDICTIONS
from casl.stages.sources import LABELS
from casl.stages.story import Drawn, Pictures, spread
from tests.runner.stores import NANO
from tests.stages.storied import commit_chain

DONE = evaluate(NANO, finetune(NANO, warmup(NANO)), "ap_det")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    found = Store(tmp_path_factory.mktemp("storied") / "store")
    commit_chain(found, DONE)
    return found


@pytest.fixture
def pictures(store: Store) -> Pictures:
    return Pictures(store.folder, {}, store.root / "digests.json")


def labelled() -> PseudoLabel:
    start = DONE.model.init
    assert start is not None and isinstance(start.data, PseudoLabel)
    return start.data


def pixels(drawn: Drawn) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(drawn.jpeg)), float)


def test_predictions_are_drawn_above_the_score_and_nothing_else(pictures: Pictures, store: Store) -> None:
    first = pictures.shown(DONE, 1)[0]
    drawn, truth = pictures.judged(DONE, first), pictures.true(DONE, first)
    results = json.loads((store.folder(DONE.name) / PREDICTIONS).read_bytes())
    here = [r for r in results if r["image_id"] == first]
    assert drawn.boxes == sum(r["score"] > pictures.above for r in here) < len(here)
    split = load_split(find_splits(store.folder(DONE.data.name) / "set")["val"], "objects")
    assert (truth.image, truth.boxes) == (Path(split.images[0].file_name).stem, len(split.annotations[0]))
    plain = np.asarray(Image.open(split.path(0)).convert("RGB").resize(drawn.size, Image.Resampling.BICUBIC), float)
    assert drawn.size == (READABLE_SIDE, READABLE_SIDE)
    assert (np.abs(pixels(drawn) - plain).max(axis=2) > 100).any()
    assert np.median(np.abs(pixels(drawn) - plain)) < 12, "the image itself is what is drawn on"


def test_the_same_results_give_the_same_bytes(store: Store) -> None:
    made = [Pictures(store.folder, {}, store.root / "digests.json") for _ in range(2)]
    assert len({p.judged(DONE, p.shown(DONE, 1)[0]).jpeg for p in made}) == 1


def test_labels_above_the_threshold_stand_beside_the_hidden_truth(pictures: Pictures) -> None:
    found = pictures.pseudo(labelled(), 0.3, 9)
    assert len(found) == 3, "of four images one has no label left"
    assert all(drawn.boxes == 1 and truth is not None and truth.image == drawn.image for drawn, truth in found)
    assert [drawn.boxes for drawn, _ in pictures.pseudo(labelled(), 0.05, 1)] == [2]


def test_the_labeled_image_has_most_classes(pictures: Pictures, store: Store) -> None:
    drawn = pictures.labeled(DONE.model)
    split = load_split(find_splits(store.folder(DONE.model.data.name) / "set")["labeled"], "objects")
    kinds = {Path(image.file_name).stem: {r["category_id"] for r in found}
             for image, found in zip(split.images, split.annotations, strict=True)}  # fmt: skip
    assert len(kinds[drawn.image]) == max(map(len, kinds.values()))


def test_f1_of_images_is_that_of_the_kept_predictions(pictures: Pictures, store: Store) -> None:
    truth = load_split(find_splits(store.folder(DONE.data.name) / "set")["val"], "objects").coco()
    results = json.loads((store.folder(DONE.name) / PREDICTIONS).read_bytes())
    assert dict(pictures.f1(DONE)) == f1_by_image(truth, results, pictures.above)


def test_what_is_gone_is_a_data_error(pictures: Pictures, store: Store, tmp_path: Path) -> None:
    bare = Pictures(lambda name: tmp_path / name, {}, tmp_path / "digests.json")
    (tmp_path / DONE.data.name).symlink_to(store.folder(DONE.data.name))
    with pytest.raises(DataError, match=PREDICTIONS):
        bare.judged(DONE, bare.shown(DONE, 1)[0])
    with pytest.raises(DataError, match="no image 7"):
        pictures.judged(DONE, 7)
    unlabeled = labelled().data.name
    (tmp_path / unlabeled).symlink_to(store.folder(unlabeled))
    with pytest.raises(DataError, match=LABELS):
        bare.pseudo(labelled(), 0.3, 1)


def test_scenes_may_be_shown_to_everyone(pictures: Pictures) -> None:
    pictures.true(DONE, pictures.shown(DONE, 1)[0])
    assert (pictures.terms().closed, pictures.terms().credit) == ("", ())


def test_images_are_spread_evenly() -> None:
    assert spread(10, 3) == [0, 3, 6]
    assert spread(2, 5) == [0, 1]
