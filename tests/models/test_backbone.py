"""Backbones: sizes, agreement with other implementations, local weights, freezing."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from casl.catalog import BACKBONES
from casl.errors import DataError, SpecError
from casl.models.backbone import build_backbone
from casl.models.weights import read_state


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def micro_checkpoint() -> dict[str, Tensor]:
    """A whole timm classifier of the architecture of resnet_micro."""
    torch.manual_seed(3)
    model = timm.create_model("resnet10t", channels=(32, 48, 64, 96), stem_width=16, num_classes=7)
    return dict(model.state_dict())


@pytest.mark.parametrize(
    ("name", "parameters", "channels"),
    [
        ("swin_t", 27_520_698, (96, 192, 384, 768)),  # the reference's bottom-up, norm0..norm3 included
        ("resnet50", 23_508_032, (256, 512, 1024, 2048)),  # torchvision's 25,557,032 without its classifier
        ("resnet18", 11_176_512, (64, 128, 256, 512)),
        ("resnet_micro", 274_652, (32, 48, 64, 96)),
    ],
)
def test_parameter_counts(name: str, parameters: int, channels: tuple[int, ...]) -> None:
    backbone = build_backbone(name)
    assert count(backbone) == parameters
    assert backbone.channels == channels


@pytest.mark.parametrize("name", ["swin_t", "resnet10t", "resnet_micro"])
def test_maps_are_channels_first_with_strides_4_to_32_for_any_size(name: str) -> None:
    backbone = build_backbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(2, 3, 96, 65))
    assert backbone.strides == (4, 8, 16, 32)
    sizes = [(96 // stride, -(-65 // stride)) for stride in backbone.strides]
    assert [tuple(m.shape) for m in maps] == [(2, c, *s) for c, s in zip(backbone.channels, sizes, strict=True)]


def test_every_known_shape_of_swin_is_the_published_one() -> None:
    # C2 channels and blocks a stage; meta tensors: nothing is allocated
    published = {"swin_s": (96, [2, 2, 18, 2]), "swin_b": (128, [2, 2, 18, 2]), "swin_l": (192, [2, 2, 18, 2])}
    for name, (channels, depths) in published.items():
        with torch.device("meta"):
            model = timm.create_model(BACKBONES[name].timm, num_classes=0)
        assert model.feature_info[0]["num_chs"] == channels
        assert [len(layer.blocks) for layer in model.layers] == depths
        assert model.layers[0].blocks[0].attn.window_size == (7, 7)


def torchvision_name(key: str) -> str:
    key = key.replace("patch_embed.proj", "features.0.0").replace("patch_embed.norm", "features.0.2")
    key = re.sub(r"layers\.(\d)\.downsample", lambda m: f"features.{2 * int(m[1])}", key)
    key = re.sub(r"layers\.(\d)\.blocks", lambda m: f"features.{2 * int(m[1]) + 1}", key)
    return key.replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3")


def test_swin_equals_torchvisions_on_sizes_that_are_no_multiple_of_the_window() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("swin_t").eval()
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=0.05)  # biases too: a freshly made Swin has none to speak of
    oracle = torchvision.models.swin_t(weights=None).eval()
    state = {torchvision_name(k): v for k, v in backbone.body.state_dict().items() if not re.match(r"norm\d", k)}
    report = oracle.load_state_dict(state, strict=False)
    assert not report.unexpected_keys
    image = torch.randn(1, 3, 256, 320)
    with torch.no_grad():
        maps, x = backbone(image), image
        for index, layer in enumerate(oracle.features):
            x = layer(x)
            if index % 2:
                norm = backbone.body.get_submodule(f"norm{index // 2}")
                torch.testing.assert_close(maps[index // 2], norm(x).permute(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


def test_drop_path_rises_linearly_to_the_last_block() -> None:
    backbone = build_backbone("swin_t", drop_path=0.2)
    rates = {
        name.rsplit(".", 1)[0]: module.drop_prob
        for name, module in backbone.named_modules()
        if name.endswith(("drop_path1", "drop_path2")) and hasattr(module, "drop_prob")
    }
    assert list(rates.values()) == pytest.approx([0.2 / 11 * i for i in range(1, 12)])  # the first block has none


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_local_weights_are_loaded_without_their_classifier(suffix: str, tmp_path: Path) -> None:
    state, path = micro_checkpoint(), tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        save_file(state, path)
    loaded = build_backbone("resnet_micro", weights=path).body.state_dict()
    assert loaded.keys() == {key for key in state if not key.startswith("fc.")}
    assert all(torch.equal(loaded[key], state[key]) for key in loaded if not key.endswith("num_batches_tracked"))


def test_swin_weights_are_loaded_but_for_the_norms_they_lack(tmp_path: Path) -> None:
    state = timm.create_model("swin_tiny_patch4_window7_224", num_classes=3).state_dict()
    torch.save(state, tmp_path / "swin.pth")
    loaded = build_backbone("swin_t", weights=tmp_path / "swin.pth").body.state_dict()
    same = [key for key in loaded if key in state and torch.equal(loaded[key], state[key])]
    assert set(loaded) - set(same) == {f"norm{i}.{kind}" for i in range(4) for kind in ("weight", "bias")}


def test_weights_that_are_missing_damaged_or_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Nothing is downloaded"):
        build_backbone("resnet_micro", weights=tmp_path / "none.pth")
    for name in ("damaged.pth", "damaged.safetensors"):
        (tmp_path / name).write_bytes(b"\x00" * 100)
        with pytest.raises(DataError, match="no checkpoint"):
            build_backbone("resnet_micro", weights=tmp_path / name)
    for other in ([torch.zeros(1)], {1: torch.zeros(1)}):
        torch.save(other, tmp_path / "other.pth")
        with pytest.raises(DataError, match="no state dict"):
            build_backbone("resnet_micro", weights=tmp_path / "other.pth")
    torch.save(micro_checkpoint(), tmp_path / "micro.pth")
    with pytest.raises(DataError, match=r"does not fit resnet18: it lacks conv1.weight.*\n  It fits resnet_micro\."):
        build_backbone("resnet18", weights=tmp_path / "micro.pth")


PICKLES = {
    "empty stack": b"\x80\x02.",
    "cut": b"\x80\x02K\x01K",
    "unknown memo": b"\x80\x02h\x05.",
    "items of nothing": b"\x80\x02u.",
    "no mark": b"\x80\x02Ntq\x00R.",
    "arguments that are none": b"\x80\x02ccollections\nOrderedDict\nNR.",
    "arguments of another type": b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.",
    "a list as a key": b"\x80\x02}]K\x01s.",
    "a length beyond the file": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "another tape": b"a tar? " * 100,
}


@pytest.mark.parametrize("what", PICKLES)
def test_a_damaged_pickle_is_refused_whatever_it_fails_with(tmp_path: Path, what: str) -> None:
    (tmp_path / "damaged.pth").write_bytes(PICKLES[what])
    with pytest.raises(DataError, match="no checkpoint of plain tensors: it is damaged"):
        read_state(tmp_path / "damaged.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
def test_weights_with_any_byte_changed_are_read_or_refused(tmp_path: Path, form: str) -> None:
    state, path = {"a": torch.ones(3, 4), "b": torch.arange(5)}, tmp_path / f"w.{form}".replace("zip", "pth")
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    whole, random = path.read_bytes(), Random(0)
    for _ in range(400):
        damaged = bytearray(whole[: random.choice([len(whole), random.randrange(1, len(whole))])])
        damaged[random.randrange(len(damaged))] = random.randrange(256)
        path.write_bytes(damaged)
        with suppress(DataError):
            assert all(isinstance(name, str) for name in read_state(path))


def test_an_error_without_a_word_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({}, tmp_path / "w.pth")

    def load(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(DataError, match="it is damaged"):
        read_state(tmp_path / "w.pth")


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"model": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(DataError, match="no checkpoint of plain tensors"):
        build_backbone("resnet_micro", weights=tmp_path / "code.pth")


def test_frozen_stages_and_norms_do_not_learn(tmp_path: Path) -> None:
    torch.save(micro_checkpoint(), tmp_path / "micro.pth")
    backbone = build_backbone("resnet_micro", weights=tmp_path / "micro.pth", frozen_stages=2, frozen_norm=True).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    torch.stack([m.sum() for m in backbone(torch.randn(2, 3, 64, 64))]).sum().backward()  # type: ignore[no-untyped-call]
    learning = {name.split(".")[1] for name, p in backbone.named_parameters() if p.grad is not None}
    assert learning == {"layer2", "layer3", "layer4"}
    assert not any(re.search(r"bn\d", name) for name, _ in backbone.named_parameters())
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_norms_of_frozen_stages_are_fixed_and_the_others_are_not() -> None:
    backbone = build_backbone("resnet_micro", frozen_stages=2).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 64, 64))
    moved = {key.split(".")[1] for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"layer2", "layer3", "layer4"}


def test_frozen_swin_stages_have_no_gradient() -> None:
    backbone = build_backbone("swin_t", frozen_stages=2)
    frozen = {".".join(name.split(".")[1:3]) for name, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {"patch_embed.proj", "patch_embed.norm", "layers.0", "norm0.weight", "norm0.bias"}


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'resnet50'"):
        build_backbone("resnet5")
    with pytest.raises(SpecError, match="drop path"):
        build_backbone("resnet_micro", drop_path=1.0)
    with pytest.raises(SpecError, match="has none"):
        build_backbone("swin_t", frozen_norm=True)
