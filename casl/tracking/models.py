"""Registered models: the best detectors of a store and its default labeler and warmup, ready to load.

One registered model a table, whose alias `best` is the detector of the table's best cell, with `best-<metric>` for each
further metric; and the labeler and the warmup that most cells were made with, as alias `default`. A model is a folder
with safetensors, a card and MLflow's description of both; its code is casl.stages.predict, so nothing is pickled.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from casl.errors import TrackingError, unknown
from casl.spec.data_kinds import DataSet
from casl.spec.freeze import freeze, kinds
from casl.spec.kinds import Train
from casl.spec.run import CARD, WEIGHTS, Run
from casl.spec.stage import ancestors
from casl.tracking.experiment import Listed, best, heading, main_metric, tables_of
from casl.tracking.home import settle
from casl.tracking.server import artifact_root, default_uri, open_client, quiet_mlflow, tracking_errors
from casl.words import number_of

LOADER = "casl.stages.predict"  # what it reads is CARD and WEIGHTS
EXAMPLE, SERVING_EXAMPLE = "input_example.json", "serving_input_example.json"
EXAMPLE_PX = 32
ABOUT_BEST = "The detectors of a table's best cells; `best` goes by the metric that most of its cells print."


@dataclass(frozen=True)
class Wanted:
    """A stage whose detector is to be registered as <name>@<alias>. what: a sentence for people."""

    name: str
    alias: str
    stage: str
    what: str


def wanted(experiment: str, runs: Sequence[Listed], trained: Mapping[str, str]) -> list[Wanted]:
    """The models to register.

    Args:
        experiment: its name; registered names begin with it.
        runs: all of it.
        trained: evaluation -> the training it measured.
    """
    found: list[Wanted] = []
    for table in tables_of(runs):
        main = main_metric(table, runs)
        for figure in sorted({f for r in runs if table in r.places for f in r.headlines}):
            run = best(table, figure, runs)
            if run and run.name in trained:
                what = f"{heading(table)}, {run.ranked(table)[0]}: {figure} {run.figures[figure]:.2f}"
                metric = figure.partition("/")[0]
                aliases = ["best"] * (figure == main) + [f"best-{metric}"]
                found += [Wanted(registered(experiment, table), a, trained[run.name], what) for a in aliases]
    return [*found, *_defaults(experiment, runs)]


def _defaults(experiment: str, runs: Sequence[Listed]) -> Iterator[Wanted]:
    """For each kind with a default model, the stage that most cells go through; of equal ones the longest."""
    for kind in (name for name, facts in kinds().items() if facts.has_default_model):
        cells: Counter[str] = Counter()
        for run in runs:
            if run.kind == kind and run.whole and not run.failed:
                cells[run.name] = sum(len(places) for places in run.places.values())
        if cells:
            iters = {r.name: r.iters for r in runs}
            name = max(sorted(cells), key=lambda n: (cells[n], iters[n]))
            what = f"the {kind} of {number_of(cells[name], 'cell')}"
            yield Wanted(registered(experiment, kind), "default", name, what)


def registered(experiment: str, what: str) -> str:
    """A name MLflow takes: "casl mini scenes", "table4" -> "casl-mini-scenes-table4"."""
    return re.sub(r"[^\w.-]+", "-", f"{experiment}-{what}")


class Registry:
    """Registers models through one client.

    known: what earlier calls left, name@alias -> stage, and stage -> model id; changed in place.
    local: artifacts are files of this machine, so that weights need not be copied.
    """

    def __init__(self, client: Any, experiment_id: str, known: dict[str, str], *, local: bool) -> None:
        self.client, self.experiment_id, self.known, self.local = client, experiment_id, known, local

    def register(self, want: Wanted, run: Run, run_id: str, stage: Train, facts: Mapping[str, Any]) -> None:
        """Make <name>@<alias> the stage's detector, unless it is.

        Args:
            run: of the stage; its folder holds the weights. run_id: in MLflow.
            facts: data stage -> what the store knows of it, from which the names of classes come.
        """
        if run.name not in self.known:
            self.known[run.name] = self._log(run, run_id, stage, facts)
        model_id = self.known[run.name]
        self._ensure(want)
        version = self._version(want, model_id, run, run_id)
        self.client.set_registered_model_alias(want.name, want.alias, version)
        self.known[f"{want.name}@{want.alias}"] = run.name

    def _ensure(self, want: Wanted) -> None:
        from mlflow.exceptions import MlflowException

        about = "The detectors most cells were made with." if want.alias == "default" else ABOUT_BEST
        try:
            self.client.create_registered_model(want.name, description=about)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _version(self, want: Wanted, model_id: str, run: Run, run_id: str) -> str:
        """The version with this model, made if missing: aliases share one, and a sync may be cut off."""
        found = self.client.search_model_versions(f"name = '{want.name}'")
        same = [v for v in found if model_id in v.source]
        if same:
            return str(same[0].version)
        # a database looks "models:/<id>" up in the process's default database, so it is given the place itself
        source = self.client.get_logged_model(model_id).artifact_location if self.local else f"models:/{model_id}"
        tags = {"casl.name": run.name, "casl.key": run.key}
        made = self.client.create_model_version(
            want.name, source, run_id, tags=tags, description=_describe(want, run), model_id=model_id
        )
        return str(made.version)

    def _log(self, run: Run, run_id: str, stage: Train, facts: Mapping[str, Any]) -> str:
        """A logged model of the run; returns its id."""
        from mlflow.entities import LoggedModelOutput

        made = self.client.create_logged_model(
            self.experiment_id, run.name, source_run_id=run_id, model_type=stage.model.detector
        )
        model_id: str = made.model_id
        place = urlsplit(made.artifact_location)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            _write_model(folder, run, run_id, model_id, stage, facts)
            linked = self.local and place.scheme in ("", "file")
            if not linked:
                _link(run.folder / WEIGHTS, folder / "data" / WEIGHTS)
            self.client.log_model_artifacts(model_id, str(folder))
            if linked:
                _link(run.folder / WEIGHTS, Path(unquote(place.path)) / "data" / WEIGHTS)
        self.client.finalize_logged_model(model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
        return model_id


def _link(weights: Path, target: Path) -> None:
    """Put weights in a second place: a hard link where the disk allows, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(weights, target)
    except OSError:
        shutil.copyfile(weights, target)


