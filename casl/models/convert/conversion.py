"""Weights of our detectors to the names of other projects, and the reverse.

The files of this folder say what is called how and what has to be done to values; here is the order of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from casl.errors import SpecError, unknown
from casl.models.backbone import build_backbone
from casl.models.body import BODY, check_fits
from casl.models.convert import adapt, detectron2, timm, torchvision
from casl.models.convert.config import Configured
from casl.models.convert.kind import Told, framework_of, reads_p2
from casl.models.convert.lacks import in_target, lacking
from casl.models.convert.ledger import Ledger, Report
from casl.models.convert.names import renamer
from casl.models.convert.sound import check_sound
from casl.models.fcos import FCOS, FCOSSettings
from casl.models.parts import part_of
from casl.rows import PARTS

TARGETS = {"detectron2": detectron2.heads, "torchvision": torchvision.heads}  # project -> its models
SOURCES = ("detectron2", "timm", "torchvision")
INPUTS = ("bgr", "rgb")
NECK = ("backbone", "neck")
Converted = tuple[dict[str, Tensor], Report]


@dataclass(frozen=True)
class Wish:
    """What to convert into.

    Attributes:
        into: model of the target, a key of TARGETS; empty for what the source is itself, or FCOS for CondInst.
        parts: of the source; none given for all that the target can take.
        classes: of the target, for a class-agnostic classifier to be copied to; 0 leaves it as it is.
        input: of detectron2's model: "bgr" is its default, BGR on 0..255 less the mean; "rgb" is ours; empty for "bgr".
        own_names: in detectron2, leave the backbone's names as those that `casl.detectron2` registers have them.
        backbone: name of ours that the source has, for its input; only an EfficientNet needs it.

    Raises:
        SpecError: a name is unknown or a number out of range.
    """

    into: str = ""
    parts: tuple[str, ...] = ()
    classes: int = 0
    input: str = ""
    own_names: bool = False
    backbone: str = ""

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise SpecError(unknown("part", part, PARTS))
        if self.input and self.input not in INPUTS:
            raise SpecError(unknown("input", self.input, INPUTS))
        if self.classes < 0:
            raise SpecError(f"a number of classes is 1 or more, or 0 to leave them, got {self.classes}")


def convert_to(kind: str, state: Mapping[str, Tensor], wish: Wish) -> Converted:
    """Weights of a detector of ours under the names of another project.

    Args:
        kind: a key of TARGETS.
        state: of FCOS, CondInst or a framework; never changed.
        wish: what to convert into.

    Returns:
        The tensors, contiguous and none sharing memory, and what became of each.

    Raises:
        SpecError: an unknown name, no detector of ours, or a part the target cannot take.
        DataError: the weights are of another backbone than the one named, or of shapes that no detector has.
    """
    if kind not in TARGETS:
        raise SpecError(unknown("format to convert to", kind, TARGETS))
    check_sound(state)
    told = framework_of(state)
    into = _target(kind, told, wish)
    _check_backbone(state, wish.backbone)
    if into == detectron2.OWN:
        ledger = Ledger(state)
        _check_read(
            vars(wish), dict.fromkeys(("parts", "classes", "input", "own_names"), "casl takes all as it is here")
        )
        ledger.needs.append(detectron2.REGISTER)
        ledger.rename(renamer(detectron2.OWN_RULES), "no tensor here")
        return _whole(ledger.state), ledger.report({})
    possible = _possible(kind, told, into)
    parts = _parts(kind, state, told, into, possible, wish)
    _check_read(vars(wish), _not_read(kind, told, into, parts))
    rules = detectron2.rules_to(told, wish.own_names) if kind == "detectron2" else torchvision.rules_to(told, into)
    rename, why_not = renamer(rules), f"no such tensor in {kind}'s {into}"
    taken = adapt.input_of(state, wish.backbone) if "backbone" in parts else adapt.Input()
    ledger = _with_parts(kind, state, told, into, wish, taken, parts)
    all_taken = set(parts) == set(possible)
    whole = ledger.state if all_taken else _with_parts(kind, state, told, into, wish, taken, possible).state
    lacks, names = lacking(whole, into, possible), [name for key in whole if (name := rename(key)) is not None]
    if kind == "detectron2":
        ledger.needs += detectron2.needs(ledger.state, told, wish.own_names, wish.input != "rgb", taken)
    else:
        ledger.needs += torchvision.needs(ledger.state, told, taken)
    ledger.rename(rename, why_not)
    theirs = detectron2.only_theirs if kind == "detectron2" else torchvision.only_theirs
    alone = theirs(ledger.state, into, told)
    return _whole(ledger.state), ledger.report(alone | in_target(ledger.state, names, lacks, rename))


def _with_parts(
    kind: str, state: Mapping[str, Tensor], told: Told, into: str, wish: Wish, taken: adapt.Input, parts: Sequence[str]
) -> Ledger:
    """Some parts under our names with the values that the target wants."""
    ledger = Ledger(state)
    adapt.keep_parts(ledger, parts)
    _to_their_values(kind, ledger, told, into, wish, taken)
    return ledger


def _target(kind: str, told: Told, wish: Wish) -> str:
    into = wish.into or told.name
    if into not in (known := TARGETS[kind]()):
        raise SpecError(unknown(f"framework of {kind}", into, known, "--into names the one to convert into."))
    return into


def _possible(kind: str, told: Told, into: str) -> Sequence[str]:
    """The parts that a target can take."""
    same = into == told.name and told.project in ("casl", kind) and into != "backbone"
    return PARTS if same else ("backbone",) if into == "backbone" else NECK


def _parts(
    kind: str, state: Mapping[str, Tensor], told: Told, into: str, possible: Sequence[str], wish: Wish
) -> Sequence[str]:
    """The parts to take: those asked for, or all that fit."""
    if wrong := [part for part in wish.parts if part not in possible]:
        raise SpecError(
            f"{kind}'s {into} cannot take the {wrong[0]} of a {told.detector} of {told.project}: "
            f"only {', '.join(possible)}.\n"
            "  name another framework with --into, or leave that part out."
        )
    there = {part_of(key) for key in state}
    if wrong := [part for part in wish.parts if part not in there]:
        raise SpecError(
            f"these weights have nothing of the {wrong[0]}: only {', '.join(p for p in PARTS if p in there)}."
        )
    return wish.parts or possible


def _not_read(kind: str, told: Told, into: str, parts: Sequence[str]) -> dict[str, str]:
    """Fields of Wish that have no effect here -> why."""
    why = {}
    if kind != "detectron2":
        why = dict.fromkeys(("input", "own_names"), f"it is about detectron2's models, and {kind}'s read what ours do")
    elif "backbone" not in parts:
        why = dict.fromkeys(("input", "own_names"), f"it is about the backbone, and {', '.join(parts)} is asked for")
    if told.project != "casl" or "classifier" not in parts:
        why["classes"] = (
            f"it is about the classifier of an FCOS or CondInst, and {kind}'s {into} takes {', '.join(parts)} "
            f"of this {told.detector}"
        )
    return why


def _check_read(asked: Mapping[str, object], why: Mapping[str, str]) -> None:
    """Refuse what was asked for and would be ignored."""
    if wrong := [name for name in why if asked[name]]:
        raise SpecError(f"--{wrong[0].replace('_', '-')} changes nothing here: {why[wrong[0]]}. Leave it out.")


def _to_their_values(kind: str, ledger: Ledger, told: Told, into: str, wish: Wish, taken: adapt.Input) -> None:
    if not told.reads_p2:
        adapt.drop_untrained(ledger)
    if reads_p2(into):
        adapt.drop_top(ledger)
    adapt.note_groups(ledger, kind)
    adapt.add_biases(ledger)
    adapt.fold_scales(ledger)
    if wish.classes:
        adapt.replicate(ledger, wish.classes)
    if kind == "detectron2":
        if wish.input != "rgb":
            adapt.stem_to_bgr(ledger, taken.std)
        if not wish.own_names:
            detectron2.add_indices(ledger)
            detectron2.drop_counters(ledger, told)
        detectron2.drop_means(ledger)
    else:
        adapt.move_sides(ledger, 1.0)
        torchvision.add_indices(ledger)


def convert_from(
    kind: str,
    state: Mapping[str, Tensor],
    backbone: str = "",
    source_input: str = "",
    config: Configured | None = None,
) -> Converted:
    """Weights of another project under our names.

    Args:
        kind: one of SOURCES.
        state: of one of its models; never changed.
        backbone: name of ours that the source has; needed for timm, and otherwise to say what is missing.
        source_input: of detectron2's model, as in `Wish`.
        config: of detectron2's model; None leaves what it should say in the report's `needs`.

    Returns:
        As `convert_to`.

    Raises:
        SpecError: an unknown name, or a source of which nothing has a name of ours.
        DataError: the weights are of another backbone than the one named, or of shapes that no detector has, or their
            model computed what ours do not.
    """
    if kind not in SOURCES:
        raise SpecError(unknown("format to convert from", kind, SOURCES))
    if source_input and source_input not in INPUTS:
        raise SpecError(unknown("input", source_input, INPUTS))
    if kind != "detectron2" or detectron2.is_registered(state):
        whose = "a detector of ours" if kind == "detectron2" else f"{kind}'s models"
        why = f"the weights are of {whose}, which read what ours do"
        _check_read({"input": source_input, "config": config}, dict.fromkeys(("input", "config"), why))
    if kind == "timm":
        ledger = timm.from_timm(state, backbone)
    elif kind == "detectron2":
        ledger = _from_detectron2(state, _order(source_input, config), backbone, config)
    else:
        ledger = _from_torchvision(state)
    if not ledger.state:
        first = next(iter(state), "nothing")
        raise SpecError(f"nothing here has a name of {kind}'s detectors; the first tensor is {first!r}.")
    if kind != "timm":
        _check_backbone(ledger.state, backbone)
    return _whole(ledger.state), ledger.report(_left_here(ledger.state, backbone))


def _order(asked: str, config: Configured | None) -> str:
    if config is None:
        return asked or INPUTS[0]
    if asked not in ("", config.order):
        raise SpecError(
            f"--input {asked} was asked for, and the configuration says INPUT.FORMAT {config.order.upper()}."
        )
    return config.order


def _from_detectron2(state: Mapping[str, Tensor], order: str, backbone: str, config: Configured | None) -> Ledger:
    ledger = Ledger(state)
    detectron2.drop_indices(ledger)
    ledger.rename(renamer(detectron2.rules_from(state), backwards=True), "no such tensor here")
    check_sound(ledger.state)
    if detectron2.is_registered(state):
        return ledger  # its input is ours
    computes = order == "bgr" or config is not None
    taken = adapt.input_of(ledger.state, backbone) if computes or backbone else None
    if config is None:
        ledger.needs += detectron2.source_needs(ledger.state, order, taken)
    elif taken is not None:
        detectron2.check_configured(ledger.state, config, taken)
    if taken is not None and order == "bgr":
        adapt.stem_from_bgr(ledger, taken.std, config.std if config else (1.0, 1.0, 1.0))
    elif taken is not None and config is not None:
        adapt.stem_from_rgb(ledger, taken.std, config.std)
    adapt.unit_scales(ledger)
    detectron2.add_means(ledger)
    return ledger


def _from_torchvision(state: Mapping[str, Tensor]) -> Ledger:
    ledger = Ledger(state)
    detectron2.drop_indices(ledger)  # of the same name
    ledger.rename(renamer(torchvision.rules_from(state), backwards=True), "no such tensor here")
    check_sound(ledger.state)
    if torchvision.is_fcos(state):
        adapt.move_sides(ledger, -1.0)
        adapt.unit_scales(ledger)
    return ledger


def _left_here(state: Mapping[str, Tensor], backbone: str) -> dict[str, str]:
    """Tensors of backbone and pyramid that a detector of ours has and `state` does not."""
    if not backbone:
        return {}
    channels = next((len(v) for k, v in state.items() if k == "fpn.output5.bias"), 256)
    with torch.device("meta"):
        wanted = FCOS(build_backbone(backbone), 1, FCOSSettings(channels=channels)).state_dict()
    parts = ("backbone.", "fpn.") if any(key.startswith("fpn.") for key in state) else ("backbone.",)
    wanted = {k: v for k, v in wanted.items() if k.startswith(parts) and not k.endswith("num_batches_tracked")}
    return {k: "the source has none" for k in wanted if k not in state}


def _check_backbone(state: Mapping[str, Tensor], backbone: str) -> None:
    """Refuse weights under our names that are of another backbone than the one named."""
    if backbone:
        check_fits(backbone, {key.removeprefix(BODY): v for key, v in state.items() if key.startswith(BODY)})


def _whole(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().clone().contiguous() for key, value in state.items()}
