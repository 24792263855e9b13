"""What the golden records are of: every profile, provider and kind of data, and a store of made-up results.

    python -m tests.golden.studies     writes keys.json and reports.json beside this file anew

That is right only in a commit that moves numbers on purpose, with a raised VERSION, or that changes reports on purpose.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from casl import catalog
from casl.cli import main
from casl.report.search_pages import write_search
from casl.runner.plan import make_plan
from casl.runner.store import Store
from casl.spec import Folder, FolderData, Profile, PseudoLabel, Stage, ancestors
from casl.spec.profile import PROVIDERS
from casl.spec.run import DRAWS
from casl.spec.search import Search, Trial
from tests.runner.stores import RECORD

HERE = Path(__file__).parent
KEYS, REPORTS = HERE / "keys.json", HERE / "reports.json"
PROFILES = tuple(name for name, place in catalog.PROFILES.items() if str(place).startswith("ablations."))
FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "PQ", "SQ", "RQ", "PQ_th", "PQ_st")
RECALLS = ("AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
# drawn last, so that no figure of an older table moves
PRETRAINING = (
    "AP70",
    "missed_low",
    "missed_medium",
    *(f"mIoU{end}" for end in ("", *(f"_{s}{w}" for w in (1, 2, 3) for s in ("in", "out")))),
    "top1",
)
OTHERS = ("AR30", "AR300", "AR1000", "confidence", "iou", "pearson")  # of proposals, and of confidence
DELTAS = ("0.1", "0.3", "0.5")
# of the dissertation's tables one of each form of page: pictures of all would take two minutes
SHOWN = ("adaptive", "certain_3_1a", "noisy_2_3", "pre_4_3")
REPORTED = [n for n in catalog.ABLATIONS if n in SHOWN or n not in catalog.DISSERTATION]


def on_disk(name: str, *kinds: str, masks: bool = True, scales: bool = False) -> FolderData:
    """A data set on disk that has these kinds of labels beside objects, as the checker would describe it."""
    splits = [(split, kind) for split in ("labeled", "val") for kind in ("objects", *kinds)]
    splits += [("unlabeled", "images")]
    splits += [(f"unlabeled_{scale}", "images") for scale in ("tiny", "small", "base", "large") if scales]
    folders = {
        (split, kind): Folder(
            split=split,
            labels=kind,
            digest=hashlib.sha256(f"{name} {split} {kind}".encode()).hexdigest(),
            classes=7,
            count=400 + len(split),
        )
        for split, kind in splits
    }
    stuff, points = (5 if "panoptic" in kinds else 0), (17 if "keypoints" in kinds else 0)
    return FolderData(name, folders, 7, masks, "entities" in kinds, stuff=stuff, keypoints=points)


DATA = {
    "own": None,
    "masks": on_disk("masks"),
    "boxes": on_disk("boxes", masks=False),
    "entities": on_disk("entities", "entities"),
    "keypoints": on_disk("keypoints", "keypoints"),
    "panoptic": on_disk("panoptic", "entities", "panoptic"),
    "everything": on_disk("everything", "entities", "panoptic", "keypoints", scales=True),
}


def studies() -> Iterator[tuple[str, Profile]]:
    """Every profile, provider and kind of data, and some of what a command may change, by a name."""
    for name in PROFILES:
        plain: Profile = catalog.load("profile", name)
        for provider in PROVIDERS:
            for kind, data in DATA.items():
                profile = plain.with_provider(provider)
                yield f"{name} {provider} {kind}", profile.with_data(data) if data else profile
        yield f"{name} rule B, batch 4, seed 2", plain.with_rule("B").with_batch(4).with_seed(2)
        yield f"{name} masks at 96 px", plain.with_data(on_disk("masks")).with_size(96)


def keys() -> dict[str, dict[str, dict[str, str]]]:
    """Study -> ablation -> kind -> number of stages, and a digest of their keys in order of first appearance."""
    return {study: {a: _keys_of(a, profile) for a in _tables_of(study)} for study, profile in studies()}


def _tables_of(study: str) -> list[str]:
    """All tables; of most studies without the dissertation's, which differ by masks and kinds of labels alone and have
    torchvision's frameworks."""
    few = study.split()[1:] in (["torchvision", data] for data in ("own", "boxes", "everything"))
    return [a for a in catalog.ABLATIONS if few or a not in catalog.DISSERTATION]


def _keys_of(ablation: str, profile: Profile) -> dict[str, str]:
    cells = catalog.load("ablation", ablation).build(profile)
    found: dict[str, dict[str, None]] = defaultdict(dict)
    places = hashlib.sha256()
    for cell in cells:
        key = cell.stage.key if cell.stage else ""
        places.update(f"{cell.row}|{cell.column}|{cell.metric}|{cell.figure}|{cell.note}|{cell.paper}|{key}\n".encode())
        for stage in ancestors(cell.stage) if cell.stage else ():
            found[stage.kind][stage.key] = None
    # states that longer trainings share have keys too; the plan makes them
    with tempfile.TemporaryDirectory() as folder:
        for node in make_plan({ablation: cells}, Store(Path(folder))).nodes.values():
            found[node.stage.kind][node.stage.key] = None
    return {kind: f"{len(of)} {_digest(of)}" for kind, of in sorted(found.items())} | {"cells": places.hexdigest()[:16]}


