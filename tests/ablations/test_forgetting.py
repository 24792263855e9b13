"""Forgetting: rows that differ in how fast the backbone learns in the warmup, and in nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ablations import confusable, forgetting, table2
from ablations.claims import CLAIMS
from ablations.controls import LONG
from ablations.profiles import GPU, MINI, PAPER, PHOTOS, SMOKE
from casl.report.claims import judge
from casl.spec import Evaluate, Profile, Train, Warmup, ancestors
from tests.ablations.test_confusable import of_target
from tests.report.sample import tabled

PLAIN = (forgetting.WITHOUT, forgetting.WITH)
HOW = (forgetting.SLOWER, forgetting.SLOW, forgetting.FIXED)


def warmup_of(model: Train) -> Warmup:
    assert isinstance(model.init, Warmup)
    return model.init


@pytest.mark.parametrize("profile", [SMOKE, MINI, PHOTOS, GPU, PAPER], ids=lambda p: p.name)
def test_every_row_trains_as_long_and_differs_in_the_backbone_of_its_warmup(profile: Profile) -> None:
    models = forgetting.targets(profile)
    assert len(models) == 10 and of_target(models[forgetting.NONE]) == 3 * profile.iters_1x
    assert {of_target(models[row]) for row in models if row != forgetting.NONE} == {8 * profile.iters_1x}
    for labels in PLAIN:
        usual = warmup_of(models[labels])
        for how in HOW:
            model = models[forgetting.row_of(labels, how)]
            warm = warmup_of(model)
            assert replace(model, init=usual) == models[labels], "the finetune is the same"
            back = replace(warm, model=usual.model, recipe=replace(warm.recipe, body_lr=usual.recipe.body_lr))
            assert back == usual and warm != usual
        rates = [warmup_of(models[forgetting.row_of(labels, how)]).recipe.body_lr for how in HOW]
        assert rates == pytest.approx([usual.recipe.body_lr * f for f in (1 / 3, 1 / 10, 1)])
        fixed = warmup_of(models[forgetting.row_of(labels, forgetting.FIXED)]).model
        assert fixed == replace(usual.model, frozen_stages=5)


def test_rows_at_the_usual_rate_are_those_of_table_2_and_of_confusable() -> None:
    models, others = forgetting.targets(MINI), confusable.targets(MINI)
    of_table2 = {s.key for c in table2.cells(MINI) if c.stage for s in ancestors(c.stage)}
    for row in (forgetting.NONE, LONG, *PLAIN):
        assert models[row] == others[row] and models[row].key in of_table2
    assert len({c.stage.key for c in forgetting.cells(MINI) if isinstance(c.stage, Evaluate)}) == 20


def test_the_claim_is_about_the_tenth_of_the_rate() -> None:
    (claim,) = [c for c in CLAIMS if c.id == "slow-warmup-keeps-classes"]
    slow = forgetting.row_of(forgetting.WITHOUT, forgetting.SLOW)
    for gain, verdict in ((6.0, "supported"), (0.0, "equivalent"), (-6.0, "contradicted")):
        values = {forgetting.WITHOUT: [30.0, 31.0, 32.0], slow: [30.0 + gain, 31.1 + gain, 32.0 + gain]}
        table = tabled("forgetting", {(row, "AP^det", "ap_det", "AP"): (v, None) for row, v in values.items()})
        assert judge([claim], [table])[0].verdict == verdict
