"""Which image goes into which split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from casl.data.importing.draw import Group, Share, beginning, held_out, ordered
from casl.data.importing.fit import Item
from casl.errors import DataError, SpecError

LABELED, VAL, ALL = Share("10%"), Share("20%"), Share("100%")
BESIDE_VAL = "left out as near copies of an image of val"
BESIDE_LABELED = "without labels, left out as near copies of a labeled image"
TEST = "images of the source's test split"


@dataclass(frozen=True)
class Plan:
    """How splits are drawn.

    Attributes:
        labeled: share of the labeled images outside val that keep their labels. None: all of them if a folder of
            unlabeled images was given, or if as many images have no labels; else a tenth.
        val: share of the labeled images. None: the val split of the source, or else a fifth.
        seed: of all that is drawn.
        fold: another draw of `labeled` from the same images; val stays.
    """

    labeled: Share | None = None
    val: Share | None = None
    seed: int = 0
    fold: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0 or self.fold < 0:
            raise SpecError(f"seed {self.seed} and fold {self.fold}: give numbers from 0 on.")


@dataclass
class Drawn:
    """Positions of images.

    Attributes:
        splits: by split.
        lacking: classes that a split has no object of, with the number of labeled images that have one.
        near: what was done about near copies, with the number of images.
        left_out: other images that are in no split, by reason.
    """

    splits: dict[str, list[int]]
    lacking: dict[str, dict[str, int]]
    near: Counter[str]
    left_out: Counter[str]


@dataclass
class _Parts:
    """What can be drawn from: `val` is fixed by the source, `pool` has labels, `loose` has none."""

    val: list[int] = field(default_factory=list)
    pool: list[Group] = field(default_factory=list)
    loose: list[Group] = field(default_factory=list)


def own_val(items: Iterable[Item]) -> str | None:
    """The split of the source that is val: its val, or its test if it has no val; None if nothing else is left.

    Without a val, test counts only beside a train split: a folder of that name alone may mean anything.
    """
    words = {item.picture.split for item in items if item.labeled}
    if "val" in words and words & {"train", None}:
        return "val"
    return "test" if {"train", "test"} <= words else None


def assign(items: Sequence[Item], groups: Sequence[Group], plan: Plan, further: bool) -> Drawn:
    """The splits.

    Val of the source stays as it is, unless the plan gives a share for val: then all labels are drawn from.

    Args:
        items: all images.
        groups: near copies, by position in `items`.
        plan: how.
        further: unlabeled images of another folder are among them.

    Raises:
        DataError: there are labels, and too few to have both `labeled` and `val`, or as many as the plan asks for.
    """
    near: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    word = own_val(items) if plan.val is None else None
    parts = _parts(items, groups, word, near, left_out)
    if word is None and parts.pool:
        wanted, there = (plan.val or VAL).of(_size(parts.pool)), _size(parts.pool)
        if plan.val and wanted >= there > 1:
            raise DataError(
                f"--val {plan.val.text}: there are {there} labeled images, some of which stay outside; ask for fewer."
            )
        held, parts.pool = held_out(parts.pool, wanted, [plan.seed, 0])
        parts.val = _positions(held)
    _refuse_too_few(sum(item.labeled for item in items), parts)
    left = _size(parts.pool)
    if plan.labeled and plan.labeled.of(left) > left > 0:
        raise DataError(f"--labeled {plan.labeled.text}: there are {left} labeled images outside val; ask for fewer.")
    many_loose = _size(parts.loose) >= _size(parts.pool)
    share = plan.labeled or (ALL if further or many_loose else LABELED)
    order = ordered(parts.pool, [plan.seed, 1, plan.fold])
    chosen, rest = beginning(order, share.of(_size(parts.pool)))
    splits = {
        "labeled": _positions(chosen),
        "val": parts.val,
        "unlabeled": _positions([*rest, *ordered(parts.loose, [plan.seed, 2])]),
    }
    if rest and not parts.loose:
        splits["unlabeled_gt"] = list(splits["unlabeled"])
    often = Counter(name for i in [*_positions(parts.pool), *parts.val] for name in items[i].classes)
    lacking = {split: _lacking(items, splits[split], often) for split in ("labeled", "val")}
    return Drawn(splits, lacking, near, left_out)


def _parts(
    items: Sequence[Item], groups: Sequence[Group], word: str | None, near: Counter[str], left_out: Counter[str]
) -> _Parts:
    """What each group can be used for. Near copies never come into different splits."""
    parts = _Parts()
    for group in groups:
        labeled = [i for i in group.members if items[i].labeled]
        if not labeled:
            parts.loose.append(group)
            continue
        fixed = [i for i in labeled if word and items[i].picture.split == word]
        if fixed:
            parts.val += fixed
            near[BESIDE_VAL] += len(group.members) - len(fixed)
            continue
        near[BESIDE_LABELED] += len(group.members) - len(labeled)
        usable = [i for i in labeled if word != "val" or items[i].picture.split != "test"]
        left_out[TEST] += len(labeled) - len(usable)
        if usable:
            classes = frozenset(name for i in usable for name in items[i].classes)
            parts.pool.append(Group(tuple(usable), classes))
    return parts


def _refuse_too_few(labeled: int, parts: _Parts) -> None:
    if not labeled or (parts.val and parts.pool):
        return
    raise DataError(
        f"{labeled} labeled images are too few for both 'labeled' and 'val', where near copies stay together and each "
        "class keeps an image outside val.\n"
        "  Label more images, or add --near-copies-apart if images that look alike are different scenes."
    )


def _lacking(items: Sequence[Item], members: Iterable[int], often: Counter[str]) -> dict[str, int]:
    here = {name for i in members for name in items[i].classes}
    return {name: count for name, count in sorted(often.items()) if name not in here}


def _size(groups: Iterable[Group]) -> int:
    return sum(len(group.members) for group in groups)


def _positions(groups: Iterable[Group]) -> list[int]:
    return [i for group in groups for i in group.members]
