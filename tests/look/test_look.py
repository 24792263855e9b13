"""What notebooks call, on a chain of the smallest profile."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casl.catalog import load
from casl.data.coco import load_split
from casl.data.image import read_image
from casl.data.layout import find_splits
from casl.data.pseudo import Prediction, read_pseudo_labels, write_pseudo_labels
from casl.data.scenes import write_scene_set
from casl.errors import SpecError, StageError
from casl.look.pictures import detections, kept, mistakes, predictions, pseudo_labels, truth
from casl.look.plots import plot_curves, plot_errors, plot_left, plot_precision, plot_sizes, plot_table
from casl.look.questions import (
    chain,
    curves,
    errors,
    evaluation_of,
    hidden_quality,
    left_at,
    links,
    recall_curves,
    search_answer,
    sizes,
)
from casl.look.results import Results, complete, measure, plan_of, read
from casl.metrics.ap import ap_det
from casl.runner.store import Store
from casl.spec import Ablation, Cell, evaluate, finetune, labeler, pseudo_label, warmup
from casl.stages.dataset import open_data
from casl.stages.sources import LABELS
from tests.runner.stores import NANO
from tests.stages.storied import commit_chain

LABELER = labeler(NANO)
LABELLED = pseudo_label(NANO, LABELER)
WARM = warmup(NANO, pseudo=LABELLED, schedule=1)
FINAL = finetune(NANO, WARM, schedule=1)
SCORED = evaluate(NANO, FINAL, "ap_det")
HELD_OUT = evaluate(NANO, LABELER, "ap_e")
TABLE = Ablation("two", "Two", "a test", lambda profile: [Cell("one", "AP", "ap_det", SCORED)])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    found = Results(tmp_path_factory.mktemp("look") / "store")
    complete(found, SCORED, HELD_OUT)
    return found


def test_a_second_time_there_is_nothing_to_complete(results: Results) -> None:
    assert plan_of(results, TABLE, NANO).todo == []
    before = results.run(SCORED).started
    complete(results, SCORED)
    assert results.run(SCORED).started == before


def test_a_table_is_read_as_it_is_and_measured_if_asked(results: Results, tmp_path: Path) -> None:
    (cell,) = measure(results, TABLE, NANO).cells
    assert (cell.status, cell.value) == ("done", results.run(SCORED).metrics["AP"])
    (empty,) = read(Results(tmp_path / "store"), TABLE, NANO).cells
    assert (empty.status, empty.value) == ("not run", None)
    assert SCORED.name in links(read(results, TABLE, NANO))


def test_a_stage_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"is not run in .*\n  `complete`"):
        kept(Results(tmp_path / "store"), SCORED)


def test_every_stage_of_a_chain_is_listed_inputs_first(results: Results) -> None:
    names = [line.split(" | ")[0].strip("| ") for line in chain(results, SCORED).splitlines()[2:]]
    order = [names.index(s.name) for s in (LABELER, LABELLED, WARM, FINAL, SCORED)]
    assert order == sorted(order) and names[-1] == SCORED.name


def test_curves_are_those_that_the_training_wrote(results: Results) -> None:
    with (results.folder(WARM) / "curves.csv").open() as file:
        rows = list(csv.reader(file))
    found = curves(results, WARM)
    assert list(found) == rows[0] and len(found["loss"]) == WARM.iters
    assert found["loss"][-1] == float(rows[-1][rows[0].index("loss")])


def test_labels_left_fall_as_delta_rises(results: Results) -> None:
    everything = read_pseudo_labels(results.folder(LABELLED) / LABELS, results.root, 0.0)
    scores = np.concatenate([everything.labels(i).scores for i in range(len(everything))])
    left = left_at(results, LABELLED, HELD_OUT, [0.0, float(np.median(scores)), 1.0])
    assert [x.labels for x in left] == [len(scores), int((scores > np.median(scores)).sum()), 0]
    assert [x.images for x in left][-1] == 0 and left[0].images <= 4
    hidden = left_at(results, LABELLED, HELD_OUT, [0.0, 1.0], hidden=True)
    assert [x.labels for x in hidden] == [len(scores), 0]
    assert hidden[1].recall == 0


@pytest.mark.parametrize("scale", ["tiny", "large"], ids=["a share", "all"])
def test_labels_of_a_set_on_disk_are_compared_with_the_truth_that_is_beside_it(tmp_path: Path, scale: str) -> None:
    """Ids of images in the list of unlabeled images are others than in the truth; a share is judged on itself."""
    photos = tmp_path / "photos"
    write_scene_set(photos, labeled=8, unlabeled=6, val=4, size=64, seed=3)
    listed = photos / "annotations" / "unlabeled.json"
    content = json.loads(listed.read_bytes())
    for record in content["images"]:
        record["id"] += 1000
    listed.write_text(json.dumps(content))
    opened = open_data(photos, tmp_path / "store")
    profile = replace(NANO.with_data(opened.data), classifier="random")
    labelled = pseudo_label(profile, labeler(profile), scale=scale)
    roots = {digest: Path(root) for digest, root in opened.roots.items()}
    end = evaluate(profile, finetune(profile, warmup(profile, pseudo=labelled)), "ap_det")
    commit_chain(Store(tmp_path / "store"), end, roots=roots)
    found = Results(tmp_path / "store", opened.roots)
    known = load_split(find_splits(photos)["unlabeled_gt"], labelled.labeler.labels)
    drawn = found.split(labelled.data, "images").images
    boxes = {image.file_name: known.labels(i).boxes for i, image in enumerate(known.images)}
    shutil.rmtree(found.folder(labelled) / LABELS)
    perfect = [boxes[image.file_name] for image in drawn]
    labels = [Prediction(b, np.full(len(b), 0.9, np.float32), np.zeros(len(b), np.int64)) for b in perfect]
    write_pseudo_labels(found.folder(labelled) / LABELS, drawn, labels)
    quality = hidden_quality(found, labelled, 0.0)
    assert (quality["precision"], quality["recall"]) == (100, 100)
    assert len(drawn) == 6 if scale == "large" else len(drawn) < 6
    for path in (photos / "annotations").glob("*unlabeled_gt*.json"):
        path.unlink()
    with pytest.raises(SpecError, match="has no hidden truth"):
        hidden_quality(found, labelled, 0.0)


def test_labels_are_judged_by_their_own_labeler_only(results: Results) -> None:
    with pytest.raises(SpecError, match="but the labels are from"):
        left_at(results, LABELLED, SCORED, [0.3])


def test_analysis_agrees_with_what_the_evaluation_measured(results: Results) -> None:
    measured = results.run(SCORED).metrics
    truth_of = results.split(SCORED.data, "objects").coco()
    assert ap_det(truth_of, predictions(results, SCORED))["AP"] == pytest.approx(measured["AP"])
    assert errors(results, SCORED).ap == pytest.approx(measured["AP50"])
    precision = recall_curves(results, SCORED)["0.50"]
    assert sum(precision) / len(precision) == pytest.approx(measured["AP50"])
    objects = sum(f["objects"] for f in sizes(results, SCORED, (0, 1000)).values())
    assert objects == len(truth_of["annotations"])


def test_pictures_show_the_images_that_they_are_of(results: Results) -> None:
    split = results.split(SCORED.data, "images")
    plain = np.asarray(truth(results, SCORED.data, "images", count=1))
    image = read_image(split.path(0))
    side = image.shape[0]
    scale = 256 // side
    inner = plain[-8 - side * scale : -8, 8 : 8 + side * scale]
    small = np.asarray(Image.fromarray(inner).resize((side, side), Image.Resampling.BOX), np.int16)
    assert np.abs(small - image).mean() < 8
    drawn = np.asarray(truth(results, SCORED.data, "objects", count=1))
    assert drawn.shape == plain.shape and (drawn != plain).any()


def test_a_high_delta_leaves_images_bare_and_a_low_one_does_not(results: Results) -> None:
    low, high, bare = (
        np.asarray(pseudo_labels(results, LABELLED, [delta], count=2))[32:] for delta in (0.0, 1.0, 0.99999)
    )
    assert (high == bare).all() and (low != high).any()


def test_every_picture_can_be_made(results: Results) -> None:
    found = errors(results, SCORED)
    pictures = [
        detections(results, FINAL, SCORED.data, threshold=0.0, count=1),
        kept(results, SCORED),
        plot_curves({"warmup": curves(results, WARM)}),
        plot_left(left_at(results, LABELLED, HELD_OUT, [0.0, 0.5])),
        plot_precision({"it": recall_curves(results, SCORED)}),
        plot_errors({"it": found, "again": found}),
        plot_sizes({"it": sizes(results, SCORED)}),
        plot_table(read(results, TABLE, NANO)),
        *(mistakes(results, SCORED, found, kind, count=1) for kind, count in found.counts.items() if count),
    ]
    for picture in pictures:
        assert isinstance(picture, Image.Image)
        assert min(picture.size) > 100 and np.asarray(picture.convert("L")).std() > 1


def test_kinds_of_errors_that_do_not_exist_are_explained(results: Results) -> None:
    found = errors(results, SCORED)
    with pytest.raises(SpecError, match="did you mean 'background'"):
        mistakes(results, SCORED, found, "backround")
    perfect = replace(found, mistakes=(), counts=dict.fromkeys(found.counts, 0))
    assert "no errors of kind background" in str(mistakes(results, SCORED, perfect, "background"))


def test_a_stage_without_pictures_says_so(results: Results) -> None:
    with pytest.raises(SpecError, match="left no picture"):
        kept(results, WARM)


def test_a_cell_is_found_by_its_place() -> None:
    table4, smoke = load("ablation", "table4"), load("profile", "smoke")
    found = evaluation_of(table4, smoke, "F 3x", "W 5x")
    assert found.model.init is not None and found.metric == "ap_det"
    with pytest.raises(SpecError, match="unknown cell of table4"):
        evaluation_of(table4, smoke, "F 9x", "W 5x")


def test_the_answer_of_a_search_is_told_or_how_to_ask(tmp_path: Path) -> None:
    assert "casl tune delta --profile nano" in search_answer(tmp_path, NANO)
    (tmp_path / "nano").mkdir()
    found = {"headline": ["Best delta: 0.35"], "best": {"paste": "threshold=0.35,"}}
    (tmp_path / "nano" / "search-delta.json").write_text(json.dumps(found))
    assert search_answer(tmp_path, NANO).splitlines()[0] == "- Best delta: 0.35"
    assert "threshold=0.35," in search_answer(tmp_path, NANO)
