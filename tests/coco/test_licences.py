"""The licence of an image, from whatever a file says."""

from __future__ import annotations

from typing import Any

import pytest

from casl.coco.licences import Licence, Licences

BY, SHARED = {"id": 4, "name": "CC BY 4.0", "url": "https://example.org/by"}, {"id": 5, "name": "CC-BY-SA-4.0"}
UNSAID = {"id": 0, "name": "", "url": ""}  # as CVAT writes it
FOUND = Licence("CC BY 4.0", "https://example.org/by")


@pytest.mark.parametrize(
    ("listed", "image", "found"),
    [
        ([BY, SHARED], {"license": 4}, FOUND),
        ([BY, SHARED], {"license": 5}, Licence("CC-BY-SA-4.0", "")),
        ([BY, SHARED], {}, None),
        ([BY, SHARED], {"license": 9}, None),
        ([BY, SHARED], {"license": [4]}, None),
        ([BY, SHARED], {"license": "4"}, None),
        ([BY], {}, FOUND),
        ([BY], {"license": None}, None),
        ([BY, UNSAID], {}, None),
        ([BY, UNSAID], {"license": 0}, None),
        ([UNSAID], {"license": 0}, None),
        ([BY, None, "x", {"id": [1]}, {"id": True, "name": "x"}], {}, FOUND),
        ([{"id": 1, "name": 3, "url": None}], {}, Licence("3", "")),
        ("CC BY 4.0", {}, None),
        ({"id": 4}, {}, None),
        (None, {"license": 4}, None),
    ],
)
def test_the_licence_of_an_image_is_the_one_that_its_file_says(listed: Any, image: Any, found: Licence | None) -> None:
    assert Licences({"licenses": listed}).of(image) == found


@pytest.mark.parametrize(
    ("listed", "some"), [([BY], True), ([UNSAID], False), ([], False), (None, False), ([{}], False)]
)
def test_a_list_without_a_licence_is_none(listed: Any, some: bool) -> None:
    assert bool(Licences({"licenses": listed})) is some
