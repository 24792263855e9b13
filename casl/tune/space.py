"""Which values an argument may take: a range, with or without steps, or a list of choices. Checked before any work."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from casl.errors import SpecError
from casl.spec.profile import Profile
from casl.spec.search import Value, spoken
from casl.spec.stage import Stage
from casl.spec.varied import Argument, resolve
from casl.tune.request import MOST_VALUES, SearchRequest

# 0.15 keeps all labels of the built-in profiles (candidates have a class probability above 0.05, and scores are the
# root of its product with centre-ness); above 0.7 a fifth of them is left. Twelve values.
DELTA = (0.15, 0.7, 0.05)
DATA = ("scenes", "folder")  # what is measured on: numbers of different data cannot be compared
MEASURED = ("labels", "metric", "classes")  # what is measured


@dataclass(frozen=True)
class Space:
    """The values of a search. Either choices (texts, each standing for a value), or a range.

    step: distance of neighbours, 0 for any value. log: samplers and grids work on the logarithm. whole: integers only.
    points: values of a grid over a range without steps.
    """

    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    log: bool = False
    whole: bool = False
    points: int = 12
    choices: tuple[str, ...] = ()

    @property
    def finite(self) -> bool:
        """Whether there are only so many values."""
        return bool(self.choices) or self.step > 0 or self.whole

    def grid(self) -> list[Value]:
        """All values of a finite space, else `points` values from end to end; each once, rising."""
        if self.choices:
            return list(self.choices)
        if self.finite:
            step = self.step or 1
            count = math.floor((self.high - self.low) / step + 1e-9) + 1
            return [self.snap(self.low + k * step) for k in range(count)]
        shares = [k / (self.points - 1) for k in range(self.points)] if self.points > 1 else [0.0]
        if self.log:
            return [self.snap(self.low * (self.high / self.low) ** share) for share in shares]
        return [self.snap(self.low + (self.high - self.low) * share) for share in shares]

    def snap(self, value: Value) -> Value:
        """A value without what binary fractions add to it: 0.35, not 0.35000000000000003."""
        if isinstance(value, str):
            return value
        return round(value) if self.whole else float(f"{value:.12g}")

    def describe(self) -> str:
        """In words."""
        if self.choices:
            return ", ".join(self.choices)
        steps = f" in steps of {spoken(self.step or 1)}" if self.finite else ""
        return f"{spoken(self.low)} to {spoken(self.high)}{steps}{', logarithmic' if self.log else ''}"


def searched(name: str, end: Stage, profile: Profile) -> Argument:
    """The argument that a path stands for, if one can search over it.

    Raises:
        SpecError: no such argument, or its values cannot be compared; the message says why.
    """
    argument = resolve(name, end, profile)
    if argument.path[-1] == "seed":
        raise SpecError(f"{argument.target} is not searched over: --seeds repeats every trial with other seeds")
    if argument.kind in DATA or argument.path[-1] in MEASURED:
        raise SpecError(
            f"{argument.target} is not searched over: it says what is measured, so values could not compare"
        )
    _check_has_values(argument, "searched over")
    return argument


def make_space(argument: Argument, request: SearchRequest, end: Stage) -> Space:
    """The values to search, every end of them tried on the chain.

    Raises:
        SpecError: the argument takes no numbers and no choices were given, a number is not of its type, the range is
            empty, or a stage refuses a value.
    """
    space = _chosen(argument, request) if request.values else _range(argument, request)
    tried = space.choices or (space.grid()[0], space.grid()[-1])
    for value in tried:
        argument.put(end, parse(argument, value))
    return space


def parse(argument: Argument, value: Value) -> Any:
    """What a stage's field is given for a value; a choice becomes what its text means.

    Raises:
        SpecError: the text is not of the field's type, or no text is.
    """
    _check_has_values(argument, "set")
    return _read(argument, value, argument.current) if isinstance(value, str) else value


def _check_has_values(argument: Argument, done: str) -> None:
    if not isinstance(argument.current, int | float | str | tuple):
        raise SpecError(f"{argument.target} is not {done}: it holds neither numbers nor names")


def _read(argument: Argument, text: str, like: Any) -> Any:
    if isinstance(like, tuple):
        return tuple(_read(argument, part, like[0] if like else "") for part in text.split("+"))
    if isinstance(like, bool):
        if text in ("true", "false"):
            return text == "true"
        raise SpecError(f"{argument.target} is true or false, got {text!r:.80}")
    try:
        return type(like)(text)
    except ValueError:
        raise SpecError(f"{argument.target} takes {_type(like)}, such as {like}; got {text!r:.80}") from None


def _type(like: Any) -> str:
    return {"int": "a whole number", "float": "a number"}.get(type(like).__name__, "a text")


def _chosen(argument: Argument, request: SearchRequest) -> Space:
    if request.low is not None or request.high is not None:
        raise SpecError("give either --choices or --low and --high")
    if len(set(request.values)) < len(request.values) or len(request.values) < 2:
        raise SpecError(f"--choices are two or more different values, got {','.join(request.values)}")
    return Space(choices=request.values)


def _range(argument: Argument, request: SearchRequest) -> Space:
    if isinstance(argument.current, bool | str | tuple):
        raise SpecError(
            f"{argument.target} is not a number but {argument.current!r}: name the values to compare, --choices A,B.\n"
            "  parts of a tuple are joined by +: --choices backbone,backbone+neck"
        )
    low, high, step = _ends(argument, request)
    whole = isinstance(argument.current, int)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SpecError(f"--low must be below --high, both finite; got {low:g} and {high:g}")
    if whole and not all(float(v).is_integer() for v in (low, high, step)):
        raise SpecError(f"{argument.target} takes whole numbers; got --low {low:g} --high {high:g} --step {step:g}")
    if request.step == 0 or not 0 <= step <= (high - low) * (1 + 1e-9):
        raise SpecError(f"--step must be positive and fit between {low:g} and {high:g}, got {step:g}")
    if request.log and (low <= 0 or step > (1 if whole else 0)):
        raise SpecError("--log needs a positive --low and no --step: its values have equal ratios, not equal distances")
    if (step or whole) and high - low > MOST_VALUES * (step or 1):
        raise SpecError(
            f"from {low:g} to {high:g} in steps of {step or 1:g} are more than {MOST_VALUES:,} values: make --step "
            "larger, or the range smaller"
        )
    return Space(low, high, step, request.log, whole, request.points)


def _ends(argument: Argument, request: SearchRequest) -> tuple[float, float, float]:
    low, high, step = request.low, request.high, request.step
    if argument.name == "delta":
        low = DELTA[0] if low is None else low
        high = DELTA[1] if high is None else high
        step = DELTA[2] if step is None and not request.log else step
    if low is None or high is None:
        raise SpecError(
            f"{argument.target} is a number, {spoken(argument.current)} now: say where to search, --low and --high;\n"
            "  --step makes values at equal distances, --log at equal ratios, --choices names them."
        )
    return low, high, step or 0.0
