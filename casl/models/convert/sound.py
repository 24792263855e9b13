"""Whether tensors that are computed with have the shapes that they have in every detector of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from casl.errors import DataError
from casl.models.convert.adapt import STEMS

Form = tuple[int | None, ...]  # None stands for any size above 0
_FILTERS: Form = (None, None, None, None)
_PYRAMID = [f"fpn.{layer}{level}" for layer in ("lateral", "output") for level in (3, 4, 5)]
_FORMS: dict[str, Form] = {
    **dict.fromkeys(STEMS, (None, 3, None, None)),
    "head.scales": (None,),
    "head.bbox_pred.weight": (4, None, None, None),
    "head.bbox_pred.bias": (4,),
    "head.ctrness.weight": (1, None, None, None),
    "head.cls_logits.weight": _FILTERS,
    "head.cls_logits.bias": (None,),
    "head.cls_tower.0.weight": _FILTERS,
    "framework.head.cls_subnet.1.weight": (None,),
    "framework.head.classification_head.conv.0.1.weight": (None,),
    "fpn.p6.weight": _FILTERS,
    **{f"{layer}.weight": _FILTERS for layer in _PYRAMID},
    "fpn.output5.bias": (None,),
}
_OF_PYRAMID = re.compile(r"fpn\.((lateral|output)[2-5]|p[67])\.(weight|bias)")
_TABLE = ".relative_position_bias_table"


def check_sound(state: Mapping[str, Tensor]) -> None:
    """Refuse what no detector of ours can be.

    Args:
        state: under our names.

    Raises:
        DataError: a tensor has another shape than in any detector of ours or holds whole numbers, or a pyramid lacks a
            level, or has layers that ours have not.
    """
    for key, value in state.items():
        if (form := _FORMS.get(key)) is not None or key.endswith(_TABLE):
            _check_form(key, value, form or _table_form(value))
    if foreign := [key for key in state if key.startswith("fpn.") and not _OF_PYRAMID.fullmatch(key)]:
        raise DataError(
            f"the source's pyramid has {len(foreign)} tensors that none of casl's has, such as {foreign[0]}: it is one "
            "with norms or other layers (MODEL.FPN.NORM in detectron2), and without them its maps are others."
        )
    lacking = [f"{layer}.weight" for layer in _PYRAMID if f"{layer}.weight" not in state]
    if lacking and any(key.startswith("fpn.") for key in state):
        raise DataError(f"the source's pyramid is not whole: it lacks {', '.join(lacking[:3])}.")


def _check_form(key: str, value: Tensor, form: Form) -> None:
    if not value.is_floating_point():
        raise DataError(f"{key} holds whole numbers ({value.dtype}): weights that were quantized cannot be converted.")
    fits = len(value.shape) == len(form) and all(n in (size, None) for size, n in zip(value.shape, form, strict=True))
    if not fits or 0 in value.shape:
        wanted = ", ".join("n" if size is None else str(size) for size in form)
        raise DataError(f"{key} is {tuple(value.shape)}; in every detector of casl it is ({wanted}).")


def _table_form(value: Tensor) -> Form:
    """A row for each way from a cell of a square window to another: an odd number squared."""
    side = round(len(value) ** 0.5) if value.dim() else 0
    return (side**2 if side % 2 else (side + 1) ** 2, None)
