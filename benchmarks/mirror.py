"""MLflow: sending finished stages to a database, many runs at once over one after the other through MLflow's client.

Run:    .venv/bin/python benchmarks/mirror.py [--runs 200] [--rounds 3]
Shows:  milliseconds a run, of this process and by the wall, and their ratio. Results are made up: finetunes with
        curves and evaluations with a picture, half of each. The database and the store are new in each turn. Both
        sides are casl's and write the same; a server on the network only has the second.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from measuring import arguments, ratio, report, spread, taking_turns, versions

from casl.spec import Evaluate, Finetune, Labeler, Model, PseudoLabel, Recipe, Scenes, Stage, Warmup
from casl.spec.freeze import freeze
from casl.spec.run import Run, Use
from casl.tracking.mirror import Mirror
from casl.tracking.rows import Rows
from casl.tracking.server import artifact_root, make_database, quiet_mlflow

CURVES = "iteration,loss,loss_box,lr\n" + "".join(f"{i},{9 - i / 100},{5 - i / 100},0.001\n" for i in range(0, 200, 10))
SYSTEM = "iteration,cpu,memory\n0,55.0,1000\n1,60.0,1200\n"
AT_ONCE, ONE_BY_ONE = "at once", "one by one"


class OneByOne(Mirror):
    """A mirror that takes a database for a server."""

    def _rows(self) -> Rows | None:
        return None


SIDES = {AT_ONCE: Mirror, ONE_BY_ONE: OneByOne}


def main() -> None:
    chosen = arguments(__doc__, runs=200, rounds=3).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sides = {n: sent(Path(folder), side, chosen.runs, chosen.rounds + 1) for n, side in SIDES.items()}
        turns = taking_turns(sides, chosen.rounds)
    lines = []
    for what, times in (("of the processor", turns.own), ("by the wall", turns.wall)):
        each = {name: 1000 * min(seconds) / chosen.runs for name, seconds in times.items()}
        lines.append(
            f"{what}: {each[AT_ONCE]:.1f} ms a run at once, {each[ONE_BY_ONE]:.1f} ms one by one; "
            f"over it {spread(times, AT_ONCE, ONE_BY_ONE)}"
        )
    figures = {"own": turns.own, "wall": turns.wall, "ratio": ratio(turns.own, AT_ONCE, ONE_BY_ONE)}
    facts = versions("casl", "mlflow", "sqlalchemy") | {"runs": chosen.runs, "rounds": chosen.rounds}
    report("mirror: finished stages into a database of MLflow's", facts, lines, figures, chosen.json)


def sent(folder: Path, side: type[Mirror], count: int, turns: int) -> Callable[[], None]:
    """A turn of one side; the results and databases of all turns are made before the first."""
    ready = []
    for number in range(turns):
        root = folder / f"{side.__name__}-{number}"
        runs, uses = results(root, count)
        with quiet_mlflow():
            make_database(f"sqlite:///{root / 'mlflow.db'}", artifact_root(root))
        ready.append((side(root, experiment="casl made up"), runs, uses))

    def turn() -> None:
        mirror, runs, uses = ready.pop()
        if mirror.sync(runs, uses) != count:
            raise AssertionError("not every run was sent")

    return turn


def results(root: Path, count: int) -> tuple[list[Run], dict[str, list[Use]]]:
    """Made-up results of so many stages, and the cells they feed."""
    runs: list[Run] = []
    uses: dict[str, list[Use]] = {}
    for number in range(count // 2):
        model = finetune(number)
        end = Evaluate(model, Scenes("val", 16, 64), "objects", "ap_det", 64, 96)
        runs.append(committed(root, model, {"final_loss": 1.5}, {"curves.csv": CURVES, "system.csv": SYSTEM}))
        runs.append(
            committed(root, end, {"AP": 20.0 + number / 100, "AP50": 40.0}, {"pictures/predictions.png": "x" * 9000})
        )
        uses |= {stage.name: [Use("table4", f"F {number}x / W 1x")] for stage in (model, end)}
    return runs, uses


def finetune(seed: int) -> Finetune:
    """A finetune with its whole chain."""
    recipe = Recipe(lr=1e-3, batch=4, sizes=(64,), max_size=96)
    model = Model(detector="condinst", backbone="resnet_micro", classes=1)
    labeled, plan = Scenes("labeled", 24, 64), ((216, 1.0),)
    labeler = Labeler(model, labeled, "entities", recipe, plan)
    pseudo = PseudoLabel(labeler, Scenes("unlabeled", 240, 64), 64, 96)
    warmup = Warmup(model, pseudo, "pseudo", recipe, plan, threshold=0.3)
    target = replace(model, detector="fcos", classes=8)
    return Finetune(target, labeled, "objects", recipe, plan, seed=seed, init=warmup)


def committed(root: Path, stage: Stage, metrics: dict[str, float], files: dict[str, str]) -> Run:
    """A finished stage in a folder."""
    folder = root / "stages" / stage.name
    for name, content in {"result.json": "{}", "log.txt": "begun\n", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return Run(
        stage.name,
        stage.key,
        stage.kind,
        "done",
        folder,
        metrics=metrics,
        seconds=90.0,
        started="2026-01-02T03:04:05+00:00",
        host="box",
        commit="c0ffee",
        versions={"torch": "2.15.0"},
        stage=freeze(stage),
        facts={"images": 24},
    )


if __name__ == "__main__":
    main()
