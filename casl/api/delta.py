"""Which score threshold pseudo labels have where none is asked for: the one that the store knows, or the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from casl.data.layout import find_splits
from casl.errors import SpecError
from casl.files import recalled
from casl.runner.results import find_stage, stage_of
from casl.runner.store import Store, need_store
from casl.spec.data_kinds import Scenes
from casl.spec.kinds import PseudoLabel, Train, Warmup
from casl.spec.profile import Profile
from casl.spec.run import RESULT
from casl.spec.stage import Stage
from casl.stages.sources import LABELS


@dataclass(frozen=True)
class Delta:
    """A threshold, in [0, 1), and where it is from, as the end of a sentence."""

    value: float
    why: str


@dataclass(frozen=True)
class Stored:
    """The labels of a pseudolabel stage.

    Attributes:
        name: of the stage.
        labels: their folder.
        images: where the images are that they name, for people.
        delta: the threshold that they are read at where none is asked for.
    """

    name: str
    labels: Path
    images: str
    delta: Delta


def delta_of(trained: Train, store: Path) -> Delta:
    """The threshold for the labels of a detector.

    Args:
        trained: the training it comes from.
        store: folder of results, which need not be there.

    Returns:
        The threshold that warmups of the store read this labeler's labels at; if they differ or there are none, that
        of the paper.
    """
    if isinstance(trained, Warmup) and isinstance(trained.data, PseudoLabel):
        return Delta(trained.threshold, "at which this warmup read its own labels")
    used = set()
    opened = Store(store, make=False)
    for name in opened.names():
        stage = _stage(opened.folder(name))
        if isinstance(stage, Warmup) and isinstance(stage.data, PseudoLabel) and stage.data.labeler == trained:
            used.add(stage.threshold)
    if len(used) == 1:
        return Delta(used.pop(), f"at which the warmups of {store} read this labeler's labels")
    others = f"; the warmups of {store} read its labels at {', '.join(f'{t:g}' for t in sorted(used))}" if used else ""
    return Delta(Profile.threshold, f"the paper's{others}")


def stored_labels(name: str, store: Path) -> Stored:
    """The labels that a stage left.

    Args:
        name: of a pseudolabel stage, or the beginning of its name or key.
        store: folder of results.

    Raises:
        SpecError: nothing has this name, or it is another kind of stage.
    """
    need_store(store)
    opened = Store(store, make=False)
    found = find_stage(opened.names(), name, store)
    folder = opened.folder(found)
    stage = _stage(folder)
    if not isinstance(stage, PseudoLabel):
        raise SpecError(
            f"{found} has no labels: name a pseudolabel stage.\n"
            f"  `casl label IMAGES --model {found}` labels images with a trained detector."
        )
    return Stored(found, folder / LABELS, _images(stage.data, opened), delta_of(stage.labeler, store))


def _images(data: Stage, store: Store) -> str:
    """Of drawn scenes a folder of the store; of a data set on disk the store knows the content, not the place."""
    made = store.folder(data.name) / "set"
    if isinstance(data, Scenes) and made.is_dir():
        return str(find_splits(made)[data.split].images)
    return f"the images of {data.title}"


def _stage(folder: Path) -> Stage | None:
    """The stage that a folder of results is of; None of one that cannot be read."""
    record = recalled(folder / RESULT)
    return stage_of(record) if isinstance(record.get("stage"), dict) else None
