"""A labeler that skips blocks of its Swin for images that do not need them."""

from __future__ import annotations

from dataclasses import replace

from casl.rows import PARTS
from casl.spec.kinds import Labeler
from casl.spec.profile import Profile
from casl.spec.schedule import times

ON = 1  # length in x of the training in which policies are learned


def adaptive(profile: Profile, trained: Labeler, usage: float) -> Labeler:
    """A labeler trained on for 1x, with policies that let a share of block halves of its third stage run.

    Args:
        trained: a labeler whose backbone is a Swin.
        usage: the share, in (0, 1]; 1 has no policies, and is the control that was trained as long.

    Raises:
        SpecError: its backbone skips no blocks, or the usage is no share.
    """
    schedule = times(ON, profile.iters_1x, profile.rule)
    model = replace(trained.model, usage=usage)
    return replace(trained, model=model, init=trained, parts=PARTS, schedule=schedule, pretrained=None)
