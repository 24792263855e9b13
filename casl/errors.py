"""Every error casl raises on purpose. The whole tree is on this page.

A message says what was asked, what exists and what to do next; `unknown` writes the common kind.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from importlib import util

SHOWN = 100  # letters of a word that is too long
_LONG_WORD, _LONG_LINE = re.compile(r"\S{500,}"), re.compile(r"[^\n]{10000,}")
# what to type for detectron2, which no package index has; its build reads the installed torch, and needs pkg_resources
DETECTRON2_INSTALL = (
    "pip install 'setuptools<81' wheel ninja",
    "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2'",
)


class CaslError(Exception):
    """Base of all errors that a user, a file or a machine can cause. The command line prints it without a traceback."""


class SpecError(CaslError):
    """A spec, profile or command line asks for something that does not exist or cannot be."""


class DataError(CaslError):
    """A data set on disk is missing, damaged, inconsistent or not what it was."""


class MissingPackageError(CaslError):
    """Something was asked for that an optional package does, which is not installed."""


class StageError(CaslError):
    """A stage could not finish: loss not finite, worker lost, device out of memory."""


class DeviceMemoryError(StageError):
    """The device's memory did not hold a batch; the same batch in smaller pieces may fit."""


class PeerLostError(StageError):
    """Another process of the same stage ended, or did not answer in time; the stage can go on from its checkpoint."""


class StoppedError(CaslError):
    """A stage was asked to stop and did, after saving where it was; nothing is wrong with it."""


class StoreError(CaslError):
    """The store is damaged, full, read-only or written by another version."""


class TrackingError(CaslError):
    """MLflow could not be reached or refused; never fatal to a run, results wait in the store."""


def unknown(kind: str, name: str, known: Iterable[str], advice: str = "") -> str:
    """Message for a name that is not among the known ones.

    Args:
        kind: what was named, in the singular: "detector".
        name: what was asked for.
        known: every legal name.
        advice: what to do to make the name legal; appended.

    Returns:
        Two or more lines: the name, the known names, the nearest one, the advice.
    """
    names = sorted(known)
    shown = map(repr, names) if any("," in name for name in names) else names
    lines = [f"unknown {kind} {name!r}; known: {', '.join(shown) or 'none'}."]
    if near := nearest(str(name), names):
        lines.append(f"  did you mean {near!r}?")
    if advice:
        lines.append(f"  {advice}")
    return "\n".join(lines)


def nearest(name: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """The known name that is most like one that does not exist; "" where none is as like it, from 0 to 1, as asked."""
    return next(iter(difflib.get_close_matches(name, [*known], n=1, cutoff=likeness)), "")


def shortened(text: str) -> str:
    """A message in which no word, such as the name of a class or of a file, and no line fills the screen."""
    text = _LONG_WORD.sub(lambda found: f"{found[0][:SHOWN]}... ({len(found[0]):,} letters)", text)
    return _LONG_LINE.sub(lambda found: f"{found[0][: 20 * SHOWN]}... ({len(found[0]):,} letters)", text)


def need_detectron2(asked: str) -> None:
    """Nothing, if detectron2 is there; it is not imported.

    Args:
        asked: what was asked for, as the subject of a sentence: "detector 'd2_retinanet'".

    Raises:
        MissingPackageError: it is not installed; the message says how to install it.
    """
    if util.find_spec("detectron2") is None:
        steps = "".join(f"\n    {step}" for step in DETECTRON2_INSTALL)
        raise MissingPackageError(
            f"{asked} needs detectron2, which is not installed.\n"
            f"  It is built from its sources, against the torch that is here (docs/detectron2.md):{steps}"
        )
