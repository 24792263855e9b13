"""Many RLEs checked at once: the same answer as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from casl.coco.masks import to_rle
from casl.coco.runs import are_whole


def some(count: int, height: int, width: int, seed: int) -> list[bytes]:
    """Masks from empty over noisy to full."""
    rng = np.random.default_rng(seed)
    masks = rng.random((count, height, width)) < np.linspace(0, 1, count)[:, None, None]
    return [bytes(rle_tools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]) for mask in masks]


def test_whole_masks_of_different_sizes_pass_together() -> None:
    texts = some(7, 30, 41, 0) + some(5, 200, 10, 1)
    assert are_whole(texts, [30 * 41] * 7 + [2000] * 5)
    assert not are_whole(texts, [30 * 41] * 12)
    assert are_whole([], [])


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_one_among_them_is_found_where_a_single_check_finds_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    texts = some(6, 20, 33, seed)
    which = int(rng.integers(6))
    changed = bytearray(texts[which])
    place = int(rng.integers(len(changed)))
    if rng.random() < 0.3:
        del changed[place]
    else:
        changed[place] = int(rng.integers(256))
    texts[which] = bytes(changed)
    try:
        to_rle({"size": [20, 33], "counts": texts[which]}, 20, 33)
        alone = True
    except ValueError:
        alone = False
    assert are_whole(texts, [20 * 33] * 6) is alone
