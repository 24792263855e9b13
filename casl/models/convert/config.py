"""What a configuration of detectron2 says that its weights do not show.

Source: detectron2 config/defaults.py, for what a file leaves out; fvcore common/config.py, for `_BASE_`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from casl.errors import DataError

BASE = "_BASE_"
_DEFAULTS: dict[str, Any] = {
    "INPUT.FORMAT": "BGR",
    "MODEL.PIXEL_MEAN": [103.53, 116.28, 123.675],
    "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.RESNETS.RES5_DILATION": 1,
    "MODEL.FPN.FUSE_TYPE": "sum",
    "MODEL.FPN.NORM": "",
}


@dataclass(frozen=True)
class Configured:
    """A configuration, as far as it decides what a backbone and a pyramid compute.

    Attributes:
        order: of channels, "bgr" or "rgb".
        mean, std: of the input, in that order.
        values: name of a setting -> its value, detectron2's own where the file says nothing.
    """

    order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    values: Mapping[str, Any]


def read_config(path: Path) -> Configured:
    """A YAML file of detectron2's, with the files that it is based on.

    Raises:
        DataError: it is not there, no such file, or of an input that no backbone of ours has.
    """
    tree = _read(path, ())
    values = {name: _found(tree, name, default) for name, default in _DEFAULTS.items()}
    order = str(values["INPUT.FORMAT"]).lower()
    if order not in ("bgr", "rgb"):
        raise DataError(f"{path} says INPUT.FORMAT {values['INPUT.FORMAT']!r}: only BGR and RGB can be converted.")
    mean, std = (_three(values[f"MODEL.PIXEL_{name}"], name, path) for name in ("MEAN", "STD"))
    if min(std) <= 0:
        raise DataError(f"{path} says MODEL.PIXEL_STD {list(std)}: a deviation is above 0.")
    return Configured(order, mean, std, values)


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if not path.is_file():
        whose = f", which {above[-1]} is based on" if above else ""
        raise DataError(f"no configuration at {path}{whose}.")
    if path.resolve() in above:
        raise DataError(f"{path} is based on itself.")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError, RecursionError) as e:
        raise DataError(f"{path} is no YAML of detectron2's: {str(e).splitlines()[0]}.") from e
    if not isinstance(tree, dict):
        raise DataError(f"{path} is no configuration of detectron2's: it has no settings by name.")
    base = tree.pop(BASE, None)
    if base is None:
        return tree
    return _over(_read(path.parent / Path(str(base)).expanduser(), (*above, path.resolve())), tree)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `above`, and where it has none those of `below`."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _found(tree: Mapping[str, Any], name: str, default: Any) -> Any:
    node: Any = tree
    for word in name.split("."):
        if not isinstance(node, dict) or word not in node:
            return default
        node = node[word]
    return node


def _three(value: Any, name: str, path: Path) -> tuple[float, float, float]:
    try:
        first, second, third = (float(v) for v in (ast.literal_eval(value) if isinstance(value, str) else value))
    except (TypeError, ValueError, SyntaxError) as e:
        raise DataError(f"{path} says MODEL.PIXEL_{name} {value!r}: three numbers are needed.") from e
    return first, second, third  # in the order of INPUT.FORMAT
