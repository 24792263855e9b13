"""What becomes of every tensor of a conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Report:
    """What became of every tensor.

    Attributes:
        renamed: name in the result -> name in the source; the values are the same bits.
        adapted: name in the result -> {"from": name in the source, "how": what was done to the values}.
        made: name in the result -> what it holds; the source has nothing like it.
        left_in_source: name in the source -> why it is not in the result.
        left_in_target: name, or beginning of names with a star -> why the target keeps its own values there.
        needs: what the target must be set to, or the source have been, for the weights to mean the same in both.
    """

    renamed: Mapping[str, str]
    adapted: Mapping[str, Mapping[str, str]]
    made: Mapping[str, str]
    left_in_source: Mapping[str, str]
    left_in_target: Mapping[str, str]
    needs: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        """As JSON values."""
        return {name: list(v) if isinstance(v, tuple) else dict(v) for name, v in vars(self).items()}


class Ledger:
    """A state dict that is being changed, and where each of its tensors came from.

    Args:
        source: what is converted; never changed itself.
    """

    def __init__(self, source: Mapping[str, Tensor]) -> None:
        self.state: dict[str, Tensor] = dict(source)
        self.left: dict[str, str] = {}
        self.needs: list[str] = []
        self._origin: dict[str, str | None] = {key: key for key in source}
        self._how: dict[str, list[str]] = {}

    def change(self, key: str, value: Tensor, how: str) -> None:
        """Give a tensor that is there other values."""
        self.state[key] = value
        self._how.setdefault(key, []).append(how)

    def make(self, key: str, value: Tensor, what: str) -> None:
        """Add a tensor that the source has nothing for."""
        self.state[key] = value
        self._origin[key] = None
        self._how[key] = [what]

    def drop(self, key: str, why: str) -> None:
        """Leave a tensor out."""
        del self.state[key]
        if (origin := self._origin.pop(key)) is not None:
            self.left[origin] = why

    def rename(self, new_name: Callable[[str], str | None], why_not: str) -> None:
        """Rename all; what gets no name is left out.

        Raises:
            AssertionError: two tensors get one name, which is a mistake in the rules.
        """
        for key in [key for key in self.state if new_name(key) is None]:
            self.drop(key, why_not)
        names = {key: new for key in self.state if (new := new_name(key)) is not None}
        assert len(set(names.values())) == len(names), "two tensors of one name"
        self.state = {names[key]: value for key, value in self.state.items()}
        self._origin = {names[key]: origin for key, origin in self._origin.items()}
        self._how = {names[key]: how for key, how in self._how.items() if key in names}

    def report(self, left_in_target: Mapping[str, str]) -> Report:
        """The account, as it stands."""
        kept = {key: origin for key, origin in self._origin.items() if origin is not None}
        return Report(
            renamed={key: origin for key, origin in kept.items() if key not in self._how},
            adapted={k: {"from": o, "how": "; ".join(self._how[k])} for k, o in kept.items() if k in self._how},
            made={key: "; ".join(self._how[key]) for key, origin in self._origin.items() if origin is None},
            left_in_source=dict(self.left),
            left_in_target=dict(left_in_target),
            needs=tuple(dict.fromkeys(self.needs)),
        )
