"""Several real processes that do one stage together over gloo, against one process that does it alone."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from casl.errors import DeviceMemoryError, PeerLostError, StageError, StoppedError
from casl.spec import SceneData, Train, finetune, labeler
from casl.spec.context import Context
from casl.spec.run import CURVES, WEIGHTS
from casl.stages.detectors import build_detector
from casl.train.checkpoint import load_weights
from casl.train.distributed import Peers, joined
from casl.train.divided import Division
from casl.train.learner import Plain
from tests.runner.stores import NANO
from tests.stages.ranks import carry_out, free_port, join, meet_at, start_ranks, with_inputs
from tests.train.test_divided import batch, hungry, seed

RECIPE = replace(NANO.finetune_recipe, optimizer="sgd", lr=1e-3, batch=5, sizes=(48, 64))
PROFILE = replace(
    NANO,
    data=SceneData(labeled=16, unlabeled={"tiny": 4}, val=2, size=64),
    iters_1x=5,
    labeler_schedule=1,
    warmup_recipe=RECIPE,
    finetune_recipe=RECIPE,
)
# batch norms everywhere, a batch that 2 and 3 do not divide, images of several sizes, stochastic depth, entities
ENTITY = labeler(replace(PROFILE, shape=replace(PROFILE.shape, drop_path=0.3)))
RETINANET = finetune(PROFILE, None, schedule=1, detector="retinanet")
FIXED = replace(
    PROFILE, shape=replace(PROFILE.shape, frozen_stages=1)
)  # no batch norm takes part: can be cut to pieces
FCOS = finetune(FIXED, None, schedule=1, detector="fcos")
STAGES: dict[str, Train] = {"entity": ENTITY, "retinanet": RETINANET, "fcos": FCOS}
TOLERANCE = 1e-4  # of how far all weights and running statistics have moved together in five steps of SGD


def all_stages(rank: int, world: int, root: Path, ports: list[int]) -> None:
    for port, stage in zip(ports, STAGES.values(), strict=True):
        meet_at(port)
        folder = root / f"{stage.name}-{world}"
        carry_out(stage, root, folder, rank=rank, world=world, loaders=rank, micro_batches=world - 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every stage done by one process, by two, and by three that also cut their images into two pieces."""
    root = tmp_path_factory.mktemp("ranks")
    worlds = {}
    for stage in STAGES.values():
        with_inputs(stage, root)
    for world in (2, 3):
        worlds[world] = start_ranks(world, all_stages, root, [free_port() for _ in STAGES])
    for stage in STAGES.values():
        carry_out(stage, root)
    assert {world: join(ranks) for world, ranks in worlds.items()} == {2: [0] * 2, 3: [0] * 3}
    return root


def numbers(stage: Train, root: Path, end: str = "") -> torch.Tensor:
    """All weights and running statistics that a training left."""
    return torch.cat(
        [value.flatten().double() for value in load_weights(root / f"{stage.name}{end}" / WEIGHTS).values()]
    )


def initial(stage: Train) -> torch.Tensor:
    torch.manual_seed(stage.seed)
    ctx = Context(Path(), {}, {}, "cpu", lambda *_: None, lambda _: None)
    state = build_detector(stage.model, ctx, pretrained=False).state_dict()
    return torch.cat([state[key].flatten().double() for key in sorted(state)])


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", STAGES)
def test_several_processes_train_what_one_would(root: Path, name: str, world: int) -> None:
    one, several = (numbers(STAGES[name], root, end) for end in ("", f"-{world}"))
    moved = (one - initial(STAGES[name])).norm()
    assert moved > 1e-3
    assert (one - several).norm() < TOLERANCE * moved


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", STAGES)
def test_curves_are_those_of_the_whole_batch(root: Path, name: str, world: int) -> None:
    rows = []
    for end in ("", f"-{world}"):
        lines = (root / f"{STAGES[name].name}{end}" / CURVES).read_text().splitlines()
        rows.append([float(value) for line in lines[1:] for value in line.split(",")])
        assert lines[0].startswith("iteration,loss,loss_")
    assert rows[1] == pytest.approx(rows[0], rel=1e-4)


