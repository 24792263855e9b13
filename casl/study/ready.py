"""What stages to run need, looked at before any of them runs: packages, weights, settings of detectors."""

from __future__ import annotations

from pathlib import Path

from casl.errors import SpecError, need_detectron2
from casl.pretrained import FOLDER
from casl.runner.plan import Plan
from casl.runner.store import Store
from casl.spec.data_sets import PlannedData
from casl.spec.kinds import Train
from casl.spec.profile import PROVIDERS, Profile


def check_data(profile: Profile) -> None:
    """Check that the data of a profile is known, and not only how large it would be.

    Raises:
        SpecError: it is to be named.
    """
    if isinstance(profile.data, PlannedData):
        raise SpecError(
            f"profile {profile.name!r} stands for data that is not here.\n"
            "  pass the data set with --data path (make: DATA=path); `casl plan` works without."
        )


def check_ready(plan: Plan, store: Store, weights: str) -> None:
    """Everything that can be known to be wrong before any stage runs; raises as `need_packages` and `check_options`."""
    need_packages(plan, store, weights)
    check_options(plan)


def need_packages(plan: Plan, store: Store, weights: str) -> None:
    """Check that what stages to run need beside casl and data is there, before any stage runs.

    Args:
        weights: folder of pretrained backbones, "" for that of the store.

    Raises:
        MissingPackageError: a stage needs detectron2, or a package with weights, which is not installed.
        DataError: weights that a stage starts from are not there, damaged or of another architecture.
    """
    trainings = {name: plan.nodes[name].stage for name in plan.todo}
    starts = {found for stage in trainings.values() if (found := stage.weights_read)}
    if starts:
        from casl.stages.detectors import check_weights

        for backbone, start in sorted(starts):
            check_weights(backbone, start, Path(weights) if weights else store.root / FOLDER)
    for name, stage in trainings.items():
        if isinstance(stage, Train) and stage.model.detector.startswith(PROVIDERS["detectron2"]):
            need_detectron2(f"detector {stage.model.detector!r} of {name}")


def check_options(plan: Plan) -> None:
    """Check the values that stages to run set of their detectors, which only the detectors' own code knows.

    Raises:
        SpecError: a detector does not have what is set, or does not allow the value.
    """
    stages = [plan.nodes[name].stage for name in plan.todo]
    if models := {s.model for s in stages if isinstance(s, Train) and s.model.options}:
        from casl.stages.detectors import check_settings

        for model in models:
            check_settings(model)
