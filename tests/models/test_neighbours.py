"""That what is found in an image does not depend on the images beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from casl.models.backbone import build_backbone
from casl.models.detect import InferenceSettings
from casl.models.detector import in_shapes, padded
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.frameworks.adapter import Framework
from tests.models.frameworks.cases import NAMES
from tests.models.frameworks.cases import small as framework
from tests.models.test_condinst import small as condinst

FEW = InferenceSettings(score_threshold=0.0, max_detections=10, nms=0.5)
SIZES = [(64, 64), (96, 64), (60, 50), (64, 128), (90, 40), (33, 64)]  # which pad to three shapes


def fcos() -> FCOS:
    torch.manual_seed(0)
    return FCOS(build_backbone("resnet_micro"), 2, FCOSSettings(channels=16, towers=1, ranges=(16, 32, 64, 128)))


MODELS: dict[str, Callable[[], Any]] = {
    "fcos": fcos,
    "condinst": condinst,
    "entities": lambda: condinst(kernel_head=True, bank=True, non_overlap=True, mask_rescore=True),
} | {name: lambda name=name: framework(name) for name in NAMES}


def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, *size, generator=generator) * 255 for size in SIZES]


def learned(model: Any) -> Any:
    """In evaluation mode, with statistics and weights that tell images apart."""
    torch.manual_seed(2)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    model.train()
    if not isinstance(model, Framework):
        for image in images():
            model.outputs(model.preprocess([image]))
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_an_image_alone_and_in_any_batch_gives_the_same_predictions(name: str) -> None:
    """Equal but for the order of additions, since a product of matrices may add in another order when it is larger:
    to five thousandths of a pixel, where padding for a neighbour moved boxes by whole pixels."""
    model, pictures = learned(MODELS[name]()), images()
    alone = [model.predict([image], [size], FEW)[0] for image, size in zip(pictures, SIZES, strict=True)]
    assert sum(len(found["scores"]) for found in alone) > 8
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 0], [4, 2]):
        together = model.predict([pictures[i] for i in order], [SIZES[i] for i in order], FEW)
        for i, found in zip(order, together, strict=True):
            assert found.keys() == alone[i].keys()
            for key, value in found.items():
                torch.testing.assert_close(value, alone[i][key], rtol=1e-4, atol=5e-3)


def test_images_go_together_by_the_size_they_pad_to_and_results_keep_their_order() -> None:
    calls: list[list[tuple[int, int]]] = []

    def predict(some: list[Tensor], sizes: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
        calls.append(sizes)
        assert len({padded(image.shape[1], image.shape[2]) for image in some}) == 1
        return [{"sum": image.sum()} for image in some]

    pictures = images()
    results = in_shapes(pictures, SIZES, predict)
    assert [float(r["sum"]) for r in results] == [float(image.sum()) for image in pictures]
    assert sorted(size for call in calls for size in call) == sorted(SIZES) and len(calls) == 3
    with pytest.raises(ValueError, match="6 images but 1 original sizes"):
        in_shapes(pictures, SIZES[:1], predict)
    with pytest.raises(ValueError, match="no images"):
        in_shapes([], [], predict)
