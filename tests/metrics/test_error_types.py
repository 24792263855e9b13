from __future__ import annotations

from typing import Any

import pytest

from casl.metrics.ap import ap_det, ap_det_a, ap_seg
from casl.metrics.error_types import KINDS, error_types
from tests.metrics.random_scenes import Json, random_scene
from tests.metrics.test_ap import NOWHERE, A, B, found, truth

HALF_BESIDE = [20.0, 10, 20, 20]  # IoU 1/3 with A
QUARTER = [10.0, 10, 20, 5]  # IoU 1/4 with A, inside it


def of_classes(*objects: tuple[list[float], int]) -> Json:
    """One image with these boxes, each with its class."""
    gt = truth(*(box for box, _ in objects))
    for annotation, (_, category) in zip(gt["annotations"], objects, strict=True):
        annotation["category_id"] = category
    return gt


@pytest.mark.parametrize(
    ("prediction", "kind"),
    [
        (found(A, category=2), "classification"),
        (found(HALF_BESIDE), "localisation"),
        (found(QUARTER), "localisation"),
        (found(HALF_BESIDE, category=2), "both"),
        (found(A, 0.5), "duplicate"),
        (found(NOWHERE), "background"),
    ],
)
def test_each_kind_of_error_is_told_from_the_others(prediction: Json, kind: str) -> None:
    errors = error_types(truth(A), [found(A, 0.95), prediction])
    assert errors.counts == dict.fromkeys(KINDS, 0) | {kind: 1}
    (mistake,) = errors.mistakes
    assert (mistake.kind, mistake.score) == (kind, prediction["score"])


# areas: 400 of A, 800 of HALF, 600 of MOST, 4000 of TENTH; each holds all that are smaller
HALF, MOST, TENTH = [10.0, 10, 20, 40], [10.0, 10, 20, 30], [10.0, 10, 40, 100]
# an object of class 2, if any, beside A of class 1, which is found; a prediction; its kind by sec. 2.2 of the paper
LIMITS = [
    ([], found(HALF, 0.8), "localisation"),  # own is exactly f
    ([], found(MOST, 0.8), "duplicate"),  # own 2/3
    ([], found(TENTH, 0.8), "localisation"),  # own is exactly b
    ([], found(HALF, 0.8, category=2), "classification"),  # other is exactly f
    ([], found(TENTH, 0.8, category=2), "background"),  # other is exactly b
    ([], found(HALF_BESIDE, 0.8, category=2), "both"),  # other 1/3
    ([(HALF, 2)], found(HALF, 0.8), "localisation"),  # own exactly f and other 1
    ([(HALF, 2)], found(MOST, 0.8), "classification"),  # own 2/3 and other 3/4
    ([(HALF, 2)], found(TENTH, 0.8), "localisation"),  # own exactly b and other 1/5
]


@pytest.mark.parametrize(("others", "prediction", "kind"), LIMITS)
def test_a_prediction_right_at_a_threshold_has_the_kind_that_the_paper_gives_it(
    others: list[tuple[list[float], int]], prediction: Json, kind: str
) -> None:
    errors = error_types(of_classes((A, 1), *others), [found(A, 0.95), prediction])
    assert [m.kind for m in errors.mistakes if m.score == 0.8] == [kind]


def test_an_error_of_place_on_an_object_that_was_found_goes_when_it_is_mended() -> None:
    errors = error_types(truth(A, B), [found(A, 0.9), found(HALF, 0.8), found(B, 0.7)])
    assert errors.ap == pytest.approx((51 * 100 + 50 * 100 * 2 / 3) / 101)  # precision 1 up to recall 1/2, then 2/3
    assert errors.gains == pytest.approx(dict.fromkeys(KINDS, 0) | {"localisation": 100 - errors.ap})