def _digest(names: Mapping[str, Any]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def write_store(store: Path) -> None:
    """Commit every stage of REPORTED in `smoke`, two seeds, with figures drawn from its key."""
    profile: Profile = catalog.load("profile", "smoke")
    tables = {
        n: [c for seed in range(2) for c in catalog.load("ablation", n).build(profile.with_seed(seed))]
        for n in REPORTED
    }
    opened = Store(store)
    for node in make_plan(tables, opened).nodes.values():
        if int(node.stage.key[:2], 16) < 248 or node.stage.kind != "evaluate":  # some cells are left "not run"
            _commit(opened, node.stage)


def _commit(store: Store, stage: Stage) -> None:
    source = random.Random(stage.key)
    work = store.work(stage.name)
    work.mkdir(parents=True)
    figures: dict[str, float] = {"final_loss": source.random()}
    if stage.kind == "evaluate":
        figures = {name: round(source.uniform(5, 60), 3) for name in FIGURES}
        (work / DRAWS).write_text(json.dumps([round(source.gauss(figures["AP"], 1.5), 4) for _ in range(40)]))
        figures |= {name: round(source.uniform(5, 60), 3) for name in RECALLS}
    if stage.kind in ("evaluate", "probe"):
        figures |= {name: round(source.uniform(5, 60), 3) for name in (*PRETRAINING, *OTHERS)}
    if isinstance(stage, PseudoLabel):
        figures = {f"{f}@{d}": round(source.uniform(5, 60), 3) for f in ("precision", "recall", "f1") for d in DELTAS}
    facts = {"images": 41, "note": "a note & <more>"} if int(stage.key[2:4], 16) < 8 else {"images": 41}
    store.commit(stage, {**RECORD, "metrics": figures, "facts": facts})


def search() -> Search:
    """A finished search with a pruned and a failed trial."""
    source = random.Random(7)
    trials = []
    for n, value in enumerate((0.15, 0.3, 0.45, 0.6, 0.7)):
        final = tuple(round(30 - 40 * (value - 0.4) ** 2 + source.gauss(0, 1), 3) for _ in range(3))
        figures = {"final": final, "warmup": final, "proxy": final, "precision": (50.0 + n,), "recall": (60.0 - n,),
                   "labels": (900 - 100 * n,), "images": (40 - n,)}  # fmt: skip
        rungs = {1: tuple(f - 9 for f in final), 2: tuple(f - 4 for f in final)}
        trials.append(Trial(n, value, "done", figures, rungs, {"final, seed 0": f"evaluate-{n:016x}"}, cohort=n // 4))
    trials.append(Trial(5, 0.2, "pruned", {"proxy": (9.0, 9.5, 9.1)}, {1: (3.0, 3.1, 3.2)}, reason="below the median"))
    trials.append(Trial(6, 0.25, "failed", reason="a | <b>reason</b>_with 5 %"))
    return Search("s", "delta", "warmup.threshold", 0.3, "smoke", "scenes", small=True,
                  cell="table4: F 3x / W 5x", objective="final", seeds=3, trials=trials,
                  labels={"final": "AP^det", "warmup": "AP^e of the warmup", "proxy": "F1 of the labels"},
                  settings={"sampler": "grid", "seed": "0", "range": "0.15 to 0.7"})  # fmt: skip


def write_reports(folder: Path) -> Path:
    """All reports of the made-up store, by the command that people use; the folder they are in."""
    write_store(folder / "store")
    named = [n for n in REPORTED if not n.startswith("table")]
    with contextlib.chdir(folder):  # pages name the folders of a command that are not the usual ones
        for tables in (named, ["all"]):
            assert main(["report", *tables, "--seeds", "2", "--profile", "smoke", "--json"]) == 0
    write_search(search(), folder / "reports" / "smoke")
    return folder / "reports" / "smoke"


def report_bytes(folder: Path) -> dict[str, str]:
    """File -> sha256; of a picture, of its pixels."""
    return {path.name: hashlib.sha256(_content(path)).hexdigest() for path in sorted(folder.glob("[!.]*"))}


def _content(path: Path) -> bytes:
    if path.suffix == ".png":
        return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGBA")).tobytes()
    return path.read_bytes()


if __name__ == "__main__":
    KEYS.write_text(json.dumps(keys(), indent=1) + "\n")
    with tempfile.TemporaryDirectory() as made:
        REPORTS.write_text(json.dumps(report_bytes(write_reports(Path(made))), indent=1) + "\n")
