"""Tables of noisy anchors: published figures, which rows are one training, and what stands for what."""

from __future__ import annotations

import pytest

from ablations import noisy, noisy_proposals
from ablations.profiles import GPU, MINI, PAPER, PHOTOS, SMOKE
from casl import catalog
from casl.spec import Ablation, Cell, Evaluate, Profile, Warmup
from casl.spec.profile import PROVIDERS

PUBLISHED = ("noisy_2_2", "noisy_2_3", "noisy_2_4a", "noisy_2_4b", "noisy_2_4c")
TABLES = [name for name in catalog.DISSERTATION if name.startswith("noisy_")]


def built(table: str, profile: Profile) -> tuple[Cell, ...]:
    ablation: Ablation = catalog.load("ablation", table)
    return ablation.build(profile)


def stage_of(table: str, row: str, profile: Profile = PAPER, column: str = "AP") -> Evaluate:
    (cell,) = [c for c in built(table, profile) if (c.row, c.column) == (row, column)]
    return cell.evaluation


@pytest.mark.parametrize("profile", [PAPER, MINI, PHOTOS], ids=lambda p: p.name)
def test_27_printed_rows_are_21_trainings(profile: Profile) -> None:
    cells = [cell for table in PUBLISHED for cell in built(table, profile) if cell.paper is not None]
    assert len({(table, c.row) for table in PUBLISHED for c in built(table, profile) if c.paper is not None}) == 27
    assert len({cell.evaluation.model.key for cell in cells}) == 21


@pytest.mark.parametrize(
    ("table", "count", "total"),  # number of published figures and their sum, read off the dissertation's tables
    [
        ("noisy_2_2", 18, 833.9),
        ("noisy_2_3", 24, 966.6),
        ("noisy_2_4a", 18, 798.2),
        ("noisy_2_4b", 18, 797.7),
        ("noisy_2_4c", 15, 671.4),
        ("noisy_2_5", 18, 968.9),
        ("noisy_2_6", 12, 493.6),
        ("noisy_2_7", 10, 748.0),
    ],
)
def test_published_figures_are_those_that_are_printed(table: str, count: int, total: float) -> None:
    printed = [cell.paper for cell in built(table, PAPER) if cell.paper is not None]
    assert len(printed) == count and sum(printed) == pytest.approx(total)


def test_rows_that_are_one_training_are() -> None:
    assert stage_of("noisy_2_2", "Baseline, ResNet-50") == stage_of("noisy_2_3", "neither")
    middle = stage_of("noisy_2_3", "SL + SR")
    for table, row in (("2_4a", "gamma 1.0"), ("2_4b", "N 30, gamma 1.0"), ("2_4c", "alpha 0.5")):
        assert stage_of(f"noisy_{table}", row) == middle
    best = stage_of("noisy_2_2", "Ours, ResNet-50")
    assert stage_of("noisy_2_4c", "alpha 0.75") == best == stage_of("noisy_labels", "released")
    assert stage_of("noisy_2_3", "SL") == stage_of("noisy_2_4a", "gamma 0.0")
    seen = (
        stage_of("noisy_2_7", "Ours", column="mean IoU after NMS"),
        stage_of("noisy_2_7", "Baseline", column="mean IoU after NMS"),
    )
    assert [s.model for s in seen] == [best.model, stage_of("noisy_2_3", "neither").model]


@pytest.mark.parametrize(
    ("profile", "numbers"),
    [
        (MINI, [2, 5, 8, 10, 12, 15, 20]),
        (SMOKE, [2, 5, 8, 10, 12, 15, 20]),
        (PHOTOS, [2, 5, 8, 10, 12, 15, 20]),
        (GPU, [10, 20, 30, 40, 50, 60, 80]),
        (PAPER, [10, 20, 30, 40, 50, 60, 80]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_n_follows_the_density_of_anchors(profile: Profile, numbers: list[int]) -> None:
    assert [noisy.anchors_for(profile, n) for n in (10, 20, 30, 40, 50, 60, 80)] == numbers
    options = dict(stage_of("noisy_2_4b", "N 40, gamma 1.0", profile).model.model.options)
    assert options["top_n"] == numbers[3]
    proposals = [stage_of("noisy_2_5", "Ours", profile, column="AR100"), stage_of("noisy_2_6", "Ours", profile)]
    least = {"mini": 3, "smoke": 3, "photos": 8}.get(profile.name, 30)  # anchors of proposals follow ranges alone
    assert {dict(p.model.model.options)["top_n"] for p in proposals} == {least}


@pytest.mark.parametrize(("profile", "scale"), [(MINI, 2.0), (SMOKE, 2.0), (PHOTOS, 1.0), (GPU, 1.0), (PAPER, 1.0)])
def test_anchors_stay_two_strides_wide_where_images_are_small(profile: Profile, scale: float) -> None:
    for row in ("Baseline, ResNet-50", "Ours, ResNet-50"):
        model = stage_of("noisy_2_2", row, profile).model.model
        assert model.anchor_scale == scale and 32 * scale * model.ranges[0] / 64 >= 16


def test_paper_trains_the_published_backbones_for_1x_and_small_profiles_three_that_differ() -> None:
    rows = [f"Ours, {name}" for name in noisy.BACKBONES]
    published = [stage_of("noisy_2_2", row).model for row in rows]
    assert [m.model.backbone for m in published] == ["resnet50", "resnet101", "resnext101"]
    assert {m.iters for m in published} == {PAPER.iters_1x}
    assert {(m.recipe.optimizer, m.recipe.lr) for m in published} == {("sgd", 0.01)}  # .005 in batches of half the size
    for profile in (SMOKE, MINI, GPU, PHOTOS):
        models = [stage_of("noisy_2_2", row, profile).model for row in rows]
        assert len({m.model.backbone for m in models}) == 3
        assert {m.iters for m in models} == {profile.iters_1x * (1 if profile is SMOKE else 3)}


def test_a_provider_changes_nothing() -> None:
    for table in TABLES:
        if table == "noisy_warmup":
            continue
        keys = [[c.stage and c.stage.key for c in built(table, MINI.with_provider(p))] for p in PROVIDERS]
        assert keys[0] == keys[1]


def test_the_plain_warmup_is_that_of_an_fcos_target_and_the_others_differ_in_judgement_alone() -> None:
    warmups = {}
    for cell in built("noisy_warmup", MINI):
        if isinstance(cell.evaluation.model, Warmup):
            warmups[cell.row] = cell.evaluation.model
    options = {row: dict(w.model.options) for row, w in warmups.items()}
    assert options["plain"] == {} and options["weights"]["clean"] == "hard"
    assert options["soft labels"] == {"clean": "released", "clean_alpha": 0.75, "clean_gamma": 0.0}
    assert len({w.data.key for w in warmups.values()}) == 1 and len({w.key for w in warmups.values()}) == 5


def test_recall_counts_fewer_proposals_in_small_images_and_says_so() -> None:
    small, large = built("noisy_2_5", MINI), built("noisy_2_5", PAPER)
    assert [c.figure for c in small[:3]] == ["AR10", "AR30", "AR100"] and "AR30 stands for AR300" in small[1].note
    assert [c.figure for c in large[:3]] == [c.column for c in large[:3]] == ["AR100", "AR300", "AR1000"]
    assert {c.row for c in large if c.stage is None} == {"RPN+Iterative", "RefineRPN"}
    assert noisy_proposals.TWO_STEPS in {c.note for c in large}
