"""Controls beside the paper's rows: they tell a gain of unlabeled images from one of training longer or stronger.

The paper holds a warmup of 5x and a finetune of 3x against a finetune of 3x, and strong augmentation against weak. The
controls are what it leaves out: no warmup for as long as both together, and no warmup with strong augmentation.
"""

from __future__ import annotations

from casl.spec import Profile, Train

LONG = "no warmup, as long"
STRONG = "no warmup, strong"
STRONG_LONG = "no warmup, strong, as long"
FINETUNED = 3  # the default finetune, in x


def as_long(profile: Profile, warm: Train) -> int:
    """Length in x of a finetune without warmup that has as many epochs as `warm` and the default finetune together.

    Epochs are what the paper holds fixed. They are as many iterations unless epochs follow the scale of the unlabeled
    split; `length_of` says so.
    """
    return FINETUNED + round(profile.epochs(warm) / 12)


def length_of(profile: Profile, warm: Train) -> str:
    """How long that control is, for the note of its cell."""
    length = as_long(profile, warm)
    had, has = warm.iters + FINETUNED * profile.iters_1x, length * profile.iters_1x
    if had == has:
        return f"{length}x on labeled images: as many iterations as warmup and finetune"
    return f"{length}x on labeled images: as many epochs as warmup and finetune, {has:,} iterations to their {had:,}"