def test_an_object_that_nothing_touches_is_missed_and_one_that_an_error_points_to_is_not() -> None:
    errors = error_types(truth(A, B), [found(HALF_BESIDE)])
    assert errors.counts == dict.fromkeys(KINDS, 0) | {"localisation": 1, "missed": 1}
    missed = next(m for m in errors.mistakes if m.kind == "missed")
    assert (missed.truth_id, missed.box) == (2, (100.0, 100.0, 120.0, 120.0))


def test_gains_are_those_worked_out_by_hand() -> None:
    # Two objects; recalls 0..1 in 101 points, of which 51 are up to one half.
    # As it is: background at .9, A at .8: precision 1/2 up to recall 1/2.
    labels = [found(NOWHERE, 0.9), found(A, 0.8), found([100.0, 110, 20, 20], 0.7)]
    errors = error_types(truth(A, B), labels)
    assert errors.ap == pytest.approx(100 * 51 * 0.5 / 101)
    # without the one on nothing: precision 1 up to recall 1/2. With the last in its place: 2/3 all the way.
    assert errors.gains["background"] == pytest.approx(100 * 51 / 101 - errors.ap)
    assert errors.gains["localisation"] == pytest.approx(100 * 2 / 3 - errors.ap)
    assert [errors.gains[k] for k in ("classification", "both", "duplicate", "missed")] == [0, 0, 0, 0]


# objects, predictions, and by hand: AP50, and what mending the missed object of class 2 wins
MISSED = [
    ([(A, 1), (B, 2)], [found(A)], 50, 50),  # nothing is left of class 2
    ([(A, 1), (B, 2)], [found(A), found(NOWHERE, category=2)], 50, 0),  # a wrong prediction is: 0 for it as before
    ([(A, 1), (NOWHERE, 2), (B, 2)], [found(A), found(NOWHERE, category=2)], (100 + 100 * 51 / 101) / 2, 2500 / 101),
]


@pytest.mark.parametrize(("objects", "labels", "ap", "gain"), MISSED)
def test_a_class_that_is_missed_entirely_counts_in_the_ap_and_not_once_that_is_mended(
    objects: list[tuple[list[float], int]], labels: list[Json], ap: float, gain: float
) -> None:
    errors = error_types(of_classes(*objects), labels)
    assert errors.counts["missed"] == 1
    assert [errors.ap, errors.gains["missed"]] == pytest.approx([ap, gain])


def test_where_everything_is_missed_no_class_is_left_and_nothing_is_won() -> None:
    errors = error_types(of_classes((A, 1), (B, 2)), [])
    assert (errors.ap, errors.counts["missed"], errors.gains["missed"]) == (0, 2, 0)


def test_of_two_errors_on_one_object_only_the_better_one_finds_it_once_mended() -> None:
    labels = [found(A, 0.9, category=2), found(A, 0.8, category=2)]
    errors = error_types(truth(A), labels)
    assert errors.counts["classification"] == 2
    assert errors.ap == 0
    assert errors.gains["classification"] == pytest.approx(100)


def test_predictions_on_a_crowd_are_no_errors() -> None:
    assert error_types(truth(A, iscrowd=1), [found(A)]).mistakes == ()


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_ap_is_that_of_coco_and_every_wrong_prediction_is_told(seed: int, masks: bool) -> None:
    gt, dt = random_scene(seed)
    errors = error_types(gt, dt, masks=masks)
    assert errors.ap == pytest.approx((ap_seg if masks else ap_det)(gt, dt)["AP50"], abs=1e-9)
    assert min(errors.counts.values()) > 0 and sum(errors.counts.values()) == len(errors.mistakes)
    assert all(0 <= gain <= 100 - errors.ap for gain in errors.gains.values())


