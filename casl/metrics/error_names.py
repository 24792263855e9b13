"""The kinds of errors of casl.metrics.error_types by name, where nothing heavy is imported."""

from __future__ import annotations

# kind -> what it is, for people; in the order in which errors are judged, with "missed" for objects at the end
MEANING = {
    "classification": "in the right place, of another class",
    "localisation": "of the right class, at an IoU from .1 to .5",
    "both": "of the wrong class and in the wrong place",
    "duplicate": "on an object that a prediction of higher score has found",
    "background": "on nothing",
    "missed": "objects that no prediction found, nor would find with its class or place mended",
}
KINDS = tuple(MEANING)