def _write_model(folder: Path, run: Run, run_id: str, model_id: str, stage: Train, facts: Mapping[str, Any]) -> None:
    """MLmodel, requirements, example and card; all but the weights."""
    from mlflow import pyfunc
    from mlflow.models import Model

    (folder / "data").mkdir()
    (folder / "data" / CARD).write_text(json.dumps({"stage": freeze(stage), "data": facts}, indent=1))
    packages = ("torch", "torchvision", "timm")
    pins = [f"{p}=={run.versions[p]}" for p in packages if p in run.versions]
    (folder / "requirements.txt").write_text("\n".join(["casl", *pins]) + "\n")
    example = [[[[8 * x, 8 * y, 128] for x in range(EXAMPLE_PX)] for y in range(EXAMPLE_PX)]]
    (folder / EXAMPLE).write_text(json.dumps(example))
    (folder / SERVING_EXAMPLE).write_text(json.dumps({"inputs": example}))
    model = Model(
        run_id=run_id,
        model_id=model_id,
        signature=_signature(),
        saved_input_example_info={
            "artifact_path": EXAMPLE,
            "serving_input_path": SERVING_EXAMPLE,
            "type": "ndarray",
            "format": "tf-serving",
        },
        metadata={"casl.name": run.name, "casl.key": run.key},
    )
    pyfunc.add_to_model(model, loader_module=LOADER, data="data")
    model.save(str(folder / "MLmodel"))


def _signature() -> Any:
    """Images in, one row an object out. See casl.stages.predict."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    columns = [("long", "image"), ("string", "category"), *(("double", n) for n in ("score", "x1", "y1", "x2", "y2"))]
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("uint8"), (-1, -1, -1, 3))]),
        outputs=Schema([ColSpec(t, n) for t, n in [*columns, ("string", "segmentation")]]),
        params=ParamSchema([ParamSpec("threshold", "double", 0.3)]),
    )


def _describe(want: Wanted, run: Run) -> str:
    return (
        f"{want.what}.\n\nStage `{run.name}`, commit `{run.commit or 'unknown'}`.\n\n"
        f"    casl predict IMAGE --model models:/{want.name}@{want.alias}\n"
    )


def has_weights(run: Run) -> bool:
    """Whether there is a detector to register: the stage is done, and its weights were not cleared away."""
    return run.status == "done" and (run.folder / WEIGHTS).is_file()


def data_facts(stage: Train, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Facts of each data set on disk behind a training, with the names of its classes."""
    sets = [s.name for s in ancestors(stage) if isinstance(s, DataSet) and s.names_classes]
    return {name: dict(runs[name].facts) for name in sets if name in runs}


@contextmanager
def fetch(store: Path, uri: str | None, model: str) -> Iterator[Path]:
    """The card and weights of a registered model, in a folder for as long as the block lasts.

    Args:
        store: folder of the store, whose database is meant where uri is None.
        model: models:/NAME@ALIAS or models:/NAME/VERSION.

    Raises:
        TrackingError: MLflow cannot be reached, or has no such model; says which there are.
    """
    where = uri or default_uri(store)
    settle(store, where)
    with tempfile.TemporaryDirectory() as folder:
        with quiet_mlflow(), tracking_errors(where, store, reading=True):
            client = open_client(where, artifact_root(store))
            from mlflow.artifacts import download_artifacts

            # the place itself: MLflow would look a models:/ address up in the process's default registry
            got = download_artifacts(artifact_uri=_place(client, model), dst_path=folder, tracking_uri=where)
        yield Path(got) / "data"


def _place(client: Any, model: str) -> str:
    """Where the files of models:/NAME@ALIAS or models:/NAME/VERSION are."""
    name, _, alias = model.removeprefix("models:/").partition("@")
    name, _, version = name.partition("/")
    found = {m.name: m for m in client.search_registered_models()}
    if name not in found:
        advice = "`casl run` and `casl sync` register models when a plan is done."
        raise TrackingError(unknown("registered model", name, found, advice))
    if not version:
        if alias not in found[name].aliases:
            raise TrackingError(unknown(f"alias of {name}", alias, found[name].aliases))
        version = str(found[name].aliases[alias])
    source: str = client.get_model_version(name, version).source
    if source.startswith("models:/"):
        return str(client.get_logged_model(source.removeprefix("models:/")).artifact_location)
    return source