@pytest.mark.parametrize("seed", range(6))
def test_numbers_equal_those_of_the_authors_package(seed: int) -> None:
    tidecv = pytest.importorskip("tidecv", reason="compares with tidecv, which the project does not install")
    gt, dt = random_scene(seed)
    gt["annotations"] = [a for a in gt["annotations"] if not a["iscrowd"]]
    dt = [r | {"score": r["score"] + 1e-6 * i} for i, r in enumerate(dt)]  # tidecv orders ties anew with each mending
    theirs = _tidecv(tidecv, gt, dt)
    ours = error_types(gt, dt)
    assert ours.counts == {kind: theirs.count_errors()[error] for kind, error in _names(tidecv).items()}
    # a recall right on one of the 101 points may fall a bin further there (i / 100) than in COCO (i x .01); 3 classes
    one_bin = 100 / 101 / 3
    gains = theirs.fix_main_errors()
    assert ours.ap == pytest.approx(theirs.ap, abs=one_bin)
    assert ours.gains == pytest.approx({k: gains[error] for k, error in _names(tidecv).items()}, abs=one_bin)


@pytest.mark.parametrize(("others", "prediction", "kind"), LIMITS)
def test_the_authors_package_gives_the_same_kinds_at_the_thresholds(
    others: list[tuple[list[float], int]], prediction: Json, kind: str
) -> None:
    tidecv = pytest.importorskip("tidecv", reason="compares with tidecv, which the project does not install")
    theirs = _tidecv(tidecv, of_classes((A, 1), *others), [found(A, 0.95), prediction]).count_errors()
    counts = {kind: theirs[error] for kind, error in _names(tidecv).items()}
    assert counts | {"missed": 0} == dict.fromkeys(KINDS, 0) | {kind: 1}


@pytest.mark.parametrize(("objects", "labels", "ap", "gain"), MISSED)
def test_the_authors_package_says_the_same_of_classes_that_are_missed(
    objects: list[tuple[list[float], int]], labels: list[Json], ap: float, gain: float
) -> None:
    tidecv = pytest.importorskip("tidecv", reason="compares with tidecv, which the project does not install")
    theirs = _tidecv(tidecv, of_classes(*objects), labels)
    assert theirs.ap == pytest.approx(ap)
    assert theirs.fix_main_errors()[tidecv.quantify.MissedError] == pytest.approx(gain)


def _names(tidecv: Any) -> dict[str, Any]:
    kinds = ("ClassError", "BoxError", "OtherError", "DuplicateError", "BackgroundError", "MissedError")
    return {kind: getattr(tidecv.quantify, name) for kind, name in zip(KINDS, kinds, strict=True)}


def _tidecv(tidecv: Any, gt: Json, dt: list[Json]) -> Any:
    true, predicted = tidecv.Data("truth"), tidecv.Data("found")
    for image in gt["images"]:
        true.add_image(image["id"], str(image["id"]))
    for category in gt["categories"]:
        true.add_class(category["id"], category["name"])
    for a in gt["annotations"]:
        true.add_ground_truth(a["image_id"], a["category_id"], a["bbox"])
    for r in dt:
        predicted.add_detection(r["image_id"], r["category_id"], r["score"], r["bbox"])
    return tidecv.TIDE().evaluate(true, predicted)


@pytest.mark.parametrize(("foreground", "background"), [(0.5, 0.5), (0.4, 0.6), (1.0, 0.1), (0.5, 0.0)])
def test_thresholds_that_make_no_sense_are_refused(foreground: float, background: float) -> None:
    with pytest.raises(ValueError, match="0 < background < foreground < 1"):
        error_types(truth(A), [], foreground=foreground, background=background)


def test_without_classes_nothing_is_of_the_wrong_class_and_the_ap_is_the_agnostic_one() -> None:
    (wrong,) = error_types(truth(A), [found(A, category=2)]).mistakes
    assert wrong.kind == "classification"
    right = error_types(truth(A), [found(A, category=2)], agnostic=True)
    assert right.mistakes == () and right.ap == pytest.approx(100)
    for seed in range(3):
        gt, dt = random_scene(seed)
        errors = error_types(gt, dt, agnostic=True)
        assert errors.counts["classification"] == errors.counts["both"] == 0
        assert errors.ap == pytest.approx(ap_det_a(gt, dt)["AP50"], abs=1e-9)
