"""CondInst as a whole: sizes, losses against plain loops, gradients, predictions."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from casl.errors import SpecError
from casl.models.backbone import build_backbone
from casl.models.condinst import CondInst, CondInstSettings, build
from casl.models.detect import InferenceSettings
from casl.train.distributed import Peers

SMALL = CondInstSettings(channels=16, towers=1, ranges=(16, 32, 64, 128), mask_channels=16, mask_convs=1)
ENTITY: dict[str, Any] = {
    "kernel_head": True,
    "bank": True,
    "cluster_weight": 0.5,
    "max_per_image": 120,
    "bias_on_box": False,
}
FCOS_LOSSES = {"loss_cls", "loss_box", "loss_center"}
PATHS = {f"loss_mask_{path}" for path in ("111", "110", "101", "100", "011", "010", "001")}

Target = dict[str, Tensor]


def small(classes: int = 2, **changes: Any) -> CondInst:
    torch.manual_seed(0)
    return build(build_backbone("resnet_micro"), classes, dataclasses.replace(SMALL, **changes))


def scene(height: int = 64, width: int = 64) -> tuple[Tensor, Target]:
    """A dark image with a red rectangle and a green disc.

    The sides of the rectangle lie where masks at stride 4, enlarged four times, can have a side: at 4 i + 1 and 4 i.
    """
    image = torch.full((3, height, width), 30.0)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rectangle = (columns >= 9) & (columns < 32) & (rows >= 9) & (rows < 40)
    disc = (columns - 46) ** 2 + (rows - 36) ** 2 < 14**2
    image[0, rectangle] = image[1, disc] = 220.0
    masks = torch.stack([rectangle, disc])
    boxes = torch.tensor([[9.0, 9.0, 32.0, 40.0], [33.0, 23.0, 60.0, 50.0]])
    return image, {"boxes": boxes, "labels": torch.tensor([0, 1]), "masks": masks}


def nothing(height: int = 64, width: int = 64) -> tuple[Tensor, Target]:
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    return torch.zeros(3, height, width), empty | {"masks": torch.zeros(0, height, width, dtype=torch.bool)}


def batch(*pairs: tuple[Tensor, Target]) -> tuple[list[Tensor], list[Target]]:
    return [image for image, _ in pairs], [target for _, target in pairs]


def total(losses: Target) -> Tensor:
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize(
    ("backbone", "changes", "count"),
    [
        ("swin_t", {}, 39_813_338),
        ("swin_l", {}, 207_659_444),
        ("resnet50", {"top_from": "c5"}, 40_490_720),
        ("resnet101", {"top_from": "c5"}, 59_430_624),
    ],
)
def test_total_parameters_of_the_entity_variant(backbone: str, changes: dict[str, Any], count: int) -> None:
    """The reference's ResNets keep the affine part of their frozen batch norms as buffers: `frozen_norm`."""
    with torch.device("meta"):
        body = build_backbone(backbone, frozen_norm=backbone.startswith("resnet"))
        model = build(body, 1, CondInstSettings(**ENTITY, **changes))
    assert sum(p.numel() for p in model.parameters()) == count


def test_plain_controller_has_389545_parameters() -> None:
    with torch.device("meta"):
        model = build(build_backbone("resnet_micro"), 1, CondInstSettings())
    shapes = {name: tuple(p.shape) for name, p in model.head.named_parameters() if name.startswith("controller")}
    assert shapes == {"controller.weight": (169, 256, 3, 3), "controller.bias": (169,)}
    assert sum(np.prod(shape) for shape in shapes.values()) == 389_545


def test_state_dict_names_the_parts() -> None:
    assert {name.split(".")[0] for name in small().state_dict()} == {"backbone", "fpn", "head", "mask_branch"}
    names = small(**ENTITY).state_dict()
    assert {"mask_head.stable.0.weight", "mask_head.stable.2.bias", "head.controller.out.weight"} <= names.keys()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"loss_mask"}),
        ({"cluster_weight": 0.5}, {"loss_mask", "loss_mask_cluster"}),
        (ENTITY, PATHS | {"loss_mask_cluster"}),
    ],
)
def test_losses_have_names(changes: dict[str, Any], names: set[str]) -> None:
    losses = small(**changes).losses(*batch(scene(), nothing()))
    assert losses.keys() == FCOS_LOSSES | names
    assert all(loss.dim() == 0 and loss.isfinite() and loss > 0 for loss in losses.values())


