"""Finetune length: warmups are those of Table 2, finetunes differ in their length, controls are as long."""

from __future__ import annotations

import pytest

from ablations import finetune_length, rivals, table2
from ablations.claims import CLAIMS
from ablations.controls import LONG, STRONG, STRONG_LONG
from ablations.profiles import GPU, MINI, PAPER, PHOTOS, SMOKE
from casl.report.claims import judge
from casl.spec import Finetune, Profile, Warmup, ancestors
from tests.ablations.test_confusable import of_target
from tests.report.sample import tabled

WARMED = (finetune_length.WITHOUT, finetune_length.WITH)


@pytest.mark.parametrize("profile", [SMOKE, MINI, PHOTOS, GPU, PAPER], ids=lambda p: p.name)
def test_finetunes_differ_in_their_length_and_controls_are_as_long(profile: Profile) -> None:
    for length in finetune_length.LENGTHS:
        models = finetune_length.targets(profile, length)
        assert list(models) == [finetune_length.NONE, LONG, *WARMED]
        assert of_target(models[finetune_length.NONE]) == length * profile.iters_1x
        assert {of_target(models[column]) for column in (LONG, *WARMED)} == {(5 + length) * profile.iters_1x}
        for model in models.values():
            assert isinstance(model, Finetune) and model.recipe.augmentation == "strong_labeled"
        for column in WARMED:
            assert models[column].iters == length * profile.iters_1x


@pytest.mark.parametrize("profile", [MINI, PHOTOS], ids=lambda p: p.name)
def test_warmups_are_those_of_table_2_and_the_shortest_finetunes_have_the_controls_of_rivals(profile: Profile) -> None:
    of_table2 = {s.key for c in table2.cells(profile) if c.stage for s in ancestors(c.stage) if isinstance(s, Warmup)}
    by_length = [finetune_length.targets(profile, length) for length in finetune_length.LENGTHS]
    warm = {
        column: {init.key for targets in by_length if (init := targets[column].init) is not None} for column in WARMED
    }
    assert all(len(keys) == 1 and keys <= of_table2 for keys in warm.values())
    assert warm[finetune_length.WITHOUT] != warm[finetune_length.WITH]
    shortest, others = finetune_length.targets(profile, 3), rivals.models(profile)
    assert shortest[finetune_length.NONE] == others[STRONG] and shortest[LONG] == others[STRONG_LONG]
    assert [shortest[column] for column in WARMED] == [others[row] for row in (rivals.OBJECTS, rivals.NAMED)]
    assert finetune_length.targets(profile, 8)[finetune_length.NONE] == others[STRONG_LONG]


@pytest.mark.parametrize(
    ("after_3x", "after_8x", "verdict"), [(6.0, 0.0, "supported"), (6.0, 6.0, "equivalent"), (0.0, 6.0, "contradicted")]
)
def test_the_claim_is_about_how_much_of_the_lead_is_left(after_3x: float, after_8x: float, verdict: str) -> None:
    (claim,) = [c for c in CLAIMS if c.id == "names-are-learned-in-time"]
    values = {
        (finetune_length.row_of(length), column, "ap_det", "AP"): (
            [30.0 + ahead, 31.0 + ahead + noise, 32.0 + ahead],
            None,
        )
        for length, lead in ((3, after_3x), (8, after_8x))
        for column, ahead, noise in ((finetune_length.WITHOUT, 0.0, 0.1), (finetune_length.WITH, lead, length / 100))
    }
    assert judge([claim], [tabled("finetune_length", values)])[0].verdict == verdict