def test_only_the_first_rank_leaves_files(root: Path) -> None:
    def files(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*")}

    for stage in STAGES.values():
        assert files(root / f"{stage.name}-2") == files(root / stage.name)


# ---------------------------------------------------------------------------------------------------------------------


def after(calls: int, act: Callable[[], Any]) -> Callable[[], bool]:
    """A `stopping` that acts at one of its calls, one an iteration."""
    count = 0

    def stopping() -> bool:
        nonlocal count
        count += 1
        return bool(act()) if count > calls else False

    return stopping


def told(error: BaseException | None) -> list[str]:
    return [type(error).__name__, str(error)]


def die_together(rank: int, world: int, root: Path, ports: list[int]) -> None:
    """Rank 1 is killed in the third iteration."""
    meet_at(ports[0])
    kill = after(2, lambda: os.kill(os.getpid(), signal.SIGKILL))
    try:
        carry_out(ENTITY, root, root / "lost", rank=rank, world=world, stopping=kill if rank else lambda: False)
    except PeerLostError as error:
        (root / "told.json").write_text(json.dumps(told(error)))


def test_when_a_rank_is_killed_the_others_end_and_say_so(root: Path) -> None:
    assert join(start_ranks(2, die_together, root, [free_port()])) == [0, -signal.SIGKILL]
    kind, text = json.loads((root / "told.json").read_text())
    assert kind == "PeerLostError" and "rank 0 of 2" in text and "last checkpoint" in text


def stop_together(rank: int, world: int, root: Path, ports: list[int]) -> None:
    """Only rank 1 is told to stop, after three iterations."""
    meet_at(ports[0])
    stopping = after(3, lambda: True) if rank else lambda: False
    with pytest.raises(StoppedError, match="iteration 3/5"):
        carry_out(ENTITY, root, root / "stopped", rank=rank, world=world, stopping=stopping)


def go_on(rank: int, world: int, root: Path, ports: list[int]) -> None:
    meet_at(ports[0])
    carry_out(ENTITY, root, root / "stopped", rank=rank, world=world)


def test_a_request_to_one_rank_stops_all_and_the_same_number_ends_with_the_same_bits(root: Path) -> None:
    assert join(start_ranks(2, stop_together, root, [free_port()])) == [0, 0]
    assert (root / "stopped" / "checkpoints" / "000000003.safetensors").exists()
    assert join(start_ranks(2, go_on, root, [free_port()])) == [0, 0]
    stopped, through = (load_weights(root / name / WEIGHTS) for name in ("stopped", f"{ENTITY.name}-2"))
    assert all(torch.equal(value, through[key]) for key, value in stopped.items())


def trouble(rank: int, world: int, root: Path, ports: list[int]) -> None:
    """A rank that does not answer; memory that is short on rank 1, with and without norms that meet inside."""
    device = torch.device("cpu")
    seen: dict[str, list[str]] = {}

    def attempt(name: str, address: str, work: Callable[[Peers], object], timeout_s: float = 60.0) -> None:
        began = time.monotonic()
        try:
            with joined(rank, world, device, address, timeout_s) as peers:
                work(peers)
        except (StageError, torch.OutOfMemoryError, MemoryError) as error:
            seen[name] = [*told(error), str(time.monotonic() - began)]

    def silent(peers: Peers) -> None:
        peers.gather([1.0])
        if rank == 1:
            time.sleep(5)
        peers.gather([2.0])

    def short(frozen: bool) -> Callable[[Peers], object]:
        model = hungry(0 if rank else 9, MemoryError(), frozen).train()
        return lambda peers: Division(Plain(model), peers, 1, device).gradients(*batch(), seed, "float32")

    attempt("silent", f"127.0.0.1:{ports[0]}", silent, timeout_s=2.0)
    attempt("short", f"127.0.0.1:{ports[1]}", short(frozen=True))
    attempt("short, norms", f"127.0.0.1:{ports[2]}", short(frozen=False))
    (root / f"trouble-{rank}.json").write_text(json.dumps(seen))


def test_a_silent_rank_is_given_up_and_short_memory_is_known_to_all(root: Path) -> None:
    assert join(start_ranks(2, trouble, root, [free_port() for _ in range(3)])) == [0, 0]
    first, second = (json.loads((root / f"trouble-{rank}.json").read_text()) for rank in range(2))
    assert first["silent"][0] == "PeerLostError"
    assert first["short"][0] == second["short"][0] == DeviceMemoryError.__name__
    assert "does not hold a training step of 5 images" in first["short"][1]
    assert (first["short, norms"][0], second["short, norms"][0]) == ("OutOfMemoryError", "MemoryError")


def test_more_processes_than_images_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from casl.data.coco import load_split
    from casl.data.layout import find_splits
    from casl.stages.feed import Feed

    split = load_split(find_splits(root / ENTITY.data.name / "set")["labeled"], "objects")
    with pytest.raises(StageError, match=r"5 images .* 6 processes.*\n.*--gpus-per-stage 5"):
        Feed(split, RECIPE, 0, (), Peers(0, 6))


def test_without_an_address_a_rank_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(StageError, match="MASTER_ADDR"), joined(0, 2, torch.device("cpu")):
        pass


def test_a_rank_whose_peers_never_come_gives_up() -> None:
    with (
        pytest.raises(PeerLostError, match="rank 1 of 2 did not meet"),
        joined(1, 2, torch.device("cpu"), f"127.0.0.1:{free_port()}", timeout_s=1.0),
    ):
        pass