def mask_losses_by_loops(model: CondInst, images: list[Tensor], targets: list[Target]) -> dict[tuple[int, int], Tensor]:
    """Dice losses (P,) of the positives of each object, by image and object; images pad to 96 x 96."""
    padded = model.preprocess(images)
    output = model.head(model.features(padded))
    features = model.mask_branch(model.features(padded))
    assignment = model.assign(model.grid(output), targets)
    points = torch.cat(model.locations(output))
    sizes = [
        size for size, level in zip((16, 32, 64, 128, 256), output.logits, strict=True) for _ in level[0, 0].flatten()
    ]
    assert output.kernels is not None
    kernels = torch.cat([level.flatten(2) for level in output.kernels], dim=2)

    def loss(image: int, place: int) -> Tensor:
        w = kernels[image, :, place]
        rows, columns = torch.meshgrid(torch.arange(12) * 8 + 4, torch.arange(12) * 8 + 4, indexing="ij")
        own = torch.stack([points[place, 0] - columns, points[place, 1] - rows]) / sizes[place]
        x = torch.cat([own, features[image]])[None]
        x = functional.conv2d(x, w[:80].view(8, 10, 1, 1), w[152:160]).relu()
        x = functional.conv2d(x, w[80:144].view(8, 8, 1, 1), w[160:168]).relu()
        x = functional.conv2d(x, w[144:152].view(1, 8, 1, 1), w[168:])
        x = functional.interpolate(functional.pad(x, (0, 1, 0, 1), "replicate"), (25, 25), None, "bilinear", True)
        x = functional.pad(x, (1, 0, 1, 0), "replicate")[0, 0, :24, :24].sigmoid()
        full = torch.zeros(96, 96)
        mask = targets[image]["masks"][assignment.gt_index[image, place]]
        full[: mask.shape[0], : mask.shape[1]] = mask.float()
        y = full[2::4, 2::4]
        return 1 - 2 * (x * y).sum() / ((x**2).sum() + (y**2).sum() + 1e-5)

    found: dict[tuple[int, int], list[Tensor]] = {}
    for image, place in assignment.positive.nonzero().tolist():
        found.setdefault((image, int(assignment.gt_index[image, place])), []).append(loss(image, place))
    return {key: torch.stack(losses) for key, losses in found.items()}


def test_mask_loss_equals_plain_loops_over_positives() -> None:
    model = small().eval()
    images, targets = batch(scene(64, 96), nothing(), scene(96, 80))
    by_object = mask_losses_by_loops(model, images, targets)
    assert by_object.keys() == {(0, 0), (0, 1), (2, 0), (2, 1)}
    expected = torch.cat(list(by_object.values()))
    torch.testing.assert_close(model.losses(images, targets)["loss_mask"], expected.mean())

    targets[0]["weights"] = torch.tensor([0.0, 2.0])  # the others count once
    factors = torch.cat([torch.full_like(v, {(0, 0): 0, (0, 1): 2}.get(k, 1)) for k, v in by_object.items()])
    torch.testing.assert_close(model.losses(images, targets)["loss_mask"], (factors * expected).mean())


@pytest.mark.parametrize("changes", [{}, ENTITY, {"max_per_image": None, "topk_per_image": 4}])
def test_gradient_reaches_every_parameter_that_p3_to_p7_depend_on(changes: dict[str, Any]) -> None:
    model = small(**changes)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # timm starts the last one of a block at 0, which stops gradients
            torch.nn.init.ones_(module.weight)
    torch.autograd.backward(total(model(*batch(scene(), scene()))))
    silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert {name.rsplit(".", 1)[0] for name in silent} == {"fpn.lateral2", "fpn.output2"}


def test_mask_loss_alone_trains_the_mask_path_and_leaves_the_classifier() -> None:
    model = small()
    torch.autograd.backward(model.losses(*batch(scene()))["loss_mask"])
    touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"head.controller.weight", "mask_branch.refine.2.0.weight", "head.box_tower.0.weight"} <= touched
    assert not any(name.startswith(("head.cls", "head.bbox_pred", "head.ctrness")) for name in touched)


@pytest.mark.parametrize("changes", [{}, ENTITY])
def test_a_batch_without_objects_has_zero_mask_losses_and_a_gradient(changes: dict[str, Any]) -> None:
    model = small(**changes)
    losses = model.losses(*batch(nothing(), nothing()))
    assert {losses[name].item() for name in losses.keys() - FCOS_LOSSES} == {0.0}
    torch.autograd.backward(total(losses))
    assert all(p.grad is not None for name, p in model.named_parameters() if not name.startswith(("fpn.l", "fpn.o")))
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_fewer_positives_change_the_mask_loss_only() -> None:
    images, targets = batch(scene(), scene())
    whole = small().losses(images, targets)
    part = small(max_per_image=3).losses(images, targets)
    assert {name for name in whole if whole[name] != part[name]} == {"loss_mask"}


