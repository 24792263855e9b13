"""That pieces of a batch give the gradient of the whole, and what happens where they cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from casl.errors import DeviceMemoryError, StageError
from casl.models.backbone import Backbone, build_backbone
from casl.models.condinst import CondInst, CondInstSettings
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.frameworks.retinanet import RetinaNet, RetinaNetSettings
from casl.models.swin import Swin
from casl.train.checkpoint import Checkpoints, Curves
from casl.train.distributed import ALONE, Peers, portion
from casl.train.divided import Division, pieces
from casl.train.learner import Batch, Plain
from casl.train.loop import Steps, train
from casl.train.optimizer import sgd
from tests.models.frameworks.cases import small as framework
from tests.models.test_condinst import ENTITY, nothing, scene

CPU = torch.device("cpu")
SHAPE: dict[str, Any] = {"channels": 16, "ranges": (16, 32, 64, 128)}
MASKS: dict[str, Any] = {**SHAPE, "towers": 1, "mask_channels": 16, "mask_convs": 1}
PIECES = [2, 3, 9]


def batch() -> Batch:
    """Five images of four sizes, two of them without objects and one with twice the objects."""
    pairs = [nothing(), scene(96, 80), scene(64, 96), nothing(64, 96), scene()]
    image, target = scene(128, 128)
    pairs[1] = image, {name: torch.cat([value, value]) for name, value in target.items()}
    # flat regions would have thousands of equal activations, which pass a ReLU or not by the last bit, all at once
    generator = torch.Generator().manual_seed(0)
    noisy = [image + 20 * torch.rand(image.shape, generator=generator) for image, _ in pairs]
    return noisy, [target for _, target in pairs]


def without_batch_norms(model: nn.Module) -> nn.Module:
    """Batch norms of the mask branch become what they are when statistics are fixed."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, nn.GroupNorm(4, module.num_features))
    return model


def fcos(drop_path: float = 0.0, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    backbone = build_backbone("resnet_micro", frozen_norm=True, drop_path=drop_path)
    for name, value in backbone.named_buffers():
        if name.endswith("bn2.weight"):
            value.fill_(1.0)  # they start at zero, as if every path were dropped
    return FCOS(backbone, 2, FCOSSettings(**SHAPE, towers=1, **changes))


def swin() -> nn.Module:
    torch.manual_seed(0)
    tiny = {"embed_dim": 12, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 2, 4), "drop_path_rate": 0.5}
    body = Swin(timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, **tiny))
    return FCOS(Backbone(body, (12, 24, 48, 96)), 2, FCOSSettings(**SHAPE, towers=1))


def condinst(drop_path: float = 0.0, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    backbone = build_backbone("resnet_micro", drop_path=drop_path)
    return without_batch_norms(CondInst(backbone, 2, CondInstSettings(**MASKS | changes)))


def retinanet() -> nn.Module:
    torch.manual_seed(0)
    settings = RetinaNetSettings(channels=32, ranges=(16, 32, 64, 128))
    return RetinaNet(build_backbone("resnet_micro", frozen_norm=True), 2, settings)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "fcos": fcos,
    "fcos by iou": lambda: fcos(box_quality="iou"),
    "fcos, judged": lambda: fcos(clean="released", clean_gamma=1.5),
    "stochastic depth": lambda: fcos(drop_path=0.5),
    "swin": swin,
    "condinst": condinst,
    "entity": lambda: condinst(**ENTITY),
    "entity, few drawn": lambda: condinst(**ENTITY | {"max_per_image": 2}),
    "few an image": lambda: condinst(max_per_image=2),
    "few drawn, paths dropped": lambda: condinst(drop_path=0.5, max_per_image=2),
    "best of each": lambda: condinst(max_per_image=None, topk_per_image=5, cluster_weight=0.5),
    "retinanet": retinanet,
}
WEIGHTED = ("fcos", "fcos by iou", "fcos, judged", "entity, few drawn", "best of each", "retinanet")


def seed() -> None:
    torch.manual_seed(11)


def whole(model: Any, images: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    seed()
    losses = model.train().losses(images, targets)
    torch.autograd.backward(list(losses.values()))
    return {name: float(value.detach()) for name, value in losses.items()}


def gradients(model: nn.Module) -> dict[str, torch.Tensor | None]:
    return {name: p.grad for name, p in model.named_parameters()}


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients(model).values() if gradient is not None])


@pytest.mark.parametrize("name", MODELS)
def test_pieces_add_up_to_the_gradient_of_the_whole_batch(name: str) -> None:
    one = MODELS[name]()
    expected = whole(one, *batch())
    for count in PIECES:
        model = MODELS[name]()
        losses = Division(Plain(model.train()), ALONE, count, CPU).gradients(*batch(), seed, "float32")
        assert losses == pytest.approx({"loss": sum(expected.values()), **expected}, rel=1e-5)
        assert {n for n, g in gradients(one).items() if g is None} == {
            n for n, g in gradients(model).items() if g is None
        }
        length = flat(one).norm()
        assert float((flat(one) - flat(model)).norm()) < 1e-5 * length
        for key, gradient in gradients(one).items():
            if gradient is not None:
                difference = float((gradient - gradients(model)[key]).norm())  # type: ignore[operator]
                assert difference < 2e-4 * gradient.norm() + 1e-7 * length, key


