"""The GPU check: parts that end badly are named and cost the others nothing, and what a processor can show is right."""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
Load = Callable[[str], ModuleType]
TINY = {
    "device": "cpu",
    "losses_backbone": "resnet_nano",
    "fcos_backbone": "resnet_nano",
    "losses_px": 64,
    "channels": 16,
    "px": 96,
    "batch": 2,
    "measure_s": 0.1,
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Scripts import each other by their bare names, as they do when they are run."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def writes(figures: Mapping[str, Any], then: str = "") -> list[str]:
    """A part that leaves these figures and then does something."""
    return [f"import json, sys, time; open(sys.argv[1], 'w').write({json.dumps(json.dumps(figures))}); {then}"]


PARTS = {
    "hardware": writes({"kind": "cpu", "name": "a processor"}),
    "losses": writes({"detectors": {"fcos": 1}}, "raise RuntimeError('no room for CondInst')"),
    "waits": writes({"fcos": 3}, "time.sleep(60)"),
    "fcos": writes({"images_a_second": 2.0}),
    "condinst_swin_t": writes({}, "import os; os.kill(os.getpid(), 9)"),
    "table4": ["raise SystemExit('stage X failed: loss is nan')"],
    "fcos_compiled": writes({"images_a_second": 3.0}),
}


def check(load: Load, monkeypatch: pytest.MonkeyPatch, file: Path, *words: str, **limits: float) -> tuple[int, Any]:
    """The check with PARTS in the place of its processes."""
    script = load("gpu_check")
    monkeypatch.setattr(script, "command_of", lambda name, _, to: [sys.executable, "-c", *PARTS[name], str(to)])
    parts = [script.Part(part.name, limits.get(part.name, part.limit_s)) for part in script.PARTS]
    monkeypatch.setattr(script, "PARTS", parts)
    monkeypatch.setattr(script, "GRACE_S", 0.2)
    code = script.main(["--json", str(file), *words])
    return code, json.loads(file.read_text())


def test_a_part_that_fails_hangs_or_is_killed_is_named_and_the_others_are_kept(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["--parts", "losses,waits,fcos,condinst_swin_t,table4,fcos_compiled"]
    code, found = check(load, monkeypatch, tmp_path / "new" / "check.json", *words, waits=3.0)
    assert code == 1
    assert (found["failed"], found["out_of_time"]) == (["losses", "condinst_swin_t", "table4"], ["waits"])
    parts = found["parts"]
    assert list(parts) == ["hardware", *words[1].split(",")]
    assert "no room for CondInst" in parts["losses"]["error"] and parts["losses"]["figures"] == {
        "detectors": {"fcos": 1}
    }
    assert parts["waits"]["figures"] == {"fcos": 3} and 3.0 <= parts["waits"]["seconds"] < 20
    assert "exit status -9" in parts["condinst_swin_t"]["error"]
    assert parts["table4"]["error"].endswith("stage X failed: loss is nan")
    assert parts["fcos"]["status"] == "done" and found["compiling_gains"] == {"fcos": 1.5}
    assert found["device"]["name"] == "a processor" and found["versions"]["torch"] and found["machine"]["cores"]
    assert "no figures of speed" in found["notes"][0]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["check.json"]  # nothing half written beside it


def test_parts_that_the_budget_does_not_reach_are_skipped_by_name(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(load("gpu_check"), "LEAST_S", 0.5)
    began = time.monotonic()
    code, found = check(
        load, monkeypatch, tmp_path / "check.json", "--parts", "waits,fcos,table4", "--budget", "4", waits=60.0
    )
    assert code == 1 and time.monotonic() - began < 15
    assert found["out_of_time"] == ["waits"] and found["skipped"] == ["fcos", "table4"]
    assert "of the budget were left" in found["parts"]["table4"]["error"]


def test_a_gpu_that_is_asked_for_and_not_there_is_no_reason_to_measure_a_processor(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, found = check(load, monkeypatch, tmp_path / "check.json", "--device", "cuda", "--parts", "losses,fcos")
    assert code == 1 and found["failed"] == ["hardware"] and found["skipped"] == ["losses", "fcos"]
    assert found["parts"]["hardware"]["error"].startswith("--device cuda: ")


@pytest.mark.parametrize("words", [["--parts", "fcso"], ["--set", "pixels=3"]])
def test_odd_names_are_refused_with_those_there_are(load: Load, words: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit):
        load("gpu_check").main(words)
    assert "there are" in capsys.readouterr().err


@pytest.fixture
def figures(load: Load, tmp_path: Path) -> Any:
    return load("gpu_parts").Figures(tmp_path / "figures.json")


def kept(figures: Any) -> Any:
    return json.loads(figures.file.read_text())


def test_every_detector_agrees_with_itself_in_another_order_of_sums(load: Load, figures: Any) -> None:
    load("gpu_parts").losses({**load("gpu_check").SETTINGS["cpu"], **TINY}, figures)
    found = kept(figures)
    assert len(found["detectors"]) == 9
    for name, result in found["detectors"].items():
        assert result["agrees"] and result["worst_loss"] <= found["loss_tolerance"] == 1e-3, name
        assert result["gradient"] <= found["gradient_tolerance"] == 3e-2, name
        assert len(result["losses"]) >= 2 and all(here > 0 for here, _ in result["losses"].values()), name


def test_a_detector_that_differs_or_breaks_is_named_and_the_others_are_kept(
    load: Load, figures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = load("gpu_steps")
    three = {n: m for n, m in steps.main_detectors("resnet_nano", 16).items() if n in ("fcos", "retinanet", "condinst")}
    monkeypatch.setattr(steps, "main_detectors", lambda *_: three)
    real = steps.losses_of

    def wrong(detector: Any, *batch: Any, **mixed: Any) -> Any:
        """The second side of FCOS learns 1 % more; RetinaNet breaks."""
        found, gradient = real(detector, *batch, **mixed)
        if hasattr(detector, "framework"):
            raise RuntimeError("an illegal address")
        if not hasattr(detector, "mask_branch") and detector.head.cls_logits.weight.is_contiguous():
            found["loss_box"] *= 1.01
        return found, gradient

    monkeypatch.setattr(steps, "losses_of", wrong)
    with pytest.raises(SystemExit, match=r"fcos, retinanet$"):
        load("gpu_parts").losses(TINY, figures)
    detectors = kept(figures)["detectors"]
    assert detectors["fcos"]["worst_loss"] == pytest.approx(0.01, rel=1e-3) and detectors["condinst"]["agrees"]
    assert detectors["retinanet"]["error"] == "RuntimeError: an illegal address"


def test_a_difference_of_nan_never_agrees(load: Load) -> None:
    worst = load("gpu_steps").worst
    assert worst({"a": 2.0, "b": 1.0}, {"a": 2.1, "b": 1.0}) == pytest.approx(0.05)
    assert not worst({"a": 1.0, "b": 1.0}, {"a": float("nan"), "b": 1.0}) <= 1.0


def test_a_processor_is_never_waited_for(load: Load, figures: Any) -> None:
    load("gpu_parts").waits(TINY, figures)
    assert kept(figures)["status"] == "not applicable" and "no device to wait for" in kept(figures)["why"]


def test_steps_are_timed_in_the_real_loop(load: Load, figures: Any, tmp_path: Path) -> None:
    load("gpu_parts").speed({**TINY, "scratch": str(tmp_path)}, figures, "fcos", compiled=False)
    found = kept(figures)
    assert found["batch"] == 2 and found["backbone"] == "resnet_nano" and found["precision"] == "bfloat16"
    assert found["images_a_second"] == pytest.approx(2 / found["step_s"]["median"], rel=0.9)
    assert found["step_s"]["shortest"] <= found["step_s"]["median"] <= found["step_s"]["longest"]
    assert found["utilisation"] == {"source": "a processor has none", "mean_percent": None, "samples": 0}


@pytest.mark.parametrize("fits", [4, 0])
def test_a_batch_that_does_not_fit_is_halved_until_one_does(
    load: Load, figures: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fits: int
) -> None:
    parts = load("gpu_parts")

    class Training:
        def __init__(self, batch: int) -> None:
            self.batch = batch

        def measured(self, *_: Any) -> dict[str, Any]:
            if self.batch > fits:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
            return {"images_a_second": 1.0}

    monkeypatch.setattr(parts, "made", lambda settings, detector, batch, *_: Training(batch))
    if fits:
        parts.speed({**TINY, "batch": 16}, figures, "fcos", compiled=False)
        assert kept(figures)["batch"] == 4 and kept(figures)["batches_that_did_not_fit"] == [16, 8]
    else:
        with pytest.raises(torch.OutOfMemoryError):
            parts.speed({**TINY, "batch": 2}, figures, "fcos", compiled=False)
        assert kept(figures)["batches_that_did_not_fit"] == [2]


def test_waits_are_counted_by_the_line_of_casl_that_asked(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = load("gpu_watch")
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    namespace: dict[str, Any] = {"warnings": warnings}
    source = "def assign(): warnings.warn('called a synchronizing CUDA operation (Triggered at x)')\n"
    exec(compile(source, "/where/casl/models/fcos.py", "exec"), namespace)
    with watch.waits_by_place() as found:
        for _ in range(3):
            namespace["assign"]()
        warnings.warn("something else", stacklevel=1)
    assert found == {"casl/models/fcos.py:1 assign": 3}
    assert modes == ["warn", "default"]


def test_kernels_that_overlap_count_once_and_calls_that_wait_are_counted(load: Load) -> None:
    assert load("gpu_watch").covered([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.5, 1.6)]) == 4.0
    autograd: Any = torch.autograd
    gpu, cpu = autograd.DeviceType.CUDA, autograd.DeviceType.CPU

    def event(name: str, device: Any, start: float, end: float, annotation: bool = False) -> Any:
        span = SimpleNamespace(start=start, end=end)
        return SimpleNamespace(name=name, device_type=device, time_range=span, is_user_annotation=annotation)

    kernels = [event("gemm", gpu, 0, 2), event("copy", gpu, 1, 3), event("gemm", gpu, 9, 10)]
    others = [event("Optimizer.step", gpu, 0, 10, True), event("aten::add", cpu, 0, 50)]
    waits = [event("cudaStreamSynchronize", cpu, 4, 5)] * 2
    found = load("gpu_watch")._read([*kernels, *others, *waits])
    assert found == {"calls": {"cudaStreamSynchronize": 2}, "kernel_share": 0.4, "why": ""}


def test_a_profiler_that_does_not_work_says_why(load: Load) -> None:
    def broken() -> None:
        raise RuntimeError("CUPTI is not there")

    assert load("gpu_watch").profiled(broken)["why"] == "RuntimeError: CUPTI is not there"


def test_without_a_library_of_the_driver_utilisation_says_why(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = load("gpu_watch")
    monkeypatch.setenv("PATH", "")
    reason = watch.utilisation()
    assert isinstance(reason, str) and "torch.cuda.utilization: " in reason and "nvidia-smi: " in reason


def test_the_hardware_is_read_by_a_process_of_its_own(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "check.json"
    assert load("gpu_check").main(["--json", str(file), "--device", "cpu", "--parts", "hardware"]) == 0
    found = json.loads(file.read_text())
    assert found["verdict"] == "all parts done" and found["device"]["kind"] == "cpu"


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        # the others are called above, in this process; what table4 runs is tests/test_smoke.py's matter
        "condinst_swin_t,fcos_compiled",
        pytest.param("losses,waits,fcos,condinst_swin_t,table4,fcos_compiled", marks=pytest.mark.long),
    ],
)
@pytest.mark.timeout(1800)
def test_parts_run_on_a_processor_as_processes(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: str
) -> None:
    """With ten times as long for each, which a busy machine may need: limits have tests of their own."""
    script = load("gpu_check")
    monkeypatch.setattr(script, "PARTS", [script.Part(part.name, 10 * part.limit_s) for part in script.PARTS])
    file = tmp_path / "check.json"
    words = ["--json", str(file), "--device", "cpu", "--parts", names, "--set", "measure_s=0.2", "--budget", "4800"]
    assert script.main(words) == 0
    parts = json.loads(file.read_text())["parts"]
    assert list(parts) == ["hardware", *names.split(",")]
    if "table4" in parts:
        assert parts["table4"]["figures"]["done"] == parts["table4"]["figures"]["stages"] > 5
    assert parts["fcos_compiled"]["figures"]["compiler"] == "aot_eager"
