"""What chapter 4's tables are made of: one set of source images, learned with and without boxes, and the same target.

Every start but the first goes on from what stands for ImageNet here, as in the dissertation, where the comparison is
ImageNet's classes against ImageNet's classes and then boxes. `CLASSES` and `BOXES` are the honest pair: the same source
images, for as many iterations, with the class of each object only or with its box too. A target takes the backbone and
nothing else of a detector; all behind it begins anew. docs/dissertation.md has the treatment of what is not said.

The source is a set that no target sees: scenes of another seed, the hidden truth of a data set's unlabeled images, or
the `source` of a profile that is only planned with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from casl.spec import (
    Cell,
    Folder,
    Pretrain,
    Profile,
    SceneData,
    Scenes,
    Start,
    Train,
    Warmup,
    crop_classifier,
    finetune,
    quoted,
    warmup_on_truth,
)

NONE, CLS = "no pre-training", "ImageNet-CLS"
CLASSES, BOXES = "class only", "detection"
SOURCE = "the dissertation (ch. 4)"
LENGTH = 2  # of a detector's pre-training, and of the target's training, in x
SEED = 2  # added to that of the data; the stand-in for ImageNet learned scenes of seed 1
# Table 4.1: classes, million images, million objects
SETS = {"OpenImages": (500, 1.74, 14.6), "ImageNet-LOC": (3130, 0.92, 1.06), "COCO": (80, 0.14, 0.89)}
OTHER_TARGET = "published for SNIPER with a ResNet-101 on PASCAL VOC"


def gain(ours: float, theirs: float) -> float:
    """How much more one number is than another, in the decimals of published tables."""
    return round(ours - theirs, 2)


def share_left(before: float, without: float, whole: float) -> float:
    """Share of a gain that is left without something: of `whole` over `before`, what `without` still has."""
    return (without - before) / (whole - before)


def fewer(before: float, after: float) -> float:
    """By what share a number fell."""
    return 1.0 - after / before


def objects_an_image(name: str) -> float:
    """Of one of SETS."""
    _, images, objects = SETS[name]
    return objects / images


def source(profile: Profile, times: float = 1.0) -> Scenes | Folder | str:
    """The labeled images that backbones are pre-trained on, `times` as many; or why there are none, as a sentence."""
    data, like = profile.data, profile.pretrain
    if isinstance(data, SceneData):
        seen = like.data if isinstance(like, Pretrain) else None
        count = seen.count if isinstance(seen, Scenes) else data.unlabeled["tiny"]
        return Scenes(split="labeled", count=round(times * count), size=data.size, seed=data.seed + SEED)
    if data.knows("objects"):
        whole = data.split("unlabeled", "objects")
    elif profile.source is not None:
        whole = profile.source.split("labeled", "objects")
    else:
        return f"not measured: {data.name} has no labeled images beside those of the target"
    assert isinstance(whole, Folder)
    if times > 1:
        return f"not measured: there are {whole.count:,} source images and no more"
    return replace(whole, drawn=round(times * whole.count)) if times < 1 else whole


def moving(profile: Profile) -> Profile:
    """The profile for pre-training: of a backbone with real weights only what its own row says stays fixed, since
    there is more to learn from than in the target."""
    return replace(profile, shape=replace(profile.shape, frozen_stages=0))


def detection(profile: Profile, data: Scenes | Folder, start: Start | None = None) -> Warmup:
    """A detector pre-trained on boxes and classes of `data`, from ImageNet's stand-in or from `start`."""
    like = warmup_on_truth(moving(profile), schedule=LENGTH, agnostic=False, detector="fcos")
    classes = data.classes
    model = replace(like.model, classes=classes)
    if start is not None:
        model = replace(model, weights="random")
    return replace(like, data=data, model=model, pretrained=start or like.pretrained)


def class_only(profile: Profile, data: Scenes | Folder, iters: int) -> Pretrain:
    """A classifier of crops of `data`, from ImageNet's stand-in, of which as much stays fixed as in `detection`."""
    like = warmup_on_truth(moving(profile), schedule=LENGTH, agnostic=False, detector="fcos")
    return crop_classifier(profile, data, iters, before=like.pretrained, frozen_stages=like.model.frozen_stages)


def bare(profile: Profile) -> Profile:
    """The profile with random backbones."""
    return replace(profile, pretrain=None, shape=replace(profile.shape, weights="random", frozen_stages=0))


def target(profile: Profile, row: str, start: Train | Start | None, detector: str = "fcos") -> Train:
    """The detector of the target, finetuned from a backbone."""
    if row == NONE:
        return finetune(bare(profile), None, detector=detector, schedule=LENGTH)
    if isinstance(start, Train):
        return finetune(profile, start, parts=("backbone",), detector=detector, schedule=LENGTH)
    plain = finetune(profile, None, detector=detector, schedule=LENGTH)
    if start is None:
        return plain
    trained = finetune(profile, None, start=start, detector=detector, schedule=LENGTH)
    # as much stays fixed as after a detector, for a fair pair
    return replace(trained, model=replace(trained.model, frozen_stages=plain.model.frozen_stages))


def starts(profile: Profile) -> dict[str, Train | Start | str | None]:
    """Row -> what a target's backbone starts from, None where it is the profile's own, or why there is none."""
    seen = source(profile)
    if isinstance(seen, str):
        return {NONE: None, CLS: None, CLASSES: seen, BOXES: seen}
    boxes = detection(profile, seen)
    return {NONE: None, CLS: None, CLASSES: class_only(profile, seen, boxes.iters), BOXES: boxes}


def note(profile: Profile, row: str, start: Train | Start | str | None) -> str:
    """What a row is here, for its cells."""
    if row == NONE:
        return "random initialisation"
    if start is None:
        return profile.start or "ImageNet's weights"
    if isinstance(start, Pretrain):
        return f"classes of {start.stands_for.removeprefix('classifier of ')}, after {CLS}"
    assert isinstance(start, Train)
    data = start.data
    assert isinstance(data, Scenes | Folder)
    without = f" without {len(data.without)} classes" if data.without else ""
    return f"boxes of {data.images:,} images{without}, {start.iters:,} iterations, after {CLS}"


def absent(
    row: str, columns: Mapping[str, str], metric: str, why: str, published: Mapping[str, float]
) -> Iterator[Cell]:
    """Cells of a row that is not measured. columns: heading -> figure; published: by heading, where there are any."""
    for column, figure in columns.items():
        paper = published.get(column)
        if paper is None:
            yield Cell(row=row, column=column, metric=metric, stage=None, figure=figure, note=why)
        else:
            yield quoted(row, column, metric, paper, figure=figure, note=why)
