"""Dotted names: what they find, what they change, and what is said when they find nothing."""

from __future__ import annotations

from typing import Any

import pytest

from casl.errors import SpecError
from casl.spec import Evaluate, Finetune, PseudoLabel, Warmup, ancestors
from casl.spec.schedule import times
from casl.tune.argument import resolve
from casl.tune.space import Bounds, make_space, parse
from tests.runner.stores import NANO, chain

END = chain(NANO, warm=3, fine=2).evaluation


def warmup_of(end: Evaluate) -> Warmup:
    return next(s for s in ancestors(end) if isinstance(s, Warmup))


@pytest.mark.parametrize(
    ("name", "target", "current"),
    [
        ("delta", "warmup.threshold", 0.0),
        ("finetune.lr", "finetune.recipe.lr", 3e-2),
        ("finetune.recipe.lr", "finetune.recipe.lr", 3e-2),
        ("labeler.channels", "labeler.model.channels", 16),
        ("warmup.schedule", "warmup.schedule", 3),
        ("pseudolabel.detections", "pseudolabel.detections", 100),
        ("finetune.classifier", "finetune.classifier", "replicate"),
    ],
)
def test_a_name_finds_its_field(name: str, target: str, current: object) -> None:
    found = resolve(name, END, NANO)
    assert (found.target, found.current) == (target, current)


def test_a_value_changes_its_stage_and_what_is_made_from_it_only() -> None:
    changed = resolve("delta", END, NANO).put(END, 0.4)
    before, after = warmup_of(END), warmup_of(changed)
    assert after.threshold == 0.4 and after.data.key == before.data.key
    assert changed.key != END.key and changed.data.key == END.data.key
    assert isinstance(changed.model, Finetune) and isinstance(END.model, Finetune)
    assert changed.model.recipe == END.model.recipe


def test_the_value_a_chain_has_already_is_the_same_chain() -> None:
    for name in ("delta", "finetune.lr", "warmup.schedule", "finetune.parts"):
        argument = resolve(name, END, NANO)
        assert argument.put(END, argument.current).key == END.key


def test_a_length_is_meant_in_x() -> None:
    changed = resolve("warmup.schedule", END, NANO).put(END, 5)
    assert warmup_of(changed).schedule == times(5, NANO.iters_1x, NANO.rule)


def test_what_lies_deep_in_the_chain_is_changed_wherever_it_is_read() -> None:
    changed = warmup_of(resolve("labeler.lr", END, NANO).put(END, 0.1))
    assert isinstance(changed.data, PseudoLabel)
    assert changed.data.labeler.recipe.lr == 0.1 and changed.recipe.lr == 3e-2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("delte", "did you mean 'delta'"),
        ("fintune.lr", "finetune"),
        ("finetune.lrr", "known: .*recipe.lr"),
        ("warmup.treshold", "did you mean 'threshold'"),
        ("finetune.seed", "unknown argument of finetune 'seed'"),
        ("scenes.count", "unknown argument 'scenes.count'"),
        ("lr", "Write stage.argument"),
    ],
)
def test_an_unknown_name_is_answered_with_what_exists(name: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        resolve(name, END, NANO)


@pytest.mark.parametrize(
    ("name", "bounds", "message"),
    [
        ("finetune.lr", Bounds(), "say where to search, --low and --high"),
        ("finetune.lr", Bounds(low=0.1, high=0.01), "--low must be below --high"),
        ("finetune.lr", Bounds(low=-1.0, high=1.0), "lr must be positive"),
        ("finetune.lr", Bounds(low=0.0, high=1.0, log=True), "--log needs a positive --low"),
        ("finetune.batch", Bounds(low=1.5, high=4), "takes whole numbers"),
        ("delta", Bounds(high=1.5), r"probability in \[0, 1\]"),
        ("delta", Bounds(step=2.0), "--step must be positive and fit"),
        ("finetune.classifier", Bounds(low=0, high=1), "is not a number but 'replicate'"),
        ("finetune.classifier", Bounds(choices=("replicate", "randon")), "did you mean 'random'"),
        ("finetune.classifier", Bounds(choices=("random",)), "two or more different"),
        ("finetune.batch", Bounds(choices=("2", "many")), "takes a whole number.*got 'many'"),
        ("finetune.lr", Bounds(low=0.1, choices=("0.1", "0.2")), "either --choices or"),
    ],
)
def test_types_and_ranges_are_checked_before_anything_runs(name: str, bounds: Bounds, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make_space(resolve(name, END, NANO), bounds, END)


@pytest.mark.parametrize(
    ("name", "bounds", "grid"),
    [
        ("delta", Bounds(), [0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7]),
        ("finetune.batch", Bounds(low=2, high=5), [2, 3, 4, 5]),
        ("finetune.lr", Bounds(low=0.01, high=0.03, step=0.02), [0.01, 0.03]),  # 0.03 - 0.01 < 0.02 in binary
        ("finetune.lr", Bounds(low=1e-3, high=1e-1, log=True, points=3), [1e-3, 1e-2, 1e-1]),
        ("finetune.lr", Bounds(low=1.0, high=2.0, points=2), [1.0, 2.0]),
        ("finetune.classifier", Bounds(choices=("random", "replicate")), ["random", "replicate"]),
    ],
)
def test_a_grid_has_these_values(name: str, bounds: Bounds, grid: list[object]) -> None:
    assert make_space(resolve(name, END, NANO), bounds, END).grid() == grid


def test_parts_of_a_tuple_are_joined_by_plus() -> None:
    argument = resolve("finetune.parts", END, NANO)
    value: Any = parse(argument, "backbone+neck")
    assert value == ("backbone", "neck")
    assert isinstance(changed := argument.put(END, value).model, Finetune) and changed.parts == value
