"""Registered models: made by a real sync, loaded and called through MLflow, and by `casl predict`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from casl.cli import main
from casl.errors import TrackingError
from casl.spec import Evaluate, Finetune, Model
from casl.spec.run import Run, Use
from casl.tracking.mirror import Mirror
from casl.tracking.models import fetch
from casl.tracking.owner import STORE_ID
from casl.tracking.server import make_database, quiet_mlflow
from tests.tracking.shelf import LABELED, RECIPE, VAL, Shelf, untrained

SMALL = Model(detector="fcos", backbone="resnet_nano", classes=8, channels=16, towers=1, ranges=(16, 32, 64, 128))
TRAINED = Finetune(SMALL, LABELED, "objects", RECIPE, ((10, 1.0),))
LONGER = Finetune(SMALL, LABELED, "objects", RECIPE, ((20, 1.0),))
CORRECTED = replace(VAL, seed=1)  # the same training, other data to judge it on
EXPERIMENT = "casl smoke scenes"
MODEL = "casl-smoke-scenes-table4"


def evaluation(trained: Finetune) -> Evaluate:
    return Evaluate(trained, VAL, "objects", "ap_det", 64, 96)


def trained(shelf: Shelf, stage: Finetune) -> Run:
    """A training with weights that a detector can load."""
    run = shelf.commit(stage)
    untrained(stage.model, run.folder / "model.safetensors")
    return run


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shelf, Mirror, dict[str, list[Use]]]:
    root = tmp_path_factory.mktemp("models") / "store"
    shelf = Shelf(root)
    with quiet_mlflow():
        make_database(f"sqlite:///{root / 'mlflow.db'}", root / "mlartifacts")
    shutil.copy(root / "mlflow.db", root / "blank.db")
    shelf.commit(LABELED)
    shelf.commit(VAL)
    trained(shelf, TRAINED)
    shelf.commit(evaluation(TRAINED), metrics={"AP": 10.0})
    uses = {TRAINED.name: [Use("table4", "F 1x / W 1x")], evaluation(TRAINED).name: [Use("table4", "F 1x / W 1x")]}
    mirror = Mirror(root, experiment=EXPERIMENT)
    mirror.sync(shelf.runs.values(), uses)
    return shelf, mirror, uses


def client(mirror: Mirror) -> Any:
    from mlflow import MlflowClient

    with quiet_mlflow():
        return MlflowClient(mirror.uri)


def test_the_best_detector_loads_through_mlflow_and_takes_its_own_example(
    synced: tuple[Shelf, Mirror, dict[str, list[Use]]], tmp_path: Path
) -> None:
    _, mirror, _ = synced
    with quiet_mlflow():
        import mlflow

        source = client(mirror).get_model_version_by_alias(MODEL, "best").source
        path = mlflow.artifacts.download_artifacts(source, dst_path=str(tmp_path), tracking_uri=mirror.uri)
        model = mlflow.pyfunc.load_model(path)
    example = model.metadata.load_input_example(path)
    found = model.predict(example, params={"threshold": 0.0})
    assert list(found.columns) == [c.name for c in model.metadata.signature.outputs.inputs]
    assert len(found) > 0
    assert set(found["image"]) == {0}
    assert found["score"].is_monotonic_decreasing
    assert len(model.predict(example, params={"threshold": 0.999})) == 0


def test_the_run_links_to_its_model_and_weights_are_not_copied(
    synced: tuple[Shelf, Mirror, dict[str, list[Use]]],
) -> None:
    shelf, mirror, _ = synced
    run = client(mirror).get_run(mirror.run_id(TRAINED.name))
    assert len(run.outputs.model_outputs) == 1
    assert (shelf.runs[TRAINED.name].folder / "model.safetensors").stat().st_nlink == 2


def test_a_better_cell_takes_the_alias_over_and_nothing_is_registered_twice(
    synced: tuple[Shelf, Mirror, dict[str, list[Use]]], tmp_path: Path
) -> None:
    original, first, uses = synced
    shutil.copytree(
        original.root, tmp_path / "store", ignore=shutil.ignore_patterns("mlflow*", "mlartifacts", STORE_ID)
    )
    shelf = Shelf(tmp_path / "store")
    shelf.runs = {n: replace(r, folder=tmp_path / "store/stages" / n) for n, r in original.runs.items()}
    shutil.copy(original.root / "mlflow.db", shelf.root / "mlflow.db")
    mirror = Mirror(shelf.root, experiment="again")
    for _ in range(2):
        mirror.sync(shelf.runs.values(), uses)
    assert [v.version for v in client(mirror).search_model_versions("name = 'again-table4'")] == [1]

    trained(shelf, LONGER)
    shelf.commit(evaluation(LONGER), metrics={"AP": 20.0})
    more = uses | {LONGER.name: [Use("table4", "F 2x / W 1x")], evaluation(LONGER).name: [Use("table4", "F 2x / W 1x")]}
    mirror.sync(shelf.runs.values(), more)
    held = client(mirror).get_model_version_by_alias("again-table4", "best")
    assert held.tags["casl.name"] == LONGER.name
    assert first.uri != mirror.uri


def test_a_training_that_two_data_sets_share_is_registered_for_both(tmp_path: Path, synced: Any) -> None:
    shelf = two_sets(tmp_path, synced[0])
    corrected = Evaluate(TRAINED, CORRECTED, "objects", "ap_det", 64, 96)
    uses = {stage.name: [Use("table4", "F 1x / W 1x")] for stage in (LABELED, TRAINED)}
    first, second = Mirror(tmp_path, experiment="first"), Mirror(tmp_path, experiment="second")
    first.sync(shelf.runs.values(), uses | {evaluation(TRAINED).name: [Use("table4", "F 1x / W 1x")]})
    shelf.commit(CORRECTED)
    shelf.commit(corrected, metrics={"AP": 11.0})
    runs = [r for r in shelf.runs.values() if r.name not in (evaluation(TRAINED).name, VAL.name)]
    for _ in range(2):
        second.sync(runs, uses | {corrected.name: [Use("table4", "F 1x / W 1x")]})
    held = client(second).get_model_version_by_alias("second-table4", "best")
    assert held.run_id == first.run_id(TRAINED.name)
    assert "ap_det/AP 11.00" in held.description


def test_an_evaluation_of_data_that_is_no_longer_asked_for_loses_its_place(tmp_path: Path, synced: Any) -> None:
    shelf = two_sets(tmp_path, synced[0])
    trained(shelf, LONGER)
    shelf.commit(evaluation(LONGER), metrics={"AP": 20.0})
    mirror, places = Mirror(tmp_path, experiment="corrected"), {TRAINED: "a", LONGER: "F 2x / W 1x"}
    before = {evaluation(stage).name: [Use("table4", place)] for stage, place in places.items()}
    mirror.sync(shelf.runs.values(), before | {evaluation(TRAINED).name: [Use("table4", "a"), Use("table6", "0.3")]})
    now = {stage: Evaluate(stage, CORRECTED, "objects", "ap_det", 64, 96) for stage in places}
    for stage, figure in ((TRAINED, 5.0), (LONGER, 3.0)):
        shelf.commit(now[stage], metrics={"AP": figure})
    runs = [shelf.runs[stage.name] for pair in now.items() for stage in pair]
    mirror.sync(runs, {stage.name: [Use("table4", places[of])] for of, stage in now.items()})
    flow = client(mirror)
    old = flow.get_run(mirror.run_id(evaluation(TRAINED).name)).data.tags
    assert "table4" not in old and old["table6"] == "0.3"
    assert "table4" not in old["mlflow.note.content"] and "table6: 0.3" in old["mlflow.note.content"]
    assert "table4" not in flow.get_run(mirror.run_id(evaluation(LONGER).name)).data.tags
    held = flow.get_model_version_by_alias("corrected-table4", "best")
    assert held.tags["casl.name"] == TRAINED.name, "20 was measured on data that nothing asks for now"


def two_sets(root: Path, original: Shelf) -> Shelf:
    """A store with one evaluated training and an empty tracking database."""
    shelf = Shelf(root)
    shutil.copy(original.root / "blank.db", root / "mlflow.db")
    for stage in (LABELED, VAL):
        shelf.commit(stage)
    trained(shelf, TRAINED)
    shelf.commit(evaluation(TRAINED), metrics={"AP": 10.0})
    return shelf


def test_a_training_whose_weights_were_cleared_away_is_not_registered(tmp_path: Path, synced: Any) -> None:
    shelf = Shelf(tmp_path)
    shutil.copy(synced[0].root / "mlflow.db", tmp_path / "mlflow.db")
    shelf.commit(TRAINED)
    shelf.commit(evaluation(TRAINED), metrics={"AP": 1.0})
    mirror = Mirror(tmp_path, experiment="cleared")
    assert mirror.sync(shelf.runs.values(), {evaluation(TRAINED).name: [Use("table4", "a")]}) == 2
    assert "cleared-table4" not in {m.name for m in client(mirror).search_registered_models()}


def test_an_unknown_model_or_alias_is_named_with_the_nearest(
    synced: tuple[Shelf, Mirror, dict[str, list[Use]]],
) -> None:
    shelf = synced[0]
    with (
        pytest.raises(TrackingError, match=f"did you mean '{MODEL}'"),
        fetch(shelf.root, None, f"models:/{MODEL}0@best"),
    ):
        pass
    with pytest.raises(TrackingError, match="did you mean 'best'"), fetch(shelf.root, None, f"models:/{MODEL}@bets"):
        pass


def test_predict_takes_a_registered_model(
    synced: tuple[Shelf, Mirror, dict[str, list[Use]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    options = ["--store", str(synced[0].root), "--out", str(tmp_path / "out"), "--threshold", "0", "--device", "cpu"]
    assert main(["predict", str(tmp_path / "grey.png"), "--model", f"models:/{MODEL}@best", *options]) == 0
    assert TRAINED.name in capsys.readouterr().out
    assert (tmp_path / "out/grey.png").exists()