def test_the_limit_is_that_of_an_image_whatever_the_batch() -> None:
    """AdelaiDet draws 500 of a GPU of two images; of a batch of 16 that would be 31 an image."""
    assert CondInstSettings().max_per_image == 250
    model = small(max_per_image=4).train()
    images, targets = batch(*[scene(128, 128)] * 6)
    alone = model.assign(model.grid(model.outputs(model.preprocess(images))), targets).positive.sum(1).tolist()
    assert set(alone) == {alone[0]} and alone[0] > 4
    (share,) = model.shares([(images, targets)], (128, 128), 6, Peers())
    kept = share.learners.chosen
    assert kept is not None
    assert (kept // alone[0]).bincount().tolist() == [4] * 6
    assert share.learners.positives.tolist() == [3 * 8] * 6, "of three pairs the mean over eight"


@pytest.mark.parametrize("changes", [{}, ENTITY, {"max_per_image": None, "topk_per_image": 4}])
def test_mask_losses_are_means_over_pairs_of_images_as_over_the_gpus_of_the_reference(changes: dict[str, Any]) -> None:
    model = small(**changes).eval()
    crowded = scene(96, 96)
    crowded = crowded[0], {name: torch.cat([value] * 3) for name, value in crowded[1].items()}
    pairs = [scene(96, 96), nothing(96, 96)], [crowded, scene(96, 96)], [nothing(96, 96)] * 2, [scene(96, 96)]
    whole = model.losses(*batch(*[one for pair in pairs for one in pair]))
    apart = [model.losses(*batch(*pair)) for pair in pairs]
    for name in whole.keys() - FCOS_LOSSES:
        torch.testing.assert_close(whole[name], torch.stack([losses[name] for losses in apart]).mean())
    together = torch.stack([losses["loss_cls"] for losses in apart]).mean()
    assert abs(float((whole["loss_cls"] - together).detach())) > 1e-3, "other losses are means over the batch"


@pytest.mark.parametrize("changes", [{"max_per_image": 5}, {**ENTITY, "max_per_image": 5}])
def test_two_trainings_from_one_seed_are_equal_bit_for_bit(changes: dict[str, Any]) -> None:
    def trained() -> list[Tensor]:
        model = small(**changes)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            torch.autograd.backward(total(model(*batch(scene(), scene()))))
            optimizer.step()
        return [p.detach() for p in model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(trained(), trained(), strict=True))


def test_mixed_precision_gives_nearly_the_same_losses() -> None:
    images, targets = batch(scene(), scene())
    exact = small(**ENTITY).losses(images, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = small(**ENTITY).losses(images, targets)
    torch.testing.assert_close(mixed, exact, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("size", [(64, 64), (128, 64)])
def test_mixed_precision_on_the_cpu_has_finite_gradients_in_small_images(size: tuple[int, int]) -> None:
    model = small().train()
    for _ in range(6):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = total(model.losses(*batch(scene(*size), scene(*size))))
        torch.autograd.backward(loss)
        bad = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        assert not bad


def test_missing_and_misshapen_masks_are_named() -> None:
    image, target = scene()
    boxes_only = {name: value for name, value in target.items() if name != "masks"}
    with pytest.raises(ValueError, match="target 1 has none"):
        small().losses([image, image], [target, boxes_only])
    with pytest.raises(ValueError, match=r"\(2, 32, 64\).*\(2, 64, 64\)"):
        small().losses([image], [target | {"masks": target["masks"][:, :32]}])


@pytest.mark.parametrize(
    "changes",
    [
        {"topk_per_image": 64},
        {"max_per_image": 0},
        {"cluster_weight": -1.0},
        {"bank": True, "dynamic_layers": 2},
        {"mask_rescore": True},
    ],
)
def test_impossible_settings_are_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        CondInstSettings(**changes)


def test_other_layouts_train() -> None:
    model = small(dynamic_layers=2, dynamic_channels=4, mask_features=6, relative_coords=False)
    assert model.head.controller is not None
    assert sum(p.numel() for p in model.head.controller.parameters()) == (16 * 9 + 1) * (6 * 4 + 4 + 4 + 1)
    assert model.losses(*batch(scene()))["loss_mask"].isfinite()


EVERYTHING = InferenceSettings(score_threshold=0.0, max_detections=30)


def test_predictions_have_the_original_size() -> None:
    model = small().eval()
    first, second = model.predict([scene(64, 64)[0], scene(64, 96)[0]], [(100, 50), (32, 48)], EVERYTHING)
    assert (first["masks"].shape[1:], second["masks"].shape[1:]) == ((100, 50), (32, 48))
    for result, limit in ((first, [50, 100]), (second, [48, 32])):
        assert {len(value) for value in result.values()} == {len(result["scores"])}
        assert result["masks"].dtype == torch.bool
        assert bool((result["boxes"][:, 2:] <= torch.tensor(limit)).all())
        assert result["scores"].tolist() == sorted(result["scores"].tolist(), reverse=True)


def test_finding_nothing_is_legal() -> None:
    for changes in ({}, {"non_overlap": True, "inclusive_boxes": True, "mask_rescore": True}):
        never = InferenceSettings(score_threshold=0.999)
        result = small(**changes).eval().predict([scene()[0]], [(40, 30)], never)[0]
        assert (result["boxes"].shape, result["masks"].shape) == ((0, 4), (0, 40, 30))


def test_predicting_while_training_is_refused() -> None:
    with pytest.raises(RuntimeError, match="eval"):
        small().predict([scene()[0]], [(64, 64)])
