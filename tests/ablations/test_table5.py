"""Table 5: what stands for a published labeler in a small profile is said whole."""

from __future__ import annotations

import pytest

from ablations import strength, table5
from ablations.profiles import MINI, PAPER, PHOTOS
from casl.spec import Profile


@pytest.mark.parametrize(
    ("profile", "first", "last"),
    [
        (MINI, "resnet_nano stands for R-101", "resnet10t stands for Swin-L"),
        (PHOTOS, "lite0 on images of 128 px stands for R-101", "lite2 on images of 192 px stands for Swin-L"),
        (PAPER, "", ""),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_stand_in_has_its_size_where_labelers_see_images_of_several(profile: Profile, first: str, last: str) -> None:
    notes = [cell.note for cell in table5.cells(profile)]
    assert (notes[0], notes[-1]) == (first, last)
    told = [note for note in notes if note]
    assert len(set(told)) == len(told) // 2, "no two labelers are told as one"
    assert {cell.note for cell in strength.cells(profile) if cell.row in table5.PAPER} == set(notes)
