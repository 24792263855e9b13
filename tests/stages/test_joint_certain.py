"""Joint trainings with rules by class: what passes, what counts, what is remembered, and stops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from casl.data.coco import CocoSplit
from casl.data.pseudo import read_pseudo_labels
from casl.errors import DataError, StoppedError
from casl.rows import PARTS
from casl.spec import Joint, PseudoLabel, SceneData, finetune, pseudo_label
from casl.spec.joint_methods import joint
from casl.spec.run import CURVES, WEIGHTS
from casl.stages.joint import JointFeed, run
from casl.stages.joint_certain import HIGHEST, LOWEST, CertainLearner, absent_classes, passing
from casl.stages.joint_learner import PASSED
from casl.stages.sources import LABELS, open_split, split_files
from casl.stages.training import STATE
from casl.train.checkpoint import load_weights
from tests.runner.stores import NANO
from tests.stages.ranks import context, with_inputs
from tests.stages.test_joint import figures, tags
from tests.stages.test_joint_learner import batch, detector, losses, stage

PROFILE = replace(
    NANO,
    data=SceneData(labeled=7, unlabeled={"tiny": 5}, val=2, size=64),
    finetune_recipe=replace(NANO.finetune_recipe, lr=1e-2, sizes=(48, 64), batch=3),
    iters_1x=6,
)
RULES = {"threshold": 0.2, "threshold_range": (0.06, 0.9), "least_instances": 1, "weight_range": (0.1, 10.0)}


def made(**changes: Any) -> Joint:
    """A student of eight iterations, at one rate, that starts from its teacher."""
    first = finetune(PROFILE, None, schedule=1, detector="faster_rcnn_interval")
    options = {"method": "certainty", "detector": "faster_rcnn_interval", "pseudo": pseudo_label(PROFILE, first)}
    found = joint(PROFILE, init=first, parts=PARTS, ratio="union", **options)  # type: ignore[arg-type]
    return replace(found, **{"schedule": ((8, 1.0),), **RULES, **changes})


STAGE = made()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, and a whole training without a stop."""
    root = tmp_path_factory.mktemp("certain")
    with_inputs(STAGE, root)
    run(STAGE, context(STAGE, root, root / STAGE.name))
    return root


def same(first: Path, second: Path) -> None:
    """Student, statistics, optimiser and curves are equal bit for bit."""
    for name in (WEIGHTS, STATE):
        one, other = load_weights(first / name), load_weights(second / name)
        assert one.keys() == other.keys()
        assert [key for key, value in one.items() if not torch.equal(value, other[key])] == []
    assert (first / CURVES).read_bytes() == (second / CURVES).read_bytes()


def test_statistics_are_in_the_state_and_not_in_the_result(root: Path) -> None:
    state, weights = load_weights(root / STAGE.name / STATE), load_weights(root / STAGE.name / WEIGHTS)
    counts = state["model/statistics.counts"]
    assert counts.sum() > 0 and state["model/statistics.sums"].sum() > 0
    assert ((state["model/statistics.sums"] <= counts) & (counts == counts.round())).all()
    assert not any("statistics" in name for name in weights)


def test_the_student_starts_from_all_of_its_teacher(root: Path, tmp_path: Path) -> None:
    short = STAGE.until(((1, 1.0),))
    assert isinstance(short, Joint)
    still = replace(short, recipe=replace(short.recipe, lr=1e-12, weight_decay=0.0))
    run(still, context(still, root, tmp_path))
    assert STAGE.init is not None
    teacher, student = load_weights(root / STAGE.init.name / WEIGHTS), load_weights(tmp_path / WEIGHTS)
    assert teacher.keys() == student.keys()
    learned = [name for name in teacher if "running" not in name and "batches" not in name]
    assert all(torch.allclose(teacher[name], student[name], atol=1e-6) for name in learned)


def test_thresholds_and_weights_are_followed_and_losses_add_up(root: Path) -> None:
    rows = figures(root / STAGE.name)
    assert rows[0][LOWEST] == pytest.approx(0.2) and rows[0][HIGHEST] == 1.0
    assert any(row[HIGHEST] > 1.0 and row[LOWEST] < 0.2 for row in rows), "once every class had an instance"
    for row in rows:
        assert row["loss"] == pytest.approx(sum(v for k, v in row.items() if k.startswith("loss_")), rel=1e-4)
    assert {"loss_box_offset", "loss_box_offset_u"} <= rows[0].keys()


@pytest.mark.parametrize("stop", [3, 6])
def test_stopped_and_gone_on_is_straight_through(root: Path, tmp_path: Path, stop: int) -> None:
    answers = iter([*[False] * stop, True])
    with pytest.raises(StoppedError, match=f"iteration {stop}/8"):
        run(STAGE, context(STAGE, root, tmp_path, stopping=lambda: next(answers)))
    torch.manual_seed(77)  # as another process would have left it
    run(STAGE, context(STAGE, root, tmp_path))
    same(tmp_path, root / STAGE.name)


def test_a_training_that_continues_a_shared_beginning_is_straight_through(root: Path, tmp_path: Path) -> None:
    beginning = STAGE.until(((5, 1.0),))
    assert isinstance(beginning, Joint) and beginning.family == STAGE.family
    run(beginning, context(beginning, root, tmp_path / "beginning"))
    ctx = context(STAGE, root, tmp_path / "continued", resume=beginning)
    outcome = run(STAGE, replace(ctx, inputs={**ctx.inputs, beginning.name: tmp_path / "beginning"}))
    assert outcome.facts["started_at"] == 5
    same(tmp_path / "continued", root / STAGE.name)


