"""Joint trainings from splits to weights: batches, labels that are read, stops, shared beginnings, both results."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from casl.data.pseudo import read_pseudo_labels
from casl.errors import DataError, StageError, StoppedError
from casl.spec import Joint, PseudoLabel, SceneData, evaluate
from casl.spec.joint_methods import joint
from casl.spec.run import CURVES, WEIGHTS
from casl.stages.joint import JointFeed, Relaxed, run
from casl.stages.sources import LABELS, open_split
from casl.stages.training import STATE, TEACHER
from casl.train.checkpoint import load_weights
from tests.runner.stores import NANO
from tests.stages.ranks import carry_out, context, free_port, join, meet_at, start_ranks, with_inputs
from tests.stages.test_learner import newest

PROFILE = replace(
    NANO,
    data=SceneData(labeled=7, unlabeled={"tiny": 5}, val=2, size=64),
    shape=replace(NANO.shape, drop_path=0.3),
    finetune_recipe=replace(NANO.finetune_recipe, lr=1e-2, sizes=(48, 64), batch=3),
    iters_1x=6,
)


def made(method: str, **changes: Any) -> Joint:
    """Twelve iterations at one rate, so that longer trainings may continue from its end. An average has found boxes by
    the end of its burn-in."""
    stage = joint(PROFILE, method=method, threshold=0.055)
    ema = {"burn_in": 7, "floor": 0.055, "spread": 0.5} if stage.teacher == "ema" else {}
    return replace(stage, **{"schedule": ((12, 1.0),), **ema, **changes})


SOFT, STAC = made("soft_teacher"), made("stac")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, and a whole training without a stop."""
    root = tmp_path_factory.mktemp("joint")
    with_inputs(SOFT, root)
    run(SOFT, context(SOFT, root, root / SOFT.name))
    return root


@pytest.fixture(scope="module")
def labels(root: Path) -> Path:
    """Labels of a fixed teacher."""
    with_inputs(STAC, root)
    assert STAC.unlabeled is not None
    return root / STAC.unlabeled.name / LABELS


def same(first: Path, second: Path) -> None:
    """Student, teacher, statistics, optimiser and curves are equal bit for bit."""
    for name in (WEIGHTS, STATE, TEACHER):
        one, other = load_weights(first / name), load_weights(second / name)
        assert one.keys() == other.keys()
        assert [key for key, value in one.items() if not torch.equal(value, other[key])] == []
    assert (first / CURVES).read_bytes() == (second / CURVES).read_bytes()


def figures(folder: Path) -> list[dict[str, float]]:
    head, *rows = (folder / CURVES).read_text().splitlines()
    return [dict(zip(head.split(","), map(float, row.split(",")), strict=True)) for row in rows]


def test_after_the_burn_in_unlabeled_images_teach_and_the_loss_is_the_sum_of_what_is_named_so(root: Path) -> None:
    rows = figures(root / SOFT.name)
    assert [row["loss_cls_u"] > 0 for row in rows] == [False] * 7 + [True] * 5
    assert [row["watched_classes"] for row in rows[:7]] == [0.0] * 7 and rows[-1]["watched_classes"] > 0
    for row in rows:
        assert row["loss"] == pytest.approx(sum(v for k, v in row.items() if k.startswith("loss_")), rel=1e-4)


def test_both_weights_are_results_and_either_can_be_evaluated(root: Path) -> None:
    student, teacher = load_weights(root / SOFT.name / WEIGHTS), load_weights(root / SOFT.name / TEACHER)
    assert student.keys() == teacher.keys()
    assert sum(not torch.equal(value, teacher[name]) for name, value in student.items()) > 50
    state = load_weights(root / SOFT.name / STATE)
    assert all(torch.equal(value, state[f"model/teacher.module.{name}"]) for name, value in teacher.items())
    stages = [evaluate(PROFILE, SOFT, "ap_det", of=of) for of in ("student", "teacher")]
    for stage in stages:
        assert "AP" in carry_out(with_inputs(stage, root), root).metrics
    (root / SOFT.name / TEACHER).rename(root / "away")
    with pytest.raises(StageError, match=f"{TEACHER}"):
        carry_out(stages[1], root, root / "without")
    (root / "away").rename(root / SOFT.name / TEACHER)


def test_with_an_average_as_its_result_a_training_still_leaves_its_own_teacher(root: Path, tmp_path: Path) -> None:
    stage = replace(SOFT, recipe=replace(SOFT.recipe, ema=0.9))
    run(stage, context(stage, root, tmp_path))
    student, average = load_weights(root / SOFT.name / WEIGHTS), load_weights(tmp_path / WEIGHTS)
    one, other = load_weights(root / SOFT.name / TEACHER), load_weights(tmp_path / TEACHER)
    assert student.keys() == average.keys() and any(not torch.equal(v, average[k]) for k, v in student.items())
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_fixed_teacher_leaves_the_students_weights_alone(root: Path, labels: Path, tmp_path: Path) -> None:
    outcome = run(STAC, context(STAC, root, tmp_path))
    assert (tmp_path / WEIGHTS).exists() and not (tmp_path / TEACHER).exists()
    assert outcome.facts["unlabeled images"] == len(read_pseudo_labels(labels, tmp_path, 0.0))
    assert all(row["watched_classes"] >= 1 for row in figures(tmp_path)), "an image keeps at least its best box"


@pytest.mark.parametrize("stop", [4, 7, 10])
def test_stopped_in_or_after_the_burn_in_and_gone_on_is_straight_through(root: Path, tmp_path: Path, stop: int) -> None:
    answers = iter([*[False] * stop, True])
    with pytest.raises(StoppedError, match=f"iteration {stop}/12"):
        run(SOFT, context(SOFT, root, tmp_path, stopping=lambda: next(answers)))
    torch.manual_seed(77)  # as another process would have left it
    run(SOFT, context(SOFT, root, tmp_path, loaders=stop % 3))
    same(tmp_path, root / SOFT.name)


