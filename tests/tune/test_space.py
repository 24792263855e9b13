"""Which arguments can be searched over, and which values are tried."""

from __future__ import annotations

import dataclasses
import math
from contextlib import suppress
from typing import Any

import pytest

from casl.errors import SpecError
from casl.spec import Finetune
from casl.spec.stage import ancestors
from casl.spec.varied import resolve
from casl.tune.request import SearchRequest
from casl.tune.space import make_space, parse, searched
from tests.runner.stores import NANO, chain

END = chain(NANO, warm=3, fine=2).evaluation


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("delte", "did you mean 'delta'"),
        ("finetune.seed", "finetune.seed is not searched over: --seeds repeats"),
        ("scenes.count", "scenes.count is not searched over: it says what is measured"),
        ("evaluate.metric", "it says what is measured"),
        ("finetune.data", "it holds neither numbers nor names"),
        ("finetune.model", "it holds neither numbers nor names"),
    ],
)
def test_what_cannot_be_searched_over_is_said(name: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        searched(name, END, NANO)


@pytest.mark.parametrize("name", ["finetune.data", "finetune.model", "labeler.init", "warmup.recipe"])
def test_a_field_without_numbers_and_names_is_not_set_either(name: str) -> None:
    with pytest.raises(SpecError, match=rf"{name} is not set: it holds neither numbers nor names"):
        parse(resolve(name, END, NANO), "x")


@pytest.mark.parametrize("text", ["", "x", "-1", "1+2", "a+b", "true", "nan", "1e400", "²", "9" * 400, "9" * 5_000])
def test_any_text_for_any_field_is_a_value_or_a_sentence(text: str) -> None:
    for stage in ancestors(END):
        for field in dataclasses.fields(stage):
            argument = resolve(f"{stage.kind}.{field.name}", END, NANO)
            with suppress(SpecError):
                assert argument.put(END, parse(argument, text)).key


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("finetune.lr", SearchRequest(), "say where to search, --low and --high"),
        ("finetune.lr", SearchRequest(low=0.1, high=0.01), "--low must be below --high"),
        ("finetune.lr", SearchRequest(low=-1.0, high=1.0), "lr must be positive"),
        ("finetune.lr", SearchRequest(low=0.0, high=1.0, log=True), "--log needs a positive --low"),
        ("finetune.batch", SearchRequest(low=1.5, high=4), "takes whole numbers"),
        ("delta", SearchRequest(high=1.5), r"probability in \[0, 1\]"),
        ("delta", SearchRequest(step=2.0), "--step must be positive and fit"),
        ("delta", SearchRequest(step=0.0), "--step must be positive and fit"),
        ("delta", SearchRequest(step=-0.05), "--step must be positive and fit"),
        ("finetune.lr", SearchRequest(low=0.01, high=0.03, step=0.0), "--step must be positive and fit"),
        ("delta", SearchRequest(step=math.nan), "--step must be positive and fit"),
        ("delta", SearchRequest(step=math.inf), "--step must be positive and fit"),
        ("delta", SearchRequest(step=1e-9), "more than 100,000 values: make --step larger"),
        ("delta", SearchRequest(step=1e-320), "more than 100,000 values"),
        ("finetune.batch", SearchRequest(low=1, high=1e9), "more than 100,000 values"),
        ("finetune.lr", SearchRequest(low=math.nan, high=1), "both finite"),
        ("finetune.classifier", SearchRequest(low=0, high=1), "is not a number but 'replicate'"),
        ("finetune.classifier", SearchRequest(choices="replicate,randon"), "did you mean 'random'"),
        ("finetune.classifier", SearchRequest(choices="random"), "two or more different"),
        ("finetune.batch", SearchRequest(choices="2,many"), "takes a whole number.*got 'many'"),
        ("finetune.lr", SearchRequest(low=0.1, choices="0.1,0.2"), "either --choices or"),
    ],
)
def test_types_and_ranges_are_checked_before_anything_runs(name: str, asked: SearchRequest, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make_space(searched(name, END, NANO), asked, END)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"rungs": "²"}, "--rungs are lengths in x, such as 1,3; got '²'"),
        ({"rungs": "0"}, "--rungs are lengths"),
        ({"rungs": "9" * 5_000}, "--rungs are lengths"),
        ({"points": 1}, "--points must be at least 2"),
        ({"points": 100_000_000}, "--points must be at most 100,000"),
        ({"budget": "nan"}, "--budget is a time such as 3h, 45m or 90s, got 'nan'"),
        ({"budget": "30"}, "--budget is a time such as"),
        ({"trials": 10**12}, "--trials must be at most"),
        ({"batch": 10**9}, "--batch must be at most"),
        ({"sampler_seed": -1}, "--sampler-seed must be at least 0"),
    ],
)
def test_what_a_search_cannot_be_asked_for_is_said(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        SearchRequest(**asked)


@pytest.mark.parametrize(
    ("name", "asked", "grid"),
    [
        ("delta", SearchRequest(), [0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7]),
        ("finetune.batch", SearchRequest(low=2, high=5), [2, 3, 4, 5]),
        ("finetune.lr", SearchRequest(low=0.01, high=0.03, step=0.02), [0.01, 0.03]),  # 0.03 - 0.01 < 0.02 in binary
        ("finetune.lr", SearchRequest(low=1e-3, high=1e-1, log=True, points=3), [1e-3, 1e-2, 1e-1]),
        ("finetune.lr", SearchRequest(low=1.0, high=2.0, points=2), [1.0, 2.0]),
        ("finetune.classifier", SearchRequest(choices="random,replicate"), ["random", "replicate"]),
    ],
)
def test_a_grid_has_these_values(name: str, asked: SearchRequest, grid: list[object]) -> None:
    assert make_space(searched(name, END, NANO), asked, END).grid() == grid


def test_parts_of_a_tuple_are_joined_by_plus() -> None:
    argument = searched("finetune.parts", END, NANO)
    value: Any = parse(argument, "backbone+neck")
    assert value == ("backbone", "neck")
    assert isinstance(changed := argument.put(END, value).model, Finetune) and changed.parts == value