def test_a_union_has_every_image_as_often_and_is_a_pure_function_of_the_iteration(root: Path) -> None:
    ctx = context(STAGE, root, root / "feed")
    labeled = open_split(STAGE.data, "objects", ctx)
    assert isinstance(STAGE.unlabeled, PseudoLabel)
    folder, photos = root / STAGE.unlabeled.name / LABELS, split_files(STAGE.unlabeled.data, ctx).images
    unlabeled = read_pseudo_labels(folder, photos, STAGE.lowest)
    feed, again = JointFeed(STAGE, labeled, unlabeled, ()), JointFeed(STAGE, labeled, unlabeled, ())
    counts = [[source for source, _ in tags(feed(i)[1])] for i in range(len(labeled) + len(unlabeled))]
    assert {len(one) for one in counts} == {3}
    assert sum(one.count(0) for one in counts) == 3 * len(labeled), "three images a batch: three times each"
    assert max(one.count(0) for one in counts) - min(one.count(0) for one in counts) <= 1
    for iteration in (4, 1):
        (images, targets), (others, their) = feed(iteration), again(iteration)
        assert all(torch.equal(a, b) for a, b in zip(images, others, strict=True))
        assert all(("scores" in target) == (int(target["source"]) == 1) for target in targets)
        assert [t["boxes"].tolist() for t in targets] == [t["boxes"].tolist() for t in their]


def test_labels_pass_that_score_above_the_threshold_of_their_class() -> None:
    target = {
        "boxes": torch.arange(12.0).view(3, 4),
        "labels": torch.tensor([0, 1, 1]),
        "scores": torch.tensor([0.7, 0.65, 0.66]),
        "source": torch.tensor(1),
    }
    kept = passing(target, torch.tensor([0.7, 0.65]))
    assert kept["labels"].tolist() == [1] and kept["boxes"].tolist() == [[8, 9, 10, 11]]
    assert kept.keys() == {"boxes", "labels"}


@pytest.mark.parametrize("name", ["faster_rcnn_interval", "faster_rcnn", "fcos"])
def test_an_image_without_a_label_that_passes_teaches_nothing(name: str) -> None:
    of = stage("certainty", name, threshold=0.85, threshold_range=(0.1, 0.9))  # labels of the batch score .8
    learner = CertainLearner(detector(of), of, print)
    learner.module.train()
    found = losses(learner, of)
    assert found[PASSED] == 0.0 and all(v == 0 for k, v in found.items() if k.endswith("_u"))
    assert found["loss_cls"] > 0
    lower = replace(of, threshold=0.7)
    learner = CertainLearner(detector(lower), lower, print)
    learner.module.train()
    assert losses(learner, lower)[PASSED] > 0


def test_a_batch_of_which_nothing_is_left_has_all_names_and_no_gradient() -> None:
    of = stage("certainty", "faster_rcnn_interval", threshold=0.85, threshold_range=(0.1, 0.9))
    learner = CertainLearner(detector(of), of, print)
    learner.module.train()
    images, targets = batch(of)
    torch.manual_seed(5)
    found = learner.losses(images[1:], targets[1:])
    assert all(value == 0 for name, value in found.items() if name.startswith("loss_"))
    torch.stack([v for k, v in found.items() if k.startswith("loss_")]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or not p.grad.any() for p in learner.module.parameters())
    torch.manual_seed(5)
    assert found.keys() == learner.losses(images, targets).keys()
    assert float(learner.statistics.counts.sum()) > 0, "labeled objects count"


def test_weights_multiply_what_is_of_their_class_on_labeled_and_unlabeled_images() -> None:
    of = stage("certainty", "faster_rcnn_interval", threshold_power=0.0, weight_range=())
    plain, heavy = (CertainLearner(detector(of), of, print) for _ in range(2))
    counts = torch.full((of.model.classes,), 100.0, dtype=torch.float64)
    heavy.statistics.counts.copy_(counts)
    heavy.statistics.sums.copy_(counts / 2**5)  # c / n is 1/32 for all: a weight of 32 ** .6 = 8
    for learner in (plain, heavy):
        learner.module.train()
    first, second = losses(plain, of), losses(heavy, of)
    assert float(second[HIGHEST]) == pytest.approx(8.0) and float(first[HIGHEST]) == 1.0
    for name in ("loss_box", "loss_box_u", "loss_box_offset"):
        torch.testing.assert_close(second[name], 8 * first[name])
    assert torch.equal(first["loss_objectness_u"], second["loss_objectness_u"])


def test_a_class_of_which_there_is_nothing_is_refused_before_training(root: Path) -> None:
    labeled = open_split(STAGE.data, "objects", context(STAGE, root, root / "absent"))

    def only(*numbers: int) -> CocoSplit:
        return replace(labeled, annotations=[[{"category_id": n, "iscrowd": n == 8} for n in numbers]])

    most, strict, said = only(1, 2, 4, 6, 7, 8), replace(STAGE, absent="refuse"), list[str]()
    with pytest.raises(
        DataError, match=r"pseudo label above 0\.06 is of 'figure', 'ring', 'pentagon'(?s:.*)'leave out'"
    ):
        absent_classes(strict, most, most, said.append)
    assert absent_classes(STAGE, most, only(3), said.append) == (4, 7), "a crowd is no instance"
    assert "no image has 'ring', 'pentagon'" in said[0]
    off = replace(strict, threshold_power=0.0, weight_power=0.0)
    assert absent_classes(off, most, most, said.append) == ()
    rest = replace(labeled, annotations=[[], [{"category_id": 8}], [{"category_id": 3}, {"category_id": 5}]])
    assert absent_classes(strict, most, rest, said.append) == () and len(said) == 1
