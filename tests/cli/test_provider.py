"""Whose frameworks Table 10 is made of, and what is said where detectron2 is not installed."""

from __future__ import annotations

from importlib import util
from pathlib import Path

import pytest

from casl import catalog
from casl.cli import main
from casl.cli.doctor_checks import optional
from casl.detectron2 import add_casl_config, register, register_data
from casl.errors import DETECTRON2_INSTALL, MissingPackageError, SpecError
from casl.models.backbone import build_backbone
from casl.models.frameworks.faster_rcnn import FasterRCNNSettings
from casl.spec import Profile
from casl.spec.kinds import Finetune
from casl.spec.stage import ancestors

without = pytest.mark.skipif(util.find_spec("detectron2") is not None, reason="detectron2 is installed here")
MINI: Profile = catalog.load("profile", "mini")


def detectors(profile: Profile) -> dict[str, str]:
    """Row of Table 10 -> the detector of its cells."""
    cells = catalog.load("ablation", "table10").build(profile)
    return {cell.row: cell.stage.model.model.detector for cell in cells}


def test_with_detectron2_as_provider_only_its_frameworks_change() -> None:
    ours, theirs = detectors(MINI), detectors(MINI.with_provider("detectron2"))
    assert {row: name for row, name in theirs.items() if name != ours[row]} == {
        row: f"d2_{name}" for row, name in ours.items() if name not in ("fcos", "condinst")
    }


def test_it_is_part_of_the_key_of_what_it_changes_and_of_nothing_else() -> None:
    keys = []
    for profile in (MINI, MINI.with_provider("torchvision"), MINI.with_provider("detectron2")):
        cells = catalog.load("ablation", "table10").build(profile)
        stages = {s.key: s for c in cells for s in (c.stage, *ancestors(c.stage))}
        keys.append(stages)
    assert keys[0].keys() == keys[1].keys()
    gone = [stage for key, stage in keys[0].items() if key not in keys[2]]
    assert {stage.kind for stage in gone} == {"finetune", "evaluate"}
    assert all(s.model.detector not in ("fcos", "condinst") for s in gone if isinstance(s, Finetune))


def test_small_sizes_hold_for_either_provider() -> None:
    cells = catalog.load("ablation", "table10").build(MINI.with_provider("detectron2"))
    models = {c.row: c.stage.model.model for c in cells}
    assert models["Mask R-CNN keypoint (P)"].rois == 16 and models["Mask R-CNN keypoint (P)"].towers == 2


def test_an_unknown_provider_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SpecError, match="did you mean 'detectron2'"):
        MINI.with_provider("detectron")
    assert main(["plan", "table10", "--provider", "detectron", "--store", str(tmp_path)]) == 2
    assert "known: detectron2, torchvision" in capsys.readouterr().err


@without
def test_a_table_can_be_planned_without_detectron2_but_nothing_of_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["table10", "--profile", "smoke", "--provider", "detectron2", "--store", str(tmp_path / "store")]
    assert main(["plan", *command]) == 0
    assert main(["run", *command]) == 2
    said = capsys.readouterr().err
    assert "d2_" in said and all(step in said for step in DETECTRON2_INSTALL)
    assert not list((tmp_path / "store" / "stages").iterdir())


@without
@pytest.mark.parametrize("name", [n for n in catalog.DETECTORS if n.startswith("d2_")])
def test_every_detector_of_detectron2_says_how_to_install_it(name: str) -> None:
    with pytest.raises(MissingPackageError, match="facebookresearch/detectron2") as error:
        catalog.load("detector", name)(build_backbone("resnet_nano"), 2, FasterRCNNSettings())
    assert name in str(error.value)


@without
def test_so_does_every_call_that_is_for_users_of_detectron2(tmp_path: Path) -> None:
    for call in (register, lambda: register_data("mine", tmp_path), lambda: add_casl_config(None)):
        with pytest.raises(MissingPackageError, match="--no-build-isolation"):
            call()


@without
def test_the_doctor_says_the_same() -> None:
    finding = next(f for f in optional() if f.what == "detectron2")
    assert finding.state == "note" and all(step in finding.todo for step in DETECTRON2_INSTALL)
