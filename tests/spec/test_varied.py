"""One value of a chain changed: what a path finds, what changes with it, and what is said when it finds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace

import pytest

from casl.errors import SpecError
from casl.spec import Evaluate, Finetune, PseudoLabel, Record, Scenes, Stage, Warmup, ancestors, quoted, varied
from casl.spec.schedule import times
from casl.spec.varied import resolve
from tests.runner.stores import NANO, chain

CELL = chain(NANO, warm=3, fine=2)
END = CELL.evaluation


def warmup_of(end: Evaluate) -> Warmup:
    return next(s for s in ancestors(end) if isinstance(s, Warmup))


def finetune_of(end: Evaluate) -> Finetune:
    assert isinstance(end.model, Finetune)
    return end.model


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
def test_a_path_finds_its_field(name: str, target: str, current: object) -> None:
    found = resolve(name, END, NANO)
    assert (found.target, found.current) == (target, current)


def test_a_value_changes_its_stage_and_what_is_made_from_it_only() -> None:
    changed = varied(END, "delta", 0.4)
    assert warmup_of(changed) == replace(warmup_of(END), threshold=0.4)
    assert warmup_of(changed).data is warmup_of(END).data and changed.data is END.data
    assert finetune_of(changed).recipe is finetune_of(END).recipe and changed.key != END.key


def test_a_cell_stays_at_its_place_and_measures_the_changed_chain() -> None:
    changed = varied(CELL, "finetune.lr", 0.5)
    assert changed == replace(CELL, stage=varied(END, "finetune.recipe.lr", 0.5))
    assert finetune_of(changed.evaluation).recipe.lr == 0.5
    assert varied(CELL, "evaluate.metric", "ap_seg").metric == "ap_seg"


def test_the_value_a_chain_has_already_is_the_same_chain() -> None:
    for name in ("delta", "finetune.lr", "warmup.schedule", "finetune.parts"):
        assert varied(END, name, resolve(name, END, NANO).current, NANO).key == END.key
    assert varied(END, "delta", 0).key == END.key, "a whole number means the same fraction"


def test_a_schedule_is_a_length_under_a_profile_and_itself_without_one() -> None:
    assert warmup_of(varied(END, "warmup.schedule", 5, NANO)).schedule == times(5, NANO.iters_1x, NANO.rule)
    assert warmup_of(varied(END, "warmup.schedule", ((7, 1.0),))).schedule == ((7, 1.0),)


def test_what_lies_deep_in_the_chain_is_changed_wherever_it_is_read() -> None:
    changed = warmup_of(varied(END, "labeler.lr", 0.1))
    assert isinstance(changed.data, PseudoLabel)
    assert changed.data.labeler.recipe.lr == 0.1 and changed.recipe.lr == 3e-2


def test_a_whole_record_or_input_may_be_replaced() -> None:
    other = Scenes("labeled", 4, 64, seed=9)
    assert finetune_of(varied(END, "finetune.data", other)).data is other
    recipe = replace(NANO.finetune_recipe, batch=3)
    assert finetune_of(varied(END, "finetune.recipe", recipe)).recipe is recipe


@dataclass(frozen=True)
class Head(Record):
    """A record with a field of pairs."""

    width: int = 1
    options: tuple[tuple[str, int | str], ...] = ()


@dataclass(frozen=True)
class Fit(Stage):
    head: Head
    spare: Head
    init: Fit | None = None


@pytest.mark.parametrize("path", ["fit.head.options.assign", "fit.head.options.zoom"])
def test_a_pair_is_set_or_added_in_order(path: str) -> None:
    fit = Fit(Head(options=(("assign", "all"), ("weight", 2))), Head())
    name = path.rpartition(".")[2]
    found = varied(fit, path, "topn").head.options
    assert found == tuple(sorted({"assign": "all", "weight": 2, name: "topn"}.items()))
    assert varied(varied(fit, "fit.spare.options.b", 1), "fit.spare.options.a", 2).spare.options == (("a", 2), ("b", 1))
    assert varied(fit, "fit.weight", 3).head.options == (("assign", "all"), ("weight", 3)), "short where it is there"


def test_an_option_of_a_detector_is_checked_by_the_detector() -> None:
    with pytest.raises(SpecError, match=r"finetune\.model\.options\.nonsense cannot be 'topn'"):
        varied(CELL, "finetune.model.options.nonsense", "topn")


def test_all_stages_of_a_kind_are_changed_and_one_read_twice_stays_one() -> None:
    first = Fit(Head(), Head())
    changed = varied(Fit(Head(), Head(), first), "fit.head.width", 7)
    assert changed.init is not None and (changed.head.width, changed.init.head.width) == (7, 7)
    both = varied(replace(END, data=warmup_of(END)), "delta", 0.2)
    assert both.data is finetune_of(both).init


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("delte", "did you mean 'delta'"),
        ("fintune.lr", "did you mean 'finetune.…'"),
        ("finetune.lrr", "unknown argument of finetune 'lrr'.*\n.*did you mean 'lr'"),
        ("warmup.treshold", "did you mean 'threshold'"),
        ("finetune.recipe.lr.high", "unknown argument of finetune 'recipe.lr.high'"),
        ("finetune.schedule.first", "unknown argument of finetune"),
        ("lr", "Write stage.argument"),
    ],
)
def test_an_unknown_path_is_answered_with_what_exists(name: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        varied(END, name, 1)


def test_a_name_that_two_records_have_is_asked_for_in_full() -> None:
    with pytest.raises(SpecError, match=r"'width' may be head.width or spare.width"):
        varied(Fit(Head(), Head()), "fit.width", 2)
    with pytest.raises(SpecError, match=r"head.options or spare.options"):
        varied(Fit(Head(), Head()), "fit.options.a", 2)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("finetune.lr", -1.0, "finetune.recipe.lr cannot be -1.0: lr must be positive"),
        ("finetune.lr", "fast", "the field takes float, such as 0.03"),
        ("finetune.batch", 2.5, "the field takes int, such as 2"),
        ("finetune.batch", True, "the field takes int"),
        ("finetune.parts", "backbone", "the field takes tuple"),
        ("finetune.parts", ("backbone", 1), "the field takes tuple"),
        ("finetune.classifier", "randon", "did you mean 'random'"),
        ("finetune.model.detector", "fcoss", "did you mean 'fcos'"),
        ("finetune.schedule", 3, "finetune.schedule cannot be 3: the field takes tuple"),
        ("finetune.init", NANO.warmup_recipe, "finetune.init cannot be"),
    ],
)
def test_a_value_that_the_stage_refuses_is_said_with_its_path(name: str, value: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        varied(END, name, value)


def test_a_quoted_cell_has_no_chain_to_vary() -> None:
    with pytest.raises(SpecError, match="is only quoted: by others"):
        varied(quoted("a", "b", "ap_det", 1.0, note="by others"), "delta", 0.5)


def numbers(owner: Stage | Record, before: str = "") -> Iterator[tuple[str, int | float]]:
    """Paths and values of all numbers of a stage, those of its records included."""
    for field in fields(owner):
        value = getattr(owner, field.name)
        if isinstance(value, Record):
            yield from numbers(value, f"{before}{field.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{before}{field.name}", value


@pytest.mark.parametrize("value", [-1, 10**20, 10**400, -1e300, 1e300], ids=[*"abcde"])
def test_no_number_of_a_chain_is_one_that_cannot_be(value: float) -> None:
    every = {f"{stage.kind}.{path}": held for stage in ancestors(END) for path, held in numbers(stage)}
    assert len(every) > 60
    taken = set()
    for path, held in every.items():
        with suppress(SpecError):
            kind = type(held) if abs(value) < 1e308 else int
            varied(END, path, kind(value), NANO)
            taken.add(path)
    huge = {"clip_norm"} if value > 0 else set()
    huge |= {"lr", "body_lr", "weight_decay"} if 0 < value < 1e38 else set()
    assert {path.rpartition(".")[2] for path in taken} <= huge


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("evaluate.size", -1, r"evaluate\.size cannot be -1: a test image has a short side of 32 px or more"),
        ("evaluate.max_size", 32, "a long one at least as large"),
        ("pseudolabel.size", 0, "short side of 32 px"),
        ("pseudolabel.detections", 0, "detections must be at least 1, got 0"),
        ("warmup.channels", 10**9, "channels must be at most 65,536"),
        ("finetune.frozen_stages", 6, "frozen_stages must be at most 5"),
        ("finetune.drop_path", 1.0, r"drop_path is a probability in \[0, 1\)"),
        ("labeler.seed", -1, "seed must be at least 0"),
        ("labeler.seed", 10**400, "got a number of 401 digits"),
    ],
)
def test_what_a_number_may_be_is_said(path: str, value: float, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        varied(END, path, value, NANO)
