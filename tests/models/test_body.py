"""Whether weights are of the network that they are loaded into: every name and shape, both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models

from casl.catalog import BACKBONES
from casl.errors import DataError
from casl.models.backbone import build_backbone
from casl.models.body import BODY, check_fits, fitting_backbones
from casl.models.convert.conversion import Wish, convert_from, convert_to


def of_timm(architecture: str, **arguments: object) -> dict[str, Tensor]:
    """Names and shapes of a classifier of timm's; nothing is allocated."""
    with torch.device("meta"):
        return dict(timm.create_model(architecture, **arguments).state_dict())


@pytest.mark.parametrize(
    ("architecture", "backbone", "said"),
    [
        ("seresnet50", "resnet50", r"does not fit resnet50: it has layer1\.0\.se\.\S+ and 63 more, which resnet50 has"),
        ("resnet101", "resnet50", r"it has layer3\S+ and 254 more, which resnet50 has not\.\n  It fits resnet101\."),
        ("resnet34", "resnet18", r"it has layer1\.2\.\S+ and 79 more"),
        ("resnet50", "resnet26", r"it has layer1\.2\S+ and \d+ more, which resnet26 has not\.\n  It fits resnet50\."),
        ("resnet26", "resnet50", r"it lacks layer1\.2\S+ and \d+ more\.\n  It fits resnet26\."),
        (
            "wide_resnet50_2",
            "resnet50",
            r"is \(128, 64, 1, 1\), not \(64, 64, 1, 1\), and 175 more differ\.\n  Known to",
        ),
        ("resnet50d", "resnet50", r"it lacks conv1\.weight and 16 more; it has conv1\.0\.weight"),
        ("tf_efficientnet_lite1", "lite0", r"it has blocks\.\S+ and 74 more, which lite0 has not\.\n  It fits lite1\."),
        ("swin_small_patch4_window7_224", "swin_t", r"it has layers\.2\S+ and 155 more.*\n  It fits swin_s\."),
        ("swin_tiny_patch4_window7_224", "swin_s", r"it lacks layers\.2\S+ and 155 more\.\n  It fits swin_t\."),
        ("swin_base_patch4_window7_224", "swin_t", r"is \(128, 3, 4, 4\), not \(96, 3, 4, 4\).*\n  It fits swin_b\."),
        ("swinv2_tiny_window8_256", "swin_t", r"it lacks .*; it has "),
    ],
)
def test_weights_of_another_network_are_refused_whatever_they_share(
    architecture: str, backbone: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        check_fits(backbone, of_timm(architecture), published=True)


@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name not in ("swin_b", "swin_l", "resnext101")])
def test_a_published_classifier_fits_its_own_backbone_and_no_other(backbone: str) -> None:
    row = BACKBONES[backbone]
    state = of_timm(row.timm, **row.arguments)
    check_fits(backbone, state, published=True)
    assert fitting_backbones(state, published=True) == [backbone]


def old_swin() -> dict[str, Tensor]:
    """The authors' own names: stages end with what makes them smaller, and constants are kept."""
    state = of_timm("swin_tiny_patch4_window7_224")
    for stage in (0, 1, 2):
        for key in ("norm.weight", "norm.bias", "reduction.weight"):
            state[f"layers.{stage}.downsample.{key}"] = state[f"layers.{stage + 1}.downsample.{key}"]
    state = {key: value for key, value in state.items() if not key.startswith(("layers.3.downsample", "head."))}
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    state["layers.0.blocks.1.attn.relative_position_index"] = torch.zeros(49, 49)
    return state | {"head.weight": torch.zeros(1000, 768), "head.bias": torch.zeros(1000)}


