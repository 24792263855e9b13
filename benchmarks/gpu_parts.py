"""The parts of the GPU check, each a process: python benchmarks/gpu_parts.py PART SETTINGS FILE, see gpu_check.py.

hardware    the GPU, its driver, torch's libraries; says on what the other parts run.
losses      losses and gradient of one batch on the CPU and on the GPU, float32 without TF32, each main detector.
waits       how often a step makes the host wait for the GPU, and in which line; FCOS and CondInst.
fcos, condinst_swin_t       images a second of a training step in bfloat16 at 800 px, utilisation, memory; and with
..._compiled                torch.compile of backbone, pyramid and head.
table4      smoke Table 4 from an empty store: seconds, stages, every cell.

FILE is replaced after every figure, so that what a part measured before it failed is kept.
"""

from __future__ import annotations

import gc
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
SPARE_S = 15.0  # before its limit, in which Table 4 stops by itself
OPTIMIZERS = {"fcos": "sgd", "condinst": "adamw"}  # of what is timed, as in profile paper
FEW, MORE = 2, 6  # steps; the difference is of steps alone


class Figures:
    """What a part has found so far, in its file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: Json = {}

    def add(self, **values: Any) -> None:
        """Keep values under their names."""
        from casl.files import write_json

        self.found |= plain(values)
        write_json(self.file, self.found)


def plain(value: Any) -> Any:
    """JSON values; numbers that JSON has not become their names."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    name, asked, file = sys.argv[1:]
    detector, compiled = name.partition("_swin_t")[0].removesuffix("_compiled"), name.endswith("_compiled")
    settings, figures = json.loads(asked), Figures(Path(file))
    if name in PARTS:
        PARTS[name](settings, figures)
    else:
        speed(settings, figures, detector, compiled)


def hardware(settings: Json, figures: Figures) -> None:
    """What there is."""
    from gpu_watch import hardware as look

    found = look(settings["device"])
    figures.add(**found, short=found["name"])


def losses(settings: Json, figures: Figures) -> None:
    """Each detector on the CPU and on the device. One that fails takes nothing from the others.

    Raises:
        SystemExit: one failed or differs by more than the tolerance.
    """
    from gpu_steps import GRADIENT_TOLERANCE, LOSS_TOLERANCE, compared, main_detectors

    figures.add(loss_tolerance=LOSS_TOLERANCE, gradient_tolerance=GRADIENT_TOLERANCE)
    results: Json = {}
    for name, model in main_detectors(settings["losses_backbone"], settings["channels"]).items():
        try:
            results[name] = compared(model, settings["losses_px"], settings["device"])
        except Exception as error:
            results[name] = {"error": f"{type(error).__name__}: {error}", "agrees": False}
            if settings["device"] == "cuda" and "CUDA error" in str(error):
                figures.add(detectors=results)
                raise  # nothing works in this process from here on
        figures.add(detectors=results)
    if bad := [name for name, result in results.items() if not result["agrees"]]:
        raise SystemExit(f"differs by more than the tolerance, or failed: {', '.join(bad)}")
    most = max(result["worst_loss"] for result in results.values())
    figures.add(short=f"{len(results)} detectors agree, losses within {most:.1e}")


def waits(settings: Json, figures: Figures) -> None:
    """Waits a step, by place, from the difference of a short and a longer training."""
    if settings["device"] != "cuda":
        why = "a processor does what it is told at once: there is no device to wait for"
        figures.add(status="not applicable", why=why)
        return
    from gpu_watch import profiled, waits_by_place

    for detector in OPTIMIZERS:
        training = made(settings, detector, settings["waits_batch"], settings["waits_px"])
        training.run(FEW)
        counts: list[Counter[str]] = []
        for steps in (FEW, MORE):
            with waits_by_place() as found:
                training.run(steps)
            counts.append(found)
        each = {place: (count - counts[0][place]) / (MORE - FEW) for place, count in counts[1].most_common()}
        result: Json = {"a_step": sum(each.values()), "by_place": {p: n for p, n in each.items() if n}}
        figures.add(**{detector: result})
        few, more = profiled(lambda: training.run(FEW)), profiled(lambda: training.run(MORE))  # noqa: B023  called at once
        calls = {name: (n - few["calls"].get(name, 0)) / (MORE - FEW) for name, n in more["calls"].items()}
        profile = {"calls_a_step": calls, "kernel_share": more["kernel_share"], "why_no_profile": more["why"]}
        figures.add(**{detector: result | profile})
    figures.add(short=", ".join(f"{name} {figures.found[name]['a_step']:g} a step" for name in OPTIMIZERS))


def made(settings: Json, detector: str, batch: int, px: int) -> Any:
    """A training as profile paper has it, of that batch of photos."""
    from gpu_steps import SHAPE, Training

    from casl.spec import Model

    backbone = settings[f"{detector}_backbone"]
    channels, drop = settings["channels"], 0.2 if backbone.startswith("swin") else 0.0
    model = Model(detector, backbone, 80, channels=channels, mask_channels=channels // 2, drop_path=drop)
    sizes = (batch, px, round(px / SHAPE))
    return Training(model, sizes, settings["device"], "mixed", OPTIMIZERS[detector], Path(settings["scratch"]))


def speed(settings: Json, figures: Figures, detector: str, compiled: bool) -> None:
    """Images a second of training steps, in the largest batch that memory holds.

    Raises:
        RuntimeError: it does not hold a single image, or the compiler failed.
    """
    import torch
    from gpu_watch import Meter, profiled

    from casl.errors import CaslError
    from casl.train.memory import is_out_of_memory

    batch, px, tried = settings["batch"], settings["px"], []
    figures.add(
        px=px,
        precision="bfloat16",
        compiler=settings["compiler"] if compiled else None,
        channels=settings["channels"],
        backbone=settings[f"{detector}_backbone"],
    )
    while True:
        meter = Meter(settings["device"])
        try:
            training = made(settings, detector, batch, px)
            if compiled:
                training.compile(settings["compiler"])
            figures.add(batch=batch, **training.measured(settings["measure_s"], meter))
            break
        except (RuntimeError, MemoryError, CaslError) as error:
            # the loop says it in its own words; torch's are then the cause
            if batch == 1 or not any(e and is_out_of_memory(e) for e in (error, error.__cause__)):
                raise
        tried.append(batch)
        figures.add(batches_that_did_not_fit=tried)
        training = None
        gc.collect()
        if settings["device"] == "cuda":
            torch.cuda.empty_cache()
        batch //= 2
    figures.add(short=f"{figures.found['images_a_second']:.4g} images a second, batch {batch}")
    if settings["device"] == "cuda":
        profile = profiled(lambda: training.run(3))
        figures.add(kernel_share=profile["kernel_share"], why_no_profile=profile["why"])


def table4(settings: Json, figures: Figures) -> None:
    """Smoke Table 4 from an empty store, as `casl run` does it but for MLflow, which it does without.

    Raises:
        SystemExit: a stage failed, or time ran out; what was done until then is in the figures.
    """
    from gpu_table import run_table

    run_table(settings, figures.add, settings["until"] - SPARE_S)


PARTS: dict[str, Callable[[Json, Figures], None]] = {
    "hardware": hardware,
    "losses": losses,
    "waits": waits,
    "table4": table4,
}

if __name__ == "__main__":
    main()
