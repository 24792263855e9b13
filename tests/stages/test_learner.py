"""Trainings that mix labeled and unlabeled images and hold a teacher are as exact as those of a detector."""

from __future__ import annotations

import random
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from casl.errors import StageError, StoppedError
from casl.files import read_json
from casl.spec import PseudoLabel, SceneData, finetune, warmup
from casl.spec.run import CURVES, WEIGHTS
from casl.stages.detectors import build_detector
from casl.stages.training import STATE
from casl.train.checkpoint import load_weights
from tests.runner.stores import NANO
from tests.stages.mean_teacher import Mean, run
from tests.stages.ranks import context, free_port, join, meet_at, start_ranks, with_inputs

PROFILE = replace(
    NANO,
    data=SceneData(labeled=7, unlabeled={"tiny": 5}, val=2, size=64),
    shape=replace(NANO.shape, drop_path=0.3),
    finetune_recipe=replace(NANO.finetune_recipe, lr=1e-3, sizes=(48, 64)),
)


def mean(**changes: Any) -> Mean:
    """Ten iterations at one rate, so that longer trainings may continue from its end."""
    stage, images = finetune(PROFILE, None, schedule=1, detector="fcos"), warmup(PROFILE, schedule=1).data
    assert isinstance(images, PseudoLabel)
    values = {field.name: getattr(stage, field.name) for field in fields(stage)}
    return Mean(**values | {"schedule": ((10, 1.0),), "unlabeled": images.data} | changes)


