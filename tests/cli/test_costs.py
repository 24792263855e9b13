"""`casl costs`: which detectors it lists, and what it says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from casl import catalog
from casl.cli import main
from casl.cli.costs import image_size
from casl.spec import Profile, finetune
from tests.golden.studies import on_disk

SMOKE: Profile = catalog.load("profile", "smoke")


def costs(store: Path, *words: str) -> int:
    return main(["costs", "table1", "--profile", "smoke", "--store", str(store), *words])


def test_every_detector_that_a_table_trains_is_listed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert costs(tmp_path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["device"] == "" and {(m["height"], m["width"]) for m in found["models"]} == {(64, 64)}
    listed = [(m["detector"], m["backbone"], m["classes"]) for m in found["models"]]
    assert listed == [(d, b, c) for d, b in (("condinst", "resnet10t"), ("fcos", "resnet_micro")) for c in (1, 8)]
    assert all(m["parameters"] > 1e5 and m["multiply_adds"] > 1e6 for m in found["models"])
    assert {m["images_a_second"] for m in found["models"]} == {None}
    assert costs(tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == found


def test_speed_is_measured_when_asked_and_names_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert costs(tmp_path, "--measure", "1", "--device", "cpu") == 0
    out = capsys.readouterr().out
    assert "threads: median" in out and "| detector | backbone | classes | image, px |" in out
    assert all(float(line.split("|")[-2]) > 0 for line in out.splitlines() if line.startswith(("| condinst", "| fcos")))
    assert costs(tmp_path, "--measure", "-1") == 2


def test_photos_are_three_to_four_and_no_longer_than_a_test_allows() -> None:
    photos = SMOKE.with_data(on_disk("masks"))
    assert image_size(photos, finetune(photos, None)) == (128, 171)
    wide = replace(photos, test_size=(800, 1000))
    assert image_size(wide, finetune(wide, None)) == (750, 1000)


def test_a_labeler_is_counted_at_the_size_of_its_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["costs", "table6", "--profile", "photos", "--store", str(tmp_path), "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    sizes = [(m["detector"], m["classes"], m["height"], m["width"]) for m in models]
    assert sizes == [("condinst", 1, 128, 171), ("condinst", 1, 192, 256), ("fcos", 20, 128, 171)]
    assert models[0]["parameters"] == models[1]["parameters"]
    assert models[1]["multiply_adds"] > 1.5 * models[0]["multiply_adds"]
