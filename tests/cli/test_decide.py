"""`casl run claims --until decided`, over stores that hold what it would run, so that nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablations.claims import CLAIMS
from casl import catalog
from casl.cli import main
from casl.runner.plan import make_plan
from casl.runner.store import Store
from casl.spec.run import DRAWS
from tests.runner.stores import RECORD

# one claim of three tables each, which come to three verdicts; all claims of all tables would be minutes of the same
ASKED = ("longer-warmup-helps", "helps-advanced-detector", "backbone-gains-most")
FEW = [claim for claim in CLAIMS if claim.id in ASKED]
TABLES = ("table3", "table8", "table9")
NOWHERE = "http://127.0.0.1:9"  # no MLflow answers there
CALL = ["run", "claims", "--until", "decided", "--profile", "smoke", "--json", "--mlflow", NOWHERE]


@pytest.fixture(autouse=True)
def few_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.CLAIMS, "paper", f"{__name__}:FEW")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three seeds of these tables; a figure is noise, in Table 3 above 12 points a step; in Table 8 what
    unlabeled images add has another sign with every seed."""
    return filled(tmp_path_factory.mktemp("decide") / "store", seeds=3)


def filled(folder: Path, seeds: int) -> Path:
    store, profile = Store(folder), catalog.load("profile", "smoke")
    tables = {
        name: [c for s in range(seeds) for c in catalog.load("ablation", name).build(profile.with_seed(s))]
        for name in TABLES
    }
    rank: dict[str, float] = {c.stage.name: int(c.row.split()[0]) for c in tables["table3"] if c.stage}
    for seed in range(seeds):
        seeded = catalog.load("ablation", "table8").build(profile.with_seed(seed))
        rank |= {c.stage.name: 8.0 * (-1) ** seed for c in seeded if c.stage and c.column == "with unlabeled"}
    for node in make_plan(tables, store).nodes.values():
        work = store.work(node.stage.name)
        work.mkdir(parents=True)
        figures = {"final_loss": 1.0}
        if node.stage.kind == "evaluate":
            noise = int(node.stage.key[:4], 16) / 0xFFFF
            value = 20 + noise + rank.get(node.stage.name, 0)
            figures = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl", "PQ"), value)
            (work / DRAWS).write_text("[]")
        store.commit(node.stage, {**RECORD, "metrics": figures})
    return folder


def test_seeds_are_added_up_to_the_most_and_what_is_decided_is_said(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*CALL, "--budget", "1h", "--most", "3", "--store", str(store)]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["why"] == "at 3 seeds, the most planned for"
    assert found["claims"]["longer-warmup-helps"] == "supported", "12 points a step against noise of one"
    assert found["claims"]["backbone-gains-most"] == "too imprecise"
    assert found["claims"]["helps-advanced-detector"] == "too imprecise"
    assert found["seeds"]["table9"] == 3, "its claims are open"
    assert "look at 2 seeds" in said.err and "open: backbone-gains-most" in said.err


def test_no_seed_is_begun_without_time_left(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CALL, "--budget", "0s", "--most", "4", "--store", str(store)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["why"].startswith("4 seeds would take about") and found["why"].endswith("0 min are left")
    assert found["done"] == [] and max(found["seeds"].values()) == 3


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (["--until", "forever"], "--until decided --budget 3h"),
        (["--budget", "long"], "3h, 45m or 90s, got 'long'"),
        (["--most", "1"], "at least 2"),
        (["--dry-run"], "not with --dry-run"),
    ],
)
def test_what_cannot_be_is_refused(
    changed: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store")]
    assert main(["run", "claims", "--until", "decided", "--budget", "1h", *store, *changed]) != 0
    assert why in capsys.readouterr().err