@pytest.mark.parametrize(
    ("backbone", "state"),
    [
        ("swin_b", lambda: of_timm("swin_base_patch4_window12_384")),  # its tables are resized to our window
        ("swin_t", old_swin),
        ("resnet50", lambda: of_timm("resnet50", num_classes=0)),
        ("resnet50", lambda: of_timm("resnet50", num_classes=0) | {"fc.0.weight": torch.zeros(2048, 2048)}),
        ("resnet50", lambda: of_timm("resnet50", num_classes=0) | {"projection_head.0.weight": torch.zeros(2)}),
    ],
    ids=["window", "authors", "headless", "mlp", "projection"],
)
def test_weights_of_the_same_network_fit_with_another_window_or_head(
    backbone: str, state: Callable[[], Mapping[str, Tensor]]
) -> None:
    check_fits(backbone, state(), published=True)


def with_policies() -> Mapping[str, Tensor]:
    return build_backbone("swin_mini", usage=0.5).body.state_dict()


def test_policies_and_norms_of_a_swin_are_there_or_not() -> None:
    own = with_policies()
    assert any(key.startswith("policies.") for key in own)
    check_fits("swin_mini", own)
    check_fits("swin_mini", {key: value for key, value in own.items() if not key.startswith(("norm", "policies."))})


def file_of(state: Mapping[str, Tensor], folder: Path) -> Path:
    save_file(dict(state), folder / "a.safetensors")
    return folder / "a.safetensors"


def there(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"backbone.bottom_up.body.{key}": value for key, value in state.items()}


def ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{BODY}{key}": value for key, value in state.items()}


LOADERS: dict[str, Callable[[Mapping[str, Tensor], Path], object]] = {
    "timm's file": lambda s, p: build_backbone("resnet_micro", weights=file_of(s, p)),
    "our file": lambda s, p: build_backbone("resnet_micro", weights=file_of(ours(s), p)),
    "from timm": lambda s, _: convert_from("timm", s, "resnet_micro"),
    "from torchvision": lambda s, _: convert_from("torchvision", ours(s), "resnet_micro"),
    "from detectron2": lambda s, _: convert_from("detectron2", there(s), "resnet_micro"),
    "to detectron2": lambda s, _: convert_to("detectron2", ours(s), Wish(into="backbone", backbone="resnet_micro")),
    "to torchvision": lambda s, _: convert_to("torchvision", ours(s), Wish(into="backbone", backbone="resnet_micro")),
}
HARMS: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "missing": (lambda s: s.pop("layer3.0.conv2.weight"), r"it lacks layer3\.0\.conv2\.weight\."),
    "foreign": (lambda s: s.update({"layer1.0.se.bias": torch.ones(2)}), r"it has layer1\.0\.se\.bias, which"),
    "shape": (lambda s: s.update({"layer4.0.bn1.bias": torch.ones(2)}), r"layer4\.0\.bn1\.bias is \(2,\), not \(96,\)"),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("loader", LOADERS)
def test_wherever_a_backbone_is_named_its_weights_are_compared(loader: str, harm: str, tmp_path: Path) -> None:
    state = dict(build_backbone("resnet_micro").body.state_dict())
    LOADERS[loader](state, tmp_path)
    change, said = HARMS[harm]
    change(state)
    with pytest.raises(DataError, match=f"does not fit resnet_micro: {said}"):
        LOADERS[loader](state, tmp_path)


@pytest.mark.parametrize(
    ("network", "backbone"),
    [("resnet101", "resnet50"), ("resnet34", "resnet18"), ("swin_s", "swin_t"), ("swin_t", "swin_s"),
     ("efficientnet_b0", "resnet50"), ("swin_v2_t", "swin_t"), ("resnext50_32x4d", "resnet50")],
)  # fmt: skip
def test_a_classifier_of_torchvisions_is_not_taken_for_another(network: str, backbone: str) -> None:
    with torch.device("meta"):
        state = getattr(models, network)(weights=None).state_dict()
    with pytest.raises(DataError, match=f"does not fit {backbone}"):
        convert_from("torchvision", state, backbone)


def test_an_input_is_not_taken_from_a_backbone_that_the_weights_are_not_of() -> None:
    state = ours(of_timm("resnet50", num_classes=0))
    with pytest.raises(DataError, match=r"does not fit lite0: .*\n  It fits resnet50\."):
        convert_to("detectron2", state, Wish(into="backbone", backbone="lite0"))
