"""Contrastive pre-training as a stage: exact after any stop, without labels, and taken by detectors as any start."""

from __future__ import annotations

import csv
import math
import random
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from casl.errors import StoppedError
from casl.files import read_json
from casl.models.backbone import build_backbone
from casl.models.contrast import Encoder, contrastive_loss, similarities, unit
from casl.models.parts import part_of
from casl.spec import Contrast, ContrastRecipe, SceneData, Unlabelled, contrast, finetune
from casl.spec.run import CURVES, WEIGHTS
from casl.stages.contrast import (
    CHANCE,
    PICKED,
    SPREAD,
    ContrastLearner,
    Pairs,
    Watch,
    at_the_end,
    cosine_rate,
    run,
    warning,
)
from casl.stages.sources import open_split
from casl.stages.training import TRANSFER
from casl.train.checkpoint import Checkpoints, Curves, load_weights
from tests.runner.stores import NANO
from tests.stages.ranks import carry_out, context, join, start_ranks, with_inputs

RECIPE = ContrastRecipe(lr=1e-3, batch=4, size=32, queue=8, dim=4, momentum=0.9, optimizer="adamw", groups=2)
PROFILE = replace(
    NANO,
    data=SceneData(labeled=3, unlabeled={"tiny": 5}, val=2, size=64),
    contrast=Unlabelled(RECIPE, iters=8, grid="c4"),
)
STAGE = contrast(PROFILE, dense=0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, and the whole training without a stop."""
    root = tmp_path_factory.mktemp("contrast")
    with_inputs(STAGE, root)
    run(STAGE, context(STAGE, root, root / STAGE.name))
    return root


def same(first: Path, second: Path) -> None:
    one, other = load_weights(first / WEIGHTS), load_weights(second / WEIGHTS)
    assert one.keys() == other.keys()
    assert [key for key, value in one.items() if not torch.equal(value, other[key])] == []
    assert (first / CURVES).read_bytes() == (second / CURVES).read_bytes()
    assert not (first / "checkpoints").exists() and not (second / "checkpoints").exists()


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / CURVES).open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.03), (50, 0.0256066), (100, 0.015), (199, 1.85e-6)])
def test_m5_the_rate_falls_along_half_a_cosine(epoch: int, rate: float) -> None:
    assert cosine_rate(0.03, epoch, 200) == pytest.approx(rate, rel=1e-3)


def test_a_batch_is_two_views_of_each_image_and_a_function_of_the_iteration(root: Path) -> None:
    split = open_split(STAGE.data, "images", context(STAGE, root, root / "views"))
    pairs = Pairs(split, 32, 4, seed=7)
    images, targets = pairs(3)
    assert len(images) == len(targets) == 8 and all(image.shape == (3, 32, 32) for image in images)
    again, _ = Pairs(split, 32, 4, seed=7)(3)
    assert all(torch.equal(a, b) for a, b in zip(images, again, strict=True))
    assert not torch.equal(images[0], images[4]), "views of one image differ"
    other, _ = Pairs(split, 32, 4, seed=8)(3)
    assert not all(torch.equal(a, b) for a, b in zip(images, other, strict=True))
    batch_of_5, _ = Pairs(split, 32, 5, seed=7)(0)
    assert len({image.numpy().tobytes() for image in batch_of_5}) == 10


def learner(dense: float = 0.0, **changes: Any) -> ContrastLearner:
    torch.manual_seed(0)
    encoder = Encoder(build_backbone("resnet_nano"), 4, "c4" if dense else None)
    made = ContrastLearner(encoder, replace(RECIPE, **changes), dense)
    made.module.train()
    return made


def views(count: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(0, 256, (3, 32, 32), generator=generator, dtype=torch.uint8) for _ in range(count)]


def test_keys_come_from_an_encoder_that_has_followed_and_enter_the_queue_after_the_loss() -> None:
    made = learner(groups=0)
    with torch.no_grad():
        for parameter in made.module.query.parameters():
            parameter.add_(0.02)
    before, negatives = deepcopy(made.module.key.encoder), made.module.queue.keys.clone()
    losses = made.losses(views(), [{}] * 8)
    for old, new, leader in zip(
        before.parameters(), made.module.key.encoder.parameters(), made.module.query.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * leader)
    keys = made.module.key(torch.stack(views()[4:])).vector  # the encoder as it is now
    queries = made.module.query(torch.stack(views()[:4])).vector
    torch.testing.assert_close(
        losses["loss_image"], contrastive_loss(*similarities(queries, keys, negatives), 0.2), atol=1e-5, rtol=1e-5
    )
    assert torch.equal(made.module.queue.keys, negatives), "not before the optimiser's step"
    made.after_step(0)
    torch.testing.assert_close(made.module.queue.keys[:4], unit(keys), atol=1e-5, rtol=1e-5)
    assert torch.equal(made.module.queue.keys[4:], negatives[4:]) and int(made.module.queue.place) == 4


def test_the_encoder_of_keys_and_the_queues_learn_nothing_by_gradient() -> None:
    made = learner(dense=0.5)
    losses = made.losses(views(), [{}] * 8)
    (losses["loss_image"] + losses["loss_cells"]).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in made.module.query.parameters())
    assert all(p.grad is None and not p.requires_grad for p in made.module.key.parameters())
    assert {name.split(".")[0] for name in made.module.state_dict()} == {"query", "key", "queue", "queue_of_cells"}


def test_what_is_watched_is_written_down_and_not_learned_from(root: Path) -> None:
    for row in rows(root / STAGE.name):
        assert row["loss"] == pytest.approx(row["loss_image"] + row["loss_cells"], rel=1e-5)
        assert row[CHANCE] == pytest.approx(math.log(9), rel=1e-5)
        assert 0 <= row[PICKED] <= 1 and 0 <= row[f"{PICKED}_cells"] <= 1 and 0 < row[SPREAD] < 0.6
    assert [row["lr"] for row in rows(root / STAGE.name)] == pytest.approx(
        [cosine_rate(1e-3, i, 8) for i in range(8)], rel=1e-5
    )


def test_without_a_weight_of_cells_it_is_moco(root: Path, tmp_path: Path) -> None:
    stage = contrast(PROFILE)
    outcome = run(stage, context(stage, root, tmp_path / "moco"))
    assert set(rows(tmp_path / "moco")[0]) == {"iteration", "loss", "loss_image", PICKED, SPREAD, CHANCE, "lr"}
    figures = {"final_loss", "loss_of_chance", "spread_of_evenly", "picked", "spread"}
    assert set(outcome.metrics) == figures and outcome.metrics["spread_of_evenly"] == 0.5
    assert outcome.facts["images"] == 5 and outcome.facts["epochs"] == 8 * 4 / 5


@pytest.mark.parametrize("stop", [1, 3, 7])
def test_stopped_and_gone_on_is_straight_through(root: Path, tmp_path: Path, stop: int) -> None:
    answers = iter([*[False] * stop, True])
    with pytest.raises(StoppedError, match=f"iteration {stop}/8"):
        run(STAGE, context(STAGE, root, tmp_path / "stopped", stopping=lambda: next(answers)))
    torch.manual_seed(77)  # as another process would have left it
    run(STAGE, context(STAGE, root, tmp_path / "stopped", loaders=stop % 3))
    same(tmp_path / "stopped", root / STAGE.name)


def in_a_process(rank: int, world: int, root: Path, folder: Path) -> None:
    run(STAGE, context(STAGE, root, folder, checkpoint_s=0.0))


def newest(folder: Path) -> int:
    listed = folder / "checkpoints" / "checkpoints.json"
    return max((int(name.split(".")[0]) for name in read_json(listed)), default=0) if listed.exists() else 0


def test_killed_at_random_moments_and_gone_on_is_straight_through(root: Path, tmp_path: Path) -> None:
    rng, folder = random.Random(0), tmp_path / "killed"
    killed_at: list[int] = []
    while len(killed_at) < 2:
        before = newest(folder)
        (process,) = start_ranks(1, in_a_process, root, folder)
        while process.is_alive() and newest(folder) <= before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        if join([process]) == [0]:
            break  # it had come to the end
        killed_at.append(newest(folder))
    assert killed_at and 0 < killed_at[0] < 8, "killed on the way, at least once"
    if not (folder / WEIGHTS).exists():
        run(STAGE, context(STAGE, root, folder))
    same(folder, root / STAGE.name)


def test_queues_and_both_encoders_are_in_every_checkpoint(root: Path, tmp_path: Path) -> None:
    answers = iter([False, False, True])
    with pytest.raises(StoppedError):
        run(STAGE, context(STAGE, root, tmp_path / "two", stopping=lambda: next(answers)))
    path, _ = Checkpoints(tmp_path / "two" / "checkpoints").newest()
    assert path is not None
    state = load_weights(path)
    assert int(state["model/queue.place"]) == int(state["model/queue_of_cells.place"]) == 0  # after 2 x 4 keys of 8
    query = {name.removeprefix("model/query."): value for name, value in state.items() if "model/query." in name}
    key = {name.removeprefix("model/key.encoder."): value for name, value in state.items() if "model/key." in name}
    assert query.keys() == key.keys() and not all(torch.equal(query[name], key[name]) for name in query)


def test_a_finetune_starts_from_the_backbone_and_from_nothing_else_of_it(root: Path, tmp_path: Path) -> None:
    trained = replace(finetune(PROFILE, None, start=STAGE), schedule=((1, 1.0),))
    assert trained.pretrained == STAGE
    small = replace(trained, recipe=replace(trained.recipe, lr=1e-12, optimizer="sgd", weight_decay=0.0))
    with_inputs(small, root)
    carry_out(small, root, tmp_path / "tuned")
    start, tuned = load_weights(root / STAGE.name / WEIGHTS), load_weights(tmp_path / "tuned" / WEIGHTS)
    own = {name for name in tuned if part_of(name) == "backbone"}
    assert own == set(start) and len(own) > 50
    learned = [name for name in own if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert all(torch.allclose(tuned[name], start[name], atol=1e-6) for name in learned)
    assert not (tmp_path / "tuned" / TRANSFER).exists(), "that is of a warmup's parts"


def test_a_backbone_with_a_fixed_encoder_of_keys_trains_too(root: Path, tmp_path: Path) -> None:
    stage = replace(contrast(PROFILE, iters=2), recipe=replace(RECIPE, groups=0))
    outcome = run(stage, context(stage, root, tmp_path / "fixed"))
    assert math.isfinite(outcome.metrics["final_loss"])


def figures(spread: float, loss: float) -> dict[str, float]:
    return {SPREAD: spread, "loss": loss, CHANCE: math.log(9), PICKED: 0.1}


def test_collapse_and_learning_nothing_are_said() -> None:
    assert warning(figures(0.3, 1.0), 4) == ""
    assert "collapsed" in warning(figures(0.04, 1.0), 4) and "0.5" in warning(figures(0.04, 1.0), 4)
    assert "learned nothing" in warning(figures(0.3, 2.195), 4)


def test_a_training_that_collapses_says_so_once_and_in_its_result(root: Path, tmp_path: Path) -> None:
    said: list[str] = []
    watch = Watch(context(STAGE, root, tmp_path, say=said.append), dim=4)
    for done in range(1, 41):
        watch(done, 40, figures(0.3 if done in (3, 8) else 0.01, 1.0))
    assert len(said) == 1 and said[0].startswith("iteration 13/40: collapsed")

    stage = replace(contrast(PROFILE, iters=6), recipe=replace(RECIPE, weight_decay=1e3))  # no weight survives a step
    outcome = run(stage, context(stage, root, tmp_path / "collapsed", say=said.append))
    assert outcome.facts["note"] == said[-1] and len(said) > 1


def test_the_end_of_a_training_is_its_last_tenth() -> None:
    curves = Curves(("loss",), [[float(i), float(i)] for i in range(30)])
    assert at_the_end(curves) == {"loss": 28.0}


def test_only_images_of_training_splits_are_seen() -> None:
    assert isinstance(contrast(PROFILE, data=PROFILE.data.split("labeled", "objects")), Contrast)
