"""Class-agnostic semi-supervised learning for detection and segmentation, and the ablation framework around it.

    import casl
    model = casl.load("models:/casl-mini-scenes-table4@best")
    found = model.predict("photo.jpg")                      # boxes XYXY, scores, labels, names, masks
    frame = casl.Study("table4", profile="smoke").run().table()

Names are imported when they are first used, so that `import casl` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from casl.api.model import Detections, Model, load
    from casl.api.study import Study
    from casl.errors import CaslError

__all__ = ["CaslError", "Detections", "Model", "Study", "load"]

_PLACES = {
    "CaslError": "casl.errors",
    "Detections": "casl.api.model",
    "Model": "casl.api.model",
    "Study": "casl.api.study",
    "load": "casl.api.model",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("casl")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
