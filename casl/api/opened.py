"""Which trained detector a name means: a stage of a store, a registered model, a folder or a file."""

from __future__ import annotations

from pathlib import Path

from casl.errors import DataError, SpecError
from casl.files import read_json
from casl.runner.devices import pick_device
from casl.runner.results import find_stage
from casl.runner.store import Store, need_store
from casl.spec.freeze import freeze, thaw, trainings_for_people
from casl.spec.kinds import Predict, Train
from casl.spec.profile import check_side
from casl.spec.run import CARD, RESULT, WEIGHTS
from casl.stages.predict import Detector, open_folder, open_record, taught_by


def open_detector(
    name: str, store: Path = Path("store"), mlflow: str | None = None, device: str = "auto", size: int | None = None
) -> Detector:
    """The detector that is meant.

    Args:
        name: a stage's name or the beginning of its key, models:/NAME@ALIAS, or a folder or file of a model or stage.
        store: folder of results, where names of stages are looked up.
        mlflow: tracking URI where registered models are looked up; None for the store's own.
        device: auto, cpu, cuda, cuda:1.
        size: short side that the detector sees, from 32 to 4096 pixels; None for the largest that it was trained at.

    Raises:
        SpecError: nothing has this name, it is no training, or there is no such device or size.
        DataError: the weights are damaged, or no detector's.
    """
    device = pick_device(device)
    if size is not None:
        check_side(size)
    if name.startswith("models:/"):
        from casl.tracking.models import fetch

        with fetch(store, mlflow, name) as folder:
            return open_folder(folder, device)
    path = Path(name)
    folder = path if path.is_dir() else path.parent
    if path.exists() and (folder / CARD).exists():
        return open_folder(folder, device)
    if path.exists():
        _check_result(path, folder)
        return _open_result(folder.resolve(), device, size)
    return _open_result(_stored(name, store), device, size)


def stage_meant(name: str, store: Path) -> Train | None:
    """The training whose detector a name means, without its weights: what can be known before they are read. None of a
    registered model, and of whatever `open_detector` refuses."""
    path = Path(name)
    folder = path if path.is_dir() else path.parent
    if not path.exists() and not name.startswith("models:/"):
        folder = _stored(name, store)
    for record in (folder / CARD, folder / RESULT):
        if record.is_file():
            stage = thaw(read_json(record)["stage"])
            stage = stage.trained if isinstance(stage, Predict) else stage
            return stage if isinstance(stage, Train) else None
    return None


def _stored(name: str, store: Path) -> Path:
    """The folder of a stage that is named, not reached by a path."""
    if "/" in name or Path(name).suffix:  # no stage is called so
        raise SpecError(f"there is no model {name}: no such file or folder. A stage is named without a path.")
    need_store(store)
    opened = Store(store, make=False)
    return opened.folder(find_stage(opened.names(), name, store))


def _check_result(path: Path, folder: Path) -> None:
    if not (folder / RESULT).exists():
        where = "it" if path.is_dir() else "its folder"
        raise DataError(f"{path} is no finished stage and no model: {where} lacks {RESULT} and {CARD}.")


def _open_result(folder: Path, device: str, size: int | None) -> Detector:
    """The detector of a committed stage: its own, or the one it measured or labelled with."""
    record = read_json(folder / RESULT)
    stage = thaw(record["stage"])
    sides = (size or 0, 0)
    behind = isinstance(stage, Predict) and folder.with_name(stage.trained.name) / WEIGHTS
    if record.get("left_out") and behind and not behind.exists():
        raise SpecError(
            f"{folder.name} was taken over as numbers, without its model: import what `casl store export` writes of it "
            "without --numbers, or train it in another store (--store NEW)."
        )
    if isinstance(stage, Predict):
        sides = sides if size else stage.sides
        folder, stage = folder.with_name(stage.trained.name), stage.trained
    if not isinstance(stage, Train):
        raise SpecError(f"{stage.name} is {stage.kind}, not a training: name {trainings_for_people()}.")
    data = taught_by(stage)[0].name
    known = folder.with_name(data) / RESULT
    facts = {data: read_json(known).get("facts", {})} if known.exists() else {}
    return open_record(freeze(stage), folder / WEIGHTS, facts, device, sides)
