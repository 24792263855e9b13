"""What a target has and converted weights do not: names compared, not guessed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor

from casl.models.body import BODY, nearest_missing
from casl.models.convert.kind import reads_p2

TOWER = 4  # convolutions of a tower of FCOS, elsewhere as here by default
WIDTH = 256  # channels of a pyramid, elsewhere as here by default
_STEP = 3  # modules a convolution of a tower: itself, its norm, its ReLU
NOT_ASKED, NONE = "its part was not asked for", "the source has none"


def towers_of(state: Mapping[str, Tensor]) -> int:
    """Convolutions of each tower of an FCOS under our names; 0 without a head."""
    return sum(value.dim() == 4 for key, value in state.items() if key.startswith("head.cls_tower."))


def lacking(state: Mapping[str, Tensor], into: str, parts: Sequence[str]) -> dict[str, str]:
    """Tensors under our names that a target of full size has and a source has nothing for -> why.

    Args:
        state: the source, with nothing left out but what was never trained.
        into: the target, a key of `TARGETS[kind]()`.
        parts: that the target can take.
    """
    wanted = {}
    if "backbone" in parts:
        body = {key.removeprefix(BODY): value for key, value in state.items() if key.startswith(BODY)}
        wanted = {f"{BODY}{key}": NONE for key in nearest_missing(body)}
    if "neck" in parts:
        for level in (2, 3, 4, 5) if reads_p2(into) else (3, 4, 5):
            why = "no trained values for P2" if level == 2 else NONE
            wanted |= dict.fromkeys(_layer(f"fpn.lateral{level}") + _layer(f"fpn.output{level}"), why)
        if not reads_p2(into):
            wanted |= dict.fromkeys(_layer("fpn.p6") + _layer("fpn.p7"), NONE)
    if "head" in parts and (count := towers_of(state)):
        why = f"the source's towers have {count} convolutions, by default {TOWER}"
        for place in range(_STEP * count, _STEP * TOWER, _STEP):
            for tower in ("cls_tower", "box_tower"):
                for module in (place, place + 1):
                    wanted |= dict.fromkeys(_layer(f"head.{tower}.{module}"), why)
    return {key: why for key, why in wanted.items() if key not in state}


def _layer(name: str) -> list[str]:
    return [f"{name}.weight", f"{name}.bias"]


def in_target(
    result: Collection[str], whole: Collection[str], lacks: Mapping[str, str], rename: Callable[[str], str | None]
) -> dict[str, str]:
    """Names that the target keeps its own values for -> why, those of one module together, as "head.*".

    Args:
        result: names of the converted weights.
        whole: those that they would have with all parts.
        lacks: as `lacking` says, under our names.
        rename: from our names to the target's.
    """
    missing = {name: NOT_ASKED for name in whole if name not in result}
    missing |= {name: why for key, why in lacks.items() if (name := rename(key)) is not None and name not in result}
    present = {".".join(words[:end]) for name in result for words in [name.split(".")] for end in range(1, len(words))}
    grouped: dict[str, str] = {}
    for name, why in missing.items():
        words = name.split(".")
        above = (".".join(words[:end]) for end in range(1, len(words)))
        module = next((module for module in above if module not in present), None)
        grouped.setdefault(name if module is None else f"{module}.*", why)
    return grouped


def width_needs(state: Mapping[str, Tensor], pyramid: str, head: str) -> list[str]:
    """What of the sizes under our names is no default of the target.

    pyramid, head: how the target is told its channels and its convolutions a tower, with a place for the number.
    """
    said = []
    output = state.get("fpn.output5.weight")
    if output is not None and len(output) != WIDTH:
        said.append(f"{pyramid.format(len(output))}, {WIDTH} by default")
    if (count := towers_of(state)) not in (0, TOWER):
        said.append(f"{head.format(count)}, {TOWER} by default")
    return said
