"""Which devices there are, and what asking for another one says; of GPUs only how many torch counts is made up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import casl
from casl.cli import main
from casl.errors import SpecError
from casl.runner.devices import check_device, devices, pick_device

STUDY = ["table10", "--profile", "smoke"]
ELSEWHERE = ["slurm", "ray"]


def machine(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


@pytest.mark.parametrize(
    ("gpus", "asked", "rank", "picked"),
    [
        (0, "auto", 0, "cpu"),
        (0, "cpu", 1, "cpu"),
        (2, "auto", 0, "cuda"),
        (2, "auto", 1, "cuda:1"),
        (2, "cuda", 1, "cuda:1"),
        (2, "cuda:0", 1, "cuda:0"),
        (2, "cpu", 0, "cpu"),
    ],
)
def test_a_word_means_a_device(monkeypatch: pytest.MonkeyPatch, gpus: int, asked: str, rank: int, picked: str) -> None:
    machine(monkeypatch, gpus)
    assert pick_device(asked, rank) == picked


@pytest.mark.parametrize(
    ("gpus", "asked", "said"),
    [
        (0, "cuda", r"'cuda' was asked for.*there are: auto, cpu\.\n.*casl doctor"),
        (0, "cuda:1", "'cuda:1' was asked for"),
        (0, "tpu", r"unknown device 'tpu'; known: auto, cpu\.\n  did you mean 'cpu'"),
        (2, "cuda:2", r"'cuda:2'; known: auto, cpu, cuda, cuda:0, cuda:1\.\n  did you mean 'cuda"),
        (2, "cdua", r"did you mean 'cuda'"),
        (2, "cuda:", "did you mean 'cuda"),
        (2, "", "unknown device ''"),
    ],
)
def test_a_device_that_is_not_there_is_an_error_that_names_those_that_are(
    monkeypatch: pytest.MonkeyPatch, gpus: int, asked: str, said: str
) -> None:
    machine(monkeypatch, gpus)
    with pytest.raises(SpecError, match=said):
        pick_device(asked)
    assert asked not in devices()


def test_of_another_machine_only_the_word_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 0)
    check_device("cuda:3", here=False)
    with pytest.raises(SpecError, match="did you mean 'cuda'"):
        check_device("cdua", here=False)


@pytest.mark.parametrize("device", ["cuda", "tpu"])
@pytest.mark.parametrize(
    "command",
    [
        ["predict", "photo.png", "--model", "finetune-1"],
        ["label", "photo.png", "--model", "finetune-1"],
        ["costs", *STUDY, "--measure", "2"],
        ["run", *STUDY],
        ["run", *STUDY, "--launcher", "inline", "--rerun-moved"],
        ["tune", "--table", "10", "--profile", "smoke"],
    ],
    ids=lambda words: " ".join(words[:1] + words[-1:]),
)
def test_every_command_refuses_it_before_any_work(
    command: list[str],
    device: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine(monkeypatch, 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_text("")
    assert main([*command, "--device", device]) == 2
    said = capsys.readouterr().err
    assert f"device {device!r}" in said and "auto, cpu." in said
    assert not list(tmp_path.glob("store/work/*"))


@pytest.mark.parametrize("launcher", ELSEWHERE)
def test_a_launcher_of_other_machines_is_told_of_a_word_that_is_none(
    launcher: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", *STUDY, "--store", str(tmp_path), "--launcher", launcher, "--dry-run", "--device"]
    assert main([*words, "tpu"]) == 2
    assert "unknown device 'tpu'" in capsys.readouterr().err
    assert main([*words, "cuda"]) == 0


def test_from_python_it_is_an_error_of_casl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, 0)
    with pytest.raises(casl.CaslError, match="no GPU here"):
        casl.load("finetune-1", store=tmp_path, device="cuda")
