"""Every table of noisy anchors in profile smoke, from planning to its cells."""

from __future__ import annotations

import pytest

from ablations.profiles import SMOKE
from casl import catalog
from casl.runner.store import Store
from casl.spec import Ablation, Cell
from casl.train.checkpoint import load_weights
from tests.runner.stores import run
from tests.smoke import TINY

pytestmark = pytest.mark.slow
TABLES = [name for name in catalog.DISSERTATION if name.startswith("noisy_")]
SOME = ["noisy_2_4b", "noisy_2_6"]  # a dense detector and one of two stages


@pytest.fixture(scope="module", params=[SOME, pytest.param(TABLES, marks=pytest.mark.long)], ids=["some", "all"])
def measured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, tuple[Cell, ...]]]:
    store = Store(tmp_path_factory.mktemp("noisy"))
    tables: dict[str, tuple[Cell, ...]] = {}
    for name in request.param:
        ablation: Ablation = catalog.load("ablation", name)
        tables[name] = ablation.build(SMOKE if len(request.param) > len(SOME) else TINY)
    _, summary, watcher = run([c for cells in tables.values() for c in cells if c.stage is not None], store)
    assert not summary.failed, [watcher.ended[n][1] for n in summary.failed]
    return store, tables


def test_every_cell_is_measured(measured: tuple[Store, dict[str, tuple[Cell, ...]]]) -> None:
    store, tables = measured
    assert len(tables) in (len(SOME), len(TABLES)) and len(TABLES) == 10
    for name, cells in tables.items():
        for cell in cells:
            if cell.stage is not None:
                value = store.run(cell.evaluation.name).metrics[cell.figure]
                assert -100.0 <= value <= 100.0, (name, cell.row, cell.column)


def test_what_a_row_changes_changes_the_weights(measured: tuple[Store, dict[str, tuple[Cell, ...]]]) -> None:
    store, tables = measured
    kept: dict[str, float] = {}
    for cells in tables.values():
        for model in {c.evaluation.model for c in cells if c.stage is not None}:
            weights = load_weights(store.folder(model.name) / "model.safetensors")
            kept[model.name] = sum(float(v.double().abs().sum()) for v in weights.values())
    assert len(set(kept.values())) == len(kept) >= (8 if len(tables) == len(SOME) else 35)
    normalisers = {
        float(load_weights(store.folder(c.evaluation.model.name) / "model.safetensors")["framework.normaliser.average"])
        for c in tables["noisy_2_4b"]
    }
    assert len(normalisers) >= 6 and min(normalisers) > 1.0  # follows N
