"""Which bits a run computes: what is chosen, what workers are told, what is recorded."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from casl.errors import SpecError
from casl.files import write_json
from casl.runner import bits
from casl.runner.job import ARITHMETIC, Job, Resources
from casl.runner.launch.inline import Inline
from casl.runner.launch.local import Local
from casl.runner.store import Store
from casl.spec import Pretrain, Scenes
from casl.spec.run import PORTABLE, Run
from tests.runner.stores import hold

X86 = pytest.mark.skipif(bool(bits.lacking()), reason=bits.lacking())
SCENES = Scenes(split="labeled", count=2, size=64)
AVX2 = {"bits": PORTABLE, "capability": "AVX2", "processor": "one"}
WIDE = {"bits": bits.NATIVE, "capability": "AVX512", "processor": "one"}


@pytest.fixture
def on_arm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    bits.lacking.cache_clear()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    yield
    bits.lacking.cache_clear()


@X86
@pytest.mark.parametrize(
    ("asked", "small", "mode"),
    [("", True, "portable"), ("", False, "native"), ("native", True, "native"), ("portable", False, "portable")],
)
def test_small_profiles_are_portable_unless_other_bits_are_asked_for(asked: str, small: bool, mode: str) -> None:
    assert bits.choose(asked, small=small) == (mode, "")


def test_a_processor_that_cannot_is_named(on_arm: None) -> None:
    mode, said = bits.choose("", small=True)
    assert mode == "native"
    assert "this is aarch64" in said and "differ from those of other processors" in said
    with pytest.raises(SpecError, match=r"aarch64(.|\n)*--bits native"):
        bits.choose("portable", small=True)
    assert bits.choose("native", small=True) == ("native", "")


def test_native_workers_are_told_nothing_of_kernels() -> None:
    assert not bits.KERNELS.keys() & bits.environment("native").keys()
    assert bits.KERNELS.items() <= bits.environment(PORTABLE).items()


@pytest.mark.parametrize(
    ("inputs", "recorded"),
    [
        ([], PORTABLE),
        ([AVX2, {**AVX2, "processor": "another"}], PORTABLE),
        ([AVX2, WIDE], "mixed"),
        ([AVX2, {"bits": "mixed"}], "mixed"),
        ([{}], "mixed"),  # a result of earlier versions, which had no portable bits
    ],
)
def test_a_result_is_portable_only_if_all_it_is_made_from_is(
    monkeypatch: pytest.MonkeyPatch, inputs: list[dict[str, str]], recorded: str
) -> None:
    for name, value in bits.KERNELS.items():
        monkeypatch.setenv(name, value)
    assert bits.arithmetic("cpu", inputs, by_torch=False)["bits"] == recorded


def test_native_results_of_other_kernels_do_not_mix_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for name in bits.KERNELS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")

    def recorded(*inputs: dict[str, str]) -> str:
        return bits.arithmetic("cpu", inputs, by_torch=True)["bits"]

    assert [recorded(), recorded(WIDE), recorded({})] == ["native"] * 3
    assert [recorded(AVX2), recorded({**WIDE, "capability": "AVX2"})] == ["mixed"] * 2


def test_variables_that_torch_did_not_follow_do_not_make_portable_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for name, value in bits.KERNELS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert bits.arithmetic("cpu", [], by_torch=True)["bits"] == "native"


def test_a_process_that_has_loaded_its_kernels_is_not_told_others(capsys: pytest.CaptureFixture[str]) -> None:
    import torch  # noqa: F401

    before = dict(os.environ)
    bits.take_on({"ATEN_CPU_CAPABILITY": "other"})
    assert dict(os.environ) == before
    assert "recorded as native" in capsys.readouterr().err


@X86
def test_a_fresh_process_takes_them_on_before_torch_is_loaded() -> None:
    script = (
        "import json; from casl.runner import bits; bits.take_on(bits.environment('portable'))\n"
        "print(json.dumps(bits.arithmetic('cpu', [], by_torch=True)))"
    )
    clean = {name: value for name, value in os.environ.items() if name not in bits.KERNELS}
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["bits"], found["capability"]) == (PORTABLE, "AVX2")
    assert found["processor"] == bits.processor()


@X86
def test_workers_compute_and_record_the_bits_of_their_environment(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stage = Pretrain("resnet_nano", SCENES, size=32, batch=2, iters=1, lr=1e-3)
    launcher = Local(store, Resources(jobs=1, environment=bits.environment(PORTABLE)))
    try:
        for one in (SCENES, stage):
            launcher.submit(Job(one))
            for _ in range(20):  # a busy machine is silent for longer than one poll while torch is imported
                if (told := launcher.poll(60.0)) and told[-1]["event"] not in ("begun", "progress"):
                    break
    finally:
        launcher.close()
    for name, capability in ((SCENES.name, ""), (stage.name, "AVX2")):
        assert store.run(name).arithmetic == {
            "bits": PORTABLE,
            "capability": capability,
            "processor": bits.processor(),
        }


@pytest.mark.parametrize(("left", "recorded"), [([], "native"), (["checkpoints"], "mixed")])
def test_a_checkpoint_of_other_kernels_is_told_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: list[str], recorded: str
) -> None:
    for name in bits.KERNELS:
        monkeypatch.delenv(name, raising=False)
    store = Store(tmp_path)
    lease = hold(store, SCENES)
    write_json(store.attempt(lease).parent / ARITHMETIC, AVX2)
    for name in left:
        (store.attempt(lease) / name).mkdir()
    lease.release()
    launcher = Inline(store)
    launcher.submit(Job(SCENES))
    assert launcher.poll(0.0) == [{"name": SCENES.name, "event": "done"}]
    assert store.run(SCENES.name).arithmetic["bits"] == recorded


@pytest.mark.parametrize(
    ("arithmetic", "kernels"),
    [
        ({}, ""),
        (AVX2, "portable"),
        (WIDE, "native, AVX512 of one"),
        ({**WIDE, "bits": "mixed", "capability": ""}, "mixed, one"),
    ],
)
def test_kernels_are_named_where_bits_depend_on_them(arithmetic: dict[str, str], kernels: str, tmp_path: Path) -> None:
    assert Run("n", "k", "evaluate", "done", tmp_path, arithmetic=arithmetic).kernels == kernels
