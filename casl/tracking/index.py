"""What a store remembers of one MLflow server or database: one small file a run, one an experiment.

<store>/mlflow/<uri>/<stage>.json     the run of a stage
<store>/mlflow/<uri>/pages/<id>.json  description and models of an experiment
<store>/mlflow/<uri>/settled/<id>     what was the same after the last sync of an experiment, so that nothing is to do
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from casl.files import recalled, state_of, write_json
from casl.tracking.address import Address
from casl.tracking.experiment import Listed
from casl.tracking.owner import has_id, own_name
from casl.tracking.server import check_address, default_uri, identity


@dataclass(frozen=True)
class Entry:
    """A run that is known to be in MLflow.

    database: which one; content: digest of the result; tags: as last set; figures: final ones; inputs: stages it was
    made from; iters: of a training.
    """

    run_id: str
    experiment_id: str
    database: str
    content: str
    uses: Mapping[str, Sequence[str]]
    tags: Mapping[str, str]
    title: str
    figures: Mapping[str, float]
    inputs: Sequence[str]
    iters: int = 0
    failed: bool = False

    @property
    def address(self) -> Address:
        """Experiment and run id."""
        return self.experiment_id, self.run_id


@dataclass
class Experiment:
    """What is known of an experiment. tags: as last set; models: see Registry.known."""

    experiment: str
    experiment_id: str
    database: str
    tags: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)


class Index:
    """The files in which one store remembers one MLflow. Reading them does not open MLflow."""

    def __init__(self, store: Path, uri: str | None) -> None:
        self.store = store
        self.uri = uri.rstrip("/") if uri else default_uri(store)
        check_address(uri or "")  # as it was given: "http://" ends with what is stripped
        self.folder = store.resolve() / "mlflow" / hashlib.sha256(self.uri.encode()).hexdigest()[:16]

    def read(self, name: str) -> Entry | None:
        """The entry of a stage. A damaged or older one counts as none: the next sync adopts the run that MLflow has."""
        try:
            entry = Entry(**recalled(self.folder / f"{name}.json"))
        except TypeError:
            return None
        return entry if entry.database == identity(self.uri) else None

    def write(self, name: str, entry: Entry) -> None:
        """Remember a run."""
        write_json(self.folder / f"{name}.json", dataclasses.asdict(entry))

    def entries(self, experiment_id: str) -> dict[str, Entry]:
        """Entries of all stages in an experiment, by name."""
        names = sorted(p.stem for p in self.folder.glob("*.json") if not p.name.startswith("."))
        read = {name: self.read(name) for name in names}
        return {n: e for n, e in read.items() if e and e.experiment_id == experiment_id}

    def experiment(self, experiment_id: str) -> Experiment | None:
        """What is known of an experiment; None if nothing is."""
        try:
            known = Experiment(**recalled(self._experiment_file(experiment_id)))
        except TypeError:
            return None
        return known if known.database == identity(self.uri) else None

    def experiments(self) -> Iterator[Experiment]:
        """Every experiment that this store was sent to."""
        for path in sorted((self.folder / "pages").glob("*.json")):
            if known := self.experiment(path.stem):
                yield known

    def named(self, experiment: str) -> Experiment | None:
        """The experiment that is asked for by a name, or by that name is this store's own; None if never sent there."""
        known = {one.experiment: one for one in self.experiments()}
        own = own_name(experiment, self.store) if has_id(self.store) else experiment
        return known.get(own) or known.get(experiment)

    def write_experiment(self, known: Experiment) -> None:
        """Remember an experiment."""
        write_json(self._experiment_file(known.experiment_id), dataclasses.asdict(known))

    def settle(self, experiment: str, asked: str) -> None:
        """Remember that nothing is left to do of what was asked, as long as no file of this index changes."""
        write_json(self._settled_file(experiment), {"asked": asked, "index": self._state()})

    def is_settled(self, experiment: str, asked: str) -> bool:
        """Whether this very thing was asked last, and nothing here has changed since."""
        kept = recalled(self._settled_file(experiment))
        return kept.get("asked") == asked and kept.get("index") == self._state()

    def _settled_file(self, experiment: str) -> Path:
        return self.folder / "settled" / f"{hashlib.sha256(experiment.encode()).hexdigest()[:16]}.json"

    def _state(self) -> str:
        files = [p for p in (*self.folder.glob("*.json"), *self.folder.glob("pages/*.json")) if p.name[0] != "."]
        return f"{identity(self.uri)} {state_of(files)}"

    def _experiment_file(self, experiment_id: str) -> Path:
        return self.folder / "pages" / f"{experiment_id}.json"


def listed(entries: Mapping[str, Entry]) -> list[Listed]:
    """Entries as a description lists them. Whole is a training that some other stage was made from."""
    used = {name for entry in entries.values() for name in entry.inputs}
    return [
        Listed(name, e.title, e.address, e.uses, e.figures, e.iters, name in used, e.failed)
        for name, e in entries.items()
    ]