STAGE = mean()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, and the whole training without a stop."""
    root = tmp_path_factory.mktemp("learner")
    with_inputs(STAGE, root)
    run(STAGE, context(STAGE, root, root / "through"))
    return root


def same(first: Path, second: Path) -> None:
    """Result, optimiser, student, teacher, statistics and curves are equal bit for bit."""
    for name in (WEIGHTS, STATE):
        one, other = load_weights(first / name), load_weights(second / name)
        assert one.keys() == other.keys()
        assert [key for key, value in one.items() if not torch.equal(value, other[key])] == []
    assert (first / CURVES).read_bytes() == (second / CURVES).read_bytes()
    assert not (first / "checkpoints").exists() and not (second / "checkpoints").exists()


def part(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    """Tensors of a state whose names begin so, without that."""
    state = load_weights(folder / STATE)
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def test_all_of_the_learner_is_in_the_state_and_the_kept_part_is_the_result(root: Path) -> None:
    student, teacher = part(root / "through", "model/student."), part(root / "through", "model/teacher.module.")
    assert student.keys() == teacher.keys() and len(student) > 50
    assert sum(not torch.equal(value, teacher[name]) for name, value in student.items()) > 50
    assert int(part(root / "through", "model/steps")[""]) == 10
    assert float(part(root / "through", "model/scores")[""].sum()) > 0
    assert not any("teacher" in name for name in part(root / "through", "optimizer/"))
    kept = load_weights(root / "through" / WEIGHTS)
    assert kept.keys() == student.keys() and all(torch.equal(value, student[name]) for name, value in kept.items())


def test_the_teacher_may_be_what_is_kept(root: Path) -> None:
    stage = mean(keep="teacher")
    run(stage, context(stage, root, root / "teacher"))
    kept, teacher = load_weights(root / "teacher" / WEIGHTS), part(root / "through", "model/teacher.module.")
    assert kept.keys() == teacher.keys() and all(torch.equal(value, teacher[name]) for name, value in kept.items())


@pytest.mark.parametrize("init", [None, STAGE])
def test_the_teacher_starts_as_the_student_and_moves_after_the_optimisers_step(
    root: Path, tmp_path: Path, init: Mean | None
) -> None:
    stage = mean(schedule=((1, 1.0),), init=init)
    ctx = context(stage, root, tmp_path / "one")
    run(stage, replace(ctx, inputs={**ctx.inputs, STAGE.name: root / "through"}))
    torch.manual_seed(stage.seed)
    initial = build_detector(stage.model, ctx, pretrained=False).state_dict()
    if init is not None:
        initial = load_weights(root / "through" / WEIGHTS)
    student, teacher = part(tmp_path / "one", "model/student."), part(tmp_path / "one", "model/teacher.module.")
    moved = 0
    for name, value in initial.items():
        if value.is_floating_point():
            moved += not torch.equal(student[name], value)
            torch.testing.assert_close(teacher[name], (value + student[name]) / 2)
    assert moved > 50


@pytest.mark.parametrize("stop", [1, 4, 9])
def test_stopped_and_gone_on_is_straight_through(root: Path, tmp_path: Path, stop: int) -> None:
    answers = iter([*[False] * stop, True])
    with pytest.raises(StoppedError, match=f"iteration {stop}/10"):
        run(STAGE, context(STAGE, root, tmp_path / "stopped", stopping=lambda: next(answers)))
    torch.manual_seed(77)  # as another process would have left it
    run(STAGE, context(STAGE, root, tmp_path / "stopped", loaders=stop % 3))
    same(tmp_path / "stopped", root / "through")


def in_a_process(rank: int, world: int, root: Path, folder: Path) -> None:
    run(STAGE, context(STAGE, root, folder, checkpoint_s=0.0))


def test_killed_at_random_moments_and_gone_on_is_straight_through(root: Path, tmp_path: Path) -> None:
    rng, folder = random.Random(0), tmp_path / "killed"
    killed_at: list[int] = []
    while len(killed_at) < 3:
        before = newest(folder)
        (process,) = start_ranks(1, in_a_process, root, folder)
        while process.is_alive() and newest(folder) <= before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        if join([process]) == [0]:
            break  # it had come to the end
        killed_at.append(newest(folder))
    assert killed_at and 0 < killed_at[0] < 10, "killed on the way, at least once"
    if not (folder / WEIGHTS).exists():
        run(STAGE, context(STAGE, root, folder))
    same(folder, root / "through")


def newest(folder: Path) -> int:
    """Iterations done at the last checkpoint."""
    listed = folder / "checkpoints" / "checkpoints.json"
    return max((int(name.split(".")[0]) for name in read_json(listed)), default=0) if listed.exists() else 0


@pytest.mark.parametrize("length", [1, 6])
def test_a_training_that_continues_a_shared_beginning_is_straight_through(
    root: Path, tmp_path: Path, length: int
) -> None:
    beginning = STAGE.until(((length, 1.0),))
    assert isinstance(beginning, Mean) and beginning.family == STAGE.family
    run(beginning, context(beginning, root, tmp_path / "beginning"))
    said: list[str] = []
    ctx = context(STAGE, root, tmp_path / "continued", resume=beginning, say=said.append)
    outcome = run(STAGE, replace(ctx, inputs={**ctx.inputs, beginning.name: tmp_path / "beginning"}))
    assert outcome.facts["started_at"] == length and "beginning" in said[0]
    same(tmp_path / "continued", root / "through")


def shared(rank: int, world: int, root: Path, folder: Path, port: int) -> None:
    meet_at(port)
    try:
        run(STAGE, context(STAGE, root, folder / str(rank), rank=rank, world=world))
    except StageError as error:
        (folder / f"{rank}.txt").write_text(str(error))


def test_processes_that_would_share_batches_it_needs_whole_are_refused(root: Path, tmp_path: Path) -> None:
    assert join(start_ranks(2, shared, root, tmp_path, free_port())) == [0, 0]
    for rank in range(2):
        sentence = (tmp_path / f"{rank}.txt").read_text()
        assert "cannot be shared by 2 processes: Pair is not divisible" in sentence
        assert "--gpus-per-stage 1" in sentence


def test_pieces_for_a_small_memory_change_nothing_where_batches_stay_whole(root: Path, tmp_path: Path) -> None:
    run(STAGE, context(STAGE, root, tmp_path / "pieces", micro_batches=3))
    same(tmp_path / "pieces", root / "through")
