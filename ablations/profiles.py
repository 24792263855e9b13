"""Profiles: smoke (minutes, for tests), mini (default, a laptop's CPU), photos (a laptop's CPU, ImageNet weights and a
set of photographs), gpu (one GPU, a day), paper (COCO, a cluster).

The small profiles keep the shape of the paper's experiment, not its size: they show that the machinery measures what it
should and say nothing about the paper's claims. Small backbones stand for the paper's: see `backbones`.
"""

from __future__ import annotations

from dataclasses import replace

from casl.spec import (
    Certainty,
    ContrastRecipe,
    Model,
    PlannedData,
    Pretrain,
    Profile,
    Recipe,
    SceneData,
    Scenes,
    Unlabelled,
)

# Nested, in the paper's ratios 123 : 660 : 1740 : 3660 (thousand images, Table 7).
_MINI_UNLABELED = {"tiny": 246, "small": 1320, "base": 3480, "large": 7320}
_SMOKE_UNLABELED = {"tiny": 41, "small": 220, "base": 580, "large": 1220}

# One architecture in five widths: labelers of different strength for Table 5, the widest for everything else.
_SMALL_BACKBONES = {
    "resnet50": "resnet_micro",
    "resnet101": "resnet_nano",
    "swin_t": "resnet_micro",
    "swin_s": "resnet_lite",
    "swin_b": "resnet_half",
    "swin_l": "resnet10t",
}

# 64 px images hold objects of 6..40 px: level ranges are the paper's divided by 4, so that P3..P5 share the work.
_SMALL_SHAPE = Model(
    detector="condinst",
    backbone="resnet_micro",
    classes=1,
    channels=64,
    mask_channels=32,
    towers=2,
    ranges=(16, 32, 64, 128),
)
# A short ramp-up at this rate drives box distances below zero for good: see "Dead boxes" in docs/decisions.md.
_SMALL_RECIPE = Recipe(lr=1e-3, batch=16, sizes=(64,), max_size=96, weight_decay=0.05, ramp_iters=50)
# With these, 36 labeled scenes and two layers a tower, the baseline is past the knee: docs/decisions.md.
_MINI_RECIPE = replace(_SMALL_RECIPE, lr=4e-3, batch=8)


def _classifier_of(scenes: int, iters: int) -> Pretrain:
    """What stands for ImageNet: a classifier of crops of scenes that no detector sees, of shapes that none learns.

    ImageNet-1k has 10.8 images for each of train2017's; a scene has 4.25 objects, so 254 scenes give 30 crops for each
    of 36 labeled ones. 150 iterations see each crop 9 times.
    """
    return Pretrain(
        backbone="resnet_micro",  # the recipe puts the one in question
        data=Scenes(split="labeled", count=scenes, size=64, seed=1, shapes="others"),
        size=32,
        batch=64,
        iters=iters,
        lr=1e-3,
    )


# Views of 64 px, so the cells that DenseCL compares are those of C4, 4 x 4: C5 has 2 x 2. Momentum as in MoCo's own
# demonstration at 32 px; .999 has a half-life of 693 iterations.
_SMALL_CONTRAST = ContrastRecipe(
    lr=1e-3, batch=64, size=64, queue=1024, dim=64, momentum=0.99, optimizer="adamw", weight_decay=0.05
)

MINI = Profile(
    name="mini",
    title="built-in scenes at 64 px, minutes on a laptop",
    data=SceneData(labeled=36, unlabeled=_MINI_UNLABELED, val=200, size=64),
    iters_1x=144,
    backbones=_SMALL_BACKBONES,
    shape=_SMALL_SHAPE,
    warmup_recipe=_MINI_RECIPE,
    finetune_recipe=_MINI_RECIPE,
    test_size=(64, 96),
    photo_size=(128, 192),
    strong_sizes=(32, 96),
    # The paper finds both equal (sec. 3.1). In a few hundred iterations they are not: see docs/decisions.md.
    classifier="random",
    light=True,
    pretrain=_classifier_of(scenes=254, iters=150),
    contrast=Unlabelled(_SMALL_CONTRAST, iters=1000, grid="c4"),
    certain=Certainty(one_x=4.0, teacher=3.0),
)