@pytest.mark.parametrize("length", [5, 9])
def test_a_training_that_continues_a_shared_beginning_is_straight_through(
    root: Path, tmp_path: Path, length: int
) -> None:
    beginning = SOFT.until(((length, 1.0),))
    assert isinstance(beginning, Joint) and beginning.family == SOFT.family
    run(beginning, context(beginning, root, tmp_path / "beginning"))
    ctx = context(SOFT, root, tmp_path / "continued", resume=beginning)
    outcome = run(SOFT, replace(ctx, inputs={**ctx.inputs, beginning.name: tmp_path / "beginning"}))
    assert outcome.facts["started_at"] == length
    same(tmp_path / "continued", root / SOFT.name)


def in_a_process(rank: int, world: int, root: Path, folder: Path) -> None:
    run(SOFT, context(SOFT, root, folder, checkpoint_s=0.0))


@pytest.mark.slow
def test_killed_at_random_moments_and_gone_on_is_straight_through(root: Path, tmp_path: Path) -> None:
    rng, folder, killed_at = random.Random(0), tmp_path / "killed", list[int]()
    while len(killed_at) < 5:
        before = newest(folder)
        (process,) = start_ranks(1, in_a_process, root, folder)
        while process.is_alive() and newest(folder) <= before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        if join([process]) == [0]:
            break  # it had come to the end
        killed_at.append(newest(folder))
    assert killed_at and 0 < killed_at[0] < 12, "killed on the way, at least once"
    if not (folder / WEIGHTS).exists() or (folder / "checkpoints").exists():
        run(SOFT, context(SOFT, root, folder))
    same(folder, root / SOFT.name)


def shared(rank: int, world: int, root: Path, folder: Path, port: int) -> None:
    meet_at(port)
    try:
        run(SOFT, context(SOFT, root, folder / str(rank), rank=rank, world=world))
    except StageError as error:
        (folder / f"{rank}.txt").write_text(str(error))


@pytest.mark.slow
def test_processes_that_would_share_its_batches_are_refused_with_a_sentence(root: Path, tmp_path: Path) -> None:
    assert join(start_ranks(2, shared, root, tmp_path, free_port())) == [0, 0]
    sentences = [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)]
    assert all("cannot be shared by 2 processes: Joined is not divisible" in sentence for sentence in sentences)


def tags(targets: list[dict[str, torch.Tensor]]) -> list[tuple[int, int]]:
    return [(int(target["source"]), int(target["view"])) for target in targets]


def test_a_batch_is_a_pure_function_of_the_iteration(root: Path) -> None:
    stage = replace(SOFT, burn_in=2, second_view="strong")
    ctx = context(stage, root, root / "feed")
    splits = open_split(stage.data, "objects", ctx), open_split(stage.unlabeled, "images", ctx)  # type: ignore[arg-type]
    feed, again = JointFeed(stage, *splits, ()), JointFeed(stage, *splits, ())
    assert tags(feed(0)[1]) == tags(feed(1)[1]) == [(0, 0), (0, 1)] * 3
    assert tags(feed(2)[1]) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 0), (1, 1)]
    for iteration in (5, 1, 3):
        (images, targets), (others, their) = feed(iteration), again(iteration)
        assert all(torch.equal(a, b) for a, b in zip(images, others, strict=True))
        assert all(torch.equal(a[key], b[key]) for a, b in zip(targets, their, strict=True) for key in a)
        assert all(("matrix" in target) == (int(target["source"]) == 1) for target in targets)


def test_the_teachers_view_has_its_own_sizes(root: Path) -> None:
    stage = replace(SOFT, burn_in=0, views=("weak", "weak"), view_sizes=((64,), (32,)))
    ctx = context(stage, root, root / "sizes")
    splits = open_split(stage.data, "objects", ctx), open_split(stage.unlabeled, "images", ctx)  # type: ignore[arg-type]
    images, targets = JointFeed(stage, *splits, ())(0)
    sides = {tag: image.shape[1] for tag, image in zip(tags(targets), images, strict=True)}
    assert (sides[1, 0], sides[1, 1]) == (64, 32)


def test_t1_stored_labels_are_read_at_the_threshold_that_each_image_relaxes() -> None:
    scores = ([0.95, 0.9, 0.89, 0.3], [0.85, 0.6, 0.2], [0.1, 0.05], [0.91, 0.91])
    records = [[{"id": i, "score": float(np.float32(s))} for i, s in enumerate(of)] for of in scores]
    read = Relaxed(records, 0.9)
    assert [[r["id"] for r in of] for of in read] == [[0, 1], [0], [0], [0, 1]]
    assert [[r["id"] for r in of] for of in read[1:3]] == [[0], [0]] and len(read) == 4


def test_labels_of_which_none_passes_name_the_threshold_that_lets_some(
    root: Path, labels: Path, tmp_path: Path
) -> None:
    strict = replace(made("self_training"), threshold=0.999, unlabeled=STAC.unlabeled)
    assert isinstance(strict.unlabeled, PseudoLabel)
    with pytest.raises(
        DataError, match=r"scores above 0\.999; the best has 0\.\d+(?s:.*)a threshold of 0\.\d+ lets some"
    ) as e:
        run(strict, context(strict, root, tmp_path))
    named = float(str(e.value).rpartition("a threshold of ")[2].split()[0])
    assert len(read_pseudo_labels(labels, tmp_path, named)) > 0
