"""Confusable in profile smoke: the cells of one warmup on lookalikes, and at length every cell and the claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablations import confusable
from ablations.claims import CLAIMS
from ablations.profiles import SMOKE
from casl.report.claims import judge
from casl.report.table import Table, build_table
from casl.runner.plan import outcomes
from casl.runner.store import Store
from casl.spec import PseudoLabel
from tests.runner.stores import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # minutes alone, more where others compute too
TABLE = confusable.ABLATION


def measured(folder: Path, of: tuple[str, str] = ("", "")) -> Table:
    """The table after the cells were run whose row and column begin so."""
    store, cells = Store(folder), TABLE.build(SMOKE)
    chosen = [c for c in cells if c.row.startswith(of[0]) and c.column.startswith(of[1])]
    plan, summary, watcher = run(chosen, store)
    assert not summary.failed, [watcher.ended[n][1] for n in summary.failed]
    labels = [n.stage for n in plan.nodes.values() if isinstance(n.stage, PseudoLabel)]
    assert labels and all("recall@0.3" in store.run(stage.name).metrics for stage in labels)
    table = build_table(TABLE, SMOKE, [cells], outcomes(plan, store), {})
    done = [c for c in table.cells if c.value is not None]
    assert {(c.row, c.column) for c in done} == {(c.row, c.column) for c in chosen}
    assert all(0.0 <= c.value <= 100.0 for c in done if c.value is not None)
    return table


def test_a_warmup_on_lookalikes_and_its_labels_are_measured(tmp_path: Path) -> None:
    assert measured(tmp_path, (confusable.AGNOSTIC, confusable.CONFUSABLE)).measured == 4


@pytest.mark.long
def test_every_cell_is_measured_and_the_claim_is_their_difference_of_differences(tmp_path: Path) -> None:
    table = measured(tmp_path)
    assert table.measured == len(table.cells) == 30
    (claim,) = judge([c for c in CLAIMS if c.id == "agnostic-pays-when-confusable"], [table])
    assert claim.verdict == "too imprecise", "of one seed"
    of = {(c.row, c.column): c.value or 0.0 for c in table.cells}
    gaps = [
        of[confusable.AGNOSTIC, f"{side} AP^det"] - of[confusable.SPECIFIC, f"{side} AP^det"]
        for side in (confusable.CONFUSABLE, confusable.STANDARD)
    ]
    found = claim.evidence[0].difference
    assert found is not None and found.value == pytest.approx(gaps[0] - gaps[1], abs=0.01)
