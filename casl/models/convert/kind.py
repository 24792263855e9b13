"""What a state dict under our names is of, told by its names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from casl import catalog
from casl.errors import SpecError
from casl.models.body import BODY
from casl.rows import Converts

PLAIN_STEM = 7  # side of the stem's filter in the ResNets that others know


def is_swin(state: Mapping[str, Tensor]) -> bool:
    """Whether the backbone is a Swin Transformer."""
    return f"{BODY}patch_embed.proj.weight" in state


def is_known_resnet(state: Mapping[str, Tensor]) -> bool:
    """Whether the backbone is a ResNet that torchvision and detectron2 have too: one 7 x 7 filter as its stem."""
    stem = state.get(f"{BODY}conv1.weight")
    return stem is not None and stem.shape[-1] == PLAIN_STEM


def is_bottleneck(state: Mapping[str, Tensor]) -> bool:
    """Whether the backbone is a ResNet of blocks with three convolutions, of which one of two may have the stride."""
    return is_known_resnet(state) and f"{BODY}layer1.0.conv3.weight" in state


_DEPTHS = {"2 2 2 2 basic": 18, "3 4 6 3 basic": 34, "3 4 6 3": 50, "3 4 23 3": 101, "3 8 36 3": 152}


def blocks_of(state: Mapping[str, Tensor]) -> list[int]:
    """Blocks of each of the four stages of a ResNet."""
    names = [key.removeprefix(f"{BODY}layer").split(".") for key in state if key.startswith(f"{BODY}layer")]
    return [len({words[1] for words in names if words[0] == stage}) for stage in "1234"]


def depth_of(state: Mapping[str, Tensor]) -> int:
    """Depth by which others know a ResNet; 0 for one that they have not."""
    kind = "" if is_bottleneck(state) else " basic"
    return _DEPTHS.get(" ".join(map(str, blocks_of(state))) + kind, 0)


def position_tables(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Every Swin block's table of position biases, with the side of its window."""
    end = ".relative_position_bias_table"
    return {key: (round(len(v) ** 0.5) + 1) // 2 for key, v in state.items() if key.endswith(end)}


@dataclass(frozen=True)
class Told:
    """What a state dict is of, judged once, before anything is left out of it.

    Attributes:
        detector: of the catalog; "backbone" for a backbone alone, with or without a pyramid.
        project: whose modules it has; "casl" for a backbone alone.
        name: what the detector is called there.
        reads_p2: whether it reads P2's layers of the pyramid, so that they were trained; not known of a backbone alone.
        swin, known_resnet: what `is_swin` and `is_known_resnet` say.
    """

    detector: str
    project: str
    name: str
    reads_p2: bool
    swin: bool
    known_resnet: bool


def framework_of(state: Mapping[str, Tensor]) -> Told:
    """The detector that has such names: of those whose marks are all there, the one with most.

    Raises:
        SpecError: no detector of ours has such names.
    """
    if not any(key.startswith(BODY) for key in state):
        example = next(iter(state), "nothing")
        raise SpecError(f"these are no weights of a detector of casl: the first tensor is {example!r}, no {BODY}*.")
    fitting = [
        (len(c.marks), detector, c)
        for detector, c in convertible().items()
        if all(any(key.startswith(mark) for key in state) for mark in c.marks)
    ]
    if not fitting:
        return Told("backbone", "casl", "backbone", False, is_swin(state), is_known_resnet(state))
    _, detector, converts = max(fitting, key=lambda found: found[0])
    name = converts.name or detector
    return Told(detector, converts.project, name, converts.reads_p2, is_swin(state), is_known_resnet(state))


def convertible() -> dict[str, Converts]:
    """Detectors of the catalog of whose weights something is known."""
    rows = ((name, catalog.row("detector", name)) for name in catalog.names("detector"))
    return {name: row.converts for name, row in rows if row.converts}


def targets(project: str) -> dict[str, tuple[str, ...]]:
    """Model of another project -> names of it that only the same detector has weights for."""
    return {name: c.targets[project] for name, c in convertible().items() if project in c.targets}


def reads_p2(name: str) -> bool:
    """Whether a model reads P2's layers of the pyramid, by its name in `targets`."""
    return (found := convertible().get(name)) is not None and found.reads_p2