SMOKE = replace(
    MINI,
    name="smoke",
    title="built-in scenes, a handful of iterations: shows that everything runs",
    data=SceneData(labeled=24, unlabeled=_SMOKE_UNLABELED, val=16, size=64),
    iters_1x=9,
    warmup_recipe=replace(_SMALL_RECIPE, batch=8, ramp_iters=10),
    finetune_recipe=replace(_SMALL_RECIPE, batch=8, ramp_iters=10),
    pretrain=_classifier_of(scenes=61, iters=10),
    contrast=Unlabelled(replace(_SMALL_CONTRAST, batch=16, queue=64, dim=16, groups=4), iters=6, grid="c4"),
    certain=Certainty(one_x=0.5, teacher=0.25, tau=0.07),  # after two iterations no score comes near .7
)

# One GPU of 80 GB, a day: scenes at 256 px, 20 times mini's images and iterations, ResNets from resnet10t to resnet101.
_GPU_RECIPE = Recipe(
    lr=5e-4, batch=16, sizes=(224, 256, 288), max_size=384, weight_decay=0.05, ramp_iters=500, precision="mixed"
)

GPU = replace(
    MINI,
    name="gpu",
    title="built-in scenes at 256 px, about a day on one GPU",
    data=SceneData(
        labeled=2667, unlabeled={"tiny": 2781, "small": 14_921, "base": 39_339, "large": 82_748}, val=1000, size=256
    ),
    iters_1x=2000,
    backbones={
        "resnet50": "resnet18",
        "resnet101": "resnet10t",
        "swin_t": "resnet18",
        "swin_s": "resnet26",
        "swin_b": "resnet50",
        "swin_l": "resnet101",
    },
    shape=Model(detector="condinst", backbone="resnet18", classes=1),
    warmup_recipe=_GPU_RECIPE,
    finetune_recipe=_GPU_RECIPE,
    test_size=(256, 384),
    photo_size=(256, 384),
    strong_sizes=(128, 384),
    classifier="replicate",
    light=False,
    pretrain=Pretrain(
        backbone="resnet18",
        data=Scenes(split="labeled", count=6776, size=256, seed=1, shapes="others"),
        size=96,
        batch=64,
        iters=6750,
        lr=1e-3,
    ),
    # a view sees a quarter of a scene's area and more; half its side as published views are of ImageNet's images
    contrast=Unlabelled(
        ContrastRecipe(
            lr=1e-3,
            batch=256,
            size=128,
            queue=16_384,
            momentum=0.99,
            optimizer="adamw",
            weight_decay=0.05,
            precision="mixed",
        ),
        iters=6750,
    ),
    certain=Certainty(one_x=2.0, teacher=1.0),
)

# The pretrained body learns at a third of the rate; no other factor was tried. See docs/decisions.md.
_PHOTO_RECIPE = Recipe(lr=1e-3, batch=8, sizes=(128,), max_size=192, weight_decay=0.05, ramp_iters=100, body_lr=0.3)

