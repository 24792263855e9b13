"""Lengths of time in options."""

from __future__ import annotations

import pytest

from casl.durations import seconds_of
from casl.errors import SpecError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3h", 10800.0),
        ("1.5 h", 5400.0),
        ("45m", 2700.0),
        ("45min", 2700.0),
        ("90s", 90.0),
        ("1d", 86400.0),
        ("0", 0.0),
    ],
)
def test_times_are_days_hours_minutes_or_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text, "--budget") == seconds


@pytest.mark.parametrize("text", ["3", "", "h", "-1h", "nan", "inf", "1e3s", "3 weeks", "1h30m", "²h", "9" * 5_000])
def test_what_is_no_time_is_refused_with_the_option_that_it_was_given_for(text: str) -> None:
    with pytest.raises(SpecError, match="--time-limit is a time such as 3h, 45m or 90s, got"):
        seconds_of(text, "--time-limit")


def test_a_time_has_an_end() -> None:
    with pytest.raises(SpecError, match="--time-limit is at most 10000d, got 10001d"):
        seconds_of("10001d", "--time-limit")