@pytest.mark.parametrize("name", WEIGHTED)
def test_pieces_of_a_batch_with_weights_add_up_too(name: str) -> None:
    """Some targets have weights and some have none, so a piece may have none at all."""
    images, targets = batch()
    targets[1]["weights"] = torch.tensor([0.0, 0.5, 1.0, 3.0])
    targets[4]["weights"] = torch.tensor([2.0, 0.25])
    one, plain = MODELS[name](), MODELS[name]()
    expected = whole(one, images, targets)
    whole(plain, *batch())
    assert (flat(one) - flat(plain)).norm() > 0.05 * flat(one).norm()
    for count in PIECES:
        model = MODELS[name]()
        losses = Division(Plain(model.train()), ALONE, count, CPU).gradients(images, targets, seed, "float32")
        assert losses == pytest.approx({"loss": sum(expected.values()), **expected}, rel=1e-5)
        assert float((flat(one) - flat(model)).norm()) < 1e-5 * flat(one).norm()


def test_pieces_that_know_nothing_of_each_other_would_not_add_up() -> None:
    one, apart = fcos(), fcos()
    whole(one, *batch())
    images, targets = batch()
    for image, target in zip(images, targets, strict=True):
        whole(apart, [image], [target])
    assert (flat(one) - flat(apart) / len(images)).norm() > 0.1 * flat(one).norm()


@pytest.mark.parametrize(("count", "parts"), [(16, 8), (5, 2), (5, 3), (7, 7), (1, 1)])
def test_portions_are_consecutive_and_differ_by_one_at_most(count: int, parts: int) -> None:
    bounds = [portion(count, parts, index) for index in range(parts)]
    assert [i for begin, end in bounds for i in range(begin, end)] == list(range(count))
    assert {end - begin for begin, end in bounds} <= {count // parts, -(-count // parts)}


def trained(model: nn.Module, folder: Path, micro_batches: int) -> dict[str, torch.Tensor]:
    steps = Steps(lambda i: batch(), lambda i: 0.01, 0, 2, seed=3, device=CPU, micro_batches=micro_batches)
    optimizer = sgd(model, 0.01, 0.0)
    train(Plain(model), optimizer, steps, Curves(), Checkpoints(folder), lambda done, total, figures: None)
    return model.state_dict()


@pytest.mark.parametrize("name", ["faster_rcnn", "condinst with batch norms"])
def test_what_cannot_be_cut_stays_whole_and_ends_with_the_same_bits(tmp_path: Path, name: str) -> None:
    def make() -> nn.Module:
        torch.manual_seed(0)
        if name == "faster_rcnn":
            return framework(name)
        return CondInst(build_backbone("resnet_micro"), 2, CondInstSettings(**MASKS))

    plain, spared = (trained(make(), tmp_path / str(k), k) for k in (1, 4))
    for key, value in plain.items():
        assert torch.equal(value, spared[key]), key


class Hungry(FCOS):
    """Needs more memory for a batch than there is."""

    holds = 0
    error: Exception = MemoryError()

    def losses(self, images: Any, targets: Any, share: Any = None) -> dict[str, torch.Tensor]:
        if len(images) > self.holds:
            raise self.error
        return super().losses(images, targets, share)


def hungry(holds: int, error: Exception, frozen: bool = True) -> Hungry:
    torch.manual_seed(0)
    model = Hungry(build_backbone("resnet_micro", frozen_norm=frozen), 2, FCOSSettings(**SHAPE, towers=1))
    model.holds, model.error = holds, error
    return model


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_batch_too_large_is_said_to_be_and_fits_in_pieces(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(DeviceMemoryError, match=r"cpu does not hold a training step of 5 images of up to 128 x 128 px"):
        trained(hungry(2, error), tmp_path, 1)
    with pytest.raises(DeviceMemoryError, match="3 at a time"):
        trained(hungry(2, error), tmp_path, 2)
    assert trained(hungry(2, error), tmp_path, 3)


def test_an_error_that_is_not_about_memory_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        trained(hungry(2, RuntimeError("shapes do not fit")), tmp_path, 1)


@pytest.mark.parametrize(("micro_batches", "frozen", "why"), [(5, True, "single image"), (1, False, "batch norms")])
def test_where_nothing_is_left_to_try_the_error_is_not_one_to_try_again(
    tmp_path: Path, micro_batches: int, frozen: bool, why: str
) -> None:
    with pytest.raises(StageError, match=why) as raised:
        trained(hungry(0, MemoryError(), frozen), tmp_path, micro_batches)
    assert not isinstance(raised.value, DeviceMemoryError) and "more memory" in str(raised.value)


def test_many_processes_for_a_framework_that_draws_for_the_whole_batch_are_refused(tmp_path: Path) -> None:
    steps = Steps(lambda i: batch(), lambda i: 0.01, 0, 2, seed=3, device=CPU, peers=Peers(0, 2))
    model = framework("faster_rcnn")
    with pytest.raises(StageError, match=r"2 processes: FasterRCNN is not divisible.*\n.*--gpus-per-stage 1"):
        train(Plain(model), sgd(model, 0.01, 0.0), steps, Curves(), Checkpoints(tmp_path), lambda *_: None)


@pytest.mark.parametrize("wanted", [1, 2, 3, 5, 9])
def test_views_of_an_image_stay_in_one_piece(wanted: int) -> None:
    views = [0, 0, 0, 1, 0, 1, 2, 0]
    bounds = pieces([{"view": torch.tensor(view)} for view in views], wanted)
    assert [i for begin, end in bounds for i in range(begin, end)] == list(range(8))
    assert len(bounds) == min(wanted, 5) and all(views[begin] == 0 for begin, _ in bounds)
    assert pieces([{}] * 7, wanted) == [portion(7, min(wanted, 7), index) for index in range(min(wanted, 7))]