PHOTOS = Profile(
    name="photos",
    title="photographs at 128 px, ImageNet weights, a laptop",
    data=PlannedData(
        name="photographs",
        counts={"labeled": 497, "val": 835, "tiny": 95, "small": 511, "base": 1348, "large": 2836},
        classes=20,
        stuff=0,
        keypoints=20,
        has_entities=False,
    ),
    iters_1x=400,
    backbones={
        "resnet50": "lite0",
        "resnet101": "lite0",
        "swin_t": "lite0",
        "swin_s": "lite0",
        "swin_b": "lite1",
        "swin_l": "lite2",
    },
    labeler_sizes={"swin_t": 1.25, "swin_s": 1.5, "swin_b": 1.5, "swin_l": 1.5},
    labeler_backbone="swin_s",
    shape=Model(
        detector="condinst",
        backbone="lite0",
        classes=1,
        channels=64,
        mask_channels=32,
        towers=2,
        ranges=(32, 64, 128, 256),
        weights="imagenet",
        frozen_stages=4,
        clip="projected",
    ),
    warmup_recipe=_PHOTO_RECIPE,
    finetune_recipe=_PHOTO_RECIPE,
    test_size=(128, 192),
    strong_sizes=(64, 192),
    threshold=0.4,
    # After a warmup on the true boxes of all photos, one channel copied to 20 ends below no warmup and new channels
    # above it: see docs/decisions.md.
    classifier="random",
    light=True,
    native=True,
    contrast=Unlabelled(replace(_SMALL_CONTRAST, size=96, dim=128), iters=1000, grid="c4"),
    certain=Certainty(one_x=4.0, teacher=3.0),
)

# EntitySeg's recipe of its Swins (entity_swin_t_1x.yaml): AdamW 1e-4, weight decay .05, drop path .2, ramp-up 1,500
# iterations, short side 640..800. Mixed precision is ours; the reference trains in float32.
_PAPER_RECIPE = Recipe(
    lr=1e-4,
    batch=16,
    sizes=(640, 672, 704, 736, 768, 800),
    max_size=1333,
    weight_decay=0.05,
    ramp_iters=1500,
    precision="mixed",
)
# ResNets as in AdelaiDet and EntitySeg: SGD .01, weight decay 1e-4, stem, C2 and all batch norms fixed.
# Ramp-up 1,000 iterations in FCOS-Detection/MS_R_50_2x.yaml (Table 1), 1,500 in entity_r50_1x.yaml (Table 5's R-101).
_SGD = {"optimizer": "sgd", "lr": 0.01, "weight_decay": 1e-4}
_PLAIN = {"drop_path": 0.0}

PAPER = Profile(
    name="paper",
    title="COCO at the paper's sizes",
    data=PlannedData(
        name="coco",
        counts={
            "labeled": 118_287,
            "val": 5_000,
            "tiny": 123_403,
            "small": 660_000,
            "base": 1_740_000,
            "large": 3_660_000,
        },
        classes=80,
        stuff=53,
        keypoints=17,
        # super-categories of COCO 2017, of the classes at these positions by rising category id
        groups={"Vehicle": tuple(range(1, 9)), "Animal": tuple(range(14, 24))},
    ),
    iters_1x=90_000,
    backbones={n: n for n in ("resnet50", "resnet101", "resnext101", "swin_t", "swin_s", "swin_b", "swin_l")},
    shape=Model(detector="condinst", backbone="swin_t", classes=1, weights="imagenet", drop_path=0.2),
    warmup_recipe=_PAPER_RECIPE,
    finetune_recipe=_PAPER_RECIPE,
    test_size=(800, 1333),
    strong_sizes=(400, 1200),
    epochs_follow_scale=True,
    small=False,
    shapes={"resnet50": _PLAIN, "resnet101": _PLAIN, "resnext101": _PLAIN},
    recipes={"resnet50": {**_SGD, "ramp_iters": 1000}, "resnet101": _SGD, "resnext101": _SGD},
    # MoCo v2 and DenseCL on ImageNet: SGD .03 at 256 images, 200 epochs of its 1,281,167. Theirs is a ResNet-50.
    contrast=Unlabelled(ContrastRecipe(lr=0.03, batch=256, size=224, precision="mixed"), iters=200 * 1_281_167 // 256),
    # OpenImages V4 as its detection challenge has it: 500 classes, 14.6 million boxes
    source=PlannedData(name="openimages", counts={"labeled": 1_740_000}, classes=500, stuff=0, keypoints=0),
)
