from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from casl.errors import StageError, StoppedError
from casl.train.checkpoint import Checkpoints, Curves, load_state, load_weights, save_state, save_weights
from casl.train.learner import Batch, Plain
from casl.train.loop import Steps, learning_rate, train
from casl.train.optimizer import adamw, named_groups, sgd


class Model(nn.Module):
    """Convolution, batch norm and dropout: buffers, moments and randomness all matter."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 1, 3))

    def losses(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        out = self.layers(torch.stack(images))
        return {"loss_a": out.square().mean(), "loss_b": (out - targets[0]["value"]).abs().mean()}


def batch_at(iteration: int) -> Batch:
    generator = torch.Generator().manual_seed(iteration)
    return [torch.rand(3, 8, 8, generator=generator) for _ in range(2)], [{"value": torch.tensor(0.5)}] * 2


STEPS = Steps(batch_at, lambda i: 0.01 / (1 + i), 0, 12, seed=3, device=torch.device("cpu"))


def ignore(done: int, total: int, figures: Mapping[str, float]) -> None: ...


def fresh() -> tuple[Model, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = Model()
    return model, adamw(model, 0.01, 0.05)


def trained(folder: Path, steps: Steps = STEPS) -> tuple[Model, Curves]:
    model, optimizer = fresh()
    curves = Curves()
    train(Plain(model), optimizer, steps, curves, Checkpoints(folder), ignore)
    return model, curves


@pytest.mark.parametrize("make", [adamw, sgd])
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, stop: int, make: object) -> None:
    def start() -> tuple[Model, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = Model()
        return model, make(model, 0.01, 0.05)  # type: ignore[operator]

    whole, optimizer = start()
    whole_curves = Curves()
    train(Plain(whole), optimizer, STEPS, whole_curves, Checkpoints(tmp_path / "a"), ignore)

    part, optimizer = start()
    curves = Curves()
    train(Plain(part), optimizer, replace(STEPS, stop=stop), curves, Checkpoints(tmp_path / "b"), ignore)
    save_state(tmp_path / "state.safetensors", part, optimizer, stop, curves)
    torch.manual_seed(99)  # whatever the other process did with its generator
    resumed = Model()
    optimizer = make(resumed, 1.0, 0.05)  # type: ignore[operator]
    done, curves = load_state(tmp_path / "state.safetensors", resumed, optimizer)
    assert done == stop
    train(Plain(resumed), optimizer, replace(STEPS, start=done), curves, Checkpoints(tmp_path / "b"), ignore)

    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert curves.csv() == whole_curves.csv()


def test_a_batch_norm_with_one_value_says_what_gives_it_more(tmp_path: Path) -> None:
    """3 x 3 px leave one place behind the convolution; two images of that size have two values."""

    def batches(images: int) -> Steps:
        batch = [torch.rand(3, 3, 3)] * images, [{"value": torch.tensor(0.5)}] * images
        return replace(STEPS, batch_at=lambda i: batch, stop=1)

    model = Model()
    model.layers = model.layers[:3]
    optimizer = sgd(model, 0.01, 0.0)
    with pytest.raises(StageError, match=r"1 image of up to 3 x 3 px(.|\n)*--batch-size(.|\n)*--size"):
        train(Plain(model), optimizer, batches(1), Curves(), Checkpoints(tmp_path), ignore)
    train(Plain(model), optimizer, batches(2), Curves(), Checkpoints(tmp_path), ignore)


@pytest.mark.parametrize("make", [adamw, sgd])
def test_moments_are_read_into_the_layout_of_their_weights(tmp_path: Path, make: object) -> None:
    """The fused kernels take all tensors of a parameter as they lie in memory, and do not compare their layouts."""

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        images = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model(images).square().sum().backward()
        optimizer.step()

    def start() -> tuple[nn.Conv2d, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
        return model, make(model, 0.1, 0.05)  # type: ignore[operator]

    through, optimizer = start()
    step(through, optimizer, 0)
    save_state(tmp_path / "state.safetensors", through, optimizer, 1, Curves())
    step(through, optimizer, 1)
    resumed, optimizer = start()
    load_state(tmp_path / "state.safetensors", resumed, optimizer)
    step(resumed, optimizer, 1)
    assert torch.equal(resumed.weight, through.weight)


@pytest.mark.parametrize("loaders", [0, 2])
@pytest.mark.parametrize("seed", range(3))
def test_a_request_to_stop_saves_where_it_was_and_the_rest_ends_with_the_same_bits(
    tmp_path: Path, seed: int, loaders: int
) -> None:
    stop = random.Random(seed).randrange(STEPS.stop)
    answers = iter([*[False] * stop, True])
    checkpoints = Checkpoints(tmp_path / "stopped")
    model, optimizer = fresh()
    with pytest.raises(StoppedError, match=f"after iteration {stop}/12"):
        steps = replace(STEPS, loaders=loaders, stopping=lambda: next(answers))
        train(Plain(model), optimizer, steps, Curves(), checkpoints, ignore)
    model, optimizer = fresh()
    path, _ = checkpoints.newest()
    done, curves = load_state(path, model, optimizer) if path else (0, Curves())
    assert done == stop
    train(Plain(model), optimizer, replace(STEPS, start=done), curves, checkpoints, ignore)
    whole, whole_curves = trained(tmp_path / "whole")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert curves.csv() == whole_curves.csv()


def test_loader_threads_change_nothing(tmp_path: Path) -> None:
    plain, _ = trained(tmp_path)
    threaded, _ = trained(tmp_path, replace(STEPS, loaders=3))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, threaded.state_dict()[name]), name


@pytest.mark.parametrize("lag", [1, 3, 99])
def test_reading_losses_later_changes_nothing(tmp_path: Path, lag: int) -> None:
    seen: list[int] = []
    model, optimizer = fresh()
    curves = Curves()
    steps = replace(STEPS, lag=lag)
    train(Plain(model), optimizer, steps, curves, Checkpoints(tmp_path), lambda done, total, figures: seen.append(done))
    expected, expected_curves = trained(tmp_path / "at_once")
    assert seen == list(range(1, 13))
    assert curves.csv() == expected_curves.csv()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))


def test_a_loss_that_is_read_late_is_named_by_its_own_iteration_and_nothing_is_saved_after_it(tmp_path: Path) -> None:
    def poisoned(iteration: int) -> Batch:
        images, targets = batch_at(iteration)
        return images, [{"value": torch.tensor(float("nan"))}] * 2 if iteration == 5 else targets

    model, optimizer = fresh()
    checkpoints = Checkpoints(tmp_path)
    steps = replace(STEPS, batch_at=poisoned, lag=2, checkpoint_s=0.0)
    with pytest.raises(StageError, match="stopped at iteration 5/12: loss is nan"):
        train(Plain(model), optimizer, steps, Curves(), checkpoints, ignore)
    newest, _ = checkpoints.newest()
    assert newest is not None
    assert load_state(newest, *fresh())[0] == 5, "the state before the iteration that went wrong"


def test_a_fused_optimiser_goes_on_from_a_saved_state(tmp_path: Path) -> None:
    """As on a GPU, where the step count lies beside the parameters."""

    def start() -> tuple[Model, torch.optim.Optimizer]:
        model, _ = fresh()
        return model, torch.optim.AdamW(named_groups(model, 0.05), lr=0.01, fused=True)

    whole = start()
    train(Plain(whole[0]), whole[1], STEPS, Curves(), Checkpoints(tmp_path / "whole"), ignore)
    first, second = start(), start()
    train(Plain(first[0]), first[1], replace(STEPS, stop=5), Curves(), Checkpoints(tmp_path / "first"), ignore)
    save_state(tmp_path / "state.safetensors", *first, 5, Curves())
    done, _ = load_state(tmp_path / "state.safetensors", *second)
    train(Plain(second[0]), second[1], replace(STEPS, start=done), Curves(), Checkpoints(tmp_path / "second"), ignore)
    assert all(torch.equal(a, b) for a, b in zip(whole[0].parameters(), second[0].parameters(), strict=True))


def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights(tmp_path: Path) -> None:
    def poisoned(iteration: int) -> Batch:
        images, targets = batch_at(iteration)
        return (images if iteration < 4 else [torch.full((3, 8, 8), float("nan"))] * 2), targets

    model, optimizer = fresh()
    with pytest.raises(StageError, match=r"iteration 4/12: loss is nan, loss_a is nan") as error:
        train(Plain(model), optimizer, replace(STEPS, batch_at=poisoned), Curves(), Checkpoints(tmp_path), ignore)
    assert "lower one" in str(error.value)
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("iteration", "rate"), [(0, 1e-7), (750, 5.005e-5), (1500, 1e-4), (60_000, 1e-5), (80_000, 1e-6)]
)
def test_the_rate_is_that_of_the_entity_swin_recipe(iteration: int, rate: float) -> None:
    factor = 1.0 if iteration < 60_000 else 0.1 if iteration < 80_000 else 0.01
    assert learning_rate(iteration, 1e-4, factor, 1500, 0.001) == pytest.approx(rate, rel=1e-12)


def test_norm_layers_do_not_decay_and_biases_do() -> None:
    model = Model()
    decayed, free = named_groups(model, 0.05)
    names = {id(p): n for n, p in model.named_parameters()}
    assert {names[id(p)] for p in free["params"]} == {"layers.1.weight", "layers.1.bias"}
    assert {names[id(p)] for p in decayed["params"]} == {
        "layers.0.weight",
        "layers.0.bias",
        "layers.3.weight",
        "layers.3.bias",
    }
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)


def test_checkpoints_are_written_on_the_way_and_two_are_kept(tmp_path: Path) -> None:
    trained(tmp_path / "c", replace(STEPS, checkpoint_s=0.0))
    kept = sorted(p.name for p in (tmp_path / "c").glob("*.safetensors"))
    assert kept == ["000000010.safetensors", "000000011.safetensors"]


@pytest.mark.parametrize("cut", [10, 0.5, -1])
def test_a_truncated_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path, cut: float) -> None:
    trained(tmp_path, replace(STEPS, checkpoint_s=0.0))
    newest = tmp_path / "000000011.safetensors"
    data = newest.read_bytes()
    newest.write_bytes(data[: int(cut * len(data)) if 0 < cut < 1 else int(cut)])
    path, damaged = Checkpoints(tmp_path).newest()
    assert path == tmp_path / "000000010.safetensors"
    assert len(damaged) == 1 and str(newest) in damaged[0]


@pytest.mark.parametrize(
    "listed",
    [
        "[1, 2]",
        "null",
        "5",
        '"text"',
        "{",
        "",
        '{"": "a"}',
        '{"../mine.safetensors": "a"}',
        '{"000000011.safetensors": 5}',
    ],
)
def test_a_damaged_list_of_checkpoints_counts_as_none_and_is_said(tmp_path: Path, listed: str) -> None:
    trained(tmp_path, replace(STEPS, checkpoint_s=0.0))
    (tmp_path / "checkpoints.json").write_text(listed)
    path, damaged = Checkpoints(tmp_path).newest()
    assert path is None and len(damaged) == 1 and "damaged" in damaged[0]
    (mine := tmp_path.parent / "mine.safetensors").touch()
    trained(tmp_path, replace(STEPS, checkpoint_s=0.0))
    assert mine.exists() and Checkpoints(tmp_path).newest() == (tmp_path / "000000011.safetensors", [])


def test_a_flipped_bit_in_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    trained(tmp_path, replace(STEPS, checkpoint_s=0.0))
    newest = tmp_path / "000000011.safetensors"
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes(data)
    assert Checkpoints(tmp_path).newest()[0] == tmp_path / "000000010.safetensors"


def test_truncated_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(path, Model())
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StageError, match=r"model\.safetensors is damaged"):
        load_weights(path)


def test_the_state_of_another_model_is_refused(tmp_path: Path) -> None:
    model, optimizer = fresh()
    save_state(tmp_path / "s", model, optimizer, 1, Curves())
    other = nn.Linear(2, 2)
    with pytest.raises(StageError, match="another model"):
        load_state(tmp_path / "s", other, sgd(other, 0.1, 0.0))


def test_weights_files_hold_no_code(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", Model())
    header = (tmp_path / "w").read_bytes()
    assert b"pickle" not in header and not header.startswith((b"\x80", b"PK"))
