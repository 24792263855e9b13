"""What detectron2's weights do not show: said, or read from the configuration and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import detection

from casl.cli import main
from casl.errors import DataError, SpecError
from casl.models.convert.config import read_config
from casl.models.convert.conversion import Wish, convert_from, convert_to
from tests.models.convert.cases import fcos
from tests.models.convert.test_torchvision import full_size

STRIDE = "MODEL: {RESNETS: {STRIDE_IN_1X1: false}}\n"
STEM = "backbone.bottom_up.stem.conv1.weight"
RGB = (123.675, 116.28, 103.53)
OURS = "backbone.body.conv1.weight"


@pytest.fixture(scope="module")
def theirs() -> Mapping[str, Tensor]:
    """Names of a Faster R-CNN of detectron2's, and its first layer; heads aside."""
    with torch.device("meta"):
        state = full_size("faster_rcnn").state_dict()
    there, _ = convert_to("detectron2", state, Wish(into="mask_rcnn"))
    return {**there, STEM: torch.rand(64, 3, 7, 7)}


def config(tmp_path: Path, text: str) -> Path:
    (tmp_path / "config.yaml").write_text(text)
    return tmp_path / "config.yaml"


def test_without_a_configuration_is_said_what_it_must_have_been(theirs: Mapping[str, Tensor]) -> None:
    _, report = convert_from("detectron2", theirs, "resnet50")
    assert all(need.startswith("of the source: ") for need in report.needs)
    said = " ".join(report.needs)
    for setting in (
        "STRIDE_IN_1X1 False",
        "RES5_DILATION 1",
        "FORMAT BGR",
        "PIXEL_STD [1.0, 1.0, 1.0]",
        "FUSE_TYPE sum",
    ):
        assert setting in said
    _, bare = convert_from("detectron2", {STEM: theirs[STEM]}, source_input="rgb")
    assert "FUSE_TYPE" not in " ".join(bare.needs) and "INPUT.FORMAT RGB" in " ".join(bare.needs)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MODEL: {}\n", r"MODEL\.RESNETS\.STRIDE_IN_1X1 True, not False"),
        ("MODEL: {RESNETS: {STRIDE_IN_1X1: false, RES5_DILATION: 2}}", r"RES5_DILATION 2, not 1"),
        ("MODEL: {RESNETS: {STRIDE_IN_1X1: false}, FPN: {FUSE_TYPE: avg}}", r"FUSE_TYPE 'avg', not 'sum'"),
        ("MODEL: {RESNETS: {STRIDE_IN_1X1: false}, FPN: {NORM: GN}}", r"MODEL\.FPN\.NORM 'GN', not ''"),
        (
            "MODEL: {RESNETS: {STRIDE_IN_1X1: false}, PIXEL_MEAN: [1, 2, 3]}",
            r"PIXEL_MEAN \[1\.0, 2\.0, 3\.0\], not \[103",
        ),
        (STRIDE + "INPUT: {FORMAT: RGB}", r"PIXEL_MEAN \[103\.53, .*, not \[123\.675"),
        (STRIDE + "INPUT: {FORMAT: L}", r"only BGR and RGB"),
        ("MODEL: {PIXEL_STD: [1, 2]}", r"three numbers are needed"),
        ("MODEL: {PIXEL_STD: [1, 0, 2]}", r"a deviation is above 0"),
        ("- 1\n", "no settings by name"),
        ("a: [", "no YAML of detectron2's"),
        ("_BASE_: none.yaml\n", r"no configuration at \S+none\.yaml, which \S+config\.yaml is based on"),
        ("_BASE_: config.yaml\n", "is based on itself"),
    ],
)
def test_a_configuration_that_ours_do_not_have_is_refused(
    text: str, said: str, theirs: Mapping[str, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        convert_from("detectron2", theirs, "resnet50", config=read_config(config(tmp_path, text)))


@pytest.mark.parametrize(
    ("settings", "order", "mean", "std"),
    [
        ("", "bgr", (103.53, 116.28, 123.675), (1.0, 1.0, 1.0)),
        ("  PIXEL_STD: [57.375, 57.12, 58.395]\n", "bgr", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)),
        ("  PIXEL_STD: '(2, 3., 4)'\n", "bgr", (103.53, 116.28, 123.675), (2.0, 3.0, 4.0)),
        (
            "  PIXEL_MEAN: [123.675, 116.28, 103.53]\n  PIXEL_STD: [58.395, 57.12, 57.375]\nINPUT: {FORMAT: RGB}\n",
            "rgb",
            (123.675, 116.28, 103.53),
            (58.395, 57.12, 57.375),
        ),
        ("  PIXEL_MEAN: [123.675, 116.28, 103.53]\nINPUT: {FORMAT: RGB}\n", "rgb", RGB, (1.0, 1.0, 1.0)),
    ],
)
def test_the_input_of_a_configuration_is_folded_into_the_first_layer(
    settings: str,
    order: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    theirs: Mapping[str, Tensor],
    tmp_path: Path,
) -> None:
    (tmp_path / "base.yaml").write_text("MODEL: {RESNETS: {STRIDE_IN_1X1: false}, PIXEL_STD: [1, 1, 1]}\n")
    read = read_config(config(tmp_path, f"_BASE_: base.yaml\nMODEL:\n  DEVICE: cpu\n{settings}"))
    state, report = convert_from("detectron2", theirs, "resnet50", config=read)
    assert not report.needs
    image = torch.rand(1, 3, 16, 16) * 255
    column = (slice(None), None, None)
    given = image.flip(1) if order == "bgr" else image
    wanted = nn.functional.conv2d((given - torch.tensor(mean)[column]) / torch.tensor(std)[column], theirs[STEM])
    ours = (image - torch.tensor([123.675, 116.28, 103.53])[column]) / torch.tensor([58.395, 57.12, 57.375])[column]
    torch.testing.assert_close(nn.functional.conv2d(ours, state[OURS]), wanted, rtol=1e-4, atol=1e-3)


def test_a_configuration_is_of_detectron2s_own_models_and_decides_the_order(
    theirs: Mapping[str, Tensor], tmp_path: Path
) -> None:
    read = read_config(config(tmp_path, STRIDE))
    with pytest.raises(SpecError, match="--input rgb was asked for, and the configuration says"):
        convert_from("detectron2", theirs, "resnet50", "rgb", read)
    registered, _ = convert_to(
        "detectron2", fcos("resnet_micro", channels=32, towers=1).state_dict(), Wish(into="casl")
    )
    for kind, state in (("torchvision", theirs), ("timm", theirs), ("detectron2", registered)):
        with pytest.raises(SpecError, match="--config changes nothing here"):
            convert_from(kind, state, "resnet50", config=read)


def test_the_command_reads_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file(
        {STEM: torch.rand(64, 3, 7, 7), "backbone.bottom_up.res2.0.conv3.weight": torch.rand(256, 64, 1, 1)}, source
    )
    words = ["convert", str(source), "--from", "detectron2", "-o", str(out)]
    assert main([*words, "--config", str(config(tmp_path, "MODEL: {}\n"))]) == 2
    assert "STRIDE_IN_1X1 True, not False" in capsys.readouterr().err and not out.exists()
    assert main([*words, "--config", str(config(tmp_path, STRIDE))]) == 0
    assert json.loads((tmp_path / "b.safetensors.json").read_text())["needs"] == []
    assert main(words) == 0 and "  needs  of the source: MODEL.RESNETS.STRIDE_IN_1X1 False" in capsys.readouterr().out
    assert main(["convert", str(source), "--to", "detectron2", "--config", "x", "-o", str(out)]) == 2
    assert "--config is about the source of --from detectron2" in capsys.readouterr().err


def of_detectron2(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {**theirs, "backbone.fpn_lateral3.norm.weight": torch.ones(256)}


def of_torchvision() -> Mapping[str, Tensor]:
    with torch.device("meta"):
        model = detection.fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    state: Mapping[str, Tensor] = model.state_dict()
    return state


@pytest.mark.parametrize("kind", ["detectron2", "torchvision"])
def test_norms_in_a_pyramid_are_refused(kind: str, theirs: Mapping[str, Tensor]) -> None:
    state = of_detectron2(theirs) if kind == "detectron2" else of_torchvision()
    with pytest.raises(
        DataError, match=r"pyramid has \d+ tensors that none of casl's has, such as fpn\.lateral\d\.norm"
    ):
        convert_from(kind, state, "resnet50")
