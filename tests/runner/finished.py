"""Plans whose stages are finished without being worked on: committed with a record and one small file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from casl.files import write_json
from casl.runner.plan import Node, Plan, make_plan
from casl.runner.provenance import SOURCES, origin
from casl.runner.record import DIGEST
from casl.runner.source import Source, digest_of, source_of
from casl.runner.store import Store
from casl.spec import Cell
from casl.spec.stage import Stage
from tests.runner.stores import RECORD


def planned(cells: Iterable[Cell], store: Store) -> Plan:
    return make_plan({"table": list(cells)}, store)


def finish(plan: Plan, store: Store, seconds: Callable[[Node], float] = lambda node: 1.0, **record: Any) -> None:
    """Commit every stage of a plan that is not done, as by the code of now."""
    for name in plan.todo:
        node = plan.nodes[name]
        commit(store, node.stage, **origin(node.stage, node.resume, store.root), seconds=seconds(node), **record)


def commit(store: Store, stage: Stage, **record: Any) -> None:
    work = store.work(stage.name)
    work.mkdir(parents=True, exist_ok=True)
    (work / "file.bin").write_bytes(stage.name.encode())
    store.commit(stage, {**RECORD, **record})


def other_code(store: Store, stage: Stage, path: str) -> str:
    """Digest of a source that differs from the stage's in one file; known to the store."""
    then = Source("", {**source_of(stage).files, path: "0" * 64})
    digest = digest_of(then.files)
    write_json(store.root / SOURCES / f"{digest}.json", dict(then.files))
    return digest


def edited(store: Store, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the record of a committed stage, as if it had been written so by a version without digests of records."""
    import json

    path: Path = store.folder(name) / "result.json"
    record = json.loads(path.read_text())
    record.pop(DIGEST, None)
    change(record)
    write_json(path, record)
